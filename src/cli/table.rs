//! An answer's result as a table: lines with `;` as Python's `csv` writes them, columns as `tabulate` sets them.
//!
//! What is a column of numbers, and what a line ends with, is theirs to say: scripts cut the output of `es` up by it.

use serde_json::{Map, Value};

use super::python;
use super::{Failure, exit};

/// What there is to show.
#[derive(Debug)]
pub(super) enum Shape {
    /// No table: one value.
    Text(String),
    Table(Table),
}

/// Rows of values; the header is there where they have names.
#[derive(Debug)]
pub(super) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<Value>>,
}

/// The shape of `answer`; of a success its `result` or `results` alone. An array of objects has the first one's keys as
/// its header, an object is a table of keys and values, an array of other things has one column.
///
/// # Errors
/// An array of which some items are objects.
pub(super) fn shape(answer: &Value, success: bool) -> Result<Shape, Failure> {
    let result = answer.get("result").or_else(|| answer.get("results")).filter(|_| success).unwrap_or(answer);
    let header = Vec::new();
    Ok(Shape::Table(match result {
        Value::Object(fields) => {
            let row = |(key, value): (&String, &Value)| vec![Value::from(key.as_str()), flat(value)];
            Table { header, rows: fields.iter().map(row).collect() }
        }
        Value::Array(items) => match items.first() {
            Some(Value::Object(first)) => {
                let rows = items.iter().map(|item| item.as_object().map(values)).collect::<Option<_>>();
                let rows = rows.ok_or_else(|| Failure::new(exit::SHAPE, "the result is no table; --json shows it"))?;
                Table { header: first.keys().cloned().collect(), rows }
            }
            Some(Value::Array(_)) => {
                let row = |item: &Value| item.as_array().cloned().unwrap_or_else(|| vec![item.clone()]);
                Table { header, rows: items.iter().map(row).collect() }
            }
            _ => Table { header, rows: items.iter().map(|item| vec![item.clone()]).collect() },
        },
        other => return Ok(Shape::Text(python::text(other))),
    }))
}

fn values(fields: &Map<String, Value>) -> Vec<Value> {
    fields.values().map(flat).collect()
}

/// A value that fits into a cell: what is in an array or an object becomes one text.
fn flat(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(python::text).collect::<Vec<_>>().join(",").into(),
        Value::Object(fields) => {
            let pair = |(key, value): (&String, &Value)| format!("{key}: {}", python::text(value));
            fields.iter().map(pair).collect::<Vec<_>>().join(",").into()
        }
        other => other.clone(),
    }
}

impl Table {
    /// Lines that end with CR and LF, fields in quotes where they need them.
    pub(super) fn csv(&self) -> String {
        let header: Vec<Value> = self.header.iter().map(|name| Value::from(name.as_str())).collect();
        let line = |row: &Vec<Value>| {
            let fields: Vec<String> = row.iter().map(field).collect();
            // One empty field is no empty line.
            let text = if fields == [""] { "\"\"".to_owned() } else { fields.join(";") };
            text + "\r\n"
        };
        Some(&header).filter(|header| !header.is_empty()).into_iter().chain(&self.rows).map(line).collect()
    }

    /// Columns under their names, or between two lines where they have none.
    pub(super) fn aligned(&self) -> String {
        let width = self.rows.iter().map(Vec::len).max().unwrap_or(0).max(self.header.len());
        if width == 0 || self.rows.is_empty() {
            return "\n".to_owned();
        }
        let columns: Vec<Column> = (0..width)
            .map(|at| {
                // Names that are missing are the first ones'.
                let lacking = width - self.header.len();
                let name = at.checked_sub(lacking).and_then(|at| self.header.get(at)).map_or("", String::as_str);
                let cells = self.rows.iter().map(|row| row.get(at).unwrap_or(&Value::Null)).collect();
                Column::new((!self.header.is_empty()).then_some(name), cells)
            })
            .collect();
        let rule = line(columns.iter().map(|column| "-".repeat(column.width)));
        let rows = (0..self.rows.len()).map(|row| line(columns.iter().map(|column| column.cell(row))));
        if self.header.is_empty() {
            rule.clone() + &rows.collect::<String>() + &rule
        } else {
            line(columns.iter().map(Column::head)) + &rule + &rows.collect::<String>()
        }
    }
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let mut text = cells.collect::<Vec<_>>().join("  ");
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn field(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        other => python::text(other),
    };
    if text.contains([';', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// What all values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Nothing,
    Flag,
    Int,
    Float,
    Text,
}

impl Kind {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Nothing,
            Value::Bool(_) => Self::Flag,
            Value::Number(number) if python::is_int(&number.to_string()) => Self::Int,
            Value::Number(_) => Self::Float,
            Value::String(text) => Self::of_text(text),
            Value::Array(_) | Value::Object(_) => Self::Text,
        }
    }

