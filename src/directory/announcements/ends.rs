//! The ends of announcements: that a call's answer went out is said right after that, and all that was said of the call is
//! taken back some time later. One task does it for all calls, many with one change where they are many; nobody waits for it.
//! What a daemon that has ended did not take back goes when somebody hears it who finds it too old.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout_at};
use tracing::debug;

use super::super::code::OpError;
use super::super::connection::{Change, SharedClient};
use super::super::decode::Decoder;
use super::super::schema;
use super::words;
use crate::accounts::{StoreError, Timestamp};

/// How long others are told that a call was answered: until what came before that was looked at.
const TOLD: Duration = Duration::from_secs(20);
/// Of how many calls and how long at least, since the server writes the entry anew for each; and the most in any case.
const MANY: (usize, Duration) = (128, Duration::from_secs(2));
const MOST: usize = 1024;
/// When a change that the server did not answer is tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// The most calls that one change is about.
const AT_A_TIME: usize = 64;

/// What the task is told.
pub(super) enum Told {
    Answered(Ended),
    /// There are no more: the daemon ends.
    Last(oneshot::Sender<()>),
}

/// A call whose answer went out.
pub(super) struct Ended {
    pub(super) call: String,
    pub(super) at: Timestamp,
    /// What was said of it until then: what it adds, that it is closing.
    pub(super) adds: Vec<u8>,
    pub(super) closing: Option<Vec<u8>>,
}

pub(super) struct Ends {
    pub(super) client: SharedClient,
    pub(super) decoder: Arc<Decoder>,
}

impl Ends {
    /// Runs until nothing can be told any more.
    pub(super) async fn run(self, mut told: mpsc::UnboundedReceiver<Told>) {
        // What is to be taken back, and since when it is told.
        let mut said: VecDeque<(Instant, Vec<Vec<u8>>)> = VecDeque::new();
        let mut last = Vec::new();
        loop {
            let next = match said.front() {
                Some((since, _)) => timeout_at((*since + TOLD).into(), told.recv()).await,
                None => Ok(told.recv().await),
            };
            let mut ended = Vec::new();
            match next {
                Ok(Some(Told::Answered(one))) => ended.push(one),
                Ok(Some(Told::Last(done))) => last.push(done),
                Ok(None) => return,
                Err(_) => {}
            }
            while ended.len() < AT_A_TIME
                && let Ok(more) = told.try_recv()
            {
                match more {
                    Told::Answered(one) => ended.push(one),
                    Told::Last(done) => last.push(done),
                }
            }
            let (mut add, mut delete, mut more) = (Vec::new(), Vec::new(), Vec::new());
            for Ended { call, at, adds, closing } in ended {
                let answered = words::answered(&call, at);
                delete.extend(closing);
                add.push(answered.clone());
                more.push(vec![adds, answered]);
            }
            let (now, count) = (Instant::now(), said.len() + more.len());
            let is_old = |(n, (since, _)): &(usize, &(Instant, _))| {
                let (left, age) = (count - n, now - *since);
                age >= TOLD || (left > MANY.0 && age >= MANY.1) || left > MOST
            };
            let old = said.iter().enumerate().take(2 * AT_A_TIME).take_while(is_old).count();
            delete.extend(said.drain(..old).flat_map(|(_, values)| values));
            self.change(&add, &delete).await;
            // From now on it is told: that may have taken a while.
            let now = Instant::now();
            said.extend(more.into_iter().map(|values| (now, values)));
            if told.is_empty() {
                for done in last.drain(..) {
                    let _ = done.send(());
                }
            }
        }
    }

    /// Adds and deletes these values.
    async fn change(&self, add: &[Vec<u8>], delete: &[Vec<u8>]) {
        let changed = match self.persistently(add, delete).await {
            // Somebody took one of them back, or it did not get there.
            Err(OpError::ValueState) => self.singly(add, delete).await,
            changed => changed,
        };
        if let Err(error) = changed {
            debug!(?error, "that calls were answered could not be said");
        }
    }

    /// First what was answered: a call that is no more closing and not answered would be taken for one under way.
    async fn singly(&self, add: &[Vec<u8>], delete: &[Vec<u8>]) -> Result<(), OpError> {
        let apart = match self.persistently(add, &[]).await {
            Ok(()) => &[],
            Err(OpError::ValueState) => add,
            error => return error,
        };
        let adds = apart.iter().map(|value| (std::slice::from_ref(value), &[][..]));
        let deletes = delete.iter().map(|value| (&[][..], std::slice::from_ref(value)));
        for (add, delete) in adds.chain(deletes) {
            match self.persistently(add, delete).await {
                Ok(()) | Err(OpError::ValueState) => {}
                error => return error,
            }
        }
        Ok(())
    }

    /// Tries it for as long as it counts.
    async fn persistently(&self, add: &[Vec<u8>], delete: &[Vec<u8>]) -> Result<(), OpError> {
        let start = Instant::now();
        loop {
            match self.once(add, delete).await {
                Err(OpError::Store(StoreError::Unavailable(_))) if start.elapsed() < words::COUNTS_FOR => {
                    sleep(AGAIN).await;
                }
                done => return done,
            }
        }
    }

    async fn once(&self, add: &[Vec<u8>], delete: &[Vec<u8>]) -> Result<(), OpError> {
        let mut changes = Vec::new();
        if !delete.is_empty() {
            changes.push(Change::Delete(schema::UNANSWERED, delete.to_vec()));
        }
        if !add.is_empty() {
            changes.push(Change::Add(schema::UNANSWERED, add.to_vec()));
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.client.modify(&self.decoder.tree.state(), &changes, None).await.map(|_| ())
    }
}
