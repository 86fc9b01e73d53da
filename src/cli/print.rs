//! The answer on stdout: the whole as JSON, or its result as lines or as a table; to the byte what `es` prints.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write};

use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Value, json};

use super::args::{Action, Call, Format};
use super::client::{Answer, Sent};
use super::python;
use super::table::{Shape, Table, shape};
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
    let render = match call.format {
        Format::Json => None,
        Format::Csv => Some(Table::csv as fn(&Table) -> String),
        Format::Tabulate => Some(Table::aligned as fn(&Table) -> String),
    };
    let shown = match render {
        Some(render) => match shape(&text, (200..300).contains(&answer.status))? {
            Shape::Table(table) => render(&table),
            Shape::Text(text) => text + "\n",
        },
        None if call.action == Action::Options && !call.debug && text.get("description").is_some() => {
            python::text(&text["description"]) + "\n"
        }
        None => whole(call, sent, answer, text)?,
    };
    write(&shown)
}

fn whole(call: &Call, sent: &Sent, answer: &Answer, text: Value) -> Result<String, Failure> {
    let mut shown = json!({"method": call.action.method(), "url": sent.url, "status": answer.status, "text": text});
    if call.debug {
        shown["command"] = json!(call.words);
        shown["headers"] = object(&answer.headers);
        shown["request.headers"] = object(&sent.headers);
    }
    let mut bytes = Vec::new();
    serde::Serialize::serialize(
        &shown,
        &mut Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    ")),
    )
    .map_err(|error| Failure::new(exit::SHAPE, error.to_string()))?;
    bytes.push(b'\n');
    Ok(ascii(&String::from_utf8_lossy(&bytes)))
}

fn object(headers: &[(String, String)]) -> Value {
    Value::Object(headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect())
}

/// JSON text in ASCII alone: whatever is not, is in a string, and escaped there.
fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a String can't fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_written_in_ascii() {
        assert_eq!(ascii("\"a\u{7f}Å\u{1f511}\\n\""), r#""a\u007f\u00c5\ud83d\udd11\n""#);
    }
}
