//! Content sync (RFC 4533): the consumer that keeps the replica as the directory is.
//!
//! One connection, one refreshAndPersist search over the whole tree. When it breaks, the replica goes on serving what it
//! holds, and a new connection resumes from the cookie; a cookie that the provider does not take means a full refresh
//! into the tables as they are, without a gap in service. ldap3's parsers of these controls panic on what they do not
//! expect, so each connection runs in a task of its own whose panic is the end of that connection and no more.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, OptionFuture};
use ldap3::controls::{
    Control, ControlType, EntryState, RefreshMode, SyncDone, SyncInfo, SyncRequest, SyncState, parse_syncinfo,
};
use ldap3::exop::WhoAmI;
use ldap3::{Ldap, ResultEntry, Scope, SearchOptions};
use tracing::{debug, info, warn};

use crate::accounts::secrets::random;
use crate::accounts::{EntryId, StoreError};

use super::super::code;
use super::super::connection::SharedClient;
use super::super::decode::{Decoder, Item};
use super::super::filter::Filter;
use super::super::raw::RawEntry;
use super::super::schema;
use super::Replica;
use super::progress::{Progress, csns};
use super::tables::Source;

/// First and longest wait before a new connection; the wait doubles in between and is spread by half. Short, since until then
/// nobody's rights end here.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(300));
/// The longest while there is no connection at all: that costs the provider nothing.
const UNREACHABLE: Duration = Duration::from_millis(100);
/// How long the provider is waited for before what it has is asked for without it. slapd begins no content sync while any
/// change is under way, and under many writers one nearly always is.
const WAITED: Duration = Duration::from_millis(300);
/// How much of the time may go into that, as its divisor.
const SHARE: u32 = 4;
/// When it is asked which entries there are: so long after the last that came or went, spread by half, or after the first, or
/// in any case.
const QUIET: Duration = Duration::from_secs(2);
const CHECKED: Duration = Duration::from_secs(15);
const RARELY: Duration = Duration::from_secs(600);
/// How often the provider is asked for a sign of life. A stopped server keeps its connections open.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// The consumer's parts.
pub(crate) struct Consumer {
    pub(crate) replica: Arc<Replica>,
    pub(crate) client: SharedClient,
    pub(crate) decoder: Arc<Decoder>,
}

/// How a connection ended.
#[derive(Debug)]
enum End {
    /// The provider does not take the cookie, or is not as far as it says.
    RefreshRequired,
    Lost(String),
}

/// When it is asked again which entries there are: slapd may tell nobody of the end of an entry that goes at the moment at
/// which another one takes its DN. No DN of a session is ever used again.
struct Checks {
    since: Instant,
    /// The first and the last that came or went since then.
    noted: Option<(Instant, Instant)>,
    quiet: Duration,
}

impl Default for Checks {
    fn default() -> Self {
        // The provider has other consumers, which heard of the same.
        Self { since: Instant::now(), noted: None, quiet: spread(QUIET) }
    }
}

impl Checks {
    fn note(&mut self) {
        let now = Instant::now();
        self.noted = Some((self.noted.map_or(now, |(first, _)| first), now));
    }

    /// For a check that did not tell everything.
    fn put_off(&mut self) {
        let now = Instant::now();
        self.noted.get_or_insert((now, now + CHECKED));
    }

    fn due(&self) -> Instant {
        match self.noted {
            Some((first, last)) => (first + CHECKED).min(last + self.quiet),
            None => self.since + RARELY,
        }
    }
}

