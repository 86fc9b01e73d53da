//! The entries and their indexes. One entry in, one entry out: every change goes through [`Tables::put`] and
//! [`Tables::remove`], which keep all indexes. Questions are answered by `view`.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::accounts::{Datacenter, EntryId, Group, SYSTEM_USER, Session, User};
use crate::name::{DcName, GroupName, UserName};

use super::super::decode::{Decoded, Item, UserFacts};
use super::departures::{Departures, Reference};
use super::index::{ByName, Index, forget};

/// Where a decoded entry came from, which decides whether it may replace what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Content sync while the refresh runs.
    Refresh,
    /// Content sync in the persist phase.
    Push,
    /// A search on the connection of content sync, which it leaves things out of.
    CatchUp,
    /// The post-read answer to our own write.
    OwnWrite,
    /// A second look, or one at what a write depends on.
    Recheck,
}

impl Source {
    /// Content sync tells of an entry's states in their order, so the last one counts, even where its CSN is older: the
    /// directory was set back, or its clock was. All else is an answer of its own, which may be late.
    fn is_in_order(self) -> bool {
        matches!(self, Self::Refresh | Self::Push)
    }
}

/// One entry.
pub(crate) struct Slot {
    pub(crate) csn: Box<str>,
    pub(crate) kept: Kept,
    /// Not from content sync, which has yet to come to this state and may tell of older ones before.
    ahead: bool,
    /// Our own write made it.
    own: bool,
}

#[derive(Clone)]
pub(crate) enum Kept {
    User(Arc<User>, UserFacts),
    Group(Arc<Group>),
    Datacenter(Arc<Datacenter>),
    Session(Session),
    Claim(Vec<UserName>),
    Skipped,
}

impl Kept {
    /// Whether lists show it.
    pub(super) fn is_listed(&self) -> bool {
        matches!(self, Self::User(..) | Self::Group(_) | Self::Datacenter(_))
    }

    /// Whether, by what changed, it may be in lists of other people than it was.
    fn has_moved(&self, now: &Self) -> bool {
        match (self, now) {
            (Self::User(old, _), Self::User(new, _)) => {
                (&old.dc_bound, old.super_admin) != (&new.dc_bound, new.super_admin)
            }
            (Self::Group(old), Self::Group(new)) => {
                (&old.dc_bound, &old.datacenters) != (&new.dc_bound, &new.datacenters)
            }
            (Self::Datacenter(old), Self::Datacenter(new)) => (&old.owner, old.access) != (&new.owner, new.access),
            _ => false,
        }
    }
}

/// How many entries that are gone are remembered, of those that lists show and of the others; how many that moved.
const GONE: usize = 1024;

/// All of it.
#[derive(Default)]
pub(crate) struct Tables {
    pub(super) slots: HashMap<EntryId, Slot>,
    pub(super) users: Index<UserName>,
    pub(super) users_by_name: BTreeSet<ByName>,
    /// E-mail addresses in lower case.
    pub(super) mails: Index<Box<str>>,
    pub(super) api_keys: Index<[u8; 32]>,
    pub(super) users_bound: HashMap<DcName, HashSet<EntryId>>,
    pub(super) groups: Index<GroupName>,
    pub(super) groups_by_name: BTreeSet<ByName>,
    /// The groups whose `member` names the user, whether or not he exists.
    pub(super) memberships: HashMap<UserName, HashSet<EntryId>>,
    pub(super) datacenters: Index<DcName>,
    pub(super) datacenters_by_name: BTreeSet<ByName>,
    pub(super) sessions: Index<[u8; 32]>,
    pub(super) sessions_of: HashMap<EntryId, HashSet<EntryId>>,
    pub(super) skipped: usize,
    departures: Departures,
    /// Entries to be looked at again, since the last time that they were taken: that lost a reference or came with one to
    /// nothing, or may not be there.
    suspects: Vec<EntryId>,
    /// Entries that we deleted ourselves: a push that was on its way must not bring them back.
    deleted: HashSet<EntryId>,
    /// The last that went, whoever deleted them: the answer to a write or read from before must not bring them back. A
    /// list may go on after one.
    pub(super) gone: VecDeque<(EntryId, Kept)>,
    /// The same of what no list shows, sessions above all, and of what was not known.
    gone_unlisted: VecDeque<EntryId>,
    /// Entries as they were before something changed by which they are in somebody's lists: these may go on after one.
    pub(super) moved: VecDeque<Kept>,
}

