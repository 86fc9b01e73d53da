//! HTTP: the accounts API, health and metrics. Alone in using hyper's server.
//!
//! `listener` and `server` accept connections, `request` takes a request through the order of contract 1.5, `routes` is
//! the one table of what exists, and one file per resource holds the handlers. Handlers decide nothing about HTTP: they
//! get a [`Call`] and give a [`Reply`] or an [`ApiError`]. What input is valid and who may do what is `accounts`'
//! business.
//!
//! Reads are plain functions, so that no read can wait for LDAP. What is too long for one piece is written while it is
//! sent (`stream`). Writes are futures that run apart from the connection (`writing`): a client that goes away does not cut
//! one in half.

mod apikeys;
mod arrival;
mod auth;
mod bindings;
mod call;
mod datacenters;
mod dc_members;
mod envelope;
mod error;
mod groups;
mod hashing;
mod health;
mod listener;
mod listing;
mod login;
pub(crate) mod lookup;
mod metrics;
mod negotiate;
pub(crate) mod openapi;
mod permissions;
mod profiles;
mod represent;
mod request;
mod router;
mod routes;
mod server;
mod sshkeys;
mod stream;
mod subject;
mod task;
mod throttle;
mod trail;
mod turns;
mod unanswered;
mod users;
mod writing;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::body::Bytes;
use tokio::sync::Semaphore;

pub(crate) use call::{Call, Caller, Credential, OpenCall, Params};
pub(crate) use envelope::{Json, Reply};
pub(crate) use error::{ApiError, Noun};
pub(crate) use listener::{Listener, Tls};
pub(crate) use server::serve;

use crate::accounts::password::Cost;
use crate::accounts::secrets::KeyRing;
use crate::accounts::{EntryId, Timestamp};
use crate::audit::Audit;
use crate::config::Config;
use crate::directory::Directory;
use crate::sshkey::Policy;

/// Most writes at a time; further ones are told to come back, so that a directory that is away can't fill the memory.
const WRITES: u32 = 1024;

/// The most of them that one user has who is no SuperAdmin.
const WRITES_OF_ONE: usize = 128;

/// How often an object is tried to be deleted that others change, or create anew.
const DELETIONS: usize = 32;

/// What of a request body and its parameters is in memory on nobody's account, and the unit in which the rest is counted,
/// in bytes.
const BODY_UNIT: usize = 64 << 10;
/// Units of all bodies together: 128 MiB.
const BODY_UNITS: usize = 2048;

/// What every request shares.
pub(crate) struct App {
    pub(crate) directory: Directory,
    pub(crate) config: Arc<Config>,
    pub(crate) ring: Arc<KeyRing>,
    /// The cost of new password hashes. Hashing belongs on `tokio::task::spawn_blocking`.
    pub(crate) cost: Cost,
    /// Which SSH keys are good enough.
    pub(crate) policy: Arc<Policy>,
    pub(crate) audit: Audit,
    throttle: throttle::Throttle,
    metrics: metrics::Metrics,
    /// The OpenAPI document.
    openapi: Bytes,
    /// One permit for each write that is running.
    writes: Arc<Semaphore>,
    /// How many of them each user has.
    writers: Arc<turns::Turns<EntryId>>,
    /// What writes are adding to lists that others may be replacing.
    unanswered: Arc<unanswered::Unanswered>,
    /// One permit for each [`BODY_UNIT`] of a body beyond its first.
    bodies: Arc<Semaphore>,
}

impl App {
    /// `ring`, `cost` and `policy` are what `config` says, checked.
    pub(crate) fn new(
        directory: Directory,
        config: Arc<Config>,
        ring: Arc<KeyRing>,
        cost: Cost,
        policy: Arc<Policy>,
        audit: Audit,
    ) -> Self {
        Self {
            directory,
            ring,
            cost,
            policy,
            audit,
            throttle: throttle::Throttle::new(&config.throttle),
            metrics: metrics::Metrics::default(),
            openapi: openapi::text(&config.profile).into(),
            writes: Arc::new(Semaphore::new(usize::try_from(WRITES).unwrap_or(usize::MAX))),
            writers: Arc::default(),
            unanswered: Arc::default(),
            bodies: Arc::new(Semaphore::new(BODY_UNITS)),
            config,
        }
    }
}

/// The system's clock.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
