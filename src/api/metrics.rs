//! Counters of requests and their exposition in Prometheus' text format (version 0.0.4). No decisions.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;

use super::App;

/// What the HTTP side counts.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// By status class, 1xx to 5xx.
    responses: [AtomicU64; 5],
    throttled: AtomicU64,
    wrong_credentials: AtomicU64,
    failed_logins: AtomicU64,
    writes: AtomicU64,
    connections: AtomicU64,
}

fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Metrics {
    pub(super) fn response(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100);
        if let Some(counter) = class.checked_sub(1).and_then(|i| self.responses.get(i)) {
            bump(counter);
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            bump(&self.throttled);
        }
    }

    pub(super) fn wrong_credentials(&self) {
        bump(&self.wrong_credentials);
    }

    pub(super) fn failed_login(&self) {
        bump(&self.failed_logins);
    }

    pub(super) fn write(&self) {
        bump(&self.writes);
    }

    pub(super) fn connection_opened(&self) {
        bump(&self.connections);
    }

    pub(super) fn connection_closed(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The text of `/metrics`.
pub(super) fn exposition(app: &App) -> String {
    let metrics = &app.metrics;
    let health = app.directory.health();
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let mut out = String::with_capacity(2048);
    // Writing to a String can't fail.
    let _ = writeln!(
        out,
        "# HELP usher_http_responses_total Answers by status class.\n# TYPE usher_http_responses_total counter"
    );
    for (class, counter) in (1_u8..).zip(&metrics.responses) {
        let _ = writeln!(out, "usher_http_responses_total{{class=\"{class}xx\"}} {}", read(counter));
    }
    let counters = [
        ("http_throttled_total", "Requests refused by a throttle.", read(&metrics.throttled)),
        ("wrong_credentials_total", "Requests with a wrong API key or token.", read(&metrics.wrong_credentials)),
        ("failed_logins_total", "Logins with a wrong name or password.", read(&metrics.failed_logins)),
        ("writes_total", "Requests that ran a writing handler.", read(&metrics.writes)),
        ("audit_failures_total", "Audit lines that could not be written.", app.audit.failures()),
        ("directory_reconnects_total", "Times the content sync connection was lost.", health.reconnects),
    ];
    for (name, help, value) in counters {
        let _ = writeln!(out, "# HELP usher_{name} {help}\n# TYPE usher_{name} counter\nusher_{name} {value}");
    }
    let size = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let gauges = [
        ("http_connections", "Open connections.", read(&metrics.connections)),
        ("audit_waiting", "Audit lines that are not written yet.", app.audit.waiting()),
        ("directory_in_sync", "1 while the replica follows the directory.", u64::from(health.in_sync)),
        ("users", "Users in the replica.", size(health.users)),
        ("groups", "Groups in the replica.", size(health.groups)),
        ("datacenters", "Datacenters in the replica.", size(health.datacenters)),
        ("sessions", "Login sessions in the replica, expired ones too for a day.", size(health.sessions)),
        ("skipped_entries", "Entries that nothing can be made of.", size(health.skipped)),
    ];
    for (name, help, value) in gauges {
        let _ = writeln!(out, "# HELP usher_{name} {help}\n# TYPE usher_{name} gauge\nusher_{name} {value}");
    }
    out
}
