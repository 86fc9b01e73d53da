//! Answers that are not a success: the statuses and the protocol's texts (contract 1.4, 1.5, 2.1, decision 2).

use std::borrow::Cow;

use hyper::StatusCode;
use serde::Serialize;
use serde_json::json;

use super::Json;
use crate::accounts::StoreError;
use crate::accounts::error::{KeyConflict, UniqueField};
use crate::accounts::key_rules::KEY_TAKEN;

/// A kind of object, by the name that messages use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noun {
    User,
    SshKey,
    Group,
    Permission,
    Datacenter,
}

impl Noun {
    const fn missing(self) -> &'static str {
        match self {
            Self::User => "User not found",
            Self::SshKey => "SSH key not found",
            Self::Group => "User Group not found",
            Self::Permission => "Permission not found",
            Self::Datacenter => "Datacenter not found",
        }
    }

    const fn taken(self) -> &'static str {
        match self {
            Self::User => "User already exists",
            Self::SshKey => "SSH key already exists",
            Self::Group => "User Group already exists",
            Self::Permission => "Permission already exists",
            Self::Datacenter => "Datacenter already exists",
        }
    }
}

/// Why a request was not done.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) body: ErrorBody,
    /// Seconds, for `Retry-After`.
    pub(super) retry_after: Option<u64>,
    /// The answer is about an asynchronous task (`es_task_response`).
    pub(super) about_a_task: bool,
}

#[derive(Clone, Debug)]
pub(super) enum ErrorBody {
    /// `{"detail": "…"}`.
    Detail(Cow<'static, str>),
    /// The whole body, without an envelope.
    Plain(Json),
    /// `result` of an envelope with status `FAILURE`.
    Failure(Json),
}

impl ApiError {
    /// `{"detail": text}` under `status`.
    pub(crate) fn detail(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self { status, body: ErrorBody::Detail(text.into()), retry_after: None, about_a_task: false }
    }

    /// The same, marked as being about an asynchronous task: clients raise another kind of error then. Only for a 404
    /// of a task that does not exist.
    pub(super) fn about_a_task(self) -> Self {
        Self { about_a_task: self.status == StatusCode::NOT_FOUND, ..self }
    }

