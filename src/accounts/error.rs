//! What can go wrong between the domain and the store, named by who is at fault.

use std::fmt;

/// The answer of the store to a write, or to a password check, that did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreError {
    /// The entry to be created exists (LDAP 68).
    Exists,
    /// The entry to be changed is gone (LDAP 32).
    NotFound,
    /// Another entry holds a value that must be unique (LDAP 19 from the guard).
    NotUnique(UniqueField),
    /// The directory can't hold an entry with so long a name.
    NameTooLong,
    /// An SSH key rule that only the stored entry can decide.
    Key(KeyConflict),
    /// The entry kept changing under us and the attempts ran out.
    Contended,
    /// Whoever the change was for may no longer make it.
    Withdrawn,
    /// The directory's password policy refused the new password; the text is the server's own.
    PasswordRefused(String),
    /// The directory refused the write (rights, schema); the text is for the log, not for the caller.
    Refused(String),
    /// The directory can't be reached or did not answer in time; whether the last write happened is unknown.
    Unavailable(String),
}

/// Which unique value was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UniqueField {
    /// An e-mail address, or a user name that is another user's e-mail address.
    Identity,
    /// A group's or a datacenter's alias.
    Alias,
    /// A datacenter's site.
    Site,
    /// Anything else (an API key's hash, a number).
    Other,
}

/// Why one more SSH key was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyConflict {
    /// The user has a key with this title.
    Title,
    /// The user has this key.
    Fingerprint,
    /// The user has as many keys as the limit allows.
    Limit,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists => f.write_str("the entry exists already"),
            Self::NotFound => f.write_str("the entry does not exist"),
            Self::NotUnique(field) => write!(f, "the {field:?} value is taken"),
            Self::NameTooLong => f.write_str("the name is too long for the directory"),
            Self::Key(conflict) => write!(f, "SSH key conflict: {conflict:?}"),
            Self::Contended => f.write_str("the entry kept changing"),
            Self::Withdrawn => f.write_str("the change may no longer be made"),
            Self::PasswordRefused(why) => write!(f, "password refused by policy: {why}"),
            Self::Refused(why) => write!(f, "the directory refused: {why}"),
            Self::Unavailable(why) => write!(f, "the directory is unavailable: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}
