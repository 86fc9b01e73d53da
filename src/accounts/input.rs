//! Input of the API into typed values: the coercion of contract 1.2 with its decisions 6, 7, 9 and 11.
//!
//! Every function here looks at one value and says what is wrong with it in the protocol's own words. Which fields an
//! object has, and what they mean together, is in `user_rules`, `profile_rules`, `group_rules`, `dc_rules`, `key_rules`.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::secrets::Secret;
use super::{email, phone};

/// A validation message, as the caller sees it.
pub(crate) type Message = Cow<'static, str>;

pub(crate) const REQUIRED: Message = Cow::Borrowed("This field is required.");
pub(crate) const INVALID: Message = Cow::Borrowed("Invalid value.");
pub(crate) const NO_PERMISSION: Message = Cow::Borrowed("You don't have permission to modify this attribute.");

/// `null` where the original takes it for a name: Python's word for it.
const NULL_NAME: &str = "None";

/// The longest password, in bytes.
pub(crate) const MAX_PASSWORD: usize = 1024;

/// "Select a valid choice …".
pub(crate) fn no_choice(given: impl std::fmt::Display) -> Message {
    format!("Select a valid choice. {given} is not one of the available choices.").into()
}

/// "Object with name=X does not exist."
pub(crate) fn no_object(key: &str, given: &str) -> Message {
    format!("Object with {key}={given} does not exist.").into()
}

/// "Ensure this value has at most …".
pub(crate) fn too_long(max: usize, has: usize) -> Message {
    format!("Ensure this value has at most {max} characters (it has {has}).").into()
}

/// What is wrong with the fields of a body, in the order in which it was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Errors(Vec<(&'static str, Vec<Message>)>);

impl Errors {
    pub(crate) fn add(&mut self, field: &'static str, message: impl Into<Message>) {
        self.extend(field, vec![message.into()]);
    }

    pub(crate) fn extend(&mut self, field: &'static str, messages: Vec<Message>) {
        match self.0.iter_mut().find(|(name, _)| *name == field) {
            Some((_, all)) => all.extend(messages),
            None => self.0.push((field, messages)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn has(&self, field: &str) -> bool {
        self.0.iter().any(|(name, _)| *name == field)
    }

    /// Errors with one message.
    pub(crate) fn one(field: &'static str, message: impl Into<Message>) -> Self {
        Self(vec![(field, vec![message.into()])])
    }
}

impl Serialize for Errors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (field, messages) in &self.0 {
            map.serialize_entry(field, messages)?;
        }
        map.end()
    }
}

/// How a text field is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    /// No control characters.
    Any,
    /// No `<>%$&;'"`, no control characters, at most this many characters.
    Safe(usize),
    /// An e-mail address of at most this many characters; blanks at the ends are dropped.
    Email(usize),
    /// A phone number in international form, kept as E.164.
    Phone,
}

/// The fields of a body, and the errors found in them so far.
pub(crate) struct Input<'a> {
    body: &'a Map<String, Value>,
    pub(crate) errors: Errors,
}

impl<'a> Input<'a> {
    pub(crate) fn new(body: &'a Map<String, Value>) -> Self {
        Self { body, errors: Errors::default() }
    }

