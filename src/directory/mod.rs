//! The store: everything that speaks LDAP, and the replica from which every read is answered.
//!
//! [`Directory`] is the public face: `read` gives a consistent view of the replica, never touching LDAP; the writes are
//! one LDAP operation per entry wherever that can be, and return when this daemon's own replica shows them. What input
//! is valid and who may do what is decided above, in `accounts` and `api`.
//!
//! `dn`, `filter`, `schema`, `code`: names, filters and result codes, each at one place. `raw`, `decode`, `keys`: entries
//! into the domain's types. `connection`: the client side. `replica`: the consumer and its tables. `writes`: the domain's
//! changes into LDAP operations. `assent`: whether a call may still make them. `neighbours`: what is read after a write.
//! `announcements`: what daemons tell each other of calls under way. `passwords`: binds as users. `managed`: the private slapd of `usherd dev`.

mod announcements;
mod assent;
mod code;
mod connection;
mod decode;
mod dn;
mod filter;
mod keys;
pub(crate) mod managed;
mod neighbours;
mod passwords;
mod raw;
mod replica;
mod schema;
mod writes;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::accounts::password::Cost;
use crate::accounts::secrets::KeyRing;
use crate::accounts::{StoreError, Timestamp};
use crate::config;

use code::OpError;
use connection::{Client, SharedClient};
use decode::Decoder;
use replica::Replica;
use replica::recheck::Rechecks;
use replica::sync::Consumer;

pub(crate) use announcements::{Announcement, List};
pub(crate) use assent::{Taken, undoing, with_assent};
pub(crate) use dn::folded;
pub(crate) use replica::view::View;
pub(crate) use writes::Rebinding;

/// The directory. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Directory(Arc<Inner>);

/// What all of the store shares.
struct Inner {
    client: SharedClient,
    decoder: Arc<Decoder>,
    ring: Arc<KeyRing>,
    replica: Arc<Replica>,
    refusals: passwords::Refusals,
    announcements: announcements::Announcements,
    /// The task that keeps the replica current.
    consumer: OnceLock<AbortHandle>,
}

/// Whether the replica follows the directory, and what it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Health {
    /// Content sync is up and past its refresh.
    pub(crate) in_sync: bool,
    pub(crate) users: usize,
    pub(crate) groups: usize,
    pub(crate) datacenters: usize,
    pub(crate) sessions: usize,
    /// Entries that were skipped because nothing can be made of them.
    pub(crate) skipped: usize,
    /// How often content sync was lost.
    pub(crate) reconnects: u64,
}

/// Why the directory can't be started.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// It does not answer: worth another try.
    Unavailable(String),
    /// It is not as this daemon needs it; only an operator can change that.
    Unfit(String),
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unavailable(why) => write!(f, "the directory is unavailable: {why}"),
            Self::Unfit(why) => f.write_str(why),
        }
    }
}

impl From<OpError> for OpenError {
    fn from(error: OpError) -> Self {
        match StoreError::from(error) {
            StoreError::Unavailable(why) => Self::Unavailable(why),
            other => Self::Unfit(other.to_string()),
        }
    }
}

/// How far content sync is behind at most, as a rule. The directory's CSN may also be that of a change that nothing is told of
/// here.
const BEHIND: Duration = Duration::from_millis(50);
/// How long the directory may take to say how far it is.
const ASKED: Duration = Duration::from_millis(250);

/// What the server must offer: content sync (RFC 4533), assertion (RFC 4528), post-read (RFC 4527), increment (RFC 4525).
const NEEDED: [(&str, &str, &str); 4] = [
    ("supportedcontrol", "1.3.6.1.4.1.4203.1.9.1.1", "content sync (overlay syncprov)"),
    ("supportedcontrol", "1.3.6.1.1.12", "the assertion control"),
    ("supportedcontrol", "1.3.6.1.1.13.2", "the post-read control"),
    ("supportedfeatures", "1.3.6.1.1.14", "modify-increment"),
];

impl Inner {
    /// The newest change that the server has, by its CSN; `None` where it says none.
    async fn newest_csn(&self) -> Result<Option<String>, OpError> {
        let base = self.client.read(self.decoder.tree.base(), &["contextCSN"]).await?;
        Ok(base.and_then(|base| base.texts("contextcsn").max().map(str::to_owned)))
    }

    /// Refuses a server that lacks what reads and writes are built on.
    async fn check_server(&self) -> Result<(), OpenError> {
        let root = self.client.read("", &["supportedControl", "supportedFeatures"]).await?.unwrap_or_default();
        match NEEDED.iter().find(|(attribute, oid, _)| !root.texts(attribute).any(|value| value == *oid)) {
            Some((_, oid, what)) => Err(OpenError::Unfit(format!("the directory server lacks {what}, OID {oid}"))),
            None => Ok(()),
        }
    }