    fn of_text(text: &str) -> Self {
        if text.is_empty() {
            Self::Nothing
        } else if matches!(text, "True" | "False") {
            Self::Flag
        } else if python::is_int(text) || (has_thousands(text) && !text.contains('.')) {
            Self::Int
        } else if is_number(text) || has_thousands(text) {
            Self::Float
        } else {
            Self::Text
        }
    }
}

/// Whether a text is a number; one that is too large is none, unless it says so.
fn is_number(text: &str) -> bool {
    let word = || matches!(text.to_lowercase().as_str(), "inf" | "-inf" | "nan");
    python::float(text).is_some_and(|number| number.is_finite() || word())
}

/// Whether a text is a number with commas before every third digit.
fn has_thousands(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or("");
    (1..=3).contains(&first.len())
        && digits(first)
        && digits(fraction)
        && groups.all(|group| group.len() == 3 && digits(group))
}

struct Column {
    name: String,
    cells: Vec<String>,
    /// Numbers stand to the right.
    right: bool,
    width: usize,
}

impl Column {
    fn new(name: Option<&str>, values: Vec<&Value>) -> Self {
        let kind = values.iter().map(|value| Kind::of(value)).fold(Kind::Flag, Kind::max);
        let right = matches!(kind, Kind::Int | Kind::Float);
        let mut cells: Vec<String> = values.iter().map(|value| cell(value, kind)).collect();
        if right {
            let after: Vec<usize> = cells.iter().map(|cell| from_point(cell)).collect();
            let most = after.iter().copied().max().unwrap_or(0);
            for (cell, after) in cells.iter_mut().zip(after) {
                cell.push_str(&" ".repeat(most - after));
            }
        } else {
            cells.iter_mut().for_each(|cell| *cell = cell.trim().to_owned());
        }
        // A name has room for two more.
        let least = name.map_or(0, |name| name.chars().count() + 2);
        let width = cells.iter().map(|cell| cell.chars().count()).fold(least, usize::max);
        Self { name: printable(name.unwrap_or("")), cells, right, width }
    }

    fn head(&self) -> String {
        self.padded(&self.name)
    }

    fn cell(&self, row: usize) -> String {
        self.padded(self.cells.get(row).map_or("", String::as_str))
    }

    fn padded(&self, text: &str) -> String {
        let width = self.width;
        if self.right { format!("{text:>width$}") } else { format!("{text:<width$}") }
    }
}

fn cell(value: &Value, kind: Kind) -> String {
    let text = match value {
        Value::Null => String::new(),
        other => printable(&python::text(other)),
    };
    let number = match value {
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        _ => python::float(&text.replace(',', "")),
    };
    match number.filter(|_| kind == Kind::Float && !text.is_empty()) {
        Some(number) => python::general(number),
        None => text,
    }
}

/// The number of characters from the decimal point of a number on, or from the exponent of one that has no point.
fn from_point(text: &str) -> usize {
    if python::is_int(text) || !(is_number(text) || has_thousands(text)) {
        return 0;
    }
    let at = text.rfind('.').or_else(|| text.to_lowercase().rfind('e'));
    at.map_or(0, |at| text.len() - at)
}

