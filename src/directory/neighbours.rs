//! Reading what a rule relates to an entry that was just written.
//!
//! Two writes to two entries may cross, each decided by a replica that does not show the other one yet. Whoever looks at
//! the directory itself after its own write sees the other write, or is seen by whoever made it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::accounts::{Datacenter, EntryId, Group, StoreError, User};
use crate::name::{DcName, GroupName, UserName};

use super::decode::{Decoded, Item};
use super::dn::{Place, is_packed};
use super::filter::Filter;
use super::raw::RawEntry;
use super::replica::sync::ours;
use super::replica::tables::Source;
use super::{Directory, Inner, schema};

/// How many users are asked for in one search.
const AT_A_TIME: usize = 100;

/// How long the directory may take to say what a caller may do.
const SOON: Duration = Duration::from_millis(500);

impl Directory {
    /// Brings these users up to date in the replica; those that the directory has.
    pub(crate) async fn look_at_users(&self, names: &[UserName]) -> Result<Vec<Arc<User>>, StoreError> {
        let inner = &*self.0;
        let mut found = HashSet::new();
        let (packed, plain): (Vec<&UserName>, Vec<&UserName>) = names.iter().partition(|name| is_packed(name));
        for some in plain.chunks(AT_A_TIME) {
            let named = some.iter().map(|name| Filter::Equal("uid", name.as_str())).collect();
            found.extend(inner.look_for(Filter::Any(named)).await?);
        }
        // By the DN, since `uid` need not hold the name.
        for name in packed {
            found.extend(inner.look_at(&inner.decoder.tree.user(name)).await?);
        }
        let view = self.read();
        let there = names.iter().filter_map(|name| view.user(name)).filter(|user| found.contains(&user.id));
        Ok(there.cloned().collect())
    }

    /// Brings the groups that have the user as member and are attached to a datacenter up to date in the replica, and says
    /// which those are.
    pub(crate) async fn look_at_attached_groups_of(&self, user: &UserName) -> Result<Vec<EntryId>, StoreError> {
        let dn = self.0.decoder.tree.user(user);
        let member = Filter::Equal("member", &dn);
        self.0.look_for(Filter::All(vec![member, Filter::Present(schema::DATACENTER_LINK)])).await
    }

    /// The datacenters that the group is attached to, with those for which that is in doubt, since earlier ones of their names
    /// went, as the directory has them.
    pub(crate) async fn attachments(&self, group: &Group) -> Result<Vec<DcName>, StoreError> {
        if !self.read().may_be_attached(group) {
            return Ok(group.datacenters.clone());
        }
        let mut attachments = group.datacenters.clone();
        let Some(stored) = self.0.stored_group(group).await? else { return Ok(attachments) };
        for dc in stored.datacenters {
            if !attachments.contains(&dc) && self.has_datacenter(&dc).await? {
                attachments.push(dc);
            }
        }
        Ok(attachments)
    }

    /// The members of the group, with those for whom that is in doubt, since earlier ones of their names went, as the directory
    /// has them.
    pub(crate) async fn members(&self, group: &Group) -> Result<Vec<UserName>, StoreError> {
        if !self.read().may_have_more_members(group) {
            return Ok(group.members.clone());
        }
        let stored = self.0.stored_group(group).await?;
        Ok(stored.map_or_else(|| group.members.clone(), |stored| stored.members))
    }

    /// Whether the group is attached to the datacenter, as the directory has it.
    pub(crate) async fn is_attached(&self, group: &Group, dc: &DcName) -> Result<bool, StoreError> {
        self.0.look_at(&self.0.decoder.tree.group(&group.name)).await?;
        Ok(self.read().group_by_id(group.id).is_some_and(|now| now.datacenters.contains(dc)))
    }

    /// Brings the users and groups that are bound or attached to the datacenter up to date in the replica.
    pub(crate) async fn look_at_those_in(&self, dc: &DcName) -> Result<(), StoreError> {
        let dn = self.0.decoder.tree.datacenter(dc);
        let bound = Filter::Equal(schema::DC_BOUND, &dn);
        let attached = Filter::Equal(schema::DATACENTER_LINK, &dn);
        self.0.look_for(Filter::Any(vec![bound, attached])).await.map(|_| ())
    }

    /// The groups that have the user as member, and the datacenters that he owns, as the directory says. Brings the latter up
    /// to date in the replica.
    pub(crate) async fn look_at_what_names(
        &self,
        user: &UserName,
    ) -> Result<(Vec<GroupName>, Vec<DcName>), StoreError> {
        let inner = &*self.0;
        let tree = &inner.decoder.tree;
        let dn = tree.user(user);
        let named = Filter::Any(vec![Filter::Equal("member", &dn), Filter::Equal(schema::OWNER, &dn)]);
        let (mut groups, mut owned) = (Vec::new(), Vec::new());
        let named = Filter::All(vec![ours(), named]);
        for raw in inner.client.find(tree.base(), &named, &[schema::ENTRY_UUID]).await? {
            match tree.place(&raw.dn) {
                Place::Group(name) => groups.push(name),
                Place::Datacenter(name) => {
                    inner.look_at(&raw.dn).await?;
                    owned.push(name);
                }
                Place::User(_) | Place::Claim(_) | Place::Session | Place::Other => {}
            }
        }
        Ok((groups, owned))
    }

