//! Replays exchanges that were recorded from the original application and compares every answer
//! (tests/conformance/README.md). Prints how many agree and, for each that does not, where the two answers differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::support::http::encode;
use crate::support::{Response, Usherd};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/exchanges.jsonl");

/// Keys that usher's answers may have beside the recorded ones: of SSH keys, and of users.
const ADDITIONS: [&str; 8] =
    ["fingerprint_sha256", "type", "bits", "comment", "created", "expires", "options", "warnings"];

/// Arrays in which order means nothing.
const SETS: [&str; 4] = ["groups", "users", "permissions", "dcs"];

#[test]
fn recorded_exchanges_agree() {
    let file = std::env::var("USHER_CONFORMANCE").unwrap_or_else(|_| RECORDED.to_owned());
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let usherd = Usherd::start();
    let set = usherd.api().put("/accounts/user/admin/", &json!({"password": "Passw0rd"}));
    assert_eq!(set.status, 200, "admin's password: {set:?}");

    let mut variables = BTreeMap::from([("{admin-key}".to_owned(), usherd.admin.api_key.clone())]);
    let (mut all, mut agreed, mut report) = (0, 0, String::new());
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let exchange: Value = serde_json::from_str(line).unwrap();
        let answer = send(&usherd, &exchange, &variables);
        let id = exchange["id"].as_str().unwrap();
        if let Some(token) = serde_json::from_slice::<Value>(&answer.body).ok().and_then(|json| token_of(&json)) {
            variables.insert(format!("{{token of {id}}}"), token);
        }
        let differences = compare(&exchange, &answer);
        all += 1;
        if differences.is_empty() {
            agreed += 1;
        } else {
            let (method, path) = (exchange["method"].as_str().unwrap(), exchange["path"].as_str().unwrap());
            let (params, body) = (&exchange["params"], exchange["body"].as_str().unwrap_or(""));
            writeln!(report, "{id} {method} {path} {params} {}", shortened(body)).unwrap();
            for difference in differences {
                writeln!(report, "    {difference}").unwrap();
            }
        }
    }
    println!("{report}conformance: {agreed} of {all} exchanges agree");
    assert!(all > 0, "{file} holds no exchange");
    assert_eq!(agreed, all, "exchanges that disagree:\n{report}");
}

fn send(usherd: &Usherd, exchange: &Value, variables: &BTreeMap<String, String>) -> Response {
    let fill = |text: &str| variables.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    let mut path = fill(exchange["path"].as_str().unwrap());
    for (number, (name, value)) in exchange["params"].as_object().into_iter().flatten().enumerate() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let separator = if number == 0 { '?' } else { '&' };
        write!(path, "{separator}{}={}", encode(name), encode(&fill(&value))).unwrap();
    }
    let headers: Vec<(String, String)> = exchange["request_headers"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), fill(value.as_str().unwrap())))
        .collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let body = fill(exchange["body"].as_str().unwrap_or(""));
    usherd.anonymous().send(exchange["method"].as_str().unwrap(), &path, &headers, body.as_bytes())
}

/// The token that a login answered with, bare or in an envelope.
fn token_of(answer: &Value) -> Option<String> {
    answer.get("token").or_else(|| answer.get("result")?.get("token"))?.as_str().map(str::to_owned)
}

/// Where `answer` differs from what `exchange` says; nothing: they agree.
fn compare(exchange: &Value, answer: &Response) -> Vec<String> {
    let mut differences = Vec::new();
    if let Some(departure) = exchange.get("departure").filter(|departure| !departure.is_null()) {
        let statuses = departure["status"].as_array().expect("departure.status is an array");
        if !statuses.contains(&json!(answer.status)) {
            differences.push(format!("status: {} ({}), not {answer:?}", departure["status"], departure["why"]));
        }
        return differences;
    }
    if exchange["status"] != json!(answer.status) {
        differences.push(format!("status: {}, not {}", exchange["status"], answer.status));
    }
    for (name, value) in exchange["headers"].as_object().into_iter().flatten() {
        let expected = value.as_str().unwrap();
        let actual = answer.header(name);
        let same = match actual {
            Some(actual) if name.eq_ignore_ascii_case("allow") => words(expected) == words(actual),
            _ => actual == Some(expected),
        };
        if !same {
            differences.push(format!("{name}: {expected:?}, not {actual:?}"));
        }
    }
    match (exchange.get("json"), exchange.get("text")) {
        (Some(expected), _) => match serde_json::from_slice(&answer.body) {
            Ok(actual) => {
                let ordered = exchange["params"].get("order_by").is_some();
                differ(expected, &actual, "", ordered, &mut differences);
            }
            Err(_) => differences.push(format!("body: {}, not {}", expected, shortened(&answer.text()))),
        },
        (None, Some(expected)) => {
            if *expected != Value::String(answer.text()) {
                differences.push(format!("body: {expected}, not {}", shortened(&answer.text())));
            }
        }
        (None, None) => panic!("an exchange with neither json nor text"),
    }
    differences
}

fn words(list: &str) -> BTreeSet<String> {
    list.split(',').map(|word| word.trim().to_ascii_uppercase()).collect()
}