    fn view(&self) -> View<'_> {
        View(self.replica.read())
    }

    /// Refuses a directory whose sealed keys were made with another key file.
    async fn check_key_identifier(&self) -> Result<(), OpenError> {
        let dn = self.decoder.tree.state();
        let Some(state) = self.client.read(&dn, &[schema::KEY_ID]).await? else {
            return Err(OpenError::Unfit(format!("{dn} does not exist: the directory has no base entries of usher's")));
        };
        match state.text("usherkeyid") {
            Some(id) if id == self.ring.identifier() => Ok(()),
            Some(id) => Err(OpenError::Unfit(format!(
                "secrets.key-file: the directory's keys were sealed with another key file (the directory says {id}, \
                 this file is {})",
                self.ring.identifier()
            ))),
            None => Err(OpenError::Unfit(format!("{dn}: usherKeyId is missing"))),
        }
    }
}

impl Directory {
    /// A directory that nothing is known of yet: it is empty until it is [started](Self::start).
    ///
    /// # Errors
    /// The base DN is none.
    pub(crate) fn new(config: &config::Directory, ring: Arc<KeyRing>, cost: Cost) -> Result<Self, String> {
        let tree = dn::Tree::new(&config.base_dn)?;
        let decoder = Arc::new(Decoder { tree, ring: ring.clone(), cost });
        let client = Arc::new(Client::new(config));
        let (rechecks, suspects) = mpsc::unbounded_channel();
        let replica = Arc::new(Replica::new(rechecks));
        let rechecks = Rechecks { replica: replica.clone(), client: client.clone(), decoder: decoder.clone() };
        tokio::spawn(rechecks.run(suspects));
        let refusals = passwords::Refusals::default();
        let announcements = announcements::Announcements::new(client.clone(), decoder.clone());
        let consumer = OnceLock::new();
        Ok(Self(Arc::new(Inner { client, decoder, ring, replica, refusals, announcements, consumer })))
    }

    /// Connects, checks the base entries and the key identifier, and fills the replica. The tasks that keep it current
    /// run until the runtime ends. To be called again after an error that is worth it, and not after it was done.
    ///
    /// # Errors
    /// With a text for the operator.
    pub(crate) async fn start(&self) -> Result<(), OpenError> {
        self.0.check_server().await?;
        self.0.check_key_identifier().await?;
        let Inner { client, decoder, replica, .. } = &*self.0;
        let consumer = Consumer { replica: replica.clone(), client: client.clone(), decoder: decoder.clone() };
        self.0.consumer.get_or_init(|| tokio::spawn(consumer.run()).abort_handle());
        replica.wait_filled().await;
        tokio::spawn(self.clone().sweep_sessions());
        Ok(())
    }

    /// Whether all that the directory has was read once: before that, nothing can be told.
    pub(crate) fn is_started(&self) -> bool {
        self.0.replica.is_filled()
    }

    /// Follows the directory no longer: the daemon ends, and the server may end with it.
    pub(crate) fn close(&self) {
        if let Some(consumer) = self.0.consumer.get() {
            consumer.abort();
        }
    }

    /// The replica as it is now. No LDAP, no waiting.
    pub(crate) fn read(&self) -> View<'_> {
        self.0.view()
    }

    /// How far content sync is.
    pub(crate) fn newest(&self) -> String {
        self.0.replica.newest()
    }

    /// Lets content sync come to where the directory is now, which another daemon may have changed a moment ago; whether it
    /// has come further than `before`, as far as is known.
    pub(crate) async fn catch_up(&self, before: &str) -> bool {
        let replica = &self.0.replica;
        let Ok(Ok(newest)) = tokio::time::timeout(ASKED, self.0.newest_csn()).await else { return false };
        if !replica.in_sync() {
            // What is new is read first.
            replica.wait_in_sync(BEHIND).await;
            return true;
        }
        if let Some(csn) = newest {
            replica.catch_up(&csn, BEHIND).await;
        }
        replica.newest() != before
    }

    /// How long the server may take for one operation.
    pub(crate) fn operation_timeout(&self) -> Duration {
        self.0.client.operation_timeout()
    }

    pub(crate) fn health(&self) -> Health {
        let replica = &self.0.replica;
        let [users, groups, datacenters, sessions, skipped] = self.read().counts();
        Health {
            in_sync: replica.in_sync(),
            users,
            groups,
            datacenters,
            sessions,
            skipped,
            reconnects: replica.reconnects(),
        }
    }
}

/// The system's clock.
fn now() -> Timestamp {
    Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
}
