//! Logs: human-readable on a terminal, JSON lines otherwise, always on stderr. Metrics are `api`'s, the audit log is
//! `audit`'s.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging. `USHER_LOG` holds a filter in tracing-subscriber's form, such as `debug` or `usher::directory=trace`;
/// without it what concerns an operator is logged. A filter that can't be read counts as none, and is reported.
pub(crate) fn start() {
    let wanted = std::env::var("USHER_LOG").unwrap_or_default();
    let wanted = if wanted.is_empty() { DEFAULT.to_owned() } else { format!("{wanted},{SILENT}") };
    let (filter, error) = match EnvFilter::try_new(wanted) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(DEFAULT), Some(error)),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Only the first call counts; there is only one, in main.
    let _ = if std::io::stderr().is_terminal() { builder.try_init() } else { builder.json().try_init() };
    if let Some(error) = error {
        tracing::warn!(%error, "USHER_LOG can't be read");
    }
}

const DEFAULT: &str = "info,ldap3=warn";

/// These libraries log what they send and receive, secrets included, at their lower levels: never asked for.
const SILENT: &str = "ldap3=warn,lber=warn,h2=warn,hyper=warn,hyper_util=warn,rustls=warn";