impl Tables {
    /// Takes an entry in, unless a newer state of it is known.
    pub(crate) fn put(&mut self, decoded: Decoded, source: Source) {
        let Decoded { id, csn, mut item } = decoded;
        let in_order = source.is_in_order();
        let is_gone = !self.slots.contains_key(&id) && self.is_gone(id);
        if self.deleted.contains(&id) || (matches!(source, Source::OwnWrite | Source::Recheck) && is_gone) {
            return;
        }
        if let Some(slot) = self.slots.get(&id)
            && csn < slot.csn
            && (slot.ahead || !in_order)
        {
            return;
        }
        if !self.outlasts_rivals(id, &csn, &item, source) {
            return;
        }
        // Its end was told of before, or a newer state: what is said now may have been overtaken.
        let is_older = self.slots.get(&id).is_some_and(|slot| csn < slot.csn);
        if is_gone || (source == Source::Push && is_older) {
            self.suspects.push(id);
        }
        // What we changed of an entry names nobody again when content sync comes to it.
        let is_own = self.slots.get(&id).is_some_and(|slot| slot.own && slot.csn == csn);
        let before = self.take(id);
        let tells = !is_own && !matches!(source, Source::OwnWrite | Source::Recheck);
        let named_again = self.departures.strip(id, &mut item, tells);
        let is_fresh = !matches!(source, Source::Refresh | Source::Recheck);
        if named_again || (is_fresh && self.departures.watch(id, &item)) {
            self.suspects.push(id);
        }
        let kept = match item {
            Item::User(user, facts) => Kept::User(Arc::new(user), facts),
            Item::Group(group) => Kept::Group(Arc::new(group)),
            Item::Datacenter(dc) => Kept::Datacenter(Arc::new(dc)),
            Item::Session(session) => Kept::Session(session),
            Item::Claim(names) => Kept::Claim(names),
            Item::Skipped => Kept::Skipped,
        };
        match (before.as_ref().map(|slot| &slot.kept), &kept) {
            (Some(Kept::User(old, _)), Kept::User(new, _)) if new.name == old.name => {}
            (Some(Kept::Datacenter(old)), Kept::Datacenter(new)) if new.name == old.name => {}
            (Some(Kept::User(old, _)), _) => self.depart(&old.name, source == Source::Refresh),
            (Some(Kept::Datacenter(old)), _) => self.depart_datacenter(&old.name, source == Source::Refresh),
            _ => {}
        }
        if let Some(old) = before.as_ref().map(|slot| &slot.kept).filter(|old| old.has_moved(&kept)) {
            push_last(&mut self.moved, old.clone());
        }
        // What it refers to may have gone before it did: then the clean-up after that takes the reference away, unseen.
        if matches!(source, Source::Push | Source::OwnWrite) && self.refers_to_nothing(&kept) {
            self.suspects.push(id);
        }
        let ahead = !in_order && before.as_ref().is_none_or(|slot| slot.ahead || slot.csn != csn);
        self.index(id, &kept);
        self.slots.insert(id, Slot { csn, kept, ahead, own: is_own || source == Source::OwnWrite });
    }

    /// Two entries can't have one DN: of this one and those that have its own, the newest stays, and is looked at again. slapd
    /// does not tell of every end where an entry is deleted at the moment at which another one of its DN is added. A refresh
    /// tells of what is there, even where that is older: the directory was set back.
    fn outlasts_rivals(&mut self, id: EntryId, csn: &str, item: &Item, source: Source) -> bool {
        let named = match item {
            Item::User(user, _) => self.users.get(&user.name),
            Item::Group(group) => self.groups.get(&group.name),
            Item::Datacenter(dc) => self.datacenters.get(&dc.name),
            Item::Session(_) | Item::Claim(_) | Item::Skipped => &[],
        };
        // what has a user's name and is no user has another DN
        let is_rival = |other: &EntryId| {
            let slot = self.slots.get(other);
            *other != id && slot.is_some_and(|slot| !matches!(slot.kept, Kept::Claim(_)))
        };
        let rivals: Vec<EntryId> = named.iter().copied().filter(is_rival).collect();
        for rival in rivals {
            let is_newer = |slot: &Slot| *slot.csn > *csn && (slot.ahead || source != Source::Refresh);
            if self.slots.get(&rival).is_some_and(is_newer) {
                self.suspects.extend([rival, id]);
                return false;
            }
            self.end(rival, source == Source::Refresh);
            self.suspects.push(id);
        }
        true
    }

