//! The OpenAPI 3.1 document: made from the route table and what `operations`, `bodies`, `objects` and `answers` say of
//! parameters, bodies and results. `schema/openapi.json` is the document with the default configuration.

mod answers;
mod bodies;
mod objects;
mod operation;
mod operations;

use hyper::Method;
use serde_json::{Map, Value, json};

use self::operation::{Operation, Query};
use self::operations::OPERATIONS;
use super::health::{PAGES, Page};
use super::request::VERSION;
use super::routes::{Handler, ROUTES, Route};
use crate::accounts::Permission;
use crate::accounts::input::{FALSE_WORDS, TRUE_WORDS};
use crate::config;
use crate::name::{DcName, GroupName, KeyTitle, UserName};

/// What `{user}` and `{title}` take.
const WIDE: &str = "^[A-Za-z0-9@.+_-]+$";
/// What `{group}`, `{permission}` and `{dc}` take.
const NARROW: &str = "^[A-Za-z0-9._-]+$";
/// What `dc` is for where nothing depends on it.
const CURRENT_DC: &str = "The name of a datacenter that the caller may see; the answer names it.";

/// What may stand where a task id is expected.
const TASK: &str = "^[A-Za-z0-9-]+$";

const ABOUT: &str = "The accounts API. URLs work with and without a slash at the end. Bodies are JSON objects; keys that \
    are not documented are ignored. Every URL answers OPTIONS with its name and description, and 405 to other methods \
    than its own. A request that HTTP itself does not allow (a malformed line, headers that are too large) is refused \
    with a bare 400 or 431 before any of this.";

/// The document as text, for a daemon with this configuration.
pub(crate) fn text(profile: &config::Profile) -> String {
    // `{:#}` of a JSON value is its indented text; it can't fail.
    format!("{:#}\n", document(profile))
}

fn document(profile: &config::Profile) -> Value {
    let mut schemas = bodies::schemas(profile);
    schemas.extend(objects::schemas(profile));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "usher",
            "version": VERSION,
            "description": ABOUT,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "tags": tags(),
        "paths": paths(),
        "components": {
            "schemas": by_name(schemas),
            "parameters": by_name(parameters()),
            "responses": by_name(answers::shared()),
            "headers": by_name(answers::headers()),
            "securitySchemes": {
                "ApiKey": { "type": "apiKey", "in": "header", "name": "ES-API-KEY" },
                "Token": {
                    "description": "`Token ` and the token that login gave.",
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                },
            },
        },
    })
}

fn by_name(list: Vec<bodies::Named>) -> Map<String, Value> {
    list.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

/// Tags by the beginning of a path; the first that fits counts.
const TAGS: [(&str, &str, &str); 9] = [
    ("accounts/login", "session", "Login and logout"),
    ("accounts/logout", "session", "Login and logout"),
    ("accounts/user", "users", "Users, their profiles and keys"),
    ("accounts/group", "groups", "Groups"),
    ("accounts/permission", "permissions", "What groups can grant"),
    ("dc", "datacenters", "Datacenters, and who belongs to them"),
    ("task", "tasks", "The log of changes"),
    ("ping", "daemon", "The daemon itself"),
    ("", "daemon", "The daemon itself"),
];

fn tags() -> Value {
    let mut tags: Vec<(&str, &str)> = TAGS.iter().map(|(_, tag, about)| (*tag, *about)).collect();
    tags.dedup();
    tags.into_iter().map(|(name, about)| json!({ "name": name, "description": about })).collect()
}

fn tag(pattern: &str) -> &'static str {
    TAGS.iter().find(|(start, ..)| pattern.starts_with(start)).map_or("daemon", |(_, tag, _)| tag)
}