/// A terminal obeys control characters; a table has none.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(result: Value) -> Table {
        match shape(&json!({ "result": result }), true) {
            Ok(Shape::Table(table)) => table,
            other => panic!("no table: {other:?}"),
        }
    }

    fn users() -> Value {
        json!([
            {"username": "admin", "groups": ["a", "b"], "is_active": true, "dc": null},
            {"username": "a;\"b", "groups": [], "is_active": false, "dc": "x"},
        ])
    }

    #[test]
    fn csv_has_a_header_and_quotes_what_needs_it() {
        let csv = "username;groups;is_active;dc\r\nadmin;a,b;True;\r\n\"a;\"\"b\";;False;x\r\n";
        assert_eq!(table(users()).csv(), csv);
        assert_eq!(table(json!({"a": {"b": [1, null]}, "c": ["x", true]})).csv(), "a;b: [1, None]\r\nc;x,True\r\n");
        assert_eq!(table(json!(["b", "", null, 1])).csv(), "b\r\n\"\"\r\n\"\"\r\n1\r\n");
        assert_eq!(table(json!([])).csv(), "");
    }

    #[test]
    fn a_success_is_its_result_and_a_refusal_is_whole() {
        let text = |answer: Value, success| match shape(&answer, success) {
            Ok(Shape::Text(text)) => text,
            Ok(Shape::Table(table)) => table.csv(),
            Err(failure) => panic!("{}", failure.message),
        };
        assert_eq!(text(json!({"results": [{"a": 1}]}), true), "a\r\n1\r\n");
        assert_eq!(text(json!({"status": "SUCCESS", "result": null}), true), "None");
        assert_eq!(text(json!("pong"), true), "pong");
        assert_eq!(text(json!({"detail": "Bye."}), true), "detail;Bye.\r\n");
        let refused = json!({"status": "FAILURE", "result": {"email": ["This field is required."]}});
        assert_eq!(text(refused, false), "status;FAILURE\r\nresult;email: ['This field is required.']\r\n");
        assert_eq!(shape(&json!([{"a": 1}, 2]), true).err().map(|failure| failure.status), Some(exit::SHAPE));
    }

    #[test]
    fn a_table_has_its_names_above_a_line_or_stands_between_two() {
        let aligned = "\
username    groups    is_active    dc
----------  --------  -----------  ----
admin       a,b       True
a;\"b                  False        x
";
        assert_eq!(table(users()).aligned(), aligned);
        assert_eq!(table(json!(["b", "longer"])).aligned(), "------\nb\nlonger\n------\n");
        assert_eq!(table(json!({"key": "x", "n": 7})).aligned(), "---  -\nkey  x\nn    7\n---  -\n");
        assert_eq!(table(json!([])).aligned(), "\n");
        let uneven = table(json!([{"a": "x"}, {"a": "y", "b": "z"}]));
        assert_eq!(uneven.aligned(), "    a\n--  ---\nx\ny   z\n");
    }

    #[test]
    fn numbers_stand_to_the_right_point_below_point() {
        let column = |values: Value| table(values).aligned();
        assert_eq!(column(json!(["100", 20])), "---\n100\n 20\n---\n");
        assert_eq!(column(json!([1.5, "20", "-0.25"])), "-----\n 1.5\n20\n-0.25\n-----\n");
        assert_eq!(column(json!(["1,000", "2"])), "-----\n1,000\n    2\n-----\n");
        assert_eq!(column(json!(["1e3", 2.5])), "------\n1000\n   2.5\n------\n");
        assert_eq!(column(json!(["007", "", null])), "---\n007\n\n\n---\n");
        assert_eq!(column(json!(["1", "x"])), "-\n1\nx\n-\n");
        assert_eq!(table(json!([{"n": 1}])).aligned(), "  n\n---\n  1\n");
    }

    #[test]
    fn a_table_cannot_steer_the_terminal() {
        assert_eq!(table(json!(["\u{1b}[2J\n"])).aligned(), "-----\n\u{fffd}[2J\u{fffd}\n-----\n");
    }
}