impl Consumer {
    /// Runs for as long as the daemon does.
    pub(crate) async fn run(self) {
        let consumer = Arc::new(self);
        let progress = Arc::new(tokio::sync::Mutex::new(Progress::default()));
        let mut wait = BACKOFF.0;
        loop {
            progress.lock().await.begin();
            let task = {
                let (consumer, progress) = (consumer.clone(), progress.clone());
                tokio::spawn(async move { consumer.follow(&mut *progress.lock().await).await })
            };
            let end = match task.await {
                Ok(end) => end,
                Err(error) if error.is_panic() => {
                    End::Lost("the provider sent something that can't be parsed".to_owned())
                }
                Err(_) => return,
            };
            consumer.replica.set_in_sync(false);
            // tokio's mutex is not poisoned by a panic: the cookie is that of the last state taken in whole
            let mut progress = progress.lock().await;
            progress.settle(Instant::now());
            if progress.refreshed {
                wait = BACKOFF.0;
            }
            match end {
                End::RefreshRequired => {
                    *progress = Progress::default();
                    drop(progress);
                    info!("a full refresh is needed; reads go on from what is here");
                    tokio::time::sleep(BACKOFF.0).await;
                }
                End::Lost(why) => {
                    let longest = if progress.connected { BACKOFF.1 } else { UNREACHABLE };
                    drop(progress);
                    if wait == BACKOFF.0 {
                        warn!(why, "content sync was lost and is tried again; reads go on from what is here");
                    } else {
                        debug!(why, retry_ms = wait.as_millis(), "content sync is not back");
                    }
                    tokio::time::sleep(spread(wait)).await;
                    wait = (wait * 2).min(longest);
                }
            }
        }
    }

    /// One connection, from the search to its end.
    async fn follow(&self, progress: &mut Progress) -> End {
        match self.try_follow(progress).await {
            Ok(end) | Err(end) => end,
        }
    }

    async fn try_follow(&self, progress: &mut Progress) -> Result<End, End> {
        let mut ldap = self.client.connect().await.map_err(|e| End::Lost(StoreError::from(e).to_string()))?;
        progress.connected = true;
        let alive = ldap.clone();
        let with_cookie = progress.cookie.is_some();
        progress.first = self.replica.read().is_empty();
        self.replica.change(super::tables::Tables::begin_refresh);
        let request =
            SyncRequest { mode: RefreshMode::RefreshAndPersist, cookie: progress.cookie.clone(), reload_hint: false };
        let filter = ours().text();
        let mut control: ldap3::controls::RawControl = request.into();
        control.crit = true;
        let mut stream = ldap
            .with_controls(vec![control])
            .with_search_options(SearchOptions::new())
            .streaming_search(self.decoder.tree.base(), Scope::Subtree, &filter, schema::REPLICATED.to_vec())
            .await
            .map_err(|e| End::Lost(e.to_string()))?;
        let mut keepalive = tokio::time::interval_at(tokio::time::Instant::now() + KEEPALIVE, KEEPALIVE);
        keepalive.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        debug!(with_cookie, "content sync started");
        // What is new, above all whose rights ended, counts before the refresh has told of all that is there.
        if let Some(csn) = progress.cookie.as_deref().and_then(|cookie| csns(cookie).max()) {
            self.read_newer(Some(csn), &alive).await?;
        }
        let mut began = false;
        let mut checks = Checks::default();
        let mut checking: Option<BoxFuture<'_, Result<bool, End>>> = None;
        let mut due = tokio::time::Instant::now() + WAITED;
        loop {
            let next = tokio::select! {
                next = stream.next() => next,
                _ = keepalive.tick() => {
                    self.sign_of_life(alive.clone()).await?;
                    continue;
                }
                doubts = self.replica.doubted(), if progress.refreshed => {
                    self.look_up(doubts, &alive).await?;
                    continue;
                }
                () = tokio::time::sleep_until(checks.due().into()), if progress.refreshed && checking.is_none() => {
                    checks = Checks::default();
                    // Beside what comes: nobody waits for it.
                    checking = Some(self.check(&alive).boxed());
                    continue;
                }
                checked = OptionFuture::from(checking.as_mut()), if checking.is_some() => {
                    checking = None;
                    match checked {
                        Some(Ok(true)) => checks.put_off(),
                        Some(Err(why)) => {
                            debug!(?why, "which entries there are could not be asked and is asked later");
                            checks.put_off();
                        }
                        Some(Ok(false)) | None => {}
                    }
                    continue;
                }
                () = tokio::time::sleep_until(due), if !began => {
                    let start = Instant::now();
                    self.read_meanwhile(progress.cookie.as_deref(), &alive).await?;
                    progress.first = false;
                    due = tokio::time::Instant::now() + WAITED.max(start.elapsed() * SHARE);
                    continue;
                }
            };
            began = true;
            match next {
                Ok(Some(message)) if message.is_intermediate() => {
                    self.info(parse_syncinfo(message), progress, &alive).await?;
                }
                Ok(Some(message)) if message.is_ref() => {}
                Ok(Some(message)) => {
                    if self.entry(message, progress)? && progress.refreshed {
                        checks.note();
                    }
                }
                Ok(None) => break,
                Err(error) => return Err(End::Lost(error.to_string())),
            }
        }
        let result = stream.finish().await;
        self.advance(progress, done_cookie(&result.ctrls));
        match result.rc {
            // e-syncRefreshRequired
            4096 => Ok(End::RefreshRequired),
            // "consumer state is newer than provider!": the provider lost its last states
            53 if with_cookie && !progress.refreshed => Ok(End::RefreshRequired),
            rc => {
                let why = code::check(result)
                    .err()
                    .map_or_else(|| "the provider ended it".to_owned(), |error| StoreError::from(error).to_string());
                // time, size and administrative limits: no try will get further
                let limits =
                    if matches!(rc, 3 | 4 | 11) { "; the server must have no limits for our identity" } else { "" };
                Err(End::Lost(why + limits))
            }
        }
    }

