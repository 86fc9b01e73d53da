//! Login sessions: what a token stands for.

use super::time::Timestamp;
use super::user::{EntryId, PasswordEpoch, User};

/// A session as the directory holds it. The token itself is nowhere: the entry is named by the token's keyed hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) id: EntryId,
    /// The keyed hash of the token.
    pub(crate) token_hash: [u8; 32],
    /// The user's entry, not the name: a user who is deleted and created again has no session.
    pub(crate) user: EntryId,
    /// The states of the user's password at login and whenever that password was hashed anew: a session of another
    /// password is over.
    pub(crate) epochs: Box<[PasswordEpoch]>,
    pub(crate) expires: Timestamp,
}

impl Session {
    /// Whether it is a session of this entry and its present password.
    pub(crate) fn is_of(&self, user: &User) -> bool {
        self.user == user.id && self.epochs.contains(&user.password_epoch)
    }
}

/// A session to be created.
#[derive(Clone, Debug)]
pub(crate) struct NewSession {
    pub(crate) token_hash: [u8; 32],
    pub(crate) user: EntryId,
    pub(crate) epoch: PasswordEpoch,
    pub(crate) expires: Timestamp,
}
