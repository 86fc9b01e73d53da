//! `contrib/bench`: the figures that usher is measured by, each printed as one JSON object a line.
//!
//! Every figure stands beside a reference taken in the same run on the same machine, in turns, because absolute numbers
//! of a shared machine mean little: a bare hyper server that sends the same bytes, an empty static program, `ldapsearch`,
//! a bare LDAP client. Nothing here is a test: nothing fails because it was slow.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "figures go to stdout, and a figure that cannot be taken ends the run, saying why"
)]

mod cold;
mod helper;
mod http;
mod ldap;
mod revocation;
#[path = "../../tests/support/mod.rs"]
mod support;
mod writes;

use std::time::Duration;

use serde_json::{Value, json};

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let first = args.next();
    if first.as_deref() == Some(http::BARE) {
        return http::bare_server(&args.collect::<Vec<_>>());
    }
    let wanted = |name: &str| first.is_none() || first.as_deref() == Some(name);
    if wanted("helper") {
        helper::run();
    }
    if wanted("http") {
        http::run();
    }
    if wanted("revocation") {
        revocation::run();
    }
    if wanted("writes") {
        writes::run();
    }
    if wanted("cold") {
        cold::run();
    }
}

/// Prints one figure.
fn report(figure: &str, mut values: Value) {
    values["figure"] = json!(figure);
    println!("{values}");
}

/// Durations in order, asked for quantiles.
struct Sample(Vec<Duration>);

impl Sample {
    fn new(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self(durations)
    }

    /// The value below which `percent` of a hundred lie, in milliseconds.
    fn percentile_ms(&self, percent: usize) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let at = (last * percent + 50) / 100;
        self.0.get(at).map_or(0.0, |d| (d.as_secs_f64() * 1e6).round() / 1e3)
    }

    fn median_and_p99(&self) -> Value {
        json!({"median_ms": self.percentile_ms(50), "p99_ms": self.percentile_ms(99), "n": self.0.len()})
    }
}

/// The median of numbers.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(0.0)
}

/// A user of the API with one key.
fn create_user(api: &support::Api, name: &str, key: &str) {
    let body = json!({
        "first_name": "Bench", "last_name": "Mark", "email": format!("{name}@example.com"), "password": "pw-of-it",
        "dc_bound": false,
    });
    api.post(&format!("/accounts/user/{name}/"), &body).result(201);
    api.post(&format!("/accounts/user/{name}/sshkey/k/"), &json!({"key": key})).result(201);
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM2Cbze9O1y9ipWF6ryo8WqAug4QaIk94QN0v3fPnINR";
