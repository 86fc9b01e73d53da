//! The domain: what a user, a group, a datacenter, a key, a session is; which input is valid; who may do what.
//!
//! No HTTP, no LDAP, no clock: callers pass the time in. Keys, tokens and salts are random bytes of the operating
//! system (`secrets`, `password`). What is written where in the directory is `directory`'s business; status codes and JSON
//! envelopes are `api`'s.

pub(crate) mod access;
pub(crate) mod datacenter;
pub(crate) mod dc_rules;
mod email;
pub(crate) mod error;
pub(crate) mod group;
pub(crate) mod group_rules;
pub(crate) mod input;
pub(crate) mod key_rules;
pub(crate) mod password;
pub(crate) mod phone;
pub(crate) mod profile;
pub(crate) mod profile_rules;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod secrets;
pub(crate) mod session;
pub(crate) mod time;
pub(crate) mod user;
pub(crate) mod user_rules;

pub(crate) use datacenter::{Access, Datacenter, DatacenterChange, NewDatacenter};
pub(crate) use error::StoreError;
pub(crate) use group::{Addition, Group, GroupChange, NewGroup, Permission};
pub(crate) use session::{NewSession, Session};
pub(crate) use time::Timestamp;
pub(crate) use user::{EntryId, NewSshKey, NewUser, SshKey, User, UserChange};

/// The user that owns what nobody else owns: number 1, made with the directory, protected (contract 3.4, 3.5).
pub(crate) const FIRST_ADMIN: u64 = 1;
/// The hidden user of the original; answers as if it did not exist, and its name is taken.
pub(crate) const SYSTEM_USER: &str = "_system";
/// The datacenter that always exists and is public.
pub(crate) const MAIN_DC: &str = "main";