    /// Whether there is anything under `key`.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.body.contains_key(key)
    }

    /// Takes what `parse` makes of the value under `key`; `None` if there is none or an error was noted.
    fn take<T>(&mut self, key: &'static str, parse: impl FnOnce(&Value) -> Result<T, Vec<Message>>) -> Option<T> {
        parse(self.body.get(key)?).map_err(|messages| self.errors.extend(key, messages)).ok()
    }

    pub(crate) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.take(key, |value| boolean(value).map_err(|m| vec![m]))
    }

    /// A text that may be empty.
    pub(crate) fn text(&mut self, key: &'static str, kind: Text) -> Option<String> {
        self.take(key, |value| text(value, kind))
    }

    /// A text that is not empty where it is given.
    pub(crate) fn filled(&mut self, key: &'static str, kind: Text) -> Option<String> {
        self.take(key, |value| match text(value, kind)? {
            text if text.is_empty() => Err(vec![REQUIRED]),
            text => Ok(text),
        })
    }

    /// A text that is not empty; where it is not given, `default`, which is checked as well.
    pub(crate) fn filled_or(&mut self, key: &'static str, kind: Text, default: &str) -> Option<String> {
        if self.body.contains_key(key) {
            return self.filled(key, kind);
        }
        text(&Value::from(default), kind).map_err(|messages| self.errors.extend(key, messages)).ok()
    }

    /// A text that must be given.
    pub(crate) fn required(&mut self, key: &'static str, kind: Text) -> Option<String> {
        if self.body.contains_key(key) {
            return self.filled(key, kind);
        }
        self.errors.add(key, REQUIRED);
        None
    }

    pub(crate) fn password(&mut self, key: &'static str, required: bool) -> Option<Secret> {
        if required && !self.body.contains_key(key) {
            self.errors.add(key, REQUIRED);
        }
        self.take(key, |value| password(value).map_err(|m| vec![m]))
    }

    /// Texts, none of which is empty.
    pub(crate) fn list(&mut self, key: &'static str) -> Option<Vec<String>> {
        self.take(key, |value| list(value).map_err(|m| vec![m]))
    }

    /// Texts that are to name something, which an empty one does not. A list of nothing but an empty text is empty; a
    /// `null` in a list is looked for under the name that the original gives it.
    pub(crate) fn references(&mut self, key: &'static str) -> Option<Vec<String>> {
        let name = |item: &Value| if item.is_null() { Ok(NULL_NAME.to_owned()) } else { string(item) };
        self.take(key, |value| {
            let nothing = value.as_array().is_some_and(|items| *items == [""]);
            if nothing { Ok(Vec::new()) } else { items(value, name).map_err(|m| vec![m]) }
        })
    }

    /// One of the texts that are `valid`, exactly; `""` only where `optional`.
    pub(crate) fn choice(
        &mut self,
        key: &'static str,
        optional: bool,
        valid: impl FnOnce(&str) -> bool,
    ) -> Option<String> {
        self.take(key, |value| match choice(value) {
            Err(message) => Err(vec![message]),
            Ok(text) if text.is_empty() && optional => Ok(text),
            Ok(text) if text.is_empty() => Err(vec![REQUIRED]),
            Ok(text) if valid(&text) => Ok(text),
            Ok(text) => Err(vec![no_choice(text)]),
        })
    }

    pub(crate) fn number_choice(&mut self, key: &'static str, choices: &[u8]) -> Option<u8> {
        self.take(key, |value| number_choice(value, choices).map_err(|m| vec![m]))
    }
}

/// The words for booleans.
pub(crate) const TRUE_WORDS: [&str; 6] = ["t", "T", "true", "True", "TRUE", "1"];
pub(crate) const FALSE_WORDS: [&str; 7] = ["", "f", "F", "false", "False", "FALSE", "0"];

/// A boolean: the words and numbers of contract 1.2; any other word, a list or an object is refused (decision 6).
pub(crate) fn boolean(value: &Value) -> Result<bool, Message> {
    match value {
        Value::Null => Ok(false),
        Value::Bool(b) => Ok(*b),
        Value::Number(n) => Ok(n.as_f64().is_none_or(|n| n != 0.0)),
        Value::String(word) => match word.as_str() {
            word if TRUE_WORDS.contains(&word) => Ok(true),
            word if FALSE_WORDS.contains(&word) => Ok(false),
            _ => Err(INVALID),
        },
        Value::Array(_) | Value::Object(_) => Err(INVALID),
    }
}

/// A string: numbers as their decimal text, `null` as nothing (decision 7).
pub(crate) fn string(value: &Value) -> Result<String, Message> {
    match value {
        Value::Null => Ok(String::new()),
        Value::Number(number) => Ok(number.to_string()),
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(INVALID),
    }
}

/// Whether the text has characters that no text field may have: controls and line breaks (decision 9).
pub(crate) fn has_control(text: &str) -> bool {
    text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
}

/// Whether the text has characters that the original's "safe" fields refuse.
pub(crate) fn is_unsafe(text: &str) -> bool {
    text.contains(['<', '>', '%', '$', '&', ';', '\'', '"'])
}

