//! Users: the account, its keys and the one place that says whether it may be used now.

use std::fmt;

use super::profile::Profile;
use super::secrets::{RequestMark, SealedKey, hex, unhex};
use super::time::Timestamp;
use crate::name::{DcName, GroupName, KeyTitle, UserName};
use crate::sshkey::{Options, PublicKey};

/// LDAP `entryUUID` (RFC 4530): the identity of an entry, never reused, unlike its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EntryId(pub(crate) [u8; 16]);

impl EntryId {
    /// Parses the textual form of RFC 4122 (36 characters).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 36 || [8, 13, 18, 23].iter().any(|&i| bytes[i] != b'-') {
            return None;
        }
        let mut out = [0_u8; 16];
        let mut digits = bytes.iter().enumerate().filter(|(i, _)| ![8, 13, 18, 23].contains(i)).map(|(_, b)| *b);
        for byte in &mut out {
            let high = (digits.next()? as char).to_digit(16)?;
            let low = (digits.next()? as char).to_digit(16)?;
            *byte = u8::try_from(high * 16 + low).ok()?;
        }
        Some(Self(out))
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if [4, 6, 8, 10].contains(&i) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Changes whenever the user's password does, whoever changed it: a keyed hash over the stored values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PasswordEpoch(pub(crate) [u8; 16]);

impl PasswordEpoch {
    /// Takes the text of an attribute value; `None` if it is no epoch.
    pub(crate) fn from_stored(text: &str) -> Option<Self> {
        unhex(text)?.try_into().ok().map(Self)
    }

    pub(crate) fn as_stored(&self) -> String {
        hex(&self.0)
    }
}

/// A user as the directory holds it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct User {
    pub(crate) id: EntryId,
    pub(crate) name: UserName,
    /// The number in task ids; 0 where an LDAP tool made the entry.
    pub(crate) number: u64,
    pub(crate) created: Timestamp,
    /// `""` without `mail`, the smallest of several.
    pub(crate) email: Box<str>,
    pub(crate) first_name: Box<str>,
    pub(crate) last_name: Box<str>,
    /// `usherActive`, TRUE where absent.
    pub(crate) enabled: bool,
    /// An administrator's lock in the directory's own terms: `pwdAccountLockedTime: 000001010000Z`, `nsAccountLock: TRUE`.
    pub(crate) locked: bool,
    /// When the account ends: the earlier of `shadowExpire` and `pwdEndTime`.
    pub(crate) expires: Option<Timestamp>,
    pub(crate) super_admin: bool,
    pub(crate) api_access: bool,
    pub(crate) dc_bound: Option<DcName>,
    pub(crate) profile: Profile,
    /// Sorted by title; titles and fingerprints are unique.
    pub(crate) ssh_keys: Vec<SshKey>,
    pub(crate) api_key: Option<SealedKey>,
    /// Keyed hash of the API key, for look-up.
    pub(crate) api_key_hash: Option<[u8; 32]>,
    pub(crate) callback_key: Option<SealedKey>,
    pub(crate) password_epoch: PasswordEpoch,
    /// The stored password hash is weaker than what is configured, so the next login renews it.
    pub(crate) password_weak: bool,
    /// The POST that creates the user, while its groups are not all written: made again, it completes them. Boxed, since
    /// hardly any user has one.
    pub(crate) unfinished: Option<Box<RequestMark>>,
    /// What was found in the entry and skipped, in words for an administrator.
    pub(crate) warnings: Vec<Box<str>>,
}

impl User {
    /// `is_active` of the API (decision 26): neither disabled here nor locked by an administrator.
    pub(crate) fn is_active(&self) -> bool {
        self.enabled && !self.locked
    }

    /// Whether the account may be used for anything at `now`: login, API keys, tokens, SSH. The one function that says so.
    pub(crate) fn usable_at(&self, now: Timestamp) -> bool {
        self.is_active() && self.expires.is_none_or(|end| now < end)
    }
}

/// One SSH key of a user.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SshKey {
    pub(crate) title: KeyTitle,
    pub(crate) public: PublicKey,
    /// When it was added through usher.
    pub(crate) created: Option<Timestamp>,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) options: Options,
}

/// A user to be created. The number, both keys and the time are the store's to add.
#[derive(Clone, Debug)]
pub(crate) struct NewUser {
    pub(crate) name: UserName,
    pub(crate) email: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    /// A value for `userPassword`: a PHC string with its scheme, never the password.
    pub(crate) password_hash: String,
    pub(crate) is_active: bool,
    pub(crate) super_admin: bool,
    pub(crate) api_access: bool,
    pub(crate) dc_bound: Option<DcName>,
    pub(crate) groups: Vec<GroupName>,
}

