//! The pages that need no credentials and are not the accounts API's: `/health/live`, `/health/ready`, `/metrics` and
//! the OpenAPI document.

use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};

use super::{ApiError, App, metrics};

/// One page.
pub(super) struct Page {
    pub(super) path: &'static str,
    /// Its name in the OpenAPI document.
    pub(super) id: &'static str,
    pub(super) about: &'static str,
    pub(super) content_type: &'static str,
    /// The statuses that it can have, each with the name of its body's schema if it has one.
    pub(super) answers: &'static [(u16, Option<&'static str>)],
    make: fn(&App) -> (StatusCode, Bytes),
}

/// What pages answer to; others get a 405 that says so.
pub(super) static ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD");

const JSON: &str = "application/json";

/// All of them.
pub(super) const PAGES: &[Page] = &[
    Page {
        path: "/api/openapi.json",
        id: "openapi",
        about: "This document",
        content_type: JSON,
        answers: &[(200, None)],
        make: |app| (StatusCode::OK, app.openapi.clone()),
    },
    Page {
        path: "/health/live",
        id: "health_live",
        about: "Whether the daemon runs",
        content_type: JSON,
        answers: &[(200, Some("Liveness"))],
        make: |_| (StatusCode::OK, Bytes::from_static(b"{\"status\":\"live\"}")),
    },
    Page {
        path: "/health/ready",
        id: "health_ready",
        about: "Whether the daemon follows the directory",
        content_type: JSON,
        answers: &[(200, Some("Readiness")), (503, Some("Readiness"))],
        make: ready,
    },
    Page {
        path: "/metrics",
        id: "metrics",
        about: "Counters and gauges in Prometheus' text format",
        content_type: "text/plain; version=0.0.4; charset=utf-8",
        answers: &[(200, None)],
        make: |app| (StatusCode::OK, metrics::exposition(app).into()),
    },
];

/// Reads go on from the replica while the directory is away, but a balancer that has another daemon to choose does
/// better to choose it.
fn ready(app: &App) -> (StatusCode, Bytes) {
    if app.directory.health().in_sync {
        return (StatusCode::OK, Bytes::from_static(b"{\"status\":\"ready\"}"));
    }
    let text = b"{\"status\":\"not ready\",\"detail\":\"The replica does not follow the directory.\"}";
    (StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(text))
}

/// The page at `path`, which is decoded.
pub(super) fn find(path: &str) -> Option<&'static Page> {
    let path = path.strip_suffix('/').unwrap_or(path);
    PAGES.iter().find(|page| page.path == path)
}

impl Page {
    /// Status and text.
    ///
    /// # Errors
    /// 405 for anything but GET and HEAD.
    pub(super) fn answer(&self, app: &App, method: &Method) -> Result<(StatusCode, Bytes), ApiError> {
        if method != Method::GET && method != Method::HEAD {
            return Err(ApiError::method_not_allowed(method));
        }
        Ok((self.make)(app))
    }
}