fn paths() -> Map<String, Value> {
    let mut paths = Map::new();
    for route in ROUTES {
        let mut item = Map::from_iter([("description".to_owned(), route.about.into())]);
        for (method, handler) in route.methods {
            if let Some(operation) = describe(route, method) {
                item.insert(method.as_str().to_ascii_lowercase(), operation_object(route, *handler, operation));
            }
        }
        item.insert("options".to_owned(), options_object(route));
        paths.insert(format!("/api/{}", route.pattern), item.into());
    }
    for page in PAGES {
        paths.insert(page.path.to_owned(), json!({ "get": page_object(page) }));
    }
    paths
}

fn describe(route: &Route, method: &Method) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.pattern == route.pattern && operation.method == *method)
}

fn operation_object(route: &Route, handler: Handler, operation: &Operation) -> Value {
    let summary = match handler {
        Handler::Write { action, .. } => action,
        Handler::Read(_) | Handler::Open(_) => operation.summary,
    };
    let mut parameters: Vec<Value> = variables(route.pattern).map(|name| reference("parameters", name)).collect();
    parameters.extend(operation.query.iter().map(|query| query_parameter(*query)));
    let mut object = json!({
        "operationId": operation.id,
        "summary": summary,
        "description": operation.about,
        "tags": [tag(route.pattern)],
        "security": security(matches!(handler, Handler::Open(_))),
        "parameters": parameters,
    });
    if let Some(body) = operation.body {
        object["requestBody"] = json!({
            // An empty body is an empty object.
            "required": operation.method == Method::POST,
            "content": { "application/json": { "schema": reference("schemas", body) } },
        });
    }
    let mut answers = answers::of(operation, handler);
    if operation.method == Method::POST
        && let Some(created) = answers.get_mut("201")
    {
        created["links"] = links(operation).into();
    }
    object["responses"] = answers;
    object
}

/// OPTIONS, which every URL has and which asks for no role.
fn options_object(route: &Route) -> Value {
    let is_open = route.methods.iter().any(|(_, handler)| matches!(handler, Handler::Open(_)));
    // Whether there is such an object, or can be one, makes no difference.
    let pattern = |name: &str| match name {
        "user" | "title" => WIDE,
        "task" => TASK,
        _ => NARROW,
    };
    let parameter = |name: &str| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "pattern": pattern(name) } });
    let parameters: Vec<Value> = variables(route.pattern).map(parameter).collect();
    json!({
        "operationId": format!("describe_{}", route.pattern.replace(['{', '}'], "").replace('/', "_")),
        "summary": "Describe URL",
        "description": "The name and the description of the URL, and what it takes and gives.",
        "tags": [tag(route.pattern)],
        "security": security(is_open),
        "parameters": parameters,
        "responses": answers::of_options(route, is_open),
    })
}

/// How callers are known. That an API key does not open its own page is a matter of rights: it is known there as well.
fn security(is_open: bool) -> Value {
    if is_open { json!([]) } else { json!([{ "ApiKey": [] }, { "Token": [] }]) }
}

/// The names in braces.
fn variables(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

/// What can be done with an object that was made: everything at its URL and below that needs no further name.
fn links(operation: &Operation) -> Map<String, Value> {
    let names: Vec<&str> = variables(operation.pattern).collect();
    let about_it = OPERATIONS.iter().filter(|other| {
        other.pattern.starts_with(operation.pattern)
            && other.method != Method::POST
            && variables(other.pattern).eq(names.iter().copied())
    });
    let parameters: Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), format!("$request.path.{name}").into())).collect();
    about_it.map(|other| (other.id.to_owned(), json!({ "operationId": other.id, "parameters": parameters }))).collect()
}

fn query_parameter(query: Query) -> Value {
    let name = match query {
        Query::Full => "full",
        Query::Extended => "extended",
        Query::IsActive => "is_active",
        Query::Active => "active",
        Query::Limit => "limit",
        Query::After => "after",
        Query::LogLimit => "log_limit",
        Query::LogAfter => "log_after",
        Query::TaskDc => "task_dc",
        Query::CurrentDc => "current_dc",
        Query::OrderBy(fields) => return order_by(fields),
    };
    reference("parameters", name)
}