    /// One entry of the refresh or of the persist phase. Whether one came or went that lists show.
    fn entry(&self, message: ResultEntry, progress: &mut Progress) -> Result<bool, End> {
        let state = message.1.iter().find_map(|control| match control {
            Control(Some(ControlType::SyncState), raw) => Some(raw.parse::<SyncState>()),
            _ => None,
        });
        let Some(state) = state else { return Err(End::Lost("an entry without sync state".to_owned())) };
        let Some(id) = entry_id(&state.entry_uuid) else {
            return Err(End::Lost("an entry without a valid entryUUID".to_owned()));
        };
        let mut comes_or_goes = false;
        match state.state {
            // That it is there is asked for at the end of the refresh.
            EntryState::Present => {}
            EntryState::Delete => self.replica.change(|tables| {
                comes_or_goes = tables.shows(id);
                tables.remove(id);
            }),
            EntryState::Add | EntryState::Modify => {
                let decoded = RawEntry::from_tag(message.0).and_then(|raw| self.decoder.decode(&raw, Some(id)));
                let source = if progress.refreshed { Source::Push } else { Source::Refresh };
                if let Some(Item::Claim(names)) = decoded.as_ref().map(|d| &d.item) {
                    for name in names {
                        warn!(%id, %name, "an entry that is no user has this user name in its DN: nobody may use the name");
                    }
                }
                match decoded {
                    Some(decoded) => self.replica.change(|tables| {
                        tables.put(decoded, source);
                        comes_or_goes = matches!(state.state, EntryState::Add) && tables.shows(id);
                    }),
                    None => {
                        // What it was is no longer true; what it is can't be told.
                        warn!(%id, "an entry can't be parsed and is skipped");
                        self.replica.change(|tables| tables.remove(id));
                    }
                }
            }
        }
        self.advance(progress, state.cookie);
        Ok(comes_or_goes)
    }

    fn advance(&self, progress: &mut Progress, cookie: Option<Vec<u8>>) {
        progress.advance(cookie, Instant::now());
        self.replica.set_newest(&progress.newest);
    }

