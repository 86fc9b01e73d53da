//! The questions that can be asked of the replica. All are look-ups in indexes or walks over one; none waits.

use std::sync::{Arc, RwLockReadGuard};

use crate::accounts::{Datacenter, EntryId, Group, SYSTEM_USER, Session, User};
use crate::name::{DcName, GroupName, UserName};

use super::super::decode::UserFacts;
use super::departures::Reference;
use super::tables::{Kept, Tables, mail_key};

/// A consistent view of the replica. It holds the tables' lock for reading, so it is short-lived, and it is not `Send`:
/// it can't be held across an `await`.
pub(crate) struct View<'a>(pub(crate) RwLockReadGuard<'a, Tables>);

impl View<'_> {
    /// The user called `name`; none where another entry claims the name, and none for the hidden `_system`.
    pub(crate) fn user(&self, name: &UserName) -> Option<&Arc<User>> {
        if name.as_str().eq_ignore_ascii_case(SYSTEM_USER) {
            return None;
        }
        self.user_by_id(self.0.users.only(name)?)
    }

    /// Whether any entry goes by this name, a user or not.
    pub(crate) fn is_claimed(&self, name: &UserName) -> bool {
        !self.0.users.get(name).is_empty()
    }

    pub(crate) fn user_by_id(&self, id: EntryId) -> Option<&Arc<User>> {
        match &self.0.slots.get(&id)?.kept {
            Kept::User(user, _) => Some(user),
            _ => None,
        }
    }

    /// The user whose API key has this keyed hash; none where two entries claim it, or the user's name.
    pub(crate) fn user_by_api_key(&self, hash: &[u8; 32]) -> Option<&Arc<User>> {
        self.unambiguous(self.0.api_keys.only(hash)?)
    }

    /// The user with this identity, unless another entry claims the name too: then neither may do anything.
    pub(crate) fn unambiguous(&self, id: EntryId) -> Option<&Arc<User>> {
        self.user_by_id(id).filter(|user| self.0.users.only(&user.name) == Some(id))
    }

    pub(crate) fn session(&self, token_hash: &[u8; 32]) -> Option<&Session> {
        match &self.0.slots.get(&self.0.sessions.only(token_hash)?)?.kept {
            Kept::Session(session) => Some(session),
            _ => None,
        }
    }

    /// The user's sessions, in no order.
    pub(crate) fn sessions_of(&self, user: EntryId) -> Vec<Session> {
        let ids = self.0.sessions_of.get(&user).into_iter().flatten();
        ids.filter_map(|id| match &self.0.slots.get(id)?.kept {
            Kept::Session(session) => Some(session.clone()),
            _ => None,
        })
        .collect()
    }

    /// All sessions, in no order.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.0.slots.values().filter_map(|slot| match &slot.kept {
            Kept::Session(session) => Some(session),
            _ => None,
        })
    }

    /// All users but `_system`, by the bytes of the stored name. Where two entries claim one name there is none.
    pub(crate) fn users(&self) -> impl DoubleEndedIterator<Item = &Arc<User>> {
        self.0.users_by_name.iter().filter_map(|key| self.unambiguous(key.1))
    }

    /// The users whose name or e-mail address is `text`, without regard to case; `_system` among them.
    pub(crate) fn identity_owners(&self, text: &str) -> Vec<&Arc<User>> {
        let by_name = UserName::parse(text).ok();
        let by_name = by_name.as_ref().map_or(&[][..], |name| self.0.users.get(name));
        let by_mail = self.0.mails.get(&*mail_key(text));
        let mut ids: Vec<EntryId> = by_name.iter().chain(by_mail).copied().collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().filter_map(|id| self.user_by_id(id)).collect()
    }

    /// What writes need to know of a user's entry: its version, and more.
    pub(crate) fn user_state(&self, id: EntryId) -> Option<(Arc<User>, UserFacts, Box<str>)> {
        let slot = self.0.slots.get(&id)?;
        match &slot.kept {
            Kept::User(user, facts) => Some((user.clone(), *facts, slot.csn.clone())),
            _ => None,
        }
    }

    pub(crate) fn group(&self, name: &GroupName) -> Option<&Arc<Group>> {
        self.group_by_id(self.0.groups.only(name)?)
    }

    pub(crate) fn group_by_id(&self, id: EntryId) -> Option<&Arc<Group>> {
        match &self.0.slots.get(&id)?.kept {
            Kept::Group(group) => Some(group),
            _ => None,
        }
    }

    /// All groups, by the bytes of the stored name.
    pub(crate) fn groups(&self) -> impl DoubleEndedIterator<Item = &Arc<Group>> {
        let tables = &self.0;
        tables
            .groups_by_name
            .iter()
            .filter_map(|key| self.group_by_id(key.1))
            .filter(|group| tables.groups.only(&group.name) == Some(group.id))
    }

    /// The groups that the user is a member of, by name.
    pub(crate) fn groups_of(&self, user: &UserName) -> Vec<&Arc<Group>> {
        let ids = self.0.memberships.get(user).into_iter().flatten();
        let mut groups: Vec<&Arc<Group>> = ids
            .filter_map(|id| self.group_by_id(*id))
            .filter(|group| self.0.groups.only(&group.name) == Some(group.id))
            .collect();
        groups.sort_unstable_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
        groups
    }

    /// The groups and datacenters that may name the user in the directory, among them those in which that does not count
    /// because it was said of an entry that is gone.
    pub(crate) fn naming_user(&self, user: &UserName) -> (Vec<GroupName>, Vec<DcName>) {
        let departed: Vec<EntryId> = self.0.departed_from(&Reference::User(user.clone())).collect();
        let groups = self.0.memberships.get(user).into_iter().flatten().chain(&departed);
        let groups = groups.filter_map(|id| self.group_by_id(*id)).map(|group| group.name.clone()).collect();
        let owned = self.datacenters_owned_by(user).into_iter().map(|dc| dc.id);
        let dcs = owned.chain(departed.iter().copied()).filter_map(|id| self.datacenter_by_id(id));
        (groups, dcs.map(|dc| dc.name.clone()).collect())
    }

    /// The users and groups that may name the datacenter in the directory, also where that does not count, as above.
    pub(crate) fn naming_datacenter(&self, dc: &DcName) -> (Vec<Arc<User>>, Vec<Arc<Group>>) {
        let departed: Vec<EntryId> = self.0.departed_from(&Reference::Datacenter(dc.clone())).collect();
        let users = self.0.users_bound.get(dc).into_iter().flatten().chain(&departed);
        let users = users.filter_map(|id| self.unambiguous(*id)).cloned().collect();
        let names = |group: &Group| group.datacenters.contains(dc) || group.dc_bound.as_ref() == Some(dc);
        let groups = self.groups().filter(|group| names(group) || departed.contains(&group.id)).cloned().collect();
        (users, groups)
    }

    /// Whether the directory may have the group attached to a datacenter of this name although that does not count, or not
    /// yet: an earlier one of the name went.
    pub(crate) fn is_away(&self, group: &Group, dc: &DcName) -> bool {
        self.0.datacenters_away(group.id).any(|away| away == dc)
    }

    /// Whether the directory may have the group attached to any such datacenter, which may be there before it is known here.
    pub(crate) fn may_be_attached(&self, group: &Group) -> bool {
        self.0.datacenters_away(group.id).next().is_some()
    }

    /// The same of those that are known to be there again.
    pub(crate) fn is_attached_again(&self, group: &Group) -> bool {
        self.0.datacenters_away(group.id).any(|dc| self.datacenter(dc).is_some())
    }

    /// Whether the directory may have members of the group who do not count, or not yet: earlier ones of their names went.
    pub(crate) fn may_have_more_members(&self, group: &Group) -> bool {
        self.0.has_users_away(group.id)
    }

    /// The datacenters that the user may be bound to in the directory: his own, and earlier ones of their names.
    pub(crate) fn bindings<'u>(&'u self, user: &'u User) -> impl Iterator<Item = &'u DcName> {
        user.dc_bound.iter().chain(self.0.datacenters_away(user.id))
    }

    /// The members that exist, by name; `_system` is none.
    pub(crate) fn members_of(&self, group: &Group) -> Vec<&Arc<User>> {
        let mut members: Vec<&Arc<User>> = group.members.iter().filter_map(|name| self.user(name)).collect();
        members.sort_unstable_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
        members.dedup_by_key(|user| user.id);
        members
    }

    pub(crate) fn datacenter(&self, name: &DcName) -> Option<&Arc<Datacenter>> {
        self.datacenter_by_id(self.0.datacenters.only(name)?)
    }

    pub(crate) fn datacenter_by_id(&self, id: EntryId) -> Option<&Arc<Datacenter>> {
        match &self.0.slots.get(&id)?.kept {
            Kept::Datacenter(dc) => Some(dc),
            _ => None,
        }
    }

    /// All datacenters, by the bytes of the stored name.
    pub(crate) fn datacenters(&self) -> impl DoubleEndedIterator<Item = &Arc<Datacenter>> {
        let tables = &self.0;
        tables
            .datacenters_by_name
            .iter()
            .filter_map(|key| self.datacenter_by_id(key.1))
            .filter(|dc| tables.datacenters.only(&dc.name) == Some(dc.id))
    }

    /// The groups attached to the datacenter, by name.
    pub(crate) fn groups_of_datacenter(&self, dc: &DcName) -> Vec<&Arc<Group>> {
        self.groups().filter(|group| group.datacenters.contains(dc)).collect()
    }

    pub(crate) fn datacenters_owned_by(&self, user: &UserName) -> Vec<&Arc<Datacenter>> {
        self.datacenters().filter(|dc| dc.owner.as_ref() == Some(user)).collect()
    }

    /// The user of this name who went last, or as he was before something about him changed, if that is not long ago and he
    /// was `visible` then: what a list goes on after. The same below.
    pub(crate) fn former_user(&self, name: &str, visible: impl Fn(&User) -> bool) -> Option<&Arc<User>> {
        self.former(|kept| match kept {
            Kept::User(user, _) if user.name.as_str().eq_ignore_ascii_case(name) && visible(user) => Some(user),
            _ => None,
        })
    }

    pub(crate) fn former_group(&self, name: &str, visible: impl Fn(&Group) -> bool) -> Option<&Arc<Group>> {
        self.former(|kept| match kept {
            Kept::Group(group) if group.name.as_str().eq_ignore_ascii_case(name) && visible(group) => Some(group),
            _ => None,
        })
    }

    pub(crate) fn former_datacenter(
        &self,
        name: &str,
        visible: impl Fn(&Datacenter) -> bool,
    ) -> Option<&Arc<Datacenter>> {
        self.former(|kept| match kept {
            Kept::Datacenter(dc) if dc.name.as_str().eq_ignore_ascii_case(name) && visible(dc) => Some(dc),
            _ => None,
        })
    }

    fn former<T>(&self, pick: impl Fn(&Kept) -> Option<&T>) -> Option<&T> {
        let gone = self.0.gone.iter().rev().map(|(_, kept)| kept);
        gone.chain(self.0.moved.iter().rev()).find_map(pick)
    }

    /// How many users, groups, datacenters and sessions there are, and how many entries were skipped.
    pub(crate) fn counts(&self) -> [usize; 5] {
        let tables = &self.0;
        [
            tables.users_by_name.len(),
            tables.groups_by_name.len(),
            tables.datacenters_by_name.len(),
            tables.sessions_of.values().map(std::collections::HashSet::len).sum(),
            tables.skipped,
        ]
    }
}