fn order_by(fields: &[&str]) -> Value {
    let word = fields.join("|");
    json!({
        "name": "order_by",
        "in": "query",
        "description": format!("Fields with commas between them: {}. A sign before one (- or +) is for descending.",
            fields.join(", ")),
        "schema": {
            "type": "string",
            "pattern": format!(r"^(\s*[-+]?({word})\s*(,\s*[-+]?({word})\s*)*)?$"),
            "default": fields.first(),
        },
    })
}

/// The words that stand for booleans.
fn flag_words() -> Vec<&'static str> {
    TRUE_WORDS.iter().chain(&FALSE_WORDS).copied().collect()
}

fn parameters() -> Vec<bodies::Named> {
    // An empty parameter is as good as none.
    let or_empty = |schema: Value| json!({ "anyOf": [schema, { "const": "" }] });
    let path = |name: &str, about: &str, schema: Value| json!({ "name": name, "in": "path", "required": true, "description": about, "schema": schema });
    let word = |pattern: &str, max: usize| json!({ "type": "string", "pattern": pattern, "maxLength": max });
    let query = |name: &str, about: &str, schema: Value| json!({ "name": name, "in": "query", "description": about, "schema": schema });
    let flag =
        |default: bool| json!({ "anyOf": [{ "type": "boolean" }, { "enum": flag_words() }], "default": default });
    vec![
        ("user", path("user", "A user's name; case makes no difference.", word(WIDE, UserName::MAX))),
        ("title", path("title", "An SSH key's title.", word(WIDE, KeyTitle::MAX))),
        ("group", path("group", "A group's name; case makes no difference.", word(NARROW, GroupName::MAX))),
        (
            "permission",
            path("permission", "A permission's name.", json!({ "enum": Permission::ALL.map(Permission::name) })),
        ),
        ("dc", path("dc", "A datacenter's name; case makes no difference.", word(NARROW, DcName::MAX))),
        ("task", path("task", "A task id.", reference("schemas", "TaskId"))),
        ("full", query("full", "Objects instead of names.", flag(false))),
        ("extended", query("extended", "Objects with additional fields.", flag(false))),
        ("is_active", query("is_active", "Active users, or inactive ones.", flag(true))),
        ("active", query("active", "The same as is_active, which counts if both are given.", flag(true))),
        ("limit", query("limit", "The most objects of a page.", or_empty(json!({ "type": "integer", "minimum": 1 })))),
        ("after", query("after", "The name of the last object of the page before.", json!({ "type": "string" }))),
        ("current_dc", query("dc", CURRENT_DC, or_empty(word(NARROW, DcName::MAX)))),
        ("task_dc", query("dc", "A datacenter's name: its tasks alone.", or_empty(word(NARROW, DcName::MAX)))),
        (
            "log_after",
            query(
                "after",
                "The task id of the last line of the page before.",
                or_empty(reference("schemas", "TaskId")),
            ),
        ),
        (
            "log_limit",
            query(
                "limit",
                "How many lines.",
                or_empty(json!({ "type": "integer", "minimum": 1, "maximum": super::task::LOG_MAX,
                    "default": super::task::LOG_DEFAULT })),
            ),
        ),
    ]
}

fn page_object(page: &Page) -> Value {
    let mut responses = Map::new();
    for (status, schema) in page.answers {
        let content = match schema {
            Some(name) => json!({ "application/json": { "schema": reference("schemas", name) } }),
            None => json!({ page.content_type: { "schema": { "type": ["string", "object"] } } }),
        };
        responses.insert(status.to_string(), json!({ "description": page.about, "content": content }));
    }
    responses.insert("405".to_owned(), reference("responses", "MethodNotAllowed"));
    json!({
        "operationId": page.id,
        "summary": page.about,
        "tags": [tag("")],
        "security": [],
        "responses": responses,
    })
}

#[cfg(test)]
mod tests;
