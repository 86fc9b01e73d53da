//! The store: everything that speaks LDAP, and the replica from which every read is answered.
//!
//! [`Directory`] is the public face: `read` gives a consistent view of the replica, never touching LDAP; the writes are
//! one LDAP operation per entry and return when this daemon's own replica shows them. What input is valid and who may
//! do what is decided above, in `accounts` and `api`.
//!
//! `dn`, `filter`, `schema`, `code`: names, filters and result codes, each at one place. `raw`, `decode`, `keys`: entries
//! into the domain's types. `connection`: the client side. `replica`: the consumer and its tables. `writes`: the domain's
//! changes into LDAP operations.

mod code;
mod connection;
mod decode;
mod dn;
mod filter;
mod keys;
mod raw;
mod replica;
mod schema;
mod writes;

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::accounts::password::Cost;
use crate::accounts::secrets::{KeyRing, Secret};
use crate::accounts::{StoreError, Timestamp, User};
use crate::config;

use connection::{Client, SharedClient};
use decode::Decoder;
use replica::Replica;
use replica::sync::Consumer;

pub(crate) use replica::view::View;

/// The directory. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Directory(Arc<Inner>);

/// What all of the store shares.
struct Inner {
    client: SharedClient,
    decoder: Arc<Decoder>,
    ring: Arc<KeyRing>,
    replica: Arc<Replica>,
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

impl Inner {
    fn view(&self) -> View<'_> {
        View(self.replica.read())
    }

    /// Refuses a directory whose sealed keys were made with another key file.
    async fn check_key_identifier(&self) -> Result<(), String> {
        let dn = self.decoder.tree.state();
        let state = self.client.read(&dn, &[schema::KEY_ID]).await.map_err(|e| StoreError::from(e).to_string())?;
        let Some(state) = state else {
            return Err(format!("{dn} does not exist: the directory has no base entries of usher's"));
        };
        match state.text("usherkeyid") {
            Some(id) if id == self.ring.identifier() => Ok(()),
            Some(id) => Err(format!(
                "secrets.key-file: the directory's keys were sealed with another key file (the directory says {id}, \
                 this file is {})",
                self.ring.identifier()
            )),
            None => Err(format!("{dn}: usherKeyId is missing")),
        }
    }
}

impl Directory {
    /// Connects, checks the base entries and the key identifier, and fills the replica. The tasks that keep it current
    /// run until the runtime ends.
    ///
    /// # Errors
    /// A text for the operator.
    pub(crate) async fn open(config: &config::Directory, ring: Arc<KeyRing>, cost: Cost) -> Result<Self, String> {
        let tree = dn::Tree::new(&config.base_dn)?;
        let decoder = Arc::new(Decoder { tree, ring: ring.clone(), cost });
        let client = Arc::new(Client::new(config));
        let (rechecks, suspects) = mpsc::unbounded_channel();
        let replica = Arc::new(Replica::new(rechecks));
        let directory = Self(Arc::new(Inner { client, decoder, ring, replica }));
        directory.0.check_key_identifier().await?;
        let Inner { client, decoder, replica, .. } = &*directory.0;
        let consumer = Consumer { replica: replica.clone(), client: client.clone(), decoder: decoder.clone() };
        tokio::spawn(consumer.run());
        tokio::spawn(replica::recheck::run(suspects, replica.clone(), client.clone(), decoder.clone()));
        replica.wait_filled().await;
        tokio::spawn(directory.clone().sweep_sessions());
        Ok(directory)
    }

    /// The replica as it is now. No LDAP, no waiting.
    pub(crate) fn read(&self) -> View<'_> {
        self.0.view()
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

    /// Binds as the user, or for `None` as the decoy at the same cost. An empty password is never sent.
    pub(crate) async fn verify_password(&self, user: Option<&User>, password: &Secret) -> Result<bool, StoreError> {
        let Inner { client, decoder, .. } = &*self.0;
        let facts = user.and_then(|user| self.read().user_state(user.id)).map(|(_, facts, _)| facts);
        if let (Some(user), Some(facts)) = (user, facts) {
            let accepted = client.accepts(&decoder.tree.user(&user.name), password).await?;
            // An entry without a password, or with ppolicy's lock, is refused without a hash: that must not show in time.
            if accepted || (facts.has_password && !facts.locked_time) {
                return Ok(accepted);
            }
        }
        client.accepts(&decoder.tree.decoy(), password).await?;
        Ok(false)
    }
}

/// The system's clock.
fn now() -> Timestamp {
    Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
}
