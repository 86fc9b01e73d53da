//! A second look at entries that refer to what went away, or may not be there themselves.
//!
//! When an entry is deleted or renamed, slapd's `refint` changes those that refer to it late, leaves their entryCSN and
//! tells no consumer (field notes 1.1). So each of these is read again: soon, and once more when the clean-up is over, as a
//! rule. Where the entry then still names what went, or was given a reference again that the same clean-up can take away,
//! unseen, it is read at growing intervals: the clean-up goes from entry to entry, and may take minutes. The same is done with
//! what comes with a reference to nothing: it may have been written while the entry went away.
//! However many references an entry loses at a time, it is read a few times only.
//!
//! What has or had its DN in common with another entry is looked at too, and what a write did not find.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::timeout_at;
use tracing::{debug, warn};

use crate::accounts::EntryId;

use super::super::code::OpError;
use super::super::connection::SharedClient;
use super::super::decode::Decoder;
use super::super::schema;
use super::Replica;
use super::departures::CLEANED;
use super::tables::Kept;

/// When an entry is looked at first. `refint` was seen to take 2 to 17 ms.
const SOON: Duration = Duration::from_millis(150);
/// When the clean-up is over as a rule.
const OVER: Duration = Duration::from_millis(1500);
/// When a look that told nothing is repeated.
const AGAIN: Duration = Duration::from_secs(1);

/// An entry that is looked at again.
struct Watched {
    due: Instant,
    /// When something happened to it last.
    since: Instant,
}

/// The entries that are looked at again, and what that needs.
pub(crate) struct Rechecks {
    pub(crate) replica: Arc<Replica>,
    pub(crate) client: SharedClient,
    pub(crate) decoder: Arc<Decoder>,
}

impl Rechecks {
    /// Looks at `suspects`, each at its times, until the sender is gone.
    pub(crate) async fn run(self, mut suspects: mpsc::UnboundedReceiver<EntryId>) {
        let mut watched: HashMap<EntryId, Watched> = HashMap::new();
        loop {
            let next = match watched.values().map(|watched| watched.due).min() {
                Some(due) => timeout_at(due.into(), suspects.recv()).await.ok(),
                None => Some(suspects.recv().await),
            };
            match next {
                Some(None) => return,
                Some(Some(id)) => note(&mut watched, id),
                None => {}
            }
            while let Ok(id) = suspects.try_recv() {
                note(&mut watched, id);
            }
            self.look_at_those_due(&mut watched).await;
        }
    }

    async fn look_at_those_due(&self, watched: &mut HashMap<EntryId, Watched>) {
        let now = Instant::now();
        let due: Vec<EntryId> = watched.iter().filter(|(_, watched)| watched.due <= now).map(|(id, _)| *id).collect();
        let mut unreachable = false;
        for id in due {
            let asked = Instant::now();
            let last = watched.get(&id).is_some_and(|watched| watched.since + OVER <= asked);
            let told = if unreachable { Ok(false) } else { self.look_at(id, asked, last).await };
            if let Err(error) = &told {
                warn!(%id, ?error, "an entry could not be read again");
                unreachable = true;
            }
            let Entry::Occupied(mut entry) = watched.entry(id) else { continue };
            match told {
                Ok(true) => match next(entry.get().since, asked, self.replica.read().is_open(id)) {
                    Some(due) => entry.get_mut().due = due,
                    None => drop(entry.remove()),
                },
                Ok(false) | Err(_) => entry.get_mut().due = asked + AGAIN,
            }
        }
    }

    /// Reads the entry into the replica; whether that told anything. Where there is none at its DN, or another one, content
    /// sync is about to say so, or this server is behind the one that it comes from; after the `last` look that one is asked.
    async fn look_at(&self, id: EntryId, asked: Instant, last: bool) -> Result<bool, OpError> {
        let Some(dn) = self.dn(id) else { return Ok(true) };
        let raw = self.client.read(&dn, schema::REPLICATED).await?;
        debug!(dn, "read again after something that it refers to went away, or another one of its DN came");
        match raw.and_then(|raw| self.decoder.decode(&raw, None)) {
            Some(same) if same.id == id => Ok(self.replica.change(|tables| tables.settle(same, asked, OVER))),
            other => {
                if last {
                    self.replica.doubt([id].into_iter().chain(other.map(|other| other.id)));
                }
                Ok(false)
            }
        }
    }

    fn dn(&self, id: EntryId) -> Option<String> {
        let tree = &self.decoder.tree;
        match &self.replica.read().slots.get(&id)?.kept {
            Kept::User(user, _) => Some(tree.user(&user.name)),
            Kept::Group(group) => Some(tree.group(&group.name)),
            Kept::Datacenter(dc) => Some(tree.datacenter(&dc.name)),
            Kept::Session(_) | Kept::Claim(_) | Kept::Skipped => None,
        }
    }
}

/// When an entry is looked at after a look at `asked`, if it is: twice as long after the event as that was, while its
/// references are `open` to the clean-up.
fn next(since: Instant, asked: Instant, open: bool) -> Option<Instant> {
    let age = asked.saturating_duration_since(since);
    if age < OVER {
        return Some(since + OVER);
    }
    (open && age < CLEANED).then(|| since + age * 2)
}

/// The entry lost a reference, or may not be there.
fn note(watched: &mut HashMap<EntryId, Watched>, id: EntryId) {
    let now = Instant::now();
    let entry = watched.entry(id).or_insert(Watched { due: now + SOON, since: now });
    entry.due = entry.due.min(now + SOON);
    entry.since = now;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_looked_at_twice_or_for_as_long_as_a_clean_up_may_come_to_it() {
        let since = Instant::now();
        let looks = |open: bool| {
            let mut looks = vec![SOON];
            while let Some(due) = next(since, since + looks[looks.len() - 1], open) {
                looks.push(due - since);
            }
            looks
        };
        assert_eq!(looks(false), [SOON, OVER]);
        let long = looks(true);
        assert_eq!(long[..4], [SOON, OVER, OVER * 2, OVER * 4]);
        assert!(long.len() < 15 && long[long.len() - 1] >= CLEANED);
    }
}
