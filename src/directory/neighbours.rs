//! Reading what a rule relates to an entry that was just written.
//!
//! Two writes to two entries may cross, each decided by a replica that does not show the other one yet. Whoever looks at
//! the directory itself after its own write sees the other write, or is seen by whoever made it.

use std::sync::Arc;

use crate::accounts::{Datacenter, EntryId, StoreError, User};
use crate::name::{DcName, UserName};

use super::dn::is_packed;
use super::filter::Filter;
use super::raw::RawEntry;
use super::replica::sync::ours;
use super::replica::tables::Source;
use super::{Directory, Inner, schema};

/// How many users are asked for in one search.
const AT_A_TIME: usize = 100;

impl Directory {
    /// Brings these users up to date in the replica.
    pub(crate) async fn look_at_users(&self, names: &[UserName]) -> Result<(), StoreError> {
        let inner = &*self.0;
        let (packed, plain): (Vec<&UserName>, Vec<&UserName>) = names.iter().partition(|name| is_packed(name));
        for some in plain.chunks(AT_A_TIME) {
            let named = some.iter().map(|name| Filter::Equal("uid", name.as_str())).collect();
            inner.look_for(Filter::Any(named)).await?;
        }
        // By the DN, since `uid` need not hold the name.
        for name in packed {
            inner.look_at(&inner.decoder.tree.user(name)).await?;
        }
        Ok(())
    }

    /// Brings the groups that have the user as member and are attached to a datacenter up to date in the replica, and says
    /// which those are.
    pub(crate) async fn look_at_attached_groups_of(&self, user: &UserName) -> Result<Vec<EntryId>, StoreError> {
        let dn = self.0.decoder.tree.user(user);
        let member = Filter::Equal("member", &dn);
        self.0.look_for(Filter::All(vec![member, Filter::Present(schema::DATACENTER_LINK)])).await
    }

    /// Brings the users and groups that are bound or attached to the datacenter up to date in the replica.
    pub(crate) async fn look_at_those_in(&self, dc: &DcName) -> Result<(), StoreError> {
        let dn = self.0.decoder.tree.datacenter(dc);
        let bound = Filter::Equal(schema::DC_BOUND, &dn);
        let attached = Filter::Equal(schema::DATACENTER_LINK, &dn);
        self.0.look_for(Filter::Any(vec![bound, attached])).await.map(|_| ())
    }

    /// Brings the datacenters that the user owns up to date in the replica.
    pub(crate) async fn look_at_datacenters_of(&self, user: &UserName) -> Result<(), StoreError> {
        let dn = self.0.decoder.tree.user(user);
        self.0.look_for(Filter::Equal(schema::OWNER, &dn)).await.map(|_| ())
    }

    /// Brings the user up to date in the replica; the user as the directory has him, unless he is about to be deleted.
    pub(crate) async fn look_at_user(&self, name: &UserName) -> Result<Option<Arc<User>>, StoreError> {
        let exists = self.0.look_at(&self.0.decoder.tree.user(name)).await?;
        let view = self.read();
        let state = view.user(name).filter(|_| exists).and_then(|user| view.user_state(user.id));
        Ok(state.filter(|(_, facts, _)| !facts.leaving).map(|(user, ..)| user))
    }

    /// Brings the datacenter up to date in the replica; the datacenter as the directory has it.
    pub(crate) async fn look_at_datacenter(&self, name: &DcName) -> Result<Option<Arc<Datacenter>>, StoreError> {
        let exists = self.0.look_at(&self.0.decoder.tree.datacenter(name)).await?;
        Ok(self.read().datacenter(name).filter(|_| exists).cloned())
    }

    /// Whether the datacenter has an entry.
    pub(crate) async fn has_datacenter(&self, dc: &DcName) -> Result<bool, StoreError> {
        let dn = self.0.decoder.tree.datacenter(dc);
        Ok(self.0.client.read(&dn, &[schema::ENTRY_CSN]).await?.is_some())
    }
}

impl Inner {
    /// Reads the entry into the replica; whether there is one.
    async fn look_at(&self, dn: &str) -> Result<bool, StoreError> {
        let found = self.client.read(dn, schema::REPLICATED).await?;
        self.take_found(found.as_slice());
        Ok(found.is_some())
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
        self.replica.change(|tables| decoded.into_iter().for_each(|one| tables.put(one, Source::Recheck)));
        ids
    }
}
