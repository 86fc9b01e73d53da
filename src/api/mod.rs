//! HTTP: the accounts API, health and metrics. Alone in using hyper's server.
//!
//! `server` accepts connections, `request` takes a request through the order of contract 1.5, `routes` is the one table
//! of what exists, and one file per resource holds the handlers. Handlers decide nothing about HTTP: they get a [`Call`]
//! and give a [`Reply`] or an [`ApiError`]. What input is valid and who may do what is `accounts`' business.
//!
//! Reads are plain functions, so that no read can wait for LDAP. Writes are futures that run apart from the connection:
//! a client that goes away does not cut one in half.

mod apikeys;
mod call;
mod datacenters;
mod dc_members;
mod envelope;
mod error;
mod groups;
mod hashing;
mod listing;
pub(crate) mod lookup;
mod permissions;
mod profiles;
mod represent;
mod routes;
mod sshkeys;
mod subject;
mod users;

use std::sync::Arc;

pub(crate) use call::{Call, Caller, Credential, OpenCall, Params};
pub(crate) use envelope::{Json, Reply};
pub(crate) use error::{ApiError, Noun};

use crate::accounts::password::Cost;
use crate::accounts::secrets::KeyRing;
use crate::config::Config;
use crate::directory::Directory;

/// What every request shares.
pub(crate) struct App {
    pub(crate) directory: Directory,
    pub(crate) config: Arc<Config>,
    pub(crate) ring: Arc<KeyRing>,
    /// The cost of new password hashes. Hashing belongs on `tokio::task::spawn_blocking`.
    pub(crate) cost: Cost,
}
