//! The document against the route table, itself, and the committed copy.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::accounts::input::boolean;
use crate::accounts::{Permission, samples};
use crate::api::represent::{ProfileObject, profile_settings};

fn whole() -> Value {
    document(&config::Profile::default())
}

/// Every operation with its method and its path.
fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter().filter(|(key, _)| *key != "description");
        methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

/// Every `$ref` below `value`.
fn references<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn every_route_and_method_is_in_the_document_and_nothing_else() {
    let mut expected: BTreeSet<String> = PAGES.iter().map(|page| format!("GET {}", page.path)).collect();
    for route in ROUTES {
        let methods = route.methods.iter().map(|(method, _)| method).chain([&Method::OPTIONS]);
        expected.extend(methods.map(|method| format!("{method} /api/{}", route.pattern)));
    }
    let document = whole();
    let found: BTreeSet<String> =
        operations(&document).map(|(path, method, _)| format!("{} {path}", method.to_uppercase())).collect();
    assert_eq!(found, expected);
    let described: BTreeSet<String> =
        OPERATIONS.iter().map(|operation| format!("{} /api/{}", operation.method, operation.pattern)).collect();
    assert_eq!(described.len(), OPERATIONS.len(), "a row stands twice");
    let rows: BTreeSet<String> = expected.iter().filter(|line| described.contains(*line)).cloned().collect();
    assert_eq!(rows, described, "rows about what does not exist");
}

#[test]
fn operations_have_names_of_their_own_and_say_what_they_do() {
    let document = whole();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{method} {path}");
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method} {path}");
        assert!(!operation["responses"].as_object().unwrap().is_empty(), "{method} {path}");
    }
}

#[test]
fn references_lead_somewhere_and_every_component_is_used() {
    let document = whole();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in &found {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
    }
    for kind in ["schemas", "parameters", "responses", "headers"] {
        for name in keys(&document["components"][kind]) {
            let reference = format!("#/components/{kind}/{name}");
            assert!(found.contains(reference.as_str()), "{reference} is not used");
        }
    }
}

#[test]
fn parameters_of_the_path_are_those_of_the_pattern() {
    let document = whole();
    for (path, _, operation) in operations(&document) {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let parameters = parameters.map(|parameter| match parameter["$ref"].as_str() {
            Some(reference) => document.pointer(&reference[1..]).unwrap(),
            None => parameter,
        });
        let names: Vec<&str> = parameters.filter(|p| p["in"] == "path").map(|p| p["name"].as_str().unwrap()).collect();
        assert_eq!(names, variables(path).collect::<Vec<_>>(), "{path}");
    }
}

#[test]
fn only_login_ping_and_pages_need_no_credentials() {
    let document = whole();
    let mut open = Vec::new();
    for (path, method, operation) in operations(&document) {
        let schemes = operation["security"].as_array().unwrap();
        if schemes.is_empty() && !open.contains(&path) {
            open.push(path);
        }
        let is_either = *schemes == [json!({ "ApiKey": [] }), json!({ "Token": [] })];
        assert!(schemes.is_empty() || is_either, "{method} {path}");
    }
    let pages = PAGES.iter().map(|page| page.path);
    assert_eq!(open, ["/api/accounts/login", "/api/ping"].into_iter().chain(pages).collect::<Vec<_>>());
}

#[test]
fn a_profiles_schema_has_the_keys_of_a_profile() {
    let settings = config::Profile::default();
    let user = samples::user("bob");
    let shown = serde_json::to_value(ProfileObject::new(&user, profile_settings(&settings))).unwrap();
    let schema = &whole()["components"]["schemas"]["Profile"]["properties"];
    let names: Vec<&String> = schema.as_object().unwrap().keys().collect();
    assert_eq!(names, shown.as_object().unwrap().keys().collect::<Vec<_>>());
    let mut taken = keys(&whole()["components"]["schemas"]["ProfileUpdate"]["properties"]);
    taken.insert("username".to_owned());
    assert_eq!(taken, keys(&shown));
}

#[test]
fn choices_come_from_the_domain_and_the_configuration() {
    let german = config::Profile { languages: vec!["de".to_owned()], ..config::Profile::default() };
    let schemas = document(&german)["components"]["schemas"].clone();
    assert_eq!(schemas["ProfileUpdate"]["properties"]["language"]["enum"], json!(["de"]));
    let names = schemas["Permission"]["properties"]["name"]["enum"].as_array().unwrap();
    assert_eq!(names.len(), Permission::ALL.len());
    for word in flag_words() {
        assert!(boolean(&json!(word)).is_ok(), "{word}");
    }
}

/// With `USHER_BLESS=1` in the environment the committed copy is written anew.
#[test]
fn the_committed_document_is_the_one_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/openapi.json");
    let text = text(&config::Profile::default());
    if std::env::var_os("USHER_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "{} is out of date: run this test with USHER_BLESS=1", path.display());
}