    /// Whether the directory said not long ago that the entry went.
    fn is_gone(&self, id: EntryId) -> bool {
        self.gone.iter().any(|(gone, _)| *gone == id) || self.gone_unlisted.contains(&id)
    }

    /// Whether the entry refers to one that is not there.
    fn refers_to_nothing(&self, kept: &Kept) -> bool {
        let user = |name: &UserName| self.users.get(name).is_empty();
        let dc = |name: &DcName| self.datacenters.get(name).is_empty();
        match kept {
            Kept::User(entry, _) => entry.dc_bound.as_ref().is_some_and(dc),
            Kept::Group(entry) => {
                entry.members.iter().any(user) || entry.datacenters.iter().chain(&entry.dc_bound).any(dc)
            }
            Kept::Datacenter(entry) => entry.owner.as_ref().is_some_and(user),
            Kept::Session(_) | Kept::Claim(_) | Kept::Skipped => false,
        }
    }

    /// Forgets an entry that the directory no longer has.
    pub(crate) fn remove(&mut self, id: EntryId) {
        self.forget_entry(id, false);
    }

    /// `by_refresh`: the groups were read after the entry went.
    fn forget_entry(&mut self, id: EntryId, by_refresh: bool) {
        self.deleted.remove(&id);
        let was = match self.end(id, by_refresh) {
            Some(slot) => slot.kept,
            // What is said of it may still be on its way.
            None if !self.is_gone(id) => Kept::Skipped,
            None => return,
        };
        if was.is_listed() {
            push_last(&mut self.gone, (id, was));
        } else {
            push_last(&mut self.gone_unlisted, id);
        }
    }

    /// Takes an entry away, and what refers to it.
    fn end(&mut self, id: EntryId, by_refresh: bool) -> Option<Slot> {
        let slot = self.take(id)?;
        self.departures.forget(id);
        match &slot.kept {
            Kept::User(user, _) => self.depart(&user.name, by_refresh),
            Kept::Datacenter(dc) => self.depart_datacenter(&dc.name, by_refresh),
            Kept::Group(_) | Kept::Session(_) | Kept::Claim(_) | Kept::Skipped => {}
        }
        Some(slot)
    }

    /// Forgets an entry that we deleted, and keeps pushes of its last states out until the push of its end arrives.
    pub(crate) fn remove_own(&mut self, id: EntryId) {
        if self.slots.contains_key(&id) {
            self.remove(id);
            self.deleted.insert(id);
        }
    }

