//! A second look at groups whose members went away.
//!
//! When a user is deleted or renamed, slapd's `refint` changes the groups' `member` late, leaves their entryCSN and
//! tells no consumer (field notes 1.1). So each such group is read again: soon, and once more when the clean-up must be
//! over. A membership that was given again in between can be taken away by the same clean-up, unseen: the last look
//! settles that too.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::accounts::EntryId;
use crate::name::GroupName;

use super::super::connection::SharedClient;
use super::super::decode::Decoder;
use super::super::schema;
use super::Replica;
use super::tables::Source;

/// When a group is looked at, counted from the event. `refint` was seen to take 2 to 17 ms; a loaded server takes longer.
const LOOKS: [Duration; 2] = [Duration::from_millis(150), Duration::from_millis(1500)];

/// A group that lost a member.
#[derive(Clone, Debug)]
pub(crate) struct Suspect {
    pub(crate) group: EntryId,
    pub(crate) name: GroupName,
}

/// Reads suspects again, each at its times, until the sender is gone.
pub(crate) async fn run(
    mut suspects: mpsc::UnboundedReceiver<Suspect>,
    replica: Arc<Replica>,
    client: SharedClient,
    decoder: Arc<Decoder>,
) {
    while let Some(suspect) = suspects.recv().await {
        let (replica, client, decoder) = (replica.clone(), client.clone(), decoder.clone());
        tokio::spawn(async move {
            let mut waited = Duration::ZERO;
            for (i, look) in LOOKS.iter().enumerate() {
                tokio::time::sleep(look.saturating_sub(waited)).await;
                waited = *look;
                look_at(&suspect, i + 1 == LOOKS.len(), &replica, &client, &decoder).await;
            }
        });
    }
}

async fn look_at(suspect: &Suspect, last: bool, replica: &Replica, client: &SharedClient, decoder: &Decoder) {
    let dn = decoder.tree.group(&suspect.name);
    match client.read(&dn, schema::REPLICATED).await {
        Ok(raw) => {
            let decoded = raw.and_then(|raw| decoder.decode(&raw, None)).filter(|d| d.id == suspect.group);
            debug!(group = %suspect.name, last, "group read again after a member went away");
            let Some(decoded) = decoded else { return };
            replica.change(|tables| match last {
                true => tables.settle(decoded, LOOKS[0]),
                false => tables.put(decoded, Source::Recheck),
            });
        }
        // The next refresh reads the group anyway: an unreachable directory means a new connection.
        Err(error) => warn!(group = %suspect.name, ?error, "a group could not be read again"),
    }
}
