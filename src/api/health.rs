//! `/health/live`, `/health/ready` and `/metrics`: for machines that watch, without credentials.

use hyper::{Method, StatusCode};

use super::{App, metrics};

/// The page at `path`, which is decoded: its status, its content type and its text.
pub(super) fn page(app: &App, method: &Method, path: &str) -> Option<(StatusCode, &'static str, String)> {
    let json = "application/json";
    let known = path.strip_suffix('/').unwrap_or(path);
    let (status, content_type, text) = match known {
        "/health/live" => (StatusCode::OK, json, "{\"status\":\"live\"}".to_owned()),
        "/health/ready" => {
            // Reads go on from the replica while the directory is away, but a balancer that has another daemon to
            // choose does better to choose it.
            if app.directory.health().in_sync {
                (StatusCode::OK, json, "{\"status\":\"ready\"}".to_owned())
            } else {
                let text = "{\"status\":\"not ready\",\"detail\":\"The replica does not follow the directory.\"}";
                (StatusCode::SERVICE_UNAVAILABLE, json, text.to_owned())
            }
        }
        "/metrics" => (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics::exposition(app)),
        _ => return None,
    };
    if method != Method::GET && method != Method::HEAD {
        let text = format!("{{\"detail\":\"Method \\\"{method}\\\" not allowed.\"}}");
        return Some((StatusCode::METHOD_NOT_ALLOWED, json, text));
    }
    Some((status, content_type, text))
}
