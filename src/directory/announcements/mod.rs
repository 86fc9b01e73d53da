//! What calls are adding to lists and have not answered yet, as the daemons of one directory tell each other: values of
//! `usherUnanswered` in the entry that they share. `words` has what they say, `ends` takes it back, `process` knows who is gone.
//! Which calls say what is `api`'s business.

mod ends;
mod process;
mod words;

use std::collections::HashSet;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::accounts::{Addition, EntryId, Group, StoreError, Timestamp};
use crate::name::{DcName, UserName};

use super::code::OpError;
use super::connection::{Change, SharedClient};
use super::decode::{Decoded, Decoder, Item};
use super::filter::Filter;
use super::raw::RawEntry;
use super::{Directory, Inner, now, schema};
use ends::{Ended, Ends, Told};
use words::{Heard, Speaker, key};

/// How long it is waited for that another daemon of this host says when a call was answered, and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(2);
const ASKED: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));
/// How long it is tried to say that a call is about to be answered.
const CLOSED: Duration = Duration::from_secs(1);
/// How long a daemon that ends waits until it is said which calls were answered.
const LAST: Duration = Duration::from_secs(2);

/// What a daemon needs to speak.
#[derive(Debug)]
pub(super) struct Announcements {
    speaker: Speaker,
    ends: mpsc::UnboundedSender<Told>,
}

impl Announcements {
    pub(super) fn new(client: SharedClient, decoder: Arc<Decoder>) -> Self {
        let (ends, told) = mpsc::unbounded_channel();
        tokio::spawn(Ends { client, decoder }.run(told));
        Self { speaker: Speaker::new(), ends }
    }
}

/// That a call is about to add something. It is answered when this is dropped.
pub(crate) struct Announcement {
    directory: Directory,
    call: String,
    adds: Vec<u8>,
    closing: Option<Vec<u8>>,
}

impl Announcement {
    /// Says that the call is done and its answer goes out next. Where that can't be said, those on other hosts may take it for
    /// unanswered for a while.
    pub(crate) async fn close(&mut self) {
        let closing = words::closing(&self.call, now());
        self.closing = Some(closing.clone());
        let said = self.directory.change_announcements(Change::Add(schema::UNANSWERED, vec![closing]));
        if !matches!(timeout(CLOSED, said).await, Ok(Ok(()))) {
            debug!("that a call is about to be answered could not be said");
        }
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        let (call, adds) = (std::mem::take(&mut self.call), std::mem::take(&mut self.adds));
        let ended = Ended { call, at: now(), adds, closing: self.closing.take() };
        // Without the task the daemon has ended.
        let _ = self.directory.0.announcements.ends.send(Told::Answered(ended));
    }
}

/// A list that a call replaces.
pub(crate) enum List {
    MembersOf(EntryId),
    GroupsOf(UserName),
    AttachedTo(DcName),
}

impl List {
    /// The canonical name under which a call that gives the list has `one`.
    fn names(&self, one: &Addition) -> String {
        match (self, one) {
            (Self::MembersOf(_), Addition::Member(_, user)) => user.canonical(),
            (_, Addition::Member(group, _) | Addition::Attachment(group, _)) => group.canonical(),
        }
    }

    /// What `group` has of it.
    fn of(&self, group: &Group) -> Vec<Addition> {
        let member = |user: &UserName| Addition::Member(group.name.clone(), user.clone());
        match self {
            Self::MembersOf(_) => group.members.iter().map(member).collect(),
            Self::GroupsOf(user) => group.members.iter().filter(|other| *other == user).map(member).collect(),
            Self::AttachedTo(dc) => {
                let attachment = |dc: &DcName| Addition::Attachment(group.name.clone(), dc.clone());
                group.datacenters.iter().filter(|other| *other == dc).map(attachment).collect()
            }
        }
    }
}

impl Directory {
    /// Tells all daemons that a call is about to add these. `None` where the server's schema has no place for it.
    pub(crate) async fn announce(&self, additions: &[Addition]) -> Result<Option<Announcement>, StoreError> {
        static LACKING: Once = Once::new();
        let call = self.0.announcements.speaker.name_call();
        let adds = words::adds(&call, additions, now());
        let said = self.change_announcements(Change::Add(schema::UNANSWERED, vec![adds.clone()])).await;
        if let Err(OpError::Schema(text)) = said {
            LACKING.call_once(|| {
                warn!(%text, "the server's schema lacks usherUnanswered: lists that are replaced by calls to several \
                    daemons at the same time are as the last one says");
            });
            return Ok(None);
        }
        // It may be there after an error too.
        let announcement = Announcement { directory: self.clone(), call, adds, closing: None };
        said?;
        Ok(Some(announcement))
    }