/// Changes of a user; `None` leaves a value as it is, so that writers of different fields do not meet.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct UserChange {
    pub(crate) email: Option<String>,
    pub(crate) first_name: Option<String>,
    pub(crate) last_name: Option<String>,
    /// As in [`NewUser`].
    pub(crate) password_hash: Option<String>,
    /// `true` removes an administrator's lock too (decision 26).
    pub(crate) is_active: Option<bool>,
    pub(crate) super_admin: Option<bool>,
    pub(crate) api_access: Option<bool>,
    pub(crate) dc_bound: Option<Option<DcName>>,
    /// Groups to join and to leave: a difference, so that parallel changes all hold.
    pub(crate) join: Vec<GroupName>,
    pub(crate) leave: Vec<GroupName>,
    /// The groups are left last: they may be what lets the caller do the rest.
    pub(crate) leaves_last: bool,
    /// The new API key is written last of what is given, and in the place of the one that is known: the call is made with
    /// that, and ends where somebody else replaces it.
    pub(crate) key_last: bool,
    /// The groups are said, whether or not they differ, so that what is left of the creation is over.
    pub(crate) sets_groups: bool,
    /// Profile fields; `None` as value removes it, so that the default shows.
    pub(crate) profile: Vec<(super::profile::Field, Option<String>)>,
    /// New random keys.
    pub(crate) new_api_key: bool,
    pub(crate) new_callback_key: bool,
    /// Change nothing ([`StoreError::Contended`](super::StoreError::Contended)) unless the password is still this one.
    pub(crate) while_password: Option<PasswordEpoch>,
    /// The same unless the user is still called so.
    pub(crate) while_named: Named,
}

impl UserChange {
    /// What it changes of how the user is called, as he is now.
    pub(crate) fn named(&self, user: &User) -> Named {
        let of = |changed: &Option<String>, now: &str| changed.as_ref().map(|_| now.to_owned());
        Named {
            email: of(&self.email, &user.email),
            first_name: of(&self.first_name, &user.first_name),
            last_name: of(&self.last_name, &user.last_name),
        }
    }

    /// What gives the user back what he was called `before` the change, as far as he is called `now` as that says. `None` where
    /// that is not known to be what it replaced, or where it did more than this, a binding and memberships: what took something
    /// away may be another call's change too.
    pub(crate) fn back(&self, before: &User, now: &User) -> Option<Self> {
        let Self { leaves_last, sets_groups, .. } = *self;
        let undone = Self {
            email: self.email.clone(),
            first_name: self.first_name.clone(),
            last_name: self.last_name.clone(),
            dc_bound: self.dc_bound.clone(),
            join: self.join.clone(),
            leaves_last,
            sets_groups,
            while_named: self.named(before),
            ..Self::default()
        };
        let text = |changed: &Option<String>, now: &str, before: &str| {
            changed.as_ref().filter(|changed| **changed == *now).map(|_| before.to_owned())
        };
        (*self == undone).then(|| {
            let mut back = Self {
                email: text(&self.email, &now.email, &before.email),
                first_name: text(&self.first_name, &now.first_name, &before.first_name),
                last_name: text(&self.last_name, &now.last_name, &before.last_name),
                ..Self::default()
            };
            back.while_named = back.named(now);
            back
        })
    }
}

/// How a user is called, as far as it is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Named {
    pub(crate) email: Option<String>,
    pub(crate) first_name: Option<String>,
    pub(crate) last_name: Option<String>,
}

impl Named {
    /// Whether the user is called so.
    pub(crate) fn is_of(&self, user: &User) -> bool {
        let is = |name: &Option<String>, now: &str| name.as_ref().is_none_or(|name| *name == *now);
        is(&self.email, &user.email) && is(&self.first_name, &user.first_name) && is(&self.last_name, &user.last_name)
    }
}

/// An SSH key to be added.
#[derive(Clone, Debug)]
pub(crate) struct NewSshKey {
    pub(crate) title: KeyTitle,
    pub(crate) public: PublicKey,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) options: Options,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_ids_round_trip_and_refuse_other_texts() {
        let text = "0aec5ab2-7c85-103f-8d11-7b6f5f0a1b2c";
        assert_eq!(EntryId::parse(text).map(|id| id.to_string()).as_deref(), Some(text));
        for bad in [
            "",
            "0aec5ab27c85103f8d117b6f5f0a1b2c",
            "0aec5ab2-7c85-103f-8d11-7b6f5f0a1b2g",
            "0aec5ab2-7c85-103f-8d11-7b6f5f0a1bé",
        ] {
            assert_eq!(EntryId::parse(bad), None, "{bad:?}");
        }
    }
}
