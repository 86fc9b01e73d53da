//! The daemon's open files: how many it may have, and how many of them HTTP connections get. Without a bound, idle
//! connections from the network would use up what the lookup socket needs, and with it every login by ssh.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

use crate::api::lookup;

/// For listeners, LDAP connections, logs and the runtime.
const OWN: usize = 128;

/// HTTP connections that are served in any case.
const LEAST: usize = 16;

/// Raises the limit of open files as far as it is needed and allowed. Returns how many HTTP connections there may be of
/// the `configured` number.
pub(super) fn http_connections(configured: usize) -> usize {
    let limit = match raise(configured.saturating_add(lookup::MAX_CONNECTIONS + OWN)) {
        Ok(limit) => limit,
        Err(error) => {
            warn!(%error, "the limit of open files is not known");
            return configured;
        }
    };
    let connections = within(limit, configured);
    if connections < configured {
        warn!(limit, configured, connections, "http.max-connections: the limit of open files (ulimit -n) allows fewer");
    }
    connections
}

/// Raises the soft limit to `needed`, or the hard limit if that is lower; returns what holds then. Not further: a child
/// slapd inherits it, and makes tables of its size.
fn raise(needed: usize) -> nix::Result<usize> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = u64::try_from(needed).unwrap_or(u64::MAX).min(hard).max(soft);
    let raised = wanted > soft && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok();
    Ok(usize::try_from(if raised { wanted } else { soft }).unwrap_or(usize::MAX))
}

fn within(limit: usize, configured: usize) -> usize {
    limit.saturating_sub(lookup::MAX_CONNECTIONS + OWN).max(LEAST).min(configured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_lookups_and_the_daemon() {
        assert_eq!(within(1_048_576, 4096), 4096);
        assert_eq!(within(4096, 4096), 4096 - 1024 - 128);
        assert_eq!(within(1024, 4096), 16);
        assert_eq!(within(128, 8), 8);
    }
}