    /// A sync info message: cookies, the end of a refresh, sets of entries.
    async fn info(&self, info: SyncInfo, progress: &mut Progress, ldap: &Ldap) -> Result<(), End> {
        let cookie = match info {
            SyncInfo::NewCookie(cookie) => Some(cookie),
            SyncInfo::SyncIdSet { cookie, refresh_deletes, sync_uuids } => {
                if refresh_deletes {
                    let gone = sync_uuids.iter().filter_map(|uuid| entry_id(uuid));
                    self.replica.change(|tables| gone.for_each(|id| tables.remove(id)));
                }
                cookie
            }
            SyncInfo::RefreshPresent { cookie, refresh_done } | SyncInfo::RefreshDelete { cookie, refresh_done } => {
                self.catch_up(cookie.as_deref(), ldap).await?;
                if refresh_done && !progress.first {
                    self.drop_absent(ldap).await?;
                }
                return self.refresh_ended(refresh_done, cookie, progress);
            }
        };
        self.advance(progress, cookie);
        Ok(())
    }

    /// Brings the replica up to date while the provider has not begun to: a daemon that starts is ready then.
    async fn read_meanwhile(&self, cookie: Option<&[u8]>, ldap: &Ldap) -> Result<(), End> {
        let csn = cookie.and_then(|cookie| csns(cookie).min());
        self.read_newer(csn, ldap).await?;
        self.drop_absent(ldap).await?;
        self.replica.set_filled();
        debug!("content sync has not begun; all that is new was read");
        Ok(())
    }

    /// Reads what the refresh left out. slapd sends no entry that is newer than its contextCSN, and pushes only what is
    /// written after the search began; but contextCSN stays behind a write that is done while an older one is not. Such
    /// an entry comes neither in the refresh nor after it. All of them are newer than the refresh's own cookie says.
    async fn catch_up(&self, cookie: Option<&[u8]>, ldap: &Ldap) -> Result<(), End> {
        match cookie.and_then(|cookie| csns(cookie).min()) {
            Some(csn) => self.read_newer(Some(csn), ldap).await,
            None => Ok(()),
        }
    }

    /// Reads what is as new as this, or all there is.
    async fn read_newer(&self, csn: Option<&str>, ldap: &Ldap) -> Result<(), End> {
        let newer = csn.map(|csn| Filter::AtLeast(schema::ENTRY_CSN, csn));
        let filter = Filter::All([ours()].into_iter().chain(newer).collect());
        for raw in self.search(ldap, Scope::Subtree, &filter, schema::REPLICATED).await? {
            if let Some(decoded) = self.decoder.decode(&raw, None) {
                self.replica.change(|tables| tables.put(decoded, Source::CatchUp));
            }
        }
        Ok(())
    }

    /// Asks which entries there are, and forgets the others. The refresh itself does not say of all: what we learnt in
    /// answers to our own requests while it began may have gone before the provider noted whom to tell, and a provider
    /// that was killed may have forgotten that anything was deleted after what our cookie says. From now on it tells.
    async fn drop_absent(&self, ldap: &Ldap) -> Result<(), End> {
        let absent = self.absent(ldap).await?;
        if !absent.is_empty() {
            self.replica.change(|tables| tables.forget_absent(&absent, &[], true));
        }
        Ok(())
    }

    /// The same later, beside the persist phase. Whether some can't be told of, since the provider is not so far.
    async fn check(&self, ldap: &Ldap) -> Result<bool, End> {
        let base = self.search(ldap, Scope::Base, &Filter::Present("objectClass"), &["contextCSN"]).await?;
        let far: Vec<String> = base.iter().flat_map(|base| base.texts("contextcsn")).map(str::to_owned).collect();
        let absent = self.absent(ldap).await?;
        Ok(!absent.is_empty() && self.replica.change(|tables| tables.forget_absent(&absent, &far, false)))
    }

