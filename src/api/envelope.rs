//! The success envelope, task ids and the bytes of an answer (contract 1.3).

use std::sync::Arc;

use hyper::StatusCode;
use serde::Serialize;

use crate::accounts::User;

/// Compact JSON text, written once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Json(Option<Vec<u8>>);

impl Json {
    /// The JSON of `value`. A value that can't be JSON becomes a 500 where the answer is written.
    pub(crate) fn of(value: &(impl Serialize + ?Sized)) -> Self {
        Self(serde_json::to_vec(value).ok())
    }

    /// The text; `null` where there is none.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or(b"null")
    }

    /// Whether the value was no JSON.
    pub(super) fn is_broken(&self) -> bool {
        self.0.is_none()
    }
}

/// A success. Borrow from a view while making it: the JSON is written at once.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(super) status: StatusCode,
    pub(super) json: Json,
    pub(super) envelope: bool,
    /// The owner's number for the task id; `None` is the caller's (contract 1.3).
    pub(super) owner: Option<u64>,
    /// The user whom a login made known.
    pub(super) signed_in: Option<Arc<User>>,
}

impl Reply {
    fn new(status: StatusCode, json: Json, envelope: bool) -> Self {
        Self { status, json, envelope, owner: None, signed_in: None }
    }

    /// 200 in the envelope: lists, details, updates.
    pub(crate) fn ok(result: &(impl Serialize + ?Sized)) -> Self {
        Self::new(StatusCode::OK, Json::of(result), true)
    }

    /// 201 in the envelope.
    pub(crate) fn created(result: &(impl Serialize + ?Sized)) -> Self {
        Self::new(StatusCode::CREATED, Json::of(result), true)
    }

    /// 200 in the envelope with `null`: something was deleted.
    pub(crate) fn deleted() -> Self {
        Self::ok(&())
    }

    /// 200 without an envelope.
    pub(crate) fn plain(body: &(impl Serialize + ?Sized)) -> Self {
        Self::new(StatusCode::OK, Json::of(body), false)
    }

    /// The same with the number of the object's owner in its task id: the target of a user's create or update, of a
    /// profile's update, of an SSH key's create or delete; a datacenter's owner under `/dc`.
    pub(crate) fn owned_by(self, number: u64) -> Self {
        Self { owner: Some(number), ..self }
    }

    /// The same as the answer to a login of `user`.
    pub(super) fn signed_in(self, user: Arc<User>) -> Self {
        Self { signed_in: Some(user), ..self }
    }
}