    /// Waits until it is said which calls were answered. For the end of the daemon.
    pub(crate) async fn end_announcements(&self) {
        let (done, is_done) = oneshot::channel();
        if self.0.announcements.ends.send(Told::Last(done)).is_ok() && timeout(LAST, is_done).await.is_err() {
            debug!("that calls were answered could not be said in time");
        }
    }

    /// What the list holds in the directory, without what calls of other daemons are adding that were not answered yet when
    /// this one `came`: both as of one moment, since one search sees one state. Brings the list up to date in the replica.
    /// Of what this call keeps, by the canonical names in `kept`, either is said. Unless it `waits`, what is not known yet counts
    /// as unanswered.
    pub(crate) async fn settled(
        &self,
        list: &List,
        kept: &HashSet<String>,
        came: Timestamp,
        waits: bool,
    ) -> Result<HashSet<Addition>, StoreError> {
        let Inner { client, decoder, .. } = &*self.0;
        // those that have it, and those that are thought to
        let (value, known): (Option<(&str, String)>, Vec<EntryId>) = {
            let view = self.read();
            let ids = |groups: Vec<&Arc<Group>>| groups.into_iter().map(|group| group.id).collect();
            match list {
                List::MembersOf(group) => (None, vec![*group]),
                List::GroupsOf(user) => (Some(("member", decoder.tree.user(user))), ids(view.groups_of(user))),
                List::AttachedTo(dc) => {
                    let attached = (schema::DATACENTER_LINK, decoder.tree.datacenter(dc));
                    (Some(attached), ids(view.groups_of_datacenter(dc)))
                }
            }
        };
        let known: Vec<String> = known.iter().map(EntryId::to_string).collect();
        let class = |name| Filter::Equal("objectClass", name);
        let either = value.iter().map(|(attribute, value)| Filter::Equal(attribute, value));
        let either = either.chain(known.iter().map(|id| Filter::Equal(schema::ENTRY_UUID, id))).collect();
        let groups = Filter::All(vec![class("usherGroup"), Filter::Any(either)]);
        let attributes: Vec<_> = schema::REPLICATED.iter().copied().chain([schema::UNANSWERED]).collect();
        let filter = Filter::Any(vec![class("usherState"), groups]);
        let found = client.find(decoder.tree.base(), &filter, &attributes).await?;
        let (state, groups): (Vec<_>, Vec<_>) = found.into_iter().partition(|raw| raw.is("usherState"));
        let groups: Vec<Decoded> = groups.iter().filter_map(|raw| decoder.decode(raw, None)).collect();
        let listed = groups.iter().flat_map(|decoded| match &decoded.item {
            Item::Group(group) => list.of(group),
            _ => Vec::new(),
        });
        let mut settled: HashSet<Addition> = listed.collect();
        self.0.take_decoded(groups);
        let mut heard = self.hear(&state, came).await;
        let (start, mut pause) = (Instant::now(), Duration::ZERO);
        // What is open is in the list already: the call that adds it waits for nobody any more.
        loop {
            settled.retain(|one| !heard.unanswered.contains(&key(one)));
            let is_open = |one: &Addition| heard.open.contains(&key(one));
            if !settled.iter().any(|one| is_open(one) && !kept.contains(&list.names(one))) {
                break;
            }
            if !waits || start.elapsed() >= PATIENCE {
                settled.retain(|one| !is_open(one));
                break;
            }
            sleep(pause).await;
            pause = (pause * 2).clamp(ASKED.0, ASKED.1);
            let state = client.read(&decoder.tree.state(), &[schema::UNANSWERED]).await?;
            heard = self.hear(state.as_slice(), came).await;
        }
        Ok(settled)
    }

    /// What others said by when `state` was read. Removes what calls that were cut short left behind.
    async fn hear(&self, state: &[RawEntry], came: Timestamp) -> Heard {
        let said = state.iter().flat_map(|raw| raw.values("usherunanswered")).map(Vec::as_slice);
        let (heard, old) = self.0.announcements.speaker.hear(said, came, now());
        if !old.is_empty()
            && let Err(error) = self.change_announcements(Change::Delete(schema::UNANSWERED, old)).await
        {
            debug!(?error, "old announcements were not removed, or somebody else did");
        }
        heard
    }

    async fn change_announcements(&self, change: Change) -> Result<(), OpError> {
        self.0.client.modify(&self.0.decoder.tree.state(), &[change], None).await.map(|_| ())
    }
}