    /// A refresh begins: what we wrote before it is as old as everything else.
    pub(crate) fn begin_refresh(&mut self) {
        for slot in self.slots.values_mut() {
            slot.ahead = false;
        }
        self.deleted.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// All that are here.
    pub(crate) fn known(&self) -> HashSet<EntryId> {
        self.slots.keys().copied().collect()
    }

    /// Whether lists show the entry, or did, as far as is known.
    pub(super) fn shows(&self, id: EntryId) -> bool {
        self.slots.get(&id).map_or_else(|| !self.gone_unlisted.contains(&id), |slot| slot.kept.is_listed())
    }

    /// Forgets entries that are `absent` from the directory, which was as `far` as these CSNs, one for each of its servers,
    /// but for those that are newer; where that is not known, but for those that we wrote and were not told of. Whether there
    /// are such. `by_refresh`: the groups were read after that, and nothing is newer.
    pub(crate) fn forget_absent(&mut self, absent: &[EntryId], far: &[String], by_refresh: bool) -> bool {
        let mut some_are_newer = false;
        for id in absent {
            // Those that went by now are dealt with, and of those that we deleted pushes may still be on their way.
            let Some(slot) = self.slots.get(id) else { continue };
            let reaches = |csn: &String| server_of(csn) == server_of(&slot.csn) && **csn >= *slot.csn;
            let is_reached = if far.is_empty() { !slot.ahead } else { far.iter().any(reaches) };
            if !by_refresh && !is_reached {
                some_are_newer = true;
            } else {
                self.forget_entry(*id, by_refresh);
            }
        }
        some_are_newer
    }

    /// The entry is to be looked at again: the directory does not seem to have it.
    pub(crate) fn suspect(&mut self, id: EntryId) {
        self.suspects.push(id);
    }

    /// The entries that may still name this in the directory, from which it went away.
    pub(super) fn departed_from(&self, target: &Reference) -> impl Iterator<Item = EntryId> {
        self.departures.from(target)
    }

    /// Those of `members` who went away from the group less than `age` ago and may still be named by it.
    pub(crate) fn departed_lately(&self, group: EntryId, members: &[UserName], age: Duration) -> Vec<UserName> {
        self.departures.lately(group, members, age)
    }

    /// The entries that are to be looked at again, since the last call.
    pub(super) fn take_suspects(&mut self) -> Vec<EntryId> {
        std::mem::take(&mut self.suspects)
    }

    /// We gave the entry these references: that counts at once. The entry is read again all the same, since the clean-up
    /// after a predecessor may take them away unseen.
    pub(crate) fn readmit(&mut self, id: EntryId, given: Vec<Reference>) {
        if self.departures.readmit(id, given) {
            self.suspects.push(id);
        }
    }

    /// An entry as a second look found it that was asked for at `asked`; false, and not taken, where content sync has come
    /// further. `age` is how long a clean-up takes, nearly always.
    pub(crate) fn settle(&mut self, decoded: Decoded, asked: Instant, age: Duration) -> bool {
        if self.slots.get(&decoded.id).is_some_and(|slot| decoded.csn < slot.csn) {
            return false;
        }
        self.departures.settle(decoded.id, &decoded.item, asked, age);
        self.put(decoded, Source::Recheck);
        true
    }

    /// Whether a clean-up may still come to what the entry refers to.
    pub(super) fn is_open(&self, id: EntryId) -> bool {
        self.departures.is_open(id) || self.slots.get(&id).is_some_and(|slot| self.refers_to_nothing(&slot.kept))
    }

    /// Whether an entry of this name went, or took another one, less than `age` ago.
    pub(crate) fn went_within(&self, target: &Reference, age: Duration) -> bool {
        self.departures.went_within(target, age)
    }

    /// As [`Departures::datacenters`].
    pub(super) fn datacenters_away(&self, id: EntryId) -> impl Iterator<Item = &DcName> {
        self.departures.datacenters(id)
    }

    /// As [`Departures::has_users`].
    pub(super) fn has_users_away(&self, id: EntryId) -> bool {
        self.departures.has_users(id)
    }

    /// The user of this name is gone: his memberships and what he owns end now, whenever the directory cleans up, which
    /// it does unseen.
    fn depart(&mut self, name: &UserName, named_again: bool) {
        self.departures.went(Reference::User(name.clone()));
        for key in &self.datacenters_by_name {
            if let Some(Slot { kept: Kept::Datacenter(dc), .. }) = self.slots.get_mut(&key.1)
                && dc.owner.as_ref() == Some(name)
            {
                Arc::make_mut(dc).owner = None;
                self.departures.depart(key.1, Reference::User(name.clone()), named_again);
                self.suspects.push(key.1);
            }
        }
        let Some(groups) = self.memberships.remove(name) else { return };
        for id in groups {
            let Some(Slot { kept: Kept::Group(group), .. }) = self.slots.get_mut(&id) else { continue };
            let changed = Arc::make_mut(group);
            changed.members.retain(|member| member != name);
            self.departures.depart(id, Reference::User(name.clone()), named_again);
            self.suspects.push(id);
        }
    }

    /// The datacenter of this name is gone: nobody is bound or attached to it any more.
    fn depart_datacenter(&mut self, name: &DcName, named_again: bool) {
        self.departures.went(Reference::Datacenter(name.clone()));
        for id in self.users_bound.remove(name).unwrap_or_default() {
            if let Some(Slot { kept: Kept::User(user, _), .. }) = self.slots.get_mut(&id) {
                Arc::make_mut(user).dc_bound = None;
                self.departures.depart(id, Reference::Datacenter(name.clone()), named_again);
                self.suspects.push(id);
            }
        }
        for key in &self.groups_by_name {
            let Some(Slot { kept: Kept::Group(group), .. }) = self.slots.get_mut(&key.1) else { continue };
            if group.datacenters.contains(name) || group.dc_bound.as_ref() == Some(name) {
                let changed = Arc::make_mut(group);
                changed.datacenters.retain(|dc| dc != name);
                changed.dc_bound = changed.dc_bound.take().filter(|dc| dc != name);
                self.departures.depart(key.1, Reference::Datacenter(name.clone()), named_again);
                self.suspects.push(key.1);
            }
        }
    }

    /// Takes an entry out of the table and of all indexes.
    fn take(&mut self, id: EntryId) -> Option<Slot> {
        let slot = self.slots.remove(&id)?;
        match &slot.kept {
            Kept::User(user, _) => {
                self.users.remove(&user.name, id);
                self.users_by_name.remove(&ByName(user.name.as_str().into(), id));
                self.mails.remove(&mail_key(&user.email), id);
                if let Some(hash) = &user.api_key_hash {
                    self.api_keys.remove(hash, id);
                }
                if let Some(dc) = &user.dc_bound {
                    forget(&mut self.users_bound, dc, id);
                }
            }
            Kept::Group(group) => {
                self.groups.remove(&group.name, id);
                self.groups_by_name.remove(&ByName(group.name.as_str().into(), id));
                for member in &group.members {
                    forget(&mut self.memberships, member, id);
                }
            }
            Kept::Datacenter(dc) => {
                self.datacenters.remove(&dc.name, id);
                self.datacenters_by_name.remove(&ByName(dc.name.as_str().into(), id));
            }
            Kept::Session(session) => {
                self.sessions.remove(&session.token_hash, id);
                forget(&mut self.sessions_of, &session.user, id);
            }
            Kept::Claim(names) => {
                names.iter().for_each(|name| self.users.remove(name, id));
                self.skipped -= 1;
            }
            Kept::Skipped => self.skipped -= 1,
        }
        Some(slot)
    }

    fn index(&mut self, id: EntryId, kept: &Kept) {
        match kept {
            Kept::User(user, _) => {
                self.users.insert(user.name.clone(), id);
                if !user.name.as_str().eq_ignore_ascii_case(SYSTEM_USER) {
                    self.users_by_name.insert(ByName(user.name.as_str().into(), id));
                }
                if !user.email.is_empty() {
                    self.mails.insert(mail_key(&user.email), id);
                }
                if let Some(hash) = user.api_key_hash {
                    self.api_keys.insert(hash, id);
                }
                if let Some(dc) = &user.dc_bound {
                    self.users_bound.entry(dc.clone()).or_default().insert(id);
                }
            }
            Kept::Group(group) => {
                self.groups.insert(group.name.clone(), id);
                self.groups_by_name.insert(ByName(group.name.as_str().into(), id));
                for member in &group.members {
                    self.memberships.entry(member.clone()).or_default().insert(id);
                }
            }
            Kept::Datacenter(dc) => {
                self.datacenters.insert(dc.name.clone(), id);
                self.datacenters_by_name.insert(ByName(dc.name.as_str().into(), id));
            }
            Kept::Session(session) => {
                self.sessions.insert(session.token_hash, id);
                self.sessions_of.entry(session.user).or_default().insert(id);
            }
            Kept::Claim(names) => {
                names.iter().for_each(|name| self.users.insert(name.clone(), id));
                self.skipped += 1;
            }
            Kept::Skipped => self.skipped += 1,
        }
    }
}

/// The server that a CSN is of: `TIME#COUNT#SERVER#MOD`.
fn server_of(csn: &str) -> Option<&str> {
    csn.split('#').nth(2)
}

/// Remembers one more of those that are gone.
fn push_last<T>(gone: &mut VecDeque<T>, one: T) {
    if gone.len() >= GONE {
        gone.pop_front();
    }
    gone.push_back(one);
}

/// The key of an e-mail address in the index.
pub(super) fn mail_key(mail: &str) -> Box<str> {
    mail.to_ascii_lowercase().into()
}

#[cfg(test)]
mod tests;
