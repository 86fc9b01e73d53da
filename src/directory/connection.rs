//! Connections to the directory: made when needed, given up when broken, never waited for beyond their time limits.
//!
//! ldap3 multiplexes operations over one connection but has no pool, no reconnect and no fail-over; that is here. Which
//! operation to send, and what its result means for an entry, is decided above.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ldap3::controls::{Assertion, Control, ControlType, PostRead, RawControl};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, Mod, Scope};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tracing::{debug, warn};

use crate::accounts::StoreError;
use crate::accounts::secrets::Secret;
use crate::config;

use super::assent;
use super::code::{self, OpError};
use super::filter::Filter;
use super::raw::RawEntry;
use super::schema;

/// Connections that writes are spread over.
const WRITERS: usize = 4;
/// Most changes that the server is asked for at a time. It makes one after the other anyhow; more only take the threads that
/// it tells of changes with, and a revocation comes late.
const CHANGES: usize = 4;
/// The same, beside them, of those that are [nobody's](Operation::is_nobodys): others wait for them, and consumers are told of
/// none.
const NOBODYS: usize = 2;
/// What a reference more than a few adds to the time limit of a write: the server's overlays write the other entry too.
const PER_REFERENCE: Duration = Duration::from_millis(20);
/// References that cost nothing extra.
const FEW_REFERENCES: usize = 50;
/// How long nobody tries again after all servers refused a connection.
const HOLD_OFF: Duration = Duration::from_millis(250);

