//! The ends of announcements: that a call's answer went out is said right after that, and all that was said of the call is
//! taken back some time later. One task does it for all calls, many with one change where they are many; nobody waits for it.
//! What a daemon that has ended did not take back goes when somebody hears it who finds it too old.

use std::collections::{HashSet, VecDeque};
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

/// How long others are told that a call was answered. What came before that was looked at by then, if its body did not take
/// longer.
const TOLD: Duration = Duration::from_secs(20);
/// Of how many calls and how long at least, since the server writes the entry anew for each; and the most in any case.
const MANY: (usize, Duration) = (128, Duration::from_secs(2));
const MOST: usize = 1024;
/// When a change that the server did not answer, or refused, is tried again.
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
            if let Err(error) = self.change(add, delete).await {
                debug!(?error, "that calls were answered could not be said");
            }
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

    /// Adds and deletes these values where that is not done yet. It is tried for as long as it counts.
    async fn change(&self, mut add: Vec<Vec<u8>>, mut delete: Vec<Vec<u8>>) -> Result<(), OpError> {
        let start = Instant::now();
        loop {
            let changed = self.once(&add, &delete).await;
            let is_over = start.elapsed() >= words::COUNTS_FOR;
            match changed {
                // Somebody took one of them back, or it never got there.
                Err(OpError::ValueState) if !is_over => {
                    let count = add.len() + delete.len();
                    if let Ok(state) = self.client.read(&self.decoder.tree.state(), &[schema::UNANSWERED]).await {
                        let said: HashSet<&Vec<u8>> =
                            state.iter().flat_map(|raw| raw.values("usherunanswered")).collect();
                        add.retain(|value| !said.contains(value));
                        delete.retain(|value| said.contains(value));
                    }
                    if add.len() + delete.len() == count {
                        sleep(AGAIN).await;
                    }
                }
                Err(OpError::Store(StoreError::Unavailable(_))) if !is_over => sleep(AGAIN).await,
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