    /// Of the entries that are known, those that are not there; none if that can't be told.
    async fn absent(&self, ldap: &Ldap) -> Result<Vec<EntryId>, End> {
        let mut absent = self.replica.read().known();
        let lost = |e: ldap3::LdapError| End::Lost(e.to_string());
        let mut ldap = ldap.clone();
        ldap.with_timeout(self.client.operation_timeout());
        let (base, filter) = (self.decoder.tree.base(), ours().text());
        // one by one: with their names they would take the memory of a second replica
        let mut found =
            ldap.streaming_search(base, Scope::Subtree, &filter, vec![schema::ENTRY_UUID]).await.map_err(lost)?;
        let mut are_all_told = true;
        while let Some(entry) = found.next().await.map_err(lost)? {
            // A server with referrals in the tree names them whatever is asked for.
            if entry.is_ref() || entry.is_intermediate() {
                continue;
            }
            let raw = RawEntry::from_tag(entry.0);
            match raw.as_ref().and_then(|raw| EntryId::parse(raw.text("entryuuid")?)) {
                Some(id) => drop(absent.remove(&id)),
                None => are_all_told = false,
            }
        }
        code::check(found.finish().await).map_err(|e| End::Lost(format!("{e:?}")))?;
        if !are_all_told {
            warn!("not every entry has an entryUUID that we may read: what is gone can't be told");
            absent.clear();
        }
        Ok(absent.into_iter().collect())
    }

    /// Brings these entries up to date, or forgets them.
    async fn look_up(&self, ids: HashSet<EntryId>, ldap: &Ldap) -> Result<(), End> {
        for id in ids {
            let found = self
                .search(ldap, Scope::Subtree, &Filter::Equal(schema::ENTRY_UUID, &id.to_string()), schema::REPLICATED)
                .await?;
            let decoded = found.first().and_then(|raw| self.decoder.decode(raw, None));
            debug!(%id, is_there = decoded.is_some(), "an entry that was not where it should be was asked for");
            self.replica.change(|tables| match decoded {
                Some(decoded) => tables.put(decoded, Source::CatchUp),
                None => tables.remove(id),
            });
        }
        Ok(())
    }

    /// What the filter finds, asked for on the consumer's own connection: by the provider that content sync comes from.
    async fn search(
        &self,
        ldap: &Ldap,
        scope: Scope,
        filter: &Filter<'_>,
        attributes: &[&'static str],
    ) -> Result<Vec<RawEntry>, End> {
        let mut ldap = ldap.clone();
        ldap.with_timeout(self.client.operation_timeout());
        let base = self.decoder.tree.base();
        let found = ldap
            .search(base, scope, &filter.text(), attributes.to_vec())
            .await
            .map_err(|e| End::Lost(e.to_string()))?;
        code::check(found.1).map_err(|e| End::Lost(format!("{e:?}")))?;
        Ok(found.0.into_iter().filter_map(|entry| RawEntry::from_tag(entry.0)).collect())
    }

    fn refresh_ended(&self, done: bool, cookie: Option<Vec<u8>>, progress: &mut Progress) -> Result<(), End> {
        if done {
            if !progress.complete(cookie) {
                return Err(End::RefreshRequired);
            }
            self.replica.set_newest(&progress.newest);
            self.replica.set_in_sync(true);
            info!("content sync is up to date");
        }
        Ok(())
    }

    /// Asks for a sign of life on the consumer's own connection. Not a search: searches are counted.
    async fn sign_of_life(&self, mut ldap: Ldap) -> Result<(), End> {
        match ldap.with_timeout(self.client.operation_timeout()).extended(WhoAmI).await {
            Ok(_) => Ok(()),
            Err(error) => Err(End::Lost(format!("no sign of life: {error}"))),
        }
    }
}

/// The entries that the replica holds.
pub(crate) fn ours() -> Filter<'static> {
    let classes = ["inetOrgPerson", "usherAccount", "usherGroup", "usherDatacenter", "usherSession"];
    Filter::Any(classes.map(|class| Filter::Equal("objectClass", class)).to_vec())
}

/// A time about as long as this, so that not all daemons do the same at the same moment.
fn spread(time: Duration) -> Duration {
    let [spread] = random::<1>();
    time.mul_f64(0.5 + f64::from(spread) / 510.0)
}

fn entry_id(uuid: &[u8]) -> Option<EntryId> {
    uuid.try_into().ok().map(EntryId)
}

fn done_cookie(controls: &[Control]) -> Option<Vec<u8>> {
    controls.iter().find_map(|control| match control {
        Control(Some(ControlType::SyncDone), raw) => raw.parse::<SyncDone>().cookie,
        _ => None,
    })
}