/// An attribute with its values.
pub(crate) type Attribute = (&'static str, Vec<Vec<u8>>);

/// One change of a modify.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Add(&'static str, Vec<Vec<u8>>),
    /// These values, or the whole attribute for none.
    Delete(&'static str, Vec<Vec<u8>>),
    /// The new values; for none the attribute goes, which is no error where it was not there.
    Replace(&'static str, Vec<Vec<u8>>),
    /// RFC 4525.
    Increment(&'static str),
}

impl Change {
    fn len(&self) -> usize {
        match self {
            Self::Add(_, values) | Self::Delete(_, values) | Self::Replace(_, values) => values.len(),
            Self::Increment(_) => 1,
        }
    }

    fn is_nobodys(&self) -> bool {
        matches!(self, Self::Increment(_) | Self::Add(schema::UNANSWERED, _) | Self::Delete(schema::UNANSWERED, _))
    }

    /// Replaces the attribute by one text value, or removes it.
    pub(crate) fn set(attribute: &'static str, value: Option<&str>) -> Self {
        Self::Replace(attribute, value.map(|v| v.as_bytes().to_vec()).into_iter().collect())
    }
}

/// What the server said to a password.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bind {
    Accepted,
    /// And after how long; waiting for our turn is not in it.
    Refused(Duration),
}

/// A writer's connection, if it has one, and why nobody tries to make one for a while.
#[derive(Default)]
struct Slot {
    ldap: Option<Ldap>,
    /// Counts the connections, so that a failure on an old one does not end a newer one.
    generation: u64,
    hold_off: Option<HoldOff>,
}

struct HoldOff {
    until: Instant,
    why: String,
    /// [`Client::connects`] at that time: the servers are back once somebody has got a connection.
    connects: u64,
}

/// A writer's connection: which writer's, and which of its connections.
#[derive(Clone, Copy)]
struct Place {
    index: usize,
    generation: u64,
}

/// One write.
enum Operation<'a> {
    Add { dn: &'a str, attributes: &'a [Attribute] },
    Modify { dn: &'a str, changes: &'a [Change], controls: Vec<RawControl> },
    Delete { dn: &'a str, references: usize, controls: Vec<RawControl> },
}

impl Operation<'_> {
    async fn send(&self, ldap: &mut Ldap) -> Result<LdapResult, LdapError> {
        match self {
            Self::Add { dn, attributes } => {
                let values = attributes.iter().map(|(name, values)| (name.as_bytes().to_vec(), set(values))).collect();
                ldap.with_controls(vec![post_read(schema::REPLICATED)]).add(dn, values).await
            }
            Self::Modify { dn, changes, controls } => {
                ldap.with_controls(controls.clone()).modify(dn, changes.iter().map(to_mod).collect()).await
            }
            Self::Delete { dn, controls, .. } => ldap.with_controls(controls.clone()).delete(dn).await,
        }
    }

    /// Whether it only takes a number, or announces something, which says nothing of an entry of anybody's.
    fn is_nobodys(&self) -> bool {
        matches!(self, Self::Modify { changes, .. } if changes.iter().all(Change::is_nobodys))
    }

    /// Whether it may give somebody more than he had.
    fn grants(&self) -> bool {
        self.sets().any(|(name, values)| assent::grants(name, values))
    }

    /// The values that it adds or puts in the place of others.
    fn sets(&self) -> impl Iterator<Item = (&str, &[Vec<u8>])> {
        let (attributes, changes): (&[Attribute], &[Change]) = match self {
            Self::Add { attributes, .. } => (attributes, &[]),
            Self::Modify { changes, .. } => (&[], changes),
            Self::Delete { .. } => (&[], &[]),
        };
        let changed = changes.iter().filter_map(|change| match change {
            Change::Add(name, values) | Change::Replace(name, values) => Some((*name, &**values)),
            Change::Delete(..) | Change::Increment(_) => None,
        });
        attributes.iter().map(|(name, values)| (*name, &**values)).chain(changed)
    }

    /// How many entries this may make the server write.
    fn references(&self) -> usize {
        match self {
            Self::Add { attributes, .. } => attributes.iter().map(|(_, values)| values.len()).sum(),
            Self::Modify { changes, .. } => changes.iter().map(Change::len).sum(),
            Self::Delete { references, .. } => *references,
        }
    }
}

fn set(values: &[Vec<u8>]) -> HashSet<Vec<u8>> {
    values.iter().cloned().collect()
}

/// The client side of the directory.
pub(crate) struct Client {
    urls: Vec<String>,
    bind_dn: Option<String>,
    bind_password_file: Option<PathBuf>,
    start_tls: bool,
    connect_timeout: Duration,
    operation_timeout: Duration,
    writers: [Mutex<Slot>; WRITERS],
    next_writer: AtomicUsize,
    /// How many connections were made.
    connects: AtomicU64,
    /// Idle connections for password checks. They carry somebody's identity, so nothing else is ever sent on them.
    binders: Mutex<Vec<Ldap>>,
    /// A bind costs the server tens of milliseconds of a core; more at a time than cores only queue there.
    bind_permits: Semaphore,
    changes: Semaphore,
    nobodys: Semaphore,
}

impl Client {
    pub(crate) fn new(config: &config::Directory) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            urls: config.urls.clone(),
            bind_dn: config.bind_dn.clone(),
            bind_password_file: config.bind_password_file.clone(),
            start_tls: config.start_tls,
            connect_timeout: Duration::from_millis(config.connect_timeout_ms),
            operation_timeout: Duration::from_millis(config.operation_timeout_ms),
            writers: std::array::from_fn(|_| Mutex::default()),
            next_writer: AtomicUsize::new(0),
            connects: AtomicU64::new(0),
            binders: Mutex::default(),
            bind_permits: Semaphore::new(cores),
            changes: Semaphore::new(CHANGES),
            nobodys: Semaphore::new(NOBODYS),
        }
    }

    pub(crate) fn operation_timeout(&self) -> Duration {
        self.operation_timeout
    }

    /// A new connection to the first server that takes one, bound with the daemon's identity.
    pub(crate) async fn connect(&self) -> Result<Ldap, OpError> {
        let mut ldap = self.open().await?;
        self.authenticate(&mut ldap).await?;
        self.connects.fetch_add(1, Ordering::Relaxed);
        Ok(ldap)
    }

    /// A new connection that nobody is bound on.
    async fn open(&self) -> Result<Ldap, OpError> {
        let mut last = OpError::unavailable("directory.urls is empty");
        for url in &self.urls {
            let settings = LdapConnSettings::new().set_conn_timeout(self.connect_timeout).set_starttls(self.start_tls);
            // ldap3 has no limit on ldapi connections, and a full backlog of a stopped server blocks there
            let attempt = LdapConnAsync::with_settings(settings, url);
            match tokio::time::timeout(self.connect_timeout, attempt).await {
                Ok(Ok((connection, ldap))) => {
                    tokio::spawn(async move {
                        if let Err(error) = connection.drive().await {
                            debug!(%error, "a connection to the directory ended");
                        }
                    });
                    return Ok(ldap);
                }
                Ok(Err(error)) => last = OpError::unavailable(format!("{url}: {error}")),
                Err(_) => last = OpError::unavailable(format!("{url}: no connection in time")),
            }
        }
        Err(last)
    }

    async fn authenticate(&self, ldap: &mut Ldap) -> Result<(), OpError> {
        ldap.with_timeout(self.operation_timeout);
        let result = match (&self.bind_dn, &self.bind_password_file) {
            (Some(dn), Some(file)) => {
                // a small local file, read once for each new connection
                let text = std::fs::read_to_string(file)
                    .map_err(|e| OpError::unavailable(format!("{}: {e}", file.display())))?;
                let password = Secret::new(text.trim_end_matches(['\r', '\n']).to_owned());
                if password.reveal().is_empty() {
                    // an empty password would bind anonymously and succeed (RFC 4513, 5.1.2)
                    return Err(OpError::unavailable(format!("{}: empty", file.display())));
                }
                ldap.simple_bind(dn, password.reveal()).await
            }
            _ => ldap.sasl_external_bind().await,
        };
        match result.map_err(|e| code::client_error(&e)).map(code::check)? {
            Ok(_) => Ok(()),
            Err(error) => Err(OpError::unavailable(format!("the directory refused our bind: {error:?}"))),
        }
    }

    /// A handle on a writer's connection, and which writer's it is.
    async fn writer(&self) -> Result<(Place, Ldap), OpError> {
        let index = self.next_writer.fetch_add(1, Ordering::Relaxed) % WRITERS;
        let mut slot = self.writers[index].lock().await;
        if let Some(ldap) = &mut slot.ldap {
            if !ldap.is_closed() {
                let ldap = ldap.clone();
                return Ok((Place { index, generation: slot.generation }, ldap));
            }
            slot.ldap = None;
        }
        let connects = self.connects.load(Ordering::Relaxed);
        if let Some(hold_off) = &slot.hold_off
            && Instant::now() < hold_off.until
            && hold_off.connects == connects
        {
            return Err(OpError::unavailable(hold_off.why.clone()));
        }
        match self.connect().await {
            Ok(ldap) => {
                let generation = slot.generation + 1;
                *slot = Slot { ldap: Some(ldap.clone()), generation, hold_off: None };
                Ok((Place { index, generation }, ldap))
            }
            Err(error) => {
                slot.hold_off = Some(HoldOff { until: Instant::now() + HOLD_OFF, why: describe(&error), connects });
                Err(error)
            }
        }
    }

    /// Gives a writer's connection up, unless another caller has replaced it already.
    async fn give_up(&self, place: Place, error: &LdapError) {
        if !code::breaks_connection(error) {
            return;
        }
        let mut slot = self.writers[place.index].lock().await;
        if slot.generation == place.generation && slot.ldap.take().is_some() {
            warn!(%error, "a connection to the directory is given up");
        }
    }

    /// Waits for one of the [`CHANGES`], or of the [`NOBODYS`].
    async fn turn(&self, operation: &Operation<'_>) -> Result<SemaphorePermit<'_>, OpError> {
        let turns = if operation.is_nobodys() { &self.nobodys } else { &self.changes };
        let turn = tokio::time::timeout(self.operation_timeout, turns.acquire()).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| OpError::unavailable("too many changes at a time"))
    }

    /// Runs one operation on a writer's connection. It is sent a second time only if it was never sent.
    async fn run(&self, operation: &Operation<'_>) -> Result<LdapResult, OpError> {
        let many = operation.references().saturating_sub(FEW_REFERENCES);
        let limit = self.operation_timeout + PER_REFERENCE * u32::try_from(many).unwrap_or(u32::MAX);
        // What takes long is rare, and keeps no others from theirs.
        let _turn = if many == 0 { Some(self.turn(operation).await?) } else { None };
        let mut retried = false;
        loop {
            let (place, mut ldap) = self.writer().await?;
            ldap.with_timeout(limit);
            if !operation.is_nobodys() && !assent::is_given(operation.grants()) {
                return Err(OpError::Store(StoreError::Withdrawn));
            }
            match operation.send(&mut ldap).await {
                Ok(result) => {
                    let done = code::check(result)?;
                    if !operation.is_nobodys() {
                        assent::begun(operation.sets());
                    }
                    return Ok(done);
                }
                Err(error) => {
                    self.give_up(place, &error).await;
                    if !retried && code::never_sent(&error) {
                        retried = true;
                        continue;
                    }
                    return Err(code::client_error(&error));
                }
            }
        }
    }

    /// Adds an entry; the entry as it then is, if the server has the post-read control (RFC 4527).
    pub(crate) async fn add(&self, dn: &str, attributes: &[Attribute]) -> Result<Option<RawEntry>, OpError> {
        Ok(post_read_entry(&self.run(&Operation::Add { dn, attributes }).await?))
    }

    /// Modifies an entry in one operation, under `assertion` if there is one; the entry as it then is, as for `add`.
    pub(crate) async fn modify(
        &self,
        dn: &str,
        changes: &[Change],
        assertion: Option<&Filter<'_>>,
    ) -> Result<Option<RawEntry>, OpError> {
        let controls = [post_read(schema::REPLICATED)].into_iter().chain(assertion.map(asserted)).collect();
        Ok(post_read_entry(&self.run(&Operation::Modify { dn, changes, controls }).await?))
    }

    /// Increments a counter and returns its new value, in one operation (RFC 4525 with post-read), so that no number is
    /// given twice.
    pub(crate) async fn increment(&self, dn: &str, counter: &'static str) -> Result<u64, OpError> {
        let controls = vec![RawControl { crit: true, ..post_read(&[counter]) }];
        let changes = &[Change::Increment(counter)];
        let result = self.run(&Operation::Modify { dn, changes, controls }).await.map_err(|error| match error {
            OpError::Store(StoreError::NotFound) => OpError::Store(StoreError::Refused(format!("{dn} is missing"))),
            other => other,
        })?;
        post_read_entry(&result)
            .and_then(|entry| entry.text(&counter.to_ascii_lowercase()).and_then(|n| n.parse().ok()))
            .ok_or_else(|| OpError::Store(StoreError::Refused(format!("{dn}: no number in {counter}"))))
    }

    /// Deletes an entry, under `assertion` if there is one. `references`: how many entries the server may write because of it.
    pub(crate) async fn delete(
        &self,
        dn: &str,
        references: usize,
        assertion: Option<&Filter<'_>>,
    ) -> Result<(), OpError> {
        let controls = assertion.map(asserted).into_iter().collect();
        self.run(&Operation::Delete { dn, references, controls }).await.map(|_| ())
    }

    /// Reads one entry; `None` if it does not exist. Not for answering requests: those are answered by the replica.
    pub(crate) async fn read(&self, dn: &str, attributes: &[&'static str]) -> Result<Option<RawEntry>, OpError> {
        match self.search(dn, Scope::Base, "(objectClass=*)", attributes).await {
            Ok(entries) => Ok(entries.into_iter().next()),
            Err(OpError::Store(StoreError::NotFound)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The entries below `base` for which `filter`, which only few may satisfy, is true.
    pub(crate) async fn find(
        &self,
        base: &str,
        filter: &Filter<'_>,
        attributes: &[&'static str],
    ) -> Result<Vec<RawEntry>, OpError> {
        self.search(base, Scope::Subtree, &filter.text(), attributes).await
    }

    async fn search(
        &self,
        base: &str,
        scope: Scope,
        filter: &str,
        attributes: &[&'static str],
    ) -> Result<Vec<RawEntry>, OpError> {
        let mut retried = false;
        loop {
            let (place, mut ldap) = self.writer().await?;
            ldap.with_timeout(self.operation_timeout);
            match ldap.search(base, scope, filter, attributes.to_vec()).await {
                Ok(result) => {
                    code::check(result.1)?;
                    return Ok(result.0.into_iter().filter_map(|entry| RawEntry::from_tag(entry.0)).collect());
                }
                Err(error) => {
                    self.give_up(place, &error).await;
                    // reading twice does no harm
                    if retried || code::is_timeout(&error) {
                        return Err(code::client_error(&error));
                    }
                    retried = true;
                }
            }
        }
    }

    /// Whether the server takes `password` for `dn`. An empty password, which every server takes, is never sent.
    pub(crate) async fn bind(&self, dn: &str, password: &Secret) -> Result<Bind, OpError> {
        if password.reveal().is_empty() || password.reveal().contains('\0') {
            return Ok(Bind::Refused(Duration::ZERO));
        }
        let permit = tokio::time::timeout(self.operation_timeout, self.bind_permits.acquire()).await;
        let Ok(Ok(_permit)) = permit else { return Err(OpError::unavailable("too many logins at a time")) };
        // an idle connection may have died with its server: then one new one is tried
        let mut idle = self.binders.lock().await.pop();
        loop {
            let (mut ldap, is_new) = match idle.take() {
                Some(ldap) => (ldap, false),
                None => (self.open().await?, true),
            };
            let sent = Instant::now();
            match ldap.with_timeout(self.operation_timeout).simple_bind(dn, password.reveal()).await {
                Ok(result) => {
                    let took = sent.elapsed();
                    self.binders.lock().await.push(ldap);
                    return match code::check(result) {
                        Ok(_) => Ok(Bind::Accepted),
                        Err(OpError::InvalidCredentials) => Ok(Bind::Refused(took)),
                        Err(error) => Err(error),
                    };
                }
                Err(error) if is_new || code::is_timeout(&error) => return Err(code::client_error(&error)),
                Err(_) => {}
            }
        }
    }
}

fn describe(error: &OpError) -> String {
    match error {
        OpError::Store(StoreError::Unavailable(text)) => text.clone(),
        other => format!("{other:?}"),
    }
}

/// The assertion control; critical, since a server that does not know it must refuse, not write.
fn asserted(filter: &Filter<'_>) -> RawControl {
    RawControl { crit: true, ..Assertion::new(filter.text()) }
}

fn post_read(attributes: &[&'static str]) -> RawControl {
    PostRead::new(attributes.to_vec())
}

fn post_read_entry(result: &LdapResult) -> Option<RawEntry> {
    result.ctrls.iter().find_map(|control| match control {
        Control(Some(ControlType::PostReadResp), raw) => RawEntry::from_control(raw.val.as_deref()?),
        _ => None,
    })
}

fn to_mod(change: &Change) -> Mod<Vec<u8>> {
    match change {
        Change::Add(name, values) => Mod::Add(name.as_bytes().to_vec(), set(values)),
        Change::Delete(name, values) => Mod::Delete(name.as_bytes().to_vec(), set(values)),
        Change::Replace(name, values) => Mod::Replace(name.as_bytes().to_vec(), set(values)),
        Change::Increment(name) => Mod::Increment(name.as_bytes().to_vec(), b"1".to_vec()),
    }
}

/// A shared client.
pub(crate) type SharedClient = Arc<Client>;