/// A text field's value; all that is wrong with it is reported together.
fn text(value: &Value, kind: Text) -> Result<String, Vec<Message>> {
    let text = string(value).map_err(|m| vec![m])?;
    let text = match kind {
        // That would strip a line break, which decision 9 refuses.
        Text::Email(_) if !has_control(&text) => text.trim().to_owned(),
        Text::Any | Text::Safe(_) | Text::Email(_) | Text::Phone => text,
    };
    if text.is_empty() {
        return Ok(text);
    }
    let mut wrong = Vec::new();
    let max = match kind {
        Text::Any => usize::MAX,
        Text::Safe(max) | Text::Email(max) => max,
        Text::Phone => phone::MAX,
    };
    let has = text.chars().count();
    if has > max {
        wrong.push(too_long(max, has));
    }
    match kind {
        // a too long address is told that alone (contract 3.4)
        Text::Email(_) if has > max => {}
        _ if has_control(&text) => wrong.push(INVALID),
        Text::Email(_) if !email::is_valid(&text) => wrong.push("Enter a valid email address.".into()),
        Text::Safe(_) | Text::Phone if is_unsafe(&text) => wrong.push(INVALID),
        _ => {}
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    match kind {
        Text::Phone => phone::e164(&text).ok_or_else(|| vec!["The phone number entered is not valid.".into()]),
        Text::Any | Text::Safe(_) | Text::Email(_) => Ok(text),
    }
}

/// A password: any text but the empty one, without NUL, at most 1024 bytes (decision 9).
fn password(value: &Value) -> Result<Secret, Message> {
    let secret = Secret::new(string(value)?);
    let text = secret.reveal();
    if text.is_empty() {
        Err(REQUIRED)
    } else if text.contains('\0') {
        Err(INVALID)
    } else if text.len() > MAX_PASSWORD {
        Err(format!("Ensure this value has at most {MAX_PASSWORD} bytes (it has {}).", text.len()).into())
    } else {
        Ok(secret)
    }
}

/// A list of texts, none of which may be empty.
pub(crate) fn list(value: &Value) -> Result<Vec<String>, Message> {
    items(value, |item| match string(item)? {
        text if text.is_empty() => Err(REQUIRED),
        text => Ok(text),
    })
}

/// A list of what `item` reads: a JSON array, or a string with commas, where nothing between two of them is no item;
/// whatever is nothing is the empty list. Doubles collapse.
fn items(value: &Value, item: fn(&Value) -> Result<String, Message>) -> Result<Vec<String>, Message> {
    let items = match value {
        Value::Null | Value::Bool(false) => Vec::new(),
        Value::Number(n) if n.as_f64() == Some(0.0) => Vec::new(),
        Value::Object(map) if map.is_empty() => Vec::new(),
        Value::String(text) => {
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
        }
        Value::Array(items) => items.iter().map(item).collect::<Result<_, _>>()?,
        Value::Bool(true) | Value::Number(_) | Value::Object(_) => return Err(INVALID),
    };
    let mut seen = std::collections::HashSet::new();
    Ok(items.into_iter().filter(|item| seen.insert(item.clone())).collect())
}

/// The text of a choice: nothing is the empty one, in whatever form, and a boolean is no choice.
fn choice(value: &Value) -> Result<String, Message> {
    match value {
        Value::Bool(true) => Err(no_choice("True")),
        Value::Bool(false) => Err(no_choice("False")),
        Value::Array(items) if items.is_empty() => Ok(String::new()),
        Value::Object(map) if map.is_empty() => Ok(String::new()),
        value => string(value),
    }
}

/// One of a few small numbers, given as a number or its text.
fn number_choice(value: &Value, choices: &[u8]) -> Result<u8, Message> {
    let whole = || Cow::Borrowed("Enter a whole number.");
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return Err(whole()),
    };
    let digits = text.strip_prefix(['+', '-']).unwrap_or(&text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(whole());
    }
    match text.parse::<i64>() {
        Ok(number) => {
            choices.iter().copied().find(|choice| i64::from(*choice) == number).ok_or_else(|| no_choice(number))
        }
        Err(_) => Err(no_choice(text)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn booleans_take_the_words_of_the_contract_and_no_others() {
        for yes in [json!(true), json!(1), json!(1.0), json!(2), json!("t"), json!("T"), json!("true"), json!("1")] {
            assert_eq!(boolean(&yes), Ok(true), "{yes}");
        }
        for no in [json!(false), json!(0), json!(0.0), json!("F"), json!("False"), json!("0"), json!(""), json!(null)] {
            assert_eq!(boolean(&no), Ok(false), "{no}");
        }
        for bad in [json!("no"), json!("yes"), json!("off"), json!("tRUE"), json!(" 1"), json!([]), json!({})] {
            assert_eq!(boolean(&bad), Err(INVALID), "{bad}");
        }
    }

    #[test]
    fn numbers_are_strings_and_other_values_are_not() {
        assert_eq!(string(&json!(123)).as_deref(), Ok("123"));
        assert_eq!(string(&json!(-1.5)).as_deref(), Ok("-1.5"));
        assert_eq!(string(&json!(null)).as_deref(), Ok(""));
        for bad in [json!(true), json!(false), json!([]), json!({"a": 1})] {
            assert_eq!(string(&bad), Err(INVALID), "{bad}");
        }
    }

    #[test]
    fn texts_are_measured_in_characters_and_checked_for_bad_ones() {
        assert_eq!(text(&json!(" ä "), Text::Safe(3)).as_deref(), Ok(" ä "));
        assert_eq!(
            text(&json!("ääää"), Text::Safe(3)),
            Err(vec!["Ensure this value has at most 3 characters (it has 4).".into()])
        );
        assert_eq!(text(&json!("<äää"), Text::Safe(3)).unwrap_err().len(), 2);
        assert_eq!(text(&json!("<".repeat(99)), Text::Any), Ok("<".repeat(99)));
        assert_eq!(text(&json!("a\n"), Text::Any), Err(vec![INVALID]));
        for bad in ["a<", "a>", "a%", "a$", "a&", "a;", "a'", "a\"", "a\n", "\ta", "a\u{7f}", "a\u{85}", "a\u{2028}"] {
            assert_eq!(text(&json!(bad), Text::Safe(30)), Err(vec![INVALID]), "{bad:?}");
        }
    }

    #[test]
    fn emails_are_stripped_and_a_long_one_is_only_too_long() {
        assert_eq!(text(&json!(" a@b.cz "), Text::Email(254)).as_deref(), Ok("a@b.cz"));
        assert_eq!(text(&json!(" a@b.cz\n"), Text::Email(254)), Err(vec![INVALID]));
        assert_eq!(text(&json!("  "), Text::Email(254)).as_deref(), Ok(""));
        for long in [format!("{}@example.com", "a".repeat(243)), "x".repeat(255), "\u{1}".repeat(255)] {
            assert_eq!(text(&json!(long), Text::Email(254)), Err(vec![too_long(254, 255)]));
        }
        assert_eq!(text(&json!("bob"), Text::Email(254)), Err(vec!["Enter a valid email address.".into()]));
        assert_eq!(text(&json!("\"a\u{1}\"@b.cz"), Text::Email(254)), Err(vec![INVALID]));
    }

    #[test]
    fn required_texts_are_given_and_filled() {
        let body = json!({"a": "", "b": null, "c": "x"});
        let mut input = Input::new(body.as_object().unwrap());
        assert_eq!(input.required("a", Text::Safe(3)), None);
        assert_eq!(input.filled("b", Text::Safe(3)), None);
        assert_eq!(input.required("c", Text::Safe(3)).as_deref(), Some("x"));
        assert_eq!(input.required("d", Text::Safe(3)), None);
        assert_eq!(input.filled("e", Text::Safe(3)), None);
        let shown = serde_json::to_string(&input.errors).unwrap();
        assert_eq!(
            shown,
            r#"{"a":["This field is required."],"b":["This field is required."],"d":["This field is required."]}"#
        );
    }

    #[test]
    fn lists_are_arrays_or_comma_strings() {
        let names = |value: Value| list(&value).map(|l| l.join("|"));
        assert_eq!(names(json!(" g1 , g0 ")).as_deref(), Ok("g1|g0"));
        assert_eq!(names(json!(["b", "a", "b", 1])).as_deref(), Ok("b|a|1"));
        assert_eq!(names(json!(",a,, b,")).as_deref(), Ok("a|b"));
        for nothing in [json!(""), json!(null), json!([]), json!(0), json!(false), json!({}), json!(" "), json!(" ,")] {
            assert_eq!(list(&nothing), Ok(Vec::new()), "{nothing}");
        }
        for bad in [json!(true), json!(1), json!({"a": 1}), json!([true]), json!([["a"]])] {
            assert_eq!(list(&bad), Err(INVALID), "{bad}");
        }
        for empty in [json!([null]), json!([""]), json!(["a", ""])] {
            assert_eq!(list(&empty), Err(REQUIRED), "{empty}");
        }
    }

    #[test]
    fn an_empty_reference_names_nothing_and_alone_is_none() {
        let body = json!({"one": [""], "more": ["", "a"], "null": [null], "commas": ",a,"});
        let mut input = Input::new(body.as_object().unwrap());
        assert_eq!(input.references("one"), Some(Vec::new()));
        assert_eq!(input.references("more"), Some(vec![String::new(), "a".to_owned()]));
        assert_eq!(input.references("null"), Some(vec!["None".to_owned()]));
        assert_eq!(input.references("commas"), Some(vec!["a".to_owned()]));
        assert!(input.errors.is_empty());
    }

    #[test]
    fn number_choices_are_whole_numbers_among_the_choices() {
        for one in [json!(1), json!("1"), json!(" 1 "), json!("+1"), json!("01")] {
            assert_eq!(number_choice(&one, &[0, 1, 2]), Ok(1), "{one}");
        }
        for bad in [json!(""), json!(null), json!("abc"), json!(1.5), json!("1.0"), json!(true), json!([1]), json!("-")]
        {
            assert_eq!(number_choice(&bad, &[0, 1, 2]).unwrap_err(), "Enter a whole number.", "{bad}");
        }
        let refused = |value: Value| number_choice(&value, &[0, 1, 2]).unwrap_err();
        assert_eq!(refused(json!(7)), "Select a valid choice. 7 is not one of the available choices.");
        assert_eq!(refused(json!("-1")), "Select a valid choice. -1 is not one of the available choices.");
        assert!(refused(json!("99999999999999999999999")).starts_with("Select a valid choice. 9999"));
    }

    #[test]
    fn choices_are_texts_and_whatever_is_empty_is_none() {
        let body = json!({"one": "a", "list": [], "object": {}, "null": null, "yes": true, "no": false, "full": ["a"]});
        let mut input = Input::new(body.as_object().unwrap());
        let mut read = |key, optional| input.choice(key, optional, |text| text == "a");
        assert_eq!(read("one", false).as_deref(), Some("a"));
        for empty in ["list", "object", "null"] {
            assert_eq!(read(empty, true).as_deref(), Some(""), "{empty}");
            assert_eq!(read(empty, false), None, "{empty}");
        }
        for wrong in ["yes", "no", "full"] {
            assert_eq!(read(wrong, true), None, "{wrong}");
        }
        let no_choice = |given: &str| json!([no_choice(given)]);
        let expected = json!({"list": [REQUIRED], "object": [REQUIRED], "null": [REQUIRED], "yes": no_choice("True"),
            "no": no_choice("False"), "full": [INVALID]});
        assert_eq!(serde_json::to_value(&input.errors).unwrap(), expected);
    }

    #[test]
    fn passwords_are_any_text_without_nul_up_to_a_limit() {
        for good in [json!(" "), json!("x"), json!(12), json!("a\nb"), json!("x".repeat(1024))] {
            assert!(password(&good).is_ok(), "{good}");
        }
        assert_eq!(password(&json!("")).unwrap_err(), REQUIRED);
        assert_eq!(password(&json!(null)).unwrap_err(), REQUIRED);
        assert_eq!(password(&json!("a\0")).unwrap_err(), INVALID);
        assert_eq!(password(&json!(["a"])).unwrap_err(), INVALID);
        assert!(password(&json!("ä".repeat(513))).unwrap_err().contains("1024 bytes"));
    }
}
