//! References whose target went away. slapd's `refint` takes them out of the entries that have them, late, one after the
//! other, and tells no consumer (field notes 1.1): until then the entry goes on naming what is gone, and must not give that to
//! the next entry of the name. What is named anew meanwhile can be taken away by the same clean-up, unseen.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::accounts::EntryId;
use crate::name::{DcName, UserName};

use super::super::decode::Item;

/// How long after the last event the clean-up may still be to come: it takes milliseconds for one entry, and minutes where
/// what went was named by many thousands.
pub(super) const CLEANED: Duration = Duration::from_secs(600);

/// How long after that what is still named says that a clean-up is under way.
const BUSY: Duration = Duration::from_secs(60);

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
    /// Content sync named it after its target went, which may be from before: it counts once the clean-up seems to be over.
    NamedAgain,
    /// It counts, and may be taken away all the same.
    Back,
}

struct Departure {
    at: Instant,
    state: State,
}

#[derive(Default)]
pub(super) struct Departures {
    /// By the entry that refers, and what to.
    of: HashMap<EntryId, HashMap<Reference, Departure>>,
    /// What went lately, whether or not anything is known to have named it.
    went: HashMap<Reference, Instant>,
    /// How many of these there may be before old ones are looked for.
    prune_at: usize,
}

impl Departures {
    /// An entry is gone, or goes by another name.
    pub(super) fn went(&mut self, target: Reference) {
        if self.went.len() >= self.prune_at {
            self.went.retain(|_, at| at.elapsed() < CLEANED);
            self.prune_at = (self.went.len() * 2).max(1024);
        }
        self.went.insert(target, Instant::now());
    }

    /// Whether an entry of this name went less than `age` ago.
    pub(super) fn went_within(&self, target: &Reference, age: Duration) -> bool {
        self.went.get(target).is_some_and(|at| at.elapsed() < age)
    }

    /// The entry's reference to this counts no longer, for its target is gone.
    pub(super) fn depart(&mut self, id: EntryId, reference: Reference, named_again: bool) {
        let state = if named_again { State::NamedAgain } else { State::Away };
        self.of.entry(id).or_default().insert(reference, Departure { at: Instant::now(), state });
    }

    /// What the entry names that went lately counts, since it was given after that, but the clean-up may come to it. Whether
    /// there is any that was not known.
    pub(super) fn watch(&mut self, id: EntryId, item: &Item) -> bool {
        if self.went.is_empty() {
            return false;
        }
        let mut any = false;
        for reference in references(item) {
            if self.went.get(&reference).is_some_and(|at| at.elapsed() < CLEANED) {
                self.of.entry(id).or_default().entry(reference).or_insert_with(|| {
                    any = true;
                    Departure { at: Instant::now(), state: State::Back }
                });
            }
        }
        any
    }

    /// Takes out of the entry what does not count. Whether some of that is named again, by a new state of the entry that
    /// content sync `tells` of: it is remembered but not believed at once, since it may be from before the clean-up.
    pub(super) fn strip(&mut self, id: EntryId, item: &mut Item, tells: bool) -> bool {
        let Some(departed) = self.of.get_mut(&id) else { return false };
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
        let Some(departed) = self.of.get_mut(&id) else { return false };
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
    /// again more than `age` before, and still is, is back, unless a clean-up is seen to take longer than that. What is named
    /// from before stays away.
    pub(super) fn settle(&mut self, id: EntryId, item: &Item, asked: Instant, age: Duration) {
        let is_busy = self.of.get(&id).is_some_and(|departed| departed.values().any(|d| d.state == State::NamedAgain))
            && self.is_busy(asked, age);
        let Some(departed) = self.of.get_mut(&id) else { return };
        departed.retain(|reference, departure| {
            if asked < departure.at + age {
                return true;
            }
            let is_over = asked >= departure.at + CLEANED;
            if departure.state == State::NamedAgain && (is_over || !is_busy) {
                departure.state = State::Back;
            }
            !(is_over && departure.state == State::Back) && names(item, reference)
        });
        if departed.is_empty() {
            self.of.remove(&id);
        }
    }

    /// Whether something that went more than `age` ago is still named, and not because nothing cleans up here.
    fn is_busy(&self, now: Instant, age: Duration) -> bool {
        let is_late = |d: &Departure| d.state == State::Away && now >= d.at + age && now < d.at + BUSY;
        self.of.values().flat_map(HashMap::values).any(is_late)
    }

    /// Whether the entry may still name this in the directory although that does not count.
    fn is_away(&self, id: EntryId, reference: &Reference) -> bool {
        let departure = self.of.get(&id).and_then(|departed| departed.get(reference));
        departure.is_some_and(|departure| departure.state != State::Back)
    }

    /// The datacenters that the entry may still name in the directory although that does not count.
    pub(super) fn datacenters(&self, id: EntryId) -> impl Iterator<Item = &DcName> {
        self.of.get(&id).into_iter().flatten().filter_map(|(reference, departure)| match reference {
            Reference::Datacenter(dc) if departure.state != State::Back => Some(dc),
            _ => None,
        })
    }

    /// Whether the entry may still name any user in the directory although that does not count.
    pub(super) fn has_users(&self, id: EntryId) -> bool {
        let is_away = |(reference, departure): (&Reference, &Departure)| {
            matches!(reference, Reference::User(_)) && departure.state != State::Back
        };
        self.of.get(&id).into_iter().flatten().any(is_away)
    }

    /// Whether the clean-up may still come to something that the entry names.
    pub(super) fn is_open(&self, id: EntryId) -> bool {
        self.of.contains_key(&id)
    }

    pub(super) fn forget(&mut self, id: EntryId) {
        self.of.remove(&id);
    }

    /// The entries that may still name this in the directory although that does not count.
    pub(super) fn from(&self, target: &Reference) -> impl Iterator<Item = EntryId> {
        self.of.keys().copied().filter(move |id| self.is_away(*id, target))
    }

    /// Those of `users` who went away from the entry less than `age` ago and may still be named by it.
    pub(super) fn lately(&self, id: EntryId, users: &[UserName], age: Duration) -> Vec<UserName> {
        let Some(departed) = self.of.get(&id) else { return Vec::new() };
        let lately = |user: &&UserName| {
            let departure = departed.get(&Reference::User((*user).clone()));
            departure.is_some_and(|departure| departure.state != State::Back && departure.at.elapsed() < age)
        };
        users.iter().filter(lately).cloned().collect()
    }
}

/// All that an entry refers to.
fn references(item: &Item) -> Vec<Reference> {
    let user = |name: &UserName| Reference::User(name.clone());
    let dc = |name: &DcName| Reference::Datacenter(name.clone());
    match item {
        Item::User(entry, _) => entry.dc_bound.iter().map(dc).collect(),
        Item::Group(group) => {
            let datacenters = group.datacenters.iter().chain(&group.dc_bound).map(dc);
            group.members.iter().map(user).chain(datacenters).collect()
        }
        Item::Datacenter(entry) => entry.owner.iter().map(user).collect(),
        Item::Session(_) | Item::Claim(_) | Item::Skipped => Vec::new(),
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
