//! One line of an `authorized_keys` file (sshd(8)).

use super::{Options, PublicKey};

/// The line for `key` without its newline: options, type, base64, comment.
///
/// `expires` is a point in UTC in sshd's form, `YYYYMMDDHHMMSSZ`; it becomes an `expiry-time` option, so that sshd holds
/// it too. Where the options bring an earlier one, that stays; where theirs is in the host's local time, which can't be
/// compared here, both are written and sshd takes the earlier. A host older than OpenSSH 9.1 does not know the `Z` and
/// refuses the line: closed, not open.
pub(crate) fn authorized_line(key: &PublicKey, options: &Options, expires: Option<&str>) -> String {
    let options = match expires {
        Some(expires) => options.with_expiry(expires).to_string(),
        None => options.to_string(),
    };
    if options.is_empty() { key.line() } else { format!("{options} {}", key.line()) }
}
