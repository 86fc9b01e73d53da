//! The ends of announcements: that a call's answer went out is said right after that, and all that was said of the call is
//! taken back some time later. One task does it for all calls, many with one change where they are many; nobody waits for it.

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
const TOLD: Duration = Duration::from_secs(1);
/// When a change that the server did not answer is tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// The most calls that one change is about.
const AT_A_TIME: usize = 64;

/// What the task is told.
pub(super) enum Told {
    Answered(Ended),
    /// All of it is to be taken back: the daemon ends.
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
        // What is to be taken back, and when.
        let mut said: VecDeque<(Instant, Vec<Vec<u8>>)> = VecDeque::new();
        let mut last = Vec::new();
        loop {
            let next = match said.front() {
                Some((due, _)) => timeout_at((*due).into(), told.recv()).await,
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
            let is_last = !last.is_empty() && told.is_empty();
            let now = Instant::now();
            let count = said.iter().take_while(|(due, _)| is_last || *due <= now).count();
            let mut delete: Vec<_> = said.drain(..count).flat_map(|(_, values)| values).collect();
            let mut add = Vec::new();
            for Ended { call, at, adds, closing } in ended {
                delete.extend(closing);
                if is_last {
                    delete.push(adds);
                } else {
                    let answered = words::answered(&call, at);
                    add.push(answered.clone());
                    said.push_back((now + TOLD, vec![adds, answered]));
                }
            }
            self.change(add, delete).await;
            if is_last {
                for done in last.drain(..) {
                    let _ = done.send(());
                }
            }
        }
    }

    /// Adds and deletes these values, and tries that for as long as they count.
    async fn change(&self, add: Vec<Vec<u8>>, delete: Vec<Vec<u8>>) {
        if add.is_empty() && delete.is_empty() {
            return;
        }
        let start = Instant::now();
        while let Err(error) = self.once(&add, &delete).await {
            match error {
                // Somebody took one of them back, or it did not get there.
                OpError::ValueState => {
                    for value in &delete {
                        let _ = self.once(&[], std::slice::from_ref(value)).await;
                    }
                    for value in &add {
                        let _ = self.once(std::slice::from_ref(value), &[]).await;
                    }
                    return;
                }
                OpError::Store(StoreError::Unavailable(_)) if start.elapsed() < words::COUNTS_FOR => sleep(AGAIN).await,
                error => {
                    debug!(?error, "that calls were answered could not be said");
                    return;
                }
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
        self.client.modify(&self.decoder.tree.state(), &changes, None).await.map(|_| ())
    }
}
