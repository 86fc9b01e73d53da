//! Login sessions: what a token stands for.

use super::time::Timestamp;
use super::user::{EntryId, PasswordEpoch};

/// A session as the directory holds it. The token itself is nowhere: the entry is named by the token's keyed hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) id: EntryId,
    /// The keyed hash of the token.
    pub(crate) token_hash: [u8; 32],
    /// The user's entry, not the name: a user who is deleted and created again has no session.
    pub(crate) user: EntryId,
    /// The state of the user's password at login: a session of another password is over.
    pub(crate) epoch: PasswordEpoch,
    pub(crate) expires: Timestamp,
}

/// A session to be created.
#[derive(Clone, Debug)]
pub(crate) struct NewSession {
    pub(crate) token_hash: [u8; 32],
    pub(crate) user: EntryId,
    pub(crate) epoch: PasswordEpoch,
    pub(crate) expires: Timestamp,
}
