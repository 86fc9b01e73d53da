//! The replica: everything that reads need, typed, indexed, in memory.
//!
//! `tables` holds the entries and their indexes (`index`), `view` the questions that can be asked of them, `sync` the content
//! sync (RFC 4533) that feeds them, `progress` how far that is, `recheck` the second look at what refers to an entry that
//! went away, or may have gone itself, `departures` what does not count of such references meanwhile. One lock guards the
//! tables; it is held for the time of an index look-up, never across I/O.

pub(crate) mod departures;
mod index;
mod progress;
pub(crate) mod recheck;
pub(crate) mod sync;
pub(crate) mod tables;
pub(crate) mod view;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};

use crate::accounts::EntryId;

use tables::Tables;

/// The tables, and what is known about how current they are.
pub(crate) struct Replica {
    tables: RwLock<Tables>,
    in_sync: watch::Sender<bool>,
    reconnects: AtomicU64,
    /// All that the directory has was read; who waits for that is told.
    is_filled: AtomicBool,
    filled: watch::Sender<bool>,
    /// The newest CSN that content sync named.
    newest: watch::Sender<String>,
    /// Entries to be read again; see `recheck`.
    rechecks: mpsc::UnboundedSender<EntryId>,
    /// Entries that the server which content sync comes from is to be asked for.
    doubts: (Mutex<HashSet<EntryId>>, Notify),
}

impl Replica {
    pub(crate) fn new(rechecks: mpsc::UnboundedSender<EntryId>) -> Self {
        Self {
            tables: RwLock::default(),
            in_sync: watch::Sender::new(false),
            reconnects: AtomicU64::new(0),
            is_filled: AtomicBool::new(false),
            filled: watch::Sender::new(false),
            newest: watch::Sender::new(String::new()),
            rechecks,
            doubts: Default::default(),
        }
    }

    /// The tables for reading. A panic while they were held for writing (there is no code that could) leaves them
    /// readable: content sync mends them.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the tables, then has the suspects looked at again.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Tables) -> R) -> R {
        let (result, suspects) = {
            let mut tables: RwLockWriteGuard<'_, Tables> = self.tables.write().unwrap_or_else(PoisonError::into_inner);
            let result = change(&mut tables);
            (result, tables.take_suspects())
        };
        for suspect in suspects {
            // The receiver lives as long as the daemon; without it nothing is left to mend.
            let _ = self.rechecks.send(suspect);
        }
        result
    }

    /// Has the consumer ask for these entries.
    pub(crate) fn doubt(&self, ids: impl Iterator<Item = EntryId>) {
        self.doubts.0.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
        self.doubts.1.notify_one();
    }

    /// Waits for doubts, and takes them.
    async fn doubted(&self) -> HashSet<EntryId> {
        loop {
            let doubts = std::mem::take(&mut *self.doubts.0.lock().unwrap_or_else(PoisonError::into_inner));
            if !doubts.is_empty() {
                return doubts;
            }
            self.doubts.1.notified().await;
        }
    }

    pub(crate) fn in_sync(&self) -> bool {
        *self.in_sync.borrow()
    }

    /// Waits until content sync is up to date, for `limit` at most.
    pub(crate) async fn wait_in_sync(&self, limit: Duration) {
        let mut in_sync = self.in_sync.subscribe();
        let _ = tokio::time::timeout(limit, in_sync.wait_for(|in_sync| *in_sync)).await;
    }

    pub(crate) fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    fn set_in_sync(&self, in_sync: bool) {
        let before = self.in_sync.send_replace(in_sync);
        if before && !in_sync {
            self.reconnects.fetch_add(1, Ordering::Relaxed);
        }
        if in_sync {
            self.set_filled();
        }
    }

    /// Content sync has named this CSN.
    fn set_newest(&self, csn: &str) {
        self.newest.send_if_modified(|newest| {
            let is_other = *newest != *csn;
            if is_other {
                csn.clone_into(newest);
            }
            is_other
        });
    }

    /// The newest CSN that content sync named.
    pub(crate) fn newest(&self) -> String {
        self.newest.borrow().clone()
    }

    /// Waits until content sync has named this CSN or a newer one, for `limit` at most.
    pub(crate) async fn catch_up(&self, csn: &str, limit: Duration) {
        let mut newest = self.newest.subscribe();
        let _ = tokio::time::timeout(limit, newest.wait_for(|newest| newest.as_str() >= csn)).await;
    }

    /// All that the directory has was read once.
    fn set_filled(&self) {
        self.is_filled.store(true, Ordering::Release);
        self.filled.send_replace(true);
    }

    pub(crate) fn is_filled(&self) -> bool {
        self.is_filled.load(Ordering::Acquire)
    }

    /// Waits until all that the directory has was read once.
    pub(crate) async fn wait_filled(&self) {
        // The sender lives in self, so the wait can't fail.
        let _ = self.filled.subscribe().wait_for(|filled| *filled).await;
    }
}