    /// 400 with a body of its own shape and no envelope (login).
    pub(crate) fn plain(body: &impl Serialize) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            body: ErrorBody::Plain(Json::of(body)),
            retry_after: None,
            about_a_task: false,
        }
    }

    /// The 400 envelope: `result` is an object of fields and their messages, or that of a refusal.
    pub(crate) fn failure(result: &impl Serialize) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            body: ErrorBody::Failure(Json::of(result)),
            retry_after: None,
            about_a_task: false,
        }
    }

    /// The 400 envelope with one message under one field.
    pub(crate) fn invalid(field: &str, message: &str) -> Self {
        Self::failure(&json!({ field: [message] }))
    }

    /// 403 of the role check.
    pub(crate) fn denied() -> Self {
        Self::detail(StatusCode::FORBIDDEN, "Permission denied")
    }

    /// 403 of object-level refusals.
    pub(crate) fn forbidden() -> Self {
        Self::detail(StatusCode::FORBIDDEN, "You do not have permission to perform this action.")
    }

    /// 404: there is no such object.
    pub(crate) fn not_found(noun: Noun) -> Self {
        Self::detail(StatusCode::NOT_FOUND, noun.missing())
    }

    /// 404: there is no such URL (decision 17).
    pub(crate) fn no_resource() -> Self {
        Self::detail(StatusCode::NOT_FOUND, "Resource not found")
    }

    /// 406: POST of an object that exists.
    pub(crate) fn exists(noun: Noun) -> Self {
        Self::detail(StatusCode::NOT_ACCEPTABLE, noun.taken())
    }

    /// 406 of content negotiation.
    pub(crate) fn not_acceptable() -> Self {
        Self::detail(StatusCode::NOT_ACCEPTABLE, "Could not satisfy the request Accept header.")
    }

    /// 405; the `Allow` header comes from the route.
    pub(crate) fn method_not_allowed(method: &hyper::Method) -> Self {
        Self::detail(StatusCode::METHOD_NOT_ALLOWED, format!("Method \"{method}\" not allowed."))
    }

    /// 412: `order_by` names something else than the `fields` that can be sorted by.
    pub(crate) fn bad_order(fields: &[&str]) -> Self {
        let text = format!("Invalid order_by; Possible sort fields are: {}", fields.join(", "));
        Self::detail(StatusCode::PRECONDITION_FAILED, text)
    }

    /// 428: a condition for the operation does not hold; `text` says which.
    pub(crate) fn precondition_required(text: &'static str) -> Self {
        Self::detail(StatusCode::PRECONDITION_REQUIRED, text)
    }

    /// 400: the body is no JSON.
    pub(crate) fn malformed(what: &str) -> Self {
        Self::detail(StatusCode::BAD_REQUEST, format!("JSON parse error - {what}"))
    }

    /// 415: the body claims to be something else than JSON.
    pub(crate) fn unsupported_media(content_type: &str) -> Self {
        let text = format!("Unsupported media type \"{content_type}\" in request.");
        Self::detail(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
    }

    /// 408: the body did not come in time.
    pub(crate) fn too_slow() -> Self {
        Self::detail(StatusCode::REQUEST_TIMEOUT, "The request took too long.")
    }

    /// 413 of decision 22.
    pub(crate) fn too_large() -> Self {
        Self::detail(StatusCode::PAYLOAD_TOO_LARGE, "Request body too large.")
    }

    /// 429 of decision 14; `wait` in seconds.
    pub(crate) fn throttled(wait: u64) -> Self {
        let unit = if wait == 1 { "second" } else { "seconds" };
        let text = format!("Request was throttled. Expected available in {wait} {unit}.");
        Self { retry_after: Some(wait), ..Self::detail(StatusCode::TOO_MANY_REQUESTS, text) }
    }

    /// 503 with a text that says what to wait for.
    pub(crate) fn unavailable(text: &'static str) -> Self {
        Self { retry_after: Some(1), ..Self::detail(StatusCode::SERVICE_UNAVAILABLE, text) }
    }

    /// 500 of decision 17. What happened is for the log, which names it by the request id of the answer.
    pub(crate) fn internal() -> Self {
        Self::detail(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
    }

    /// The detail, or the JSON of the rest.
    #[cfg(test)]
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match &self.body {
            ErrorBody::Detail(text) => Cow::Borrowed(text),
            ErrorBody::Plain(json) | ErrorBody::Failure(json) => String::from_utf8_lossy(json.bytes()),
        }
    }

    /// The directory can't be asked.
    pub(super) fn no_directory() -> Self {
        Self::unavailable("The directory is unavailable. Please try again.")
    }

    /// The answer to a store's refusal about an object of this kind.
    pub(crate) fn store(error: &StoreError, noun: Noun) -> Self {
        match error {
            StoreError::Exists => Self::exists(noun),
            StoreError::NotFound => Self::not_found(noun),
            StoreError::NotUnique(UniqueField::Identity) => {
                Self::invalid("email", "This email is already in use. Please supply a different email.")
            }
            StoreError::NotUnique(UniqueField::Alias) => {
                Self::invalid("alias", "This alias is already in use. Please supply a different alias.")
            }
            StoreError::NotUnique(UniqueField::Site) => {
                Self::invalid("site", "This site hostname is already in use. Please supply a different site hostname.")
            }
            StoreError::NameTooLong => Self::invalid("username", "The directory can't hold a name of this length."),
            StoreError::Key(KeyConflict::Title) => Self::exists(Noun::SshKey),
            StoreError::Key(KeyConflict::Fingerprint) => Self::invalid("key", &KEY_TAKEN),
            StoreError::Key(KeyConflict::Limit) => Self::invalid("non_field_errors", "SSH keys limit reached"),
            StoreError::Withdrawn => Self::forbidden(),
            StoreError::PasswordRefused(why) => Self::invalid("password", why),
            StoreError::NotUnique(UniqueField::Other) | StoreError::Contended => {
                Self::unavailable("The object is being changed by others. Please try again.")
            }
            StoreError::Refused(why) => {
                tracing::error!(reason = %why, "the directory refused a write");
                Self::detail(StatusCode::SERVICE_UNAVAILABLE, "The directory refused the change.")
            }
            StoreError::Unavailable(why) => {
                tracing::warn!(reason = %why, "the directory is unavailable");
                Self::no_directory()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(error: &ApiError) -> String {
        error.text().into_owned()
    }

    #[test]
    fn the_texts_are_the_protocols() {
        assert_eq!(text(&ApiError::throttled(57)), "Request was throttled. Expected available in 57 seconds.");
        assert_eq!(text(&ApiError::throttled(1)), "Request was throttled. Expected available in 1 second.");
        assert_eq!(text(&ApiError::method_not_allowed(&hyper::Method::PATCH)), "Method \"PATCH\" not allowed.");
        let order = ApiError::bad_order(&["username", "created"]);
        assert_eq!(text(&order), "Invalid order_by; Possible sort fields are: username, created");
        assert_eq!(
            text(&ApiError::unsupported_media("text/plain")),
            "Unsupported media type \"text/plain\" in request."
        );
        assert_eq!(text(&ApiError::invalid("a", "b")), r#"{"a":["b"]}"#);
        assert_eq!(text(&ApiError::store(&StoreError::NotFound, Noun::Group)), "User Group not found");
    }

    #[test]
    fn what_the_directory_says_stays_in_the_log() {
        for error in [StoreError::Refused("cn=secret".into()), StoreError::Unavailable("ldapi://x".into())] {
            let answer = ApiError::store(&error, Noun::User);
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
            assert!(!text(&answer).contains("secret") && !text(&answer).contains("ldapi"));
        }
    }
}
