//! The one table of what exists: patterns, methods, handlers, who needs credentials, and what OPTIONS says.
//!
//! The router, the `Allow` header, OPTIONS and the OpenAPI document are made from it.

use std::pin::Pin;

use hyper::Method;

use super::{ApiError, Call, OpenCall, Reply};

/// What an async handler gives.
pub(crate) type Pending<'a> = Pin<Box<dyn Future<Output = Result<Reply, ApiError>> + Send + 'a>>;

/// How a method is served.
#[derive(Clone, Copy)]
pub(crate) enum Handler {
    /// Answered from the replica.
    Read(fn(&Call) -> Result<Reply, ApiError>),
    /// Writes to the directory: runs to its end even if the client goes away, and is in the audit log as `action`.
    Write { run: for<'a> fn(&'a Call) -> Pending<'a>, action: &'static str, object: &'static str },
    /// Needs no credentials.
    Open(for<'a> fn(&'a OpenCall) -> Pending<'a>),
}

/// One URL.
pub(crate) struct Route {
    /// Below `/api/`, without slashes at the ends. A segment in braces is variable: `{user}` and `{title}` take
    /// `[A-Za-z0-9@.+_-]+`, `{group}`, `{permission}`, `{dc}` and `{task}` take `[A-Za-z0-9._-]+`. Of two that match
    /// the earlier one counts.
    pub(crate) pattern: &'static str,
    /// OPTIONS shows it as `name`, with blanks and in title case.
    pub(crate) view: &'static str,
    /// OPTIONS' `description`.
    pub(crate) about: &'static str,
    pub(crate) methods: &'static [(Method, Handler)],
}

/// Every URL of the API.
pub(crate) const ROUTES: &[Route] = &[];