    /// While content sync is not up to date: brings what this caller may do up to date in the replica: his entry, his session,
    /// his groups and datacenters. Whether it did: where the directory does not say it soon, they stay as they are.
    pub(crate) async fn look_at_caller(&self, user: &User, session: Option<EntryId>) -> bool {
        if self.0.replica.in_sync() {
            return false;
        }
        matches!(tokio::time::timeout(SOON, self.look_at_rights(user, session)).await, Ok(Ok(())))
    }

    async fn look_at_rights(&self, user: &User, session: Option<EntryId>) -> Result<(), StoreError> {
        let Inner { decoder, replica, .. } = &*self.0;
        // A server that is behind what is known here can't say what is gone.
        let is_behind = self.0.newest_csn().await?.is_none_or(|csn| csn < replica.newest());
        let dn = decoder.tree.user(&user.name);
        let known: Vec<EntryId> = {
            let view = self.read();
            let groups = view.groups_of(&user.name).into_iter().map(|group| group.id);
            let owned = view.datacenters_owned_by(&user.name).into_iter().map(|dc| dc.id);
            [user.id].into_iter().chain(session).chain(groups).chain(owned).collect()
        };
        let ids: Vec<String> = known.iter().map(EntryId::to_string).collect();
        let known_ones = ids.iter().map(|id| Filter::Equal(schema::ENTRY_UUID, id));
        let his = [Filter::Equal("member", &dn), Filter::Equal(schema::OWNER, &dn)];
        let found = self.0.look_for(Filter::Any(known_ones.chain(his).collect())).await?;
        if !is_behind {
            let gone: Vec<EntryId> = known.into_iter().filter(|id| !found.contains(id)).collect();
            replica.change(|tables| gone.iter().for_each(|id| tables.remove(*id)));
            // Content sync has the last word.
            replica.doubt(gone.into_iter());
        }
        Ok(())
    }

    /// Brings the user up to date in the replica; the user as the directory has him.
    pub(crate) async fn look_at_user(&self, name: &UserName) -> Result<Option<Arc<User>>, StoreError> {
        let id = self.0.look_at(&self.0.decoder.tree.user(name)).await?;
        Ok(id.and_then(|id| self.read().unambiguous(id).cloned()))
    }

    /// Brings the datacenter up to date in the replica; the datacenter as the directory has it.
    pub(crate) async fn look_at_datacenter(&self, name: &DcName) -> Result<Option<Arc<Datacenter>>, StoreError> {
        let id = self.0.look_at(&self.0.decoder.tree.datacenter(name)).await?;
        Ok(self.read().datacenter(name).filter(|dc| id == Some(dc.id)).cloned())
    }

    /// Whether the datacenter has an entry.
    pub(crate) async fn has_datacenter(&self, dc: &DcName) -> Result<bool, StoreError> {
        let dn = self.0.decoder.tree.datacenter(dc);
        Ok(self.0.client.read(&dn, &[schema::ENTRY_CSN]).await?.is_some())
    }
}

impl Inner {
    /// Reads the entry into the replica; the entry, if there is one.
    pub(super) async fn look(&self, dn: &str) -> Result<Option<RawEntry>, StoreError> {
        let found = self.client.read(dn, schema::REPLICATED).await?;
        self.take_found(found.as_slice());
        Ok(found)
    }

    /// As [`look`](Self::look); the entry's identity.
    pub(super) async fn look_at(&self, dn: &str) -> Result<Option<EntryId>, StoreError> {
        let found = self.client.read(dn, schema::REPLICATED).await?;
        Ok(self.take_found(found.as_slice()).first().copied())
    }

    /// The group as the directory has it, with all that it names.
    async fn stored_group(&self, group: &Group) -> Result<Option<Group>, StoreError> {
        let stored = self.client.read(&self.decoder.tree.group(&group.name), schema::REPLICATED).await?;
        let stored = stored.and_then(|raw| self.decoder.decode(&raw, None)).filter(|stored| stored.id == group.id);
        Ok(stored.and_then(|stored| if let Item::Group(group) = stored.item { Some(group) } else { None }))
    }

    /// Reads the entries for which the filter is true into the replica, as far as it holds such entries; their identities.
    async fn look_for(&self, filter: Filter<'_>) -> Result<Vec<EntryId>, StoreError> {
        let filter = Filter::All(vec![ours(), filter]);
        let found = self.client.find(self.decoder.tree.base(), &filter, schema::REPLICATED).await?;
        Ok(self.take_found(&found))
    }

    fn take_found(&self, found: &[RawEntry]) -> Vec<EntryId> {
        let decoded: Vec<_> = found.iter().filter_map(|raw| self.decoder.decode(raw, None)).collect();
        let ids = decoded.iter().map(|decoded| decoded.id).collect();
        self.take_decoded(decoded);
        ids
    }

    /// Takes entries that were read into the replica.
    pub(super) fn take_decoded(&self, found: Vec<Decoded>) {
        self.replica.change(|tables| found.into_iter().for_each(|one| tables.put(one, Source::Recheck)));
    }
}
