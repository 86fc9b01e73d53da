//! Values as Python writes them: scripts read `es`'s output, and that is what it is made of.

use serde_json::Value;

/// `str()`: a text as it is.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let pairs: Vec<String> =
                fields.iter().map(|(key, value)| format!("{}: {}", quoted(key), literal(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

/// `repr()`: a text in quotes.
fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => text(other),
    }
}

fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote || c == '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// What `float()` reads in a text.
pub(super) fn float(text: &str) -> Option<f64> {
    let text = digits(text.trim())?;
    // These are words of Rust's alone.
    let word = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
    if word.contains("inf") && !matches!(word.as_str(), "inf" | "infinity") {
        return None;
    }
    text.parse().ok()
}

/// Whether `int()` reads the text.
pub(super) fn is_int(text: &str) -> bool {
    let Some(text) = digits(text.trim()) else { return false };
    let text = text.strip_prefix(['+', '-']).unwrap_or(&text);
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The text of a number without the `_` that may stand between two digits.
fn digits(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let well = |at: usize| bytes[at] != b'_' || (digit(at.checked_sub(1)) && digit(Some(at + 1)));
    (0..bytes.len()).all(well).then(|| text.replace('_', ""))
}

/// `format(number, "g")`: six digits, no zeros at the end, an exponent where the number is large or small.
pub(super) fn general(number: f64) -> String {
    const DIGITS: i32 = 6;
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let short = |text: &str| {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
    };
    let scientific = format!("{number:.5e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..DIGITS).contains(&exponent) {
        let decimals = usize::try_from(DIGITS - 1 - exponent).unwrap_or(0);
        return short(&format!("{number:.decimals$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", short(mantissa), exponent.abs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_spelt_as_python_spells_them() {
        let value = json!({"a": ["it's", "\"'", "b\\\n\u{1}ž"], "n": [null, true, false, 1, 1.5], "e": [{}, []]});
        assert_eq!(
            text(&value),
            r#"{'a': ["it's", '"\'', 'b\\\n\x01ž'], 'n': [None, True, False, 1, 1.5], 'e': [{}, []]}"#
        );
        assert_eq!(text(&json!("it's")), "it's");
        assert_eq!(text(&json!(null)), "None");
    }

    #[test]
    fn numbers_are_read_as_python_reads_them() {
        for text in ["1", " -12 ", "+0", "007", "1_000"] {
            assert!(is_int(text) && float(text).is_some(), "{text}");
        }
        for text in ["1.5", ".5", "1.", "1e3", "inf", "-Infinity", "nan", "1_0.0_1"] {
            assert!(!is_int(text) && float(text).is_some(), "{text}");
        }
        for text in ["", "-", "_1", "1_", "1__0", "1,000", "0x1", "x", "1 2", "infinite"] {
            assert!(!is_int(text) && float(text).is_none(), "{text}");
        }
    }

    #[test]
    fn general_numbers_have_six_digits_and_no_zeros_at_the_end() {
        for (number, expected) in [
            (0.0, "0"),
            (1.5, "1.5"),
            (100_000.0, "100000"),
            (1_000_000.0, "1e+06"),
            (1_234_567.0, "1.23457e+06"),
            (0.0001, "0.0001"),
            (0.000_012, "1.2e-05"),
            (-2.0, "-2"),
            (999_999.9, "1e+06"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(general(number), expected);
        }
    }
}
