//! The answer on stdout: the whole as JSON, or its result as lines or as a table.

use std::io::{self, ErrorKind, Write};

use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value, json};

use super::args::{Action, Call, Format, Param};
use super::client::{Answer, Sent};
use super::{Failure, exit};

/// Writes `text` to stdout; that nobody reads any more (`usher … | head`) is no failure.
///
/// # Errors
/// Any other failure to write.
pub(super) fn write(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(exit::OUTPUT, format!("stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Shows what came back for `call`.
///
/// # Errors
/// The answer has no shape that the format can show, or stdout cannot be written.
pub(super) fn answer(call: &Call, sent: &Sent, answer: &Answer) -> Result<(), Failure> {
    let text = answer.json().unwrap_or_else(|| Value::String(String::from_utf8_lossy(&answer.body).into_owned()));
    let ok = (200..300).contains(&answer.status);
    let shown = match call.format {
        _ if call.action == Action::Options && ok && !call.debug && text.get("description").is_some() => {
            let description = &text["description"];
            format!("{}\n", description.as_str().map_or_else(|| description.to_string(), str::to_owned))
        }
        Format::Csv if ok => csv(&table(&text)?),
        Format::Tabulate if ok => aligned(&table(&text)?),
        // What went wrong is shown whole, whatever the format.
        _ => whole(call, sent, answer, text)?,
    };
    write(&shown)
}

fn whole(call: &Call, sent: &Sent, answer: &Answer, text: Value) -> Result<String, Failure> {
    let mut shown = json!({"method": call.action.method(), "url": sent.url, "status": answer.status, "text": text});
    if call.debug {
        shown["command"] = command(call);
        shown["request.headers"] = object(&sent.headers);
        shown["headers"] = object(&answer.headers);
    }
    let mut bytes = Vec::new();
    serde::Serialize::serialize(
        &shown,
        &mut Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    ")),
    )
    .map_err(|error| Failure::new(exit::SHAPE, error.to_string()))?;
    bytes.push(b'\n');
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn object(headers: &[(String, String)]) -> Value {
    Value::Object(headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect())
}

/// What the command line was understood as, without the password.
fn command(call: &Call) -> Value {
    let params: Map<String, Value> = call
        .params
        .iter()
        .map(|(key, param)| match param {
            Param::File(path) => (key.clone(), json!(format!("file::{path}"))),
            Param::Value(_) if key == "password" => (key.clone(), json!("***")),
            Param::Value(value) => (key.clone(), value.clone()),
        })
        .collect();
    json!({"method": call.action.method(), "resource": call.resource, "params": params})
}

/// Rows of cells; the first one is the header if the answer's items have names.
struct Table {
    header: Option<Vec<String>>,
    rows: Vec<Vec<String>>,
}

/// The `result` (or `results`) of `text` as a table: an array of objects by the first one's keys, an object as one row,
/// other items one a row.
fn table(text: &Value) -> Result<Table, Failure> {
    let result = text.get("result").or_else(|| text.get("results")).unwrap_or(text);
    let items = match result {
        Value::Null => &[][..],
        Value::Array(items) => items,
        other => std::slice::from_ref(other),
    };
    let Some(Value::Object(first)) = items.first() else {
        return Ok(Table { header: None, rows: items.iter().map(|item| vec![cell(item)]).collect() });
    };
    let header: Vec<String> = first.keys().cloned().collect();
    let rows = items
        .iter()
        .map(|item| match item {
            Value::Object(fields) => {
                Ok(header.iter().map(|key| fields.get(key).map_or_else(String::new, cell)).collect())
            }
            _ => Err(Failure::new(exit::SHAPE, "the result is no table; --json shows it")),
        })
        .collect::<Result<_, _>>()?;
    Ok(Table { header: Some(header), rows })
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(|item| !item.is_array() && !item.is_object()) => {
            items.iter().map(cell).collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}

fn csv(table: &Table) -> String {
    let field = |text: &String| {
        if text.contains([';', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.clone() }
    };
    let line = |row: &Vec<String>| row.iter().map(field).collect::<Vec<_>>().join(";") + "\n";
    table.header.iter().chain(&table.rows).map(line).collect()
}

fn aligned(table: &Table) -> String {
    // A terminal obeys control characters; a table has none.
    let printable = |text: &String| -> String {
        text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
    };
    let rows: Vec<Vec<String>> =
        table.header.iter().chain(&table.rows).map(|row| row.iter().map(printable).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|text| text.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    let mut line = |cells: &[String]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(text, width)| format!("{text:width$}")).collect();
        out.push_str(padded.join("  ").trim_end());
        out.push('\n');
    };
    for (number, row) in rows.iter().enumerate() {
        line(row);
        if number == 0 && table.header.is_some() {
            line(&widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer_table() -> Value {
        json!({"status": "SUCCESS", "result": [
            {"username": "admin", "groups": ["a", "b"], "is_active": true, "dc": null},
            {"username": "a;\"b", "groups": [], "is_active": false, "dc": "x"},
        ]})
    }

    #[test]
    fn csv_has_a_header_and_quotes_what_needs_it() {
        let shown = csv(&table(&answer_table()).unwrap());
        assert_eq!(shown, "username;groups;is_active;dc\nadmin;a,b;true;\n\"a;\"\"b\";;false;x\n");
    }

    #[test]
    fn lists_objects_and_nothing_are_tables_too() {
        assert_eq!(csv(&table(&json!({"result": ["b", "a"]})).unwrap()), "b\na\n");
        assert_eq!(csv(&table(&json!({"results": [{"a": 1}]})).unwrap()), "a\n1\n");
        assert_eq!(csv(&table(&json!({"result": {"a": "x", "b": {"c": 1}}})).unwrap()), "a;b\nx;\"{\"\"c\"\":1}\"\n");
        assert_eq!(csv(&table(&json!({"result": null})).unwrap()), "");
        assert_eq!(csv(&table(&json!("pong")).unwrap()), "pong\n");
        assert_eq!(table(&json!([{"a": 1}, 2])).err().map(|failure| failure.status), Some(exit::SHAPE));
    }

    #[test]
    fn a_table_is_aligned_and_cannot_steer_the_terminal() {
        let shown =
            aligned(&table(&json!({"result": [{"name": "é", "x": "\u{1b}[2J"}, {"name": "long", "x": "y"}]})).unwrap());
        assert_eq!(shown, "name  x\n----  ----\né     \u{fffd}[2J\nlong  y\n");
    }
}
