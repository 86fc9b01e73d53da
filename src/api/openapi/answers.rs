//! Every status that an operation can answer with, its body and its headers: the success that the operation's row
//! names, its refusals, and those that all operations of its kind share.

use std::collections::BTreeMap;

use hyper::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::bodies::Named;
use super::objects::success;
use super::operation::{Operation, Query, Refusal, Success};
use super::reference;
use crate::api::error::ErrorBody;
use crate::api::routes::{Handler, Route};
use crate::api::{ApiError, auth, task};

/// The answers that operations share.
pub(super) fn shared() -> Vec<Named> {
    let who = &["es_version", "es_username"];
    let any = json!({ "type": "string" });
    vec![
        ("NoResource", refusal("There is nothing at this URL.", &one_of(&[ApiError::no_resource()]), &[])),
        (
            "Forbidden",
            refusal(
                "The credentials are missing, wrong or without API access, or the caller may not do this.",
                &one_of(&auth::refusals().chain([ApiError::denied(), ApiError::forbidden()]).collect::<Vec<_>>()),
                &[who, &["Allow"][..]].concat(),
            ),
        ),
        (
            "WrongCredentials",
            refusal(
                "None are needed, and those that are there are wrong or without API access.",
                &one_of(&auth::refusals().collect::<Vec<_>>()),
                &["Allow"],
            ),
        ),
        (
            "MethodNotAllowed",
            refusal(
                "Another method than those that this URL has.",
                &json!({ "type": "string", "pattern": r#"^Method "[^"]+" not allowed\.$"# }),
                &["Allow"],
            ),
        ),
        ("NotAcceptable", refusal("Accept takes no JSON.", &one_of(&[ApiError::not_acceptable()]), &["Allow"])),
        ("TooSlow", refusal("The body did not come in time.", &one_of(&[ApiError::too_slow()]), &["Allow"])),
        ("TooLarge", refusal("The body is too large.", &one_of(&[ApiError::too_large()]), &["Allow"])),
        (
            "UnsupportedMediaType",
            refusal(
                "There is a body that does not claim to be JSON.",
                &json!({ "type": "string", "pattern": r#"^Unsupported media type "[\s\S]*" in request\.$"# }),
                &["Allow"],
            ),
        ),
        (
            "Throttled",
            refusal(
                "Too many requests.",
                &json!({ "type": "string",
                    "pattern": r"^Request was throttled\. Expected available in [0-9]+ seconds?\.$" }),
                &["Allow", "Retry-After"],
            ),
        ),
        (
            "Internal",
            refusal(
                "Our own fault. The log says more under the request id.",
                &one_of(&[ApiError::internal()]),
                &["Allow", "X-Request-Id"],
            ),
        ),
        (
            "Unavailable",
            refusal(
                "The directory is unavailable or refused the change. Where it makes sense to repeat the call there is a Retry-After.",
                &any,
                &["Allow"],
            ),
        ),
        ("Malformed", refusal("The body is no JSON.", &parse_error(), &["Allow"])),
        ("Invalid", answer("A parameter is wrong.", &reference("schemas", "Failure"), &[who, TASK].concat())),
        ("InvalidBody", either("The body is no JSON, or what it says is wrong.", &["Failure"])),
        (
            "InvalidOrRelated",
            either("The body is no JSON object, or the user is still needed.", &["Failure", "Relations"]),
        ),
        ("InvalidLogin", login()),
    ]
}

const TASK: &[&str] = &["es_dc", "es_task_id", "Allow"];

/// The headers worth naming.
pub(super) fn headers() -> Vec<Named> {
    let header = |about: &str, schema: Value| json!({ "description": about, "required": true, "schema": schema });
    let text = || json!({ "type": "string" });
    vec![
        ("es_version", header("The version of the API.", json!({ "const": crate::api::request::VERSION }))),
        ("es_username", header("The caller; empty where that is nobody.", text())),
        ("es_dc", header("The current datacenter.", text())),
        ("es_task_id", header("The task id of the envelope.", text())),
        ("Allow", header("The methods that the URL has.", text())),
        ("Retry-After", header("Seconds.", json!({ "type": "integer", "minimum": 0 }))),
        ("X-Request-Id", header("What the log calls this request.", text())),
    ]
}

/// The answers of `operation`, by status.
pub(super) fn of(operation: &Operation, handler: Handler) -> Value {
    let open = matches!(handler, Handler::Open(_));
    let mut all: BTreeMap<u16, Value> = BTreeMap::new();
    let mut put = |status: StatusCode, answer: Value| {
        all.insert(status.as_u16(), answer);
    };
    if let Some((status, answer)) = works(operation.success, open) {
        put(status, answer);
    }
    put(StatusCode::METHOD_NOT_ALLOWED, shared_answer("MethodNotAllowed"));
    put(StatusCode::NOT_ACCEPTABLE, shared_answer("NotAcceptable"));
    put(StatusCode::INTERNAL_SERVER_ERROR, shared_answer("Internal"));
    put(StatusCode::FORBIDDEN, shared_answer(if open { "WrongCredentials" } else { "Forbidden" }));
    put(StatusCode::TOO_MANY_REQUESTS, shared_answer("Throttled"));
    if operation.pattern.contains('{') {
        put(StatusCode::NOT_FOUND, shared_answer("NoResource"));
    }
    put(StatusCode::SERVICE_UNAVAILABLE, shared_answer("Unavailable"));
    if operation.method == Method::GET {
        // A datacenter is there or not, whatever its name is.
        let can_be_invalid = |query: &Query| !matches!(query, Query::TaskDc | Query::CurrentDc);
        if operation.query.iter().any(can_be_invalid) {
            put(StatusCode::BAD_REQUEST, shared_answer("Invalid"));
        }
    } else {
        put(StatusCode::REQUEST_TIMEOUT, shared_answer("TooSlow"));
        put(StatusCode::PAYLOAD_TOO_LARGE, shared_answer("TooLarge"));
        put(StatusCode::UNSUPPORTED_MEDIA_TYPE, shared_answer("UnsupportedMediaType"));
        put(StatusCode::BAD_REQUEST, shared_answer(bad_request(operation)));
    }
    for query in operation.query {
        if let Query::OrderBy(fields) = query {
            let error = ApiError::bad_order(fields);
            put(error.status, refusal("The list can't be sorted so.", &one_of(&[error]), &["Allow"]));
        }
    }
    for (status, errors) in refusals(operation) {
        let mut errors = errors;
        match status {
            StatusCode::NOT_FOUND => errors.push(ApiError::no_resource()),
            StatusCode::NOT_ACCEPTABLE => errors.push(ApiError::not_acceptable()),
            _ => {}
        }
        put(status, refusal(about(status), &one_of(&errors), &[]));
    }
    all.into_iter().map(|(status, answer)| (status.to_string(), answer)).collect::<Map<_, _>>().into()
}

/// The answers of OPTIONS, by status.
pub(super) fn of_options(route: &Route, is_open: bool) -> Value {
    let shown = reference("schemas", "Description");
    let mut all = Map::new();
    all.insert("200".to_owned(), answer("What there is at the URL.", &shown, &["Allow"]));
    let forbidden = if is_open { "WrongCredentials" } else { "Forbidden" };
    let shared = [("403", forbidden, true), ("404", "NoResource", route.pattern.contains('{'))];
    let shared = shared.into_iter().chain([("406", "NotAcceptable", true), ("429", "Throttled", true)]);
    for (status, name, applies) in shared.chain([("500", "Internal", true), ("503", "Unavailable", true)]) {
        if applies {
            all.insert(status.to_owned(), shared_answer(name));
        }
    }
    all.into()
}

fn about(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "There is no such object.",
        StatusCode::NOT_ACCEPTABLE => "The object exists, or Accept takes no JSON.",
        _ => "A condition does not hold.",
    }
}

/// The operation's own refusals without an envelope, by status.
fn refusals(operation: &Operation) -> Vec<(StatusCode, Vec<ApiError>)> {
    let mut all: Vec<(StatusCode, Vec<ApiError>)> = Vec::new();
    for refusal in operation.refusals {
        let error = match refusal {
            Refusal::Missing(noun) => ApiError::not_found(*noun),
            Refusal::Exists(noun) => ApiError::exists(*noun),
            Refusal::MainDatacenter => ApiError::precondition_required(crate::api::datacenters::MAIN_STAYS),
            Refusal::NoTask => task::missing(),
            Refusal::NoAsyncTask => task::gone(),
            Refusal::NotCancelable => task::not_cancelable(),
            // In the shared 400.
            Refusal::Relations | Refusal::Login => continue,
        };
        match all.iter_mut().find(|(status, _)| *status == error.status) {
            Some((_, errors)) => errors.push(error),
            None => all.push((error.status, vec![error])),
        }
    }
    all
}

fn bad_request(operation: &Operation) -> &'static str {
    if operation.refusals.contains(&Refusal::Login) {
        "InvalidLogin"
    } else if operation.refusals.contains(&Refusal::Relations) {
        "InvalidOrRelated"
    } else if operation.success != Success::Never
        && (operation.body.is_some() || matches!(operation.success, Success::Created(_) | Success::Deleted))
    {
        "InvalidBody"
    } else {
        "Malformed"
    }
}

/// Status and answer of a call that works.
fn works(success_of: Success, open: bool) -> Option<(StatusCode, Value)> {
    let object = |name: &str| reference("schemas", name);
    let enveloped = ["es_version", "es_username", "es_dc", "es_task_id", "Allow"];
    let answered = |about: &str, result: &Value| answer(about, &success(result), &enveloped);
    let array = |items: Value| json!({ "type": "array", "items": items });
    let ok = StatusCode::OK;
    Some(match success_of {
        Success::List(name) => {
            let names = array(json!({ "type": "string" }));
            let either = json!({ "anyOf": [names, array(object(name))] });
            (ok, answered("Names, or objects where full or extended is set.", &either))
        }
        Success::Objects(name) => (ok, answered("Objects.", &array(object(name)))),
        Success::One(name) => (ok, answered("The object.", &object(name))),
        Success::Created(name) => (StatusCode::CREATED, answered("The new object.", &object(name))),
        Success::Deleted => (ok, answered("It is gone.", &json!({ "type": "null" }))),
        Success::Bare(name) if open => (ok, answer("Done.", &object(name), &["Allow"])),
        Success::Bare(name) => (ok, answer("Done.", &object(name), &["es_version", "es_username", "es_dc", "Allow"])),
        Success::Never => return None,
    })
}

fn shared_answer(name: &str) -> Value {
    reference("responses", name)
}

/// An answer with a JSON body of this schema.
pub(super) fn answer(about: &str, schema: &Value, headers: &[&str]) -> Value {
    let mut answer = json!({ "description": about, "content": { "application/json": { "schema": schema } } });
    if !headers.is_empty() {
        let named = headers.iter().map(|name| ((*name).to_owned(), reference("headers", name)));
        answer["headers"] = named.collect::<Map<_, _>>().into();
    }
    answer
}

fn refusal(about: &str, detail: &Value, headers: &[&str]) -> Value {
    answer(about, &detail_object(detail), headers)
}

fn detail_object(detail: &Value) -> Value {
    json!({ "type": "object", "required": ["detail"], "properties": { "detail": detail } })
}

/// The schema of the texts of these refusals.
fn one_of(errors: &[ApiError]) -> Value {
    let texts: Vec<&str> = errors.iter().filter_map(text).collect();
    json!({ "enum": texts })
}

fn text(error: &ApiError) -> Option<&str> {
    match &error.body {
        ErrorBody::Detail(text) => Some(text),
        ErrorBody::Plain(_) | ErrorBody::Failure(_) => None,
    }
}

fn parse_error() -> Value {
    json!({ "type": "string", "pattern": "^JSON parse error - " })
}

/// A 400 for a body that is no JSON, or one of these schemas.
fn either(about: &str, schemas: &[&str]) -> Value {
    let mut any: Vec<Value> = schemas.iter().map(|name| reference("schemas", name)).collect();
    any.push(detail_object(&parse_error()));
    answer(about, &json!({ "anyOf": any }), &["Allow"])
}

fn login() -> Value {
    let refused = one_of(&crate::api::login::refusals());
    let detail = json!({ "anyOf": [refused, parse_error()] });
    let any = json!({
        "anyOf": [detail_object(&detail), reference("schemas", "LoginFields"), reference("schemas", "Failure")],
    });
    answer("The body is no JSON, fields are missing, or the login is refused.", &any, &["Allow"])
}
