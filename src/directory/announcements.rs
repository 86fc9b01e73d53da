//! What calls are adding to lists and have not answered yet, as the daemons of one directory tell each other: values of
//! `usherUnanswered` in the entry that they share. Each holds the time, a random number, and a digest for each addition.
//! Which calls say what is `api`'s business.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tracing::{debug, warn};

use crate::accounts::secrets::{hex, random, unhex};
use crate::accounts::{Addition, EntryId, Group, StoreError, Timestamp};
use crate::name::{DcName, UserName};

use super::code::OpError;
use super::connection::Change;
use super::decode::{Decoded, Item};
use super::filter::Filter;
use super::raw::RawEntry;
use super::{Directory, Inner, now, schema};

/// How long an announcement counts, in seconds, by clocks that may differ: a call that was cut short leaves it.
const COUNTS_FOR: u64 = 30;

/// When a withdrawal that the server did not answer is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// The first octets of an addition's digest.
type Key = [u8; 8];

/// What a call announced, to be [withdrawn](Directory::withdraw) before it is answered.
#[derive(Debug)]
pub(crate) struct Announcement(Vec<u8>);

/// Announcements that are over since then and may still be there, because the server could not be asked to remove them.
#[derive(Debug, Default)]
pub(super) struct Over(Mutex<HashMap<Vec<u8>, Instant>>);

impl Over {
    fn change<T>(&self, change: impl FnOnce(&mut HashMap<Vec<u8>, Instant>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Those that count for somebody still; the others are forgotten.
    fn left(&self) -> Vec<Vec<u8>> {
        self.change(|over| {
            over.retain(|_, since| since.elapsed().as_secs() < COUNTS_FOR);
            over.keys().cloned().collect()
        })
    }
}

/// A list that a call replaces.
pub(crate) enum List {
    MembersOf(EntryId),
    GroupsOf(UserName),
    AttachedTo(DcName),
}

impl List {
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
        let value = text(additions, now()).into_bytes();
        match self.change_announcements(Change::Add(schema::UNANSWERED, vec![value.clone()])).await {
            Ok(()) => Ok(Some(Announcement(value))),
            Err(OpError::Schema(text)) => {
                LACKING.call_once(|| {
                    warn!(%text, "the server's schema lacks usherUnanswered: lists that are replaced by calls to several \
                        daemons at the same time are as the last one says");
                });
                Ok(None)
            }
            Err(error) => {
                // It may be there all the same.
                self.withdraw_later(value);
                Err(error.into())
            }
        }
    }

    /// Ends an announcement.
    pub(crate) async fn withdraw(&self, Announcement(value): Announcement) {
        if !self.is_withdrawn(&value).await {
            self.withdraw_later(value);
        }
    }

    async fn is_withdrawn(&self, value: &[u8]) -> bool {
        let change = Change::Delete(schema::UNANSWERED, vec![value.to_vec()]);
        matches!(self.change_announcements(change).await, Ok(()) | Err(OpError::ValueState))
    }

    /// Ends it once the server can be asked to; here it counts no longer from now on.
    fn withdraw_later(&self, value: Vec<u8>) {
        let is_first = self.0.over.change(|over| {
            over.insert(value, Instant::now());
            over.len() == 1
        });
        if is_first {
            tokio::spawn(self.clone().withdraw_left());
        }
    }

    async fn withdraw_left(self) {
        loop {
            tokio::time::sleep(AGAIN).await;
            for value in self.0.over.left() {
                if !self.is_withdrawn(&value).await {
                    break;
                }
                self.0.over.change(|over| over.remove(&value));
            }
            if self.0.over.change(|over| over.is_empty()) {
                break;
            }
        }
    }

    /// What the list holds in the directory, without what is announced: both as of one moment, since one search sees one
    /// state. Brings the list up to date in the replica.
    pub(crate) async fn settled(&self, list: &List) -> Result<HashSet<Addition>, StoreError> {
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
        let announced = self.announced(&state).await;
        if !announced.is_empty() {
            settled.retain(|one| !announced.contains(&key(one)));
        }
        Ok(settled)
    }

    /// What is announced, as of when `state` was read. Removes what calls that were cut short left behind.
    async fn announced(&self, state: &[RawEntry]) -> HashSet<Key> {
        let (now, mut announced, mut old) = (now(), HashSet::new(), Vec::new());
        let over = self.0.over.change(|over| over.clone());
        let there = state.iter().flat_map(|raw| raw.values("usherunanswered"));
        for value in there.filter(|value| !over.contains_key(*value)) {
            match std::str::from_utf8(value).ok().and_then(|value| parse(value, now)) {
                Some(keys) => announced.extend(keys),
                None => old.push(value.clone()),
            }
        }
        if !old.is_empty()
            && let Err(error) = self.change_announcements(Change::Delete(schema::UNANSWERED, old)).await
        {
            debug!(?error, "old announcements were not removed, or somebody else did");
        }
        announced
    }

    async fn change_announcements(&self, change: Change) -> Result<(), OpError> {
        self.0.client.modify(&self.0.decoder.tree.state(), &[change], None).await.map(|_| ())
    }
}

fn text(additions: &[Addition], now: Timestamp) -> String {
    let mut text = format!("{} {}", now.seconds(), hex(&random::<8>()));
    for addition in additions {
        text.push(' ');
        text.push_str(&hex(&key(addition)));
    }
    text
}

/// The keys of an announcement that counts; `None` is one that is too old, or none at all.
fn parse(text: &str, now: Timestamp) -> Option<Vec<Key>> {
    let mut words = text.split(' ');
    let made: i64 = words.next()?.parse().ok()?;
    if made.abs_diff(now.seconds()) > COUNTS_FOR {
        return None;
    }
    words.skip(1).map(|word| unhex(word)?.try_into().ok()).collect()
}

fn key(addition: &Addition) -> Key {
    let (kind, group, other) = match addition {
        Addition::Member(group, user) => ("member", group, user.canonical()),
        Addition::Attachment(group, dc) => ("attachment", group, dc.canonical()),
    };
    let digest = Sha256::digest(format!("{kind} {} {other}", group.canonical()));
    let mut key = Key::default();
    key.copy_from_slice(&digest[..size_of::<Key>()]);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::GroupName;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn an_announcement_counts_for_a_time_whatever_the_case_of_its_names() {
        let member = |group: &str, user: &str| {
            Addition::Member(GroupName::parse(group).unwrap(), UserName::parse(user).unwrap())
        };
        let attachment = Addition::Attachment(GroupName::parse("g").unwrap(), DcName::parse("bob").unwrap());
        let text = text(&[member("g", "bob"), member("g", "carl")], at(1_000));
        for now in [970, 1_000, 1_030] {
            let announced = parse(&text, at(now)).unwrap();
            let has = |addition: &Addition| announced.contains(&key(addition));
            assert!(has(&member("G", "Bob")) && has(&member("g", "carl")));
            assert!(!has(&member("h", "bob")) && !has(&attachment));
        }
        assert!(parse(&text, at(969)).is_none() && parse(&text, at(1_031)).is_none());
    }

    #[test]
    fn what_is_no_announcement_is_none() {
        for text in ["", "x", "1000 0 zz", "1000 0 0011", "1000 0 00112233445566778"] {
            assert!(parse(text, at(1_000)).is_none(), "{text:?}");
        }
        assert_eq!(parse("1000 0 0011223344556677", at(1_000)).unwrap().len(), 1);
    }
}