/// Adds to `out` where `actual` differs from `expected`, both masked; `at` is the path to them.
fn differ(expected: &Value, actual: &Value, at: &str, ordered: bool, out: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => differ_in_objects(expected, actual, at, ordered, out),
        (Value::Array(expected), Value::Array(actual)) => {
            let name = at.rsplit('.').next().unwrap_or("");
            let is_set = SETS.contains(&name) || (!ordered && (at.is_empty() || at == "result"));
            if is_set {
                let mut left: Vec<&Value> = actual.iter().collect();
                let mut lacking = Vec::new();
                for value in expected {
                    match left.iter().position(|candidate| agree(value, candidate, ordered)) {
                        Some(position) => drop(left.swap_remove(position)),
                        None => lacking.push(value),
                    }
                }
                // One on each side: most likely the same thing, and what differs in it is what one wants to read.
                if let ([expected], [actual]) = (&lacking[..], &left[..]) {
                    return differ(expected, actual, &format!("{at}[one]"), ordered, out);
                }
                out.extend(lacking.into_iter().map(|value| format!("{at}: lacks {value}")));
                out.extend(left.into_iter().map(|value| format!("{at}: has also {value}")));
            } else if expected.len() != actual.len() {
                out.push(format!("{at}: {}, not {}", json!(expected), json!(actual)));
            } else {
                for (position, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                    differ(expected, actual, &format!("{at}[{position}]"), ordered, out);
                }
            }
        }
        (Value::String(expected), Value::String(actual)) => {
            if mask(expected) != mask(actual) {
                out.push(format!("{at}: {expected:?}, not {actual:?}"));
            }
        }
        _ => {
            if expected != actual {
                out.push(format!("{at}: {expected}, not {actual}"));
            }
        }
    }
}

fn differ_in_objects(
    expected: &Map<String, Value>,
    actual: &Map<String, Value>,
    at: &str,
    ordered: bool,
    out: &mut Vec<String>,
) {
    let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    for (name, value) in expected {
        match actual.get(name) {
            Some(actual) => differ(value, actual, &below(name), ordered, out),
            None => out.push(format!("{}: {value}, not there", below(name))),
        }
    }
    for (name, value) in actual {
        if !expected.contains_key(name) && !ADDITIONS.contains(&name.as_str()) {
            out.push(format!("{}: not there, but {value}", below(name)));
        }
    }
}

fn agree(expected: &Value, actual: &Value, ordered: bool) -> bool {
    let mut differences = Vec::new();
    differ(expected, actual, "-", ordered, &mut differences);
    differences.is_empty()
}

/// `text` with what differs from run to run replaced by its kind.
fn mask(text: &str) -> &str {
    let hex = |count: usize| text.len() == count && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if hex(40) {
        "(token)"
    } else if hex(32) {
        "(key)"
    } else if is_task_id(text) {
        "(task id)"
    } else if is_date(text) {
        "(date)"
    } else if text.starts_with("JSON parse error") {
        "JSON parse error"
    } else {
        text
    }
}

/// `^\d+[deamif]\d+[du]\d+-[0-9a-f]{8}(-[0-9a-f]{4}){3}$`
fn is_task_id(text: &str) -> bool {
    let mut parts = text.split('-');
    let who = parts.next().unwrap_or("");
    let shape: String = who.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let mut letters = shape.split('0').filter(|part| !part.is_empty());
    let kind = letters.next().is_some_and(|kind| matches!(kind, "d" | "e" | "a" | "m" | "i" | "f"));
    let scope = letters.next().is_some_and(|scope| matches!(scope, "d" | "u"));
    let frame = shape.starts_with('0') && shape.ends_with('0') && letters.next().is_none();
    let groups: Vec<&str> = parts.collect();
    kind && scope
        && frame
        && groups.iter().map(|group| group.len()).eq([8, 4, 4, 4])
        && groups.iter().all(|group| group.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// ISO 8601 with seconds, optional fraction, and `Z` or `+00:00`.
fn is_date(text: &str) -> bool {
    let Some(text) = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00")) else { return false };
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    match shape.strip_prefix("0000-00-00T00:00:00") {
        Some("") => true,
        Some(fraction) => fraction.strip_prefix('.').is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b == b'0')),
        None => false,
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

#[test]
fn what_differs_from_run_to_run_is_masked_and_nothing_else() {
    assert_eq!(mask("1d8u1-6f75849b-86d2-4a20-a3a4"), "(task id)");
    assert_eq!(mask("2026-11-24T02:03:44.219120Z"), "(date)");
    assert_eq!(mask("2026-11-24T03:03:43+00:00"), "(date)");
    assert_eq!(mask("f2bf40a45e08b1d3aa55008fa4ef0fcbb1c74c8f"), "(token)");
    assert_eq!(mask("b521e8967feaeaf8736124229c1ea4a9"), "(key)");
    for other in ["1x8u1-6f75849b-86d2-4a20-a3a4", "d8u1-6f75849b-86d2-4a20-a3a4", "2026-11-24", "***", "admin"] {
        assert_eq!(mask(other), other);
    }
}

#[test]
fn additional_keys_are_taken_only_where_the_design_names_them() {
    let recorded = json!({"result": {"title": "k", "groups": ["a", "b"]}});
    assert!(agree(&recorded, &json!({"result": {"title": "k", "groups": ["b", "a"], "bits": 256}}), false));
    for other in [
        json!({"result": {"title": "k", "groups": ["a", "b"], "email": ["This field is required."]}}),
        json!({"result": {"title": "k"}}),
        json!({"result": {"title": "k", "groups": ["a", "b", "b"]}}),
        json!({"result": {"title": "K", "groups": ["a", "b"]}}),
    ] {
        assert!(!agree(&recorded, &other, false), "{other}");
    }
}
