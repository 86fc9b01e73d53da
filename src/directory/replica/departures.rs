//! References whose target went away. slapd's `refint` takes them out of the entries that have them, late, one after the
//! other, and tells no consumer (field notes 1.1): until then the entry goes on naming what is gone, and must not give that to
//! the next entry of the name. What is named again meanwhile can be taken away by the same clean-up, unseen.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::accounts::EntryId;
use crate::name::{DcName, UserName};

use super::super::decode::Item;
use super::tables::Source;

/// How long after the last event the clean-up may still be to come: it takes milliseconds for one entry, and minutes where
/// what went was named by many thousands.
pub(super) const CLEANED: Duration = Duration::from_secs(600);

/// What an entry refers to: a group to its members, a datacenter to its owner, users and groups to datacenters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reference {
    User(UserName),
    Datacenter(DcName),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It does not count.
    Away,
    /// Content sync named it after its target went: it counts once the clean-up must be over.
    NamedAgain,
    /// It counts again, and may be taken away all the same.
    Back,
}

struct Departure {
    at: Instant,
    state: State,
}

/// By the entry that refers, and what to.
#[derive(Default)]
pub(super) struct Departures(HashMap<EntryId, HashMap<Reference, Departure>>);

impl Departures {
    /// The entry's reference to this counts no longer, for its target is gone.
    pub(super) fn depart(&mut self, id: EntryId, reference: Reference, named_again: bool) {
        let state = if named_again { State::NamedAgain } else { State::Away };
        self.0.entry(id).or_default().insert(reference, Departure { at: Instant::now(), state });
    }

    /// Takes out of the entry what does not count. Whether content sync names some of that again: it is remembered but not
    /// believed at once, since it may have been written before the clean-up.
    pub(super) fn strip(&mut self, id: EntryId, item: &mut Item, source: Source) -> bool {
        let Some(departed) = self.0.get_mut(&id) else { return false };
        let tells = !matches!(source, Source::OwnWrite | Source::Recheck);
        let mut again = false;
        let mut counts = |reference: Reference| match departed.get_mut(&reference) {
            None => true,
            Some(departure) => {
                if tells && departure.state == State::Away {
                    *departure = Departure { at: Instant::now(), state: State::NamedAgain };
                    again = true;
                }
                departure.state == State::Back
            }
        };
        let mut dc_counts = |dc: &DcName| counts(Reference::Datacenter(dc.clone()));
        match item {
            Item::User(user, _) => user.dc_bound = user.dc_bound.take().filter(dc_counts),
            Item::Group(group) => {
                group.datacenters.retain(&mut dc_counts);
                group.dc_bound = group.dc_bound.take().filter(dc_counts);
                group.members.retain(|member| counts(Reference::User(member.clone())));
            }
            Item::Datacenter(dc) => dc.owner = dc.owner.take().filter(|owner| counts(Reference::User(owner.clone()))),
            Item::Session(_) | Item::Claim(_) | Item::Skipped => {}
        }
        again
    }

    /// We gave the entry these references: they count at once, whatever was there before. Whether there was something.
    pub(super) fn readmit(&mut self, id: EntryId, given: Vec<Reference>) -> bool {
        let Some(departed) = self.0.get_mut(&id) else { return false };
        let mut any = false;
        for reference in given {
            if let Some(departure) = departed.get_mut(&reference) {
                *departure = Departure { at: Instant::now(), state: State::Back };
                any = true;
            }
        }
        any
    }

    /// What a second look that was asked for at `asked` tells. What the entry names no longer is forgotten. What was named
    /// again more than `age` before, and still is, is back; what is named from before stays away.
    pub(super) fn settle(&mut self, id: EntryId, item: &Item, asked: Instant, age: Duration) {
        let Some(departed) = self.0.get_mut(&id) else { return };
        departed.retain(|reference, departure| {
            if asked < departure.at + age {
                return true;
            }
            if departure.state == State::NamedAgain {
                departure.state = State::Back;
            }
            let is_over = departure.state == State::Back && asked >= departure.at + CLEANED;
            !is_over && names(item, reference)
        });
        if departed.is_empty() {
            self.0.remove(&id);
        }
    }

    /// Whether the clean-up may still come to something that the entry names.
    pub(super) fn is_open(&self, id: EntryId) -> bool {
        self.0.contains_key(&id)
    }

    pub(super) fn forget(&mut self, id: EntryId) {
        self.0.remove(&id);
    }

    /// The entries that may still name this in the directory although that does not count.
    pub(super) fn from(&self, target: &Reference) -> impl Iterator<Item = EntryId> {
        let is_from = move |departed: &HashMap<Reference, Departure>| {
            departed.get(target).is_some_and(|departure| departure.state != State::Back)
        };
        self.0.iter().filter(move |(_, departed)| is_from(departed)).map(|(id, _)| *id)
    }

    /// Those of `users` who went away from the entry less than `age` ago and may still be named by it.
    pub(super) fn lately(&self, id: EntryId, users: &[UserName], age: Duration) -> Vec<UserName> {
        let Some(departed) = self.0.get(&id) else { return Vec::new() };
        let lately = |user: &&UserName| {
            let departure = departed.get(&Reference::User((*user).clone()));
            departure.is_some_and(|departure| departure.state != State::Back && departure.at.elapsed() < age)
        };
        users.iter().filter(lately).cloned().collect()
    }
}

fn names(item: &Item, reference: &Reference) -> bool {
    match (item, reference) {
        (Item::User(user, _), Reference::Datacenter(dc)) => user.dc_bound.as_ref() == Some(dc),
        (Item::Group(group), Reference::Datacenter(dc)) => {
            group.dc_bound.as_ref() == Some(dc) || group.datacenters.contains(dc)
        }
        (Item::Group(group), Reference::User(user)) => group.members.contains(user),
        (Item::Datacenter(dc), Reference::User(user)) => dc.owner.as_ref() == Some(user),
        _ => false,
    }
}
