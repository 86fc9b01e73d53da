//! LDAP result codes (RFC 4511, appendix A) and client errors into our own words, at this one place.

use ldap3::{LdapError, LdapResult};

use crate::accounts::StoreError;
use crate::accounts::error::UniqueField;

/// The outcome of one LDAP operation that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OpError {
    /// The assertion (RFC 4528) was false: the entry is not what we thought.
    AssertionFailed,
    /// A value to be added is there, or one to be deleted is not: the entry is not what we thought, or the work is done.
    ValueState,
    /// The uniqueness guard refused; the text is the server's.
    NotUnique(String),
    /// Constraint violation of another kind, mostly the password policy.
    Constraint(String),
    /// The server's schema has no such attribute or class, or not at this place.
    Schema(String),
    /// Right or wrong, the credentials were refused.
    InvalidCredentials,
    /// Everything that a caller of the store may see as it is.
    Store(StoreError),
}

impl From<OpError> for StoreError {
    fn from(error: OpError) -> Self {
        match error {
            OpError::AssertionFailed | OpError::ValueState => Self::Contended,
            OpError::NotUnique(_) => Self::NotUnique(UniqueField::Other),
            OpError::Constraint(text) | OpError::Schema(text) => Self::Refused(text),
            OpError::InvalidCredentials => Self::Refused("invalid credentials".to_owned()),
            OpError::Store(error) => error,
        }
    }
}

impl OpError {
    /// The directory can't be asked.
    pub(crate) fn unavailable(text: impl Into<String>) -> Self {
        Self::Store(StoreError::Unavailable(text.into()))
    }
}

/// The error of a result that is no success; `Ok` for success.
pub(crate) fn check(result: LdapResult) -> Result<LdapResult, OpError> {
    let text = || match (name(result.rc), result.text.as_str()) {
        ("", "") => format!("result code {}", result.rc),
        ("", text) | (text, "") => format!("{text} (result code {})", result.rc),
        (name, text) => format!("{name}: {text} (result code {})", result.rc),
    };
    Err(match result.rc {
        0 => return Ok(result),
        16 | 20 => OpError::ValueState,
        19 if result.text.contains("unique") => OpError::NotUnique(result.text),
        19 => OpError::Constraint(result.text),
        32 => OpError::Store(StoreError::NotFound),
        48 | 49 => OpError::InvalidCredentials,
        68 => OpError::Store(StoreError::Exists),
        122 => OpError::AssertionFailed,
        17 | 34 | 65 => OpError::Schema(text()),
        // time limit, size limit, referral (a read-only server), admin limit, busy, unavailable, unwilling (a read-only
        // database, a server that is stopping), and other: a server that is stopping
        3 | 4 | 10 | 11 | 51..=53 | 80 => OpError::unavailable(text()),
        _ => OpError::Store(StoreError::Refused(text())),
    })
}

/// What an operator reads beside a code, since servers often add no text. Empty for those that say nothing by themselves.
fn name(code: u32) -> &'static str {
    match code {
        3 => "time limit exceeded",
        4 => "size limit exceeded",
        8 => "stronger authentication required",
        10 => "referral",
        11 => "administrative limit exceeded",
        13 => "confidentiality required",
        17 => "undefined attribute type",
        21 => "invalid attribute syntax",
        34 => "invalid DN syntax",
        50 => "insufficient access rights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwilling to perform",
        65 => "object class violation",
        _ => "",
    }
}

/// Whether the request can't have reached the server, so that sending it again is safe.
pub(crate) fn never_sent(error: &LdapError) -> bool {
    matches!(error, LdapError::OpSend { .. })
}

/// Whether the time limit is over, so that a second try would take as long again.
pub(crate) fn is_timeout(error: &LdapError) -> bool {
    matches!(error, LdapError::Timeout { .. })
}

/// Whether the connection is of no more use.
pub(crate) fn breaks_connection(error: &LdapError) -> bool {
    !matches!(error, LdapError::LdapResult { .. } | LdapError::FilterParsing | LdapError::AddNoValues)
}

/// A client error in our words. Its text may hold file names and addresses, never values.
pub(crate) fn client_error(error: &LdapError) -> OpError {
    match error {
        LdapError::Timeout { .. } => OpError::unavailable("no answer in time"),
        LdapError::OpSend { .. } | LdapError::ResultRecv { .. } | LdapError::EndOfStream => {
            OpError::unavailable("the connection was closed")
        }
        other => OpError::unavailable(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(rc: u32, text: &str) -> String {
        let result = LdapResult { rc, matched: String::new(), text: text.to_owned(), refs: vec![], ctrls: vec![] };
        StoreError::from(check(result).unwrap_err()).to_string()
    }

    #[test]
    fn a_refusal_is_told_in_words_also_where_the_server_has_none() {
        assert!(said(50, "").ends_with(": insufficient access rights (result code 50)"));
        assert!(
            said(53, "no global superior knowledge")
                .ends_with("perform: no global superior knowledge (result code 53)")
        );
        assert!(said(80, "commit failed").ends_with(": commit failed (result code 80)"));
        assert!(said(80, "").ends_with(": result code 80"));
    }
}
