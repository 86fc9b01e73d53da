//! Writing groups and memberships. Members are added and deleted as single values, so that parallel writers all hold.

use std::sync::Arc;
use std::time::Duration;

use crate::accounts::error::UniqueField;
use crate::accounts::{Group, GroupChange, NewGroup, StoreError};
use crate::name::{DcName, GroupName, UserName};

use super::super::code::OpError;
use super::super::connection::{Attribute, Change};
use super::super::decode::Item;
use super::super::{Directory, Inner, schema};
use super::{GROUP, Rounds, attribute, bytes, gone_is_done, unique};

/// How long `refint` may take to come to a group, and how often the group is looked at meanwhile.
const CLEAN_UP: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);

impl Directory {
    pub(crate) async fn create_group(&self, new: NewGroup) -> Result<Arc<Group>, StoreError> {
        let inner = &*self.0;
        let tree = &inner.decoder.tree;
        let dn = tree.group(&new.name);
        let mut entry: Vec<Attribute> = vec![
            ("objectClass", vec![bytes("usherGroup")]),
            attribute("cn", new.name.as_str()),
            attribute(schema::ALIAS, &new.alias),
        ];
        if !new.permissions.is_empty() {
            entry.push((schema::PERMISSION, new.permissions.iter().map(|p| bytes(p.name())).collect()));
        }
        if !new.members.is_empty() {
            entry.push(("member", new.members.iter().map(|m| tree.user(m).into_bytes()).collect()));
        }
        if let Some(dc) = &new.dc_bound {
            let dc = tree.datacenter(dc);
            entry.push(attribute(schema::DC_BOUND, &dc));
            entry.push(attribute(schema::DATACENTER_LINK, &dc));
        }
        let (id, added) = inner.add_entry(&dn, &entry).await.map_err(|e| unique(e, UniqueField::Alias))?;
        match (self.read().group_by_id(id), added) {
            (Some(group), _) => Ok(Arc::clone(group)),
            (None, Some(Item::Group(group))) => Ok(Arc::new(group)),
            (None, _) => Err(StoreError::NotFound),
        }
    }

    /// Takes away first (members and permissions that go), then sets the rest, all in one modify where the
    /// entry is as we think.
    pub(crate) async fn update_group(&self, group: &Group, change: GroupChange) -> Result<Arc<Group>, StoreError> {
        let inner = &*self.0;
        let tree = &inner.decoder.tree;
        let dn = tree.group(&group.name);
        let mut fields = Vec::new();
        if let Some(alias) = &change.alias {
            fields.push(Change::set(schema::ALIAS, Some(alias)));
        }
        if let Some(permissions) = &change.permissions {
            fields.push(Change::Replace(schema::PERMISSION, permissions.iter().map(|p| bytes(p.name())).collect()));
        }
        if let Some(bound) = &change.dc_bound {
            fields.push(Change::set(schema::DC_BOUND, bound.as_ref().map(|dc| tree.datacenter(dc)).as_deref()));
        }
        let users = |names: &[UserName]| names.iter().map(|n| tree.user(n).into_bytes()).collect::<Vec<_>>();
        let [gone, new] = [users(&change.remove_members), users(&change.add_members)];
        let removals: Vec<Change> = (!gone.is_empty()).then_some(Change::Delete("member", gone)).into_iter().collect();
        let additions: Vec<Change> = (!new.is_empty()).then_some(Change::Add("member", new)).into_iter().collect();
        let all: Vec<Change> = [&removals, &fields, &additions].into_iter().flatten().cloned().collect();
        if !all.is_empty() {
            inner.await_clean_up(group, &change.add_members).await?;
            match inner.modify_entry(group.id, &dn, GROUP, &all).await {
                Ok(()) => {}
                // somebody did a part of it: the fields as one, the values one by one
                Err(OpError::ValueState) => {
                    inner.change_values(Some((group.id, GROUP)), &dn, removals).await?;
                    if !fields.is_empty() {
                        let changed = inner.modify_entry(group.id, &dn, GROUP, &fields).await;
                        changed.map_err(|e| unique(e, UniqueField::Alias))?;
                    }
                    inner.change_values(Some((group.id, GROUP)), &dn, additions).await?;
                }
                Err(error) => return Err(unique(error, UniqueField::Alias)),
            }
        }
        self.read().group_by_id(group.id).cloned().ok_or(StoreError::NotFound)
    }

    /// Attaches the group to the datacenter and unbinds it, unless it is attached already ([`StoreError::Exists`]): decided
    /// by the entry itself, so that of parallel calls one succeeds.
    pub(crate) async fn attach_group(&self, group: &Group, dc: &DcName) -> Result<Arc<Group>, StoreError> {
        let inner = &*self.0;
        let tree = &inner.decoder.tree;
        let dn = tree.group(&group.name);
        let changes = [
            Change::set(schema::DC_BOUND, None),
            Change::Add(schema::DATACENTER_LINK, vec![tree.datacenter(dc).into_bytes()]),
        ];
        match inner.modify_entry(group.id, &dn, GROUP, &changes).await {
            Ok(()) => {}
            // What an entry of the name that went had does not count: it is given anew.
            Err(OpError::ValueState) if self.read().is_away(group, dc) => {
                inner.change_values(Some((group.id, GROUP)), &dn, changes.to_vec()).await?;
            }
            Err(OpError::ValueState) => {
                inner.reread(&dn).await?;
                return Err(StoreError::Exists);
            }
            Err(error) => return Err(error.into()),
        }
        self.read().group_by_id(group.id).cloned().ok_or(StoreError::NotFound)
    }

    /// Ends what binds the group to the datacenter, its attachment with it if so wanted. A group that is gone, or was bound
    /// to another one meanwhile, is left alone.
    pub(crate) async fn unbind_group(&self, group: &Group, dc: &DcName, detach: bool) -> Result<(), StoreError> {
        let tree = &self.0.decoder.tree;
        let value = tree.datacenter(dc).into_bytes();
        let mut changes = Vec::new();
        if detach {
            changes.push(Change::Delete(schema::DATACENTER_LINK, vec![value.clone()]));
        }
        changes.push(Change::Delete(schema::DC_BOUND, vec![value]));
        gone_is_done(self.0.change_values(Some((group.id, GROUP)), &tree.group(&group.name), changes).await)
    }

    /// Ends the attachment of the group, and what binds it to the datacenter.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the directory has no such attachment: of parallel calls one succeeds.
    pub(crate) async fn detach_group(&self, group: &Group, dc: &DcName) -> Result<(), StoreError> {
        let inner = &*self.0;
        let dn = inner.decoder.tree.group(&group.name);
        let value = vec![inner.decoder.tree.datacenter(dc).into_bytes()];
        let mut rounds = Rounds::new();
        while rounds.next() {
            let now = self.read().group_by_id(group.id).filter(|now| now.datacenters.contains(dc)).cloned();
            let Some(now) = now else { return Err(StoreError::NotFound) };
            let mut changes = vec![Change::Delete(schema::DATACENTER_LINK, value.clone())];
            if now.dc_bound.as_ref() == Some(dc) {
                changes.push(Change::Delete(schema::DC_BOUND, value.clone()));
            }
            match inner.modify_entry(group.id, &dn, GROUP, &changes).await {
                Ok(()) => {}
                Err(OpError::ValueState) => {
                    rounds.pause().await;
                    inner.reread(&dn).await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            // Bound by somebody else of late.
            let bound = self.read().group_by_id(group.id).is_some_and(|now| now.dc_bound.as_ref() == Some(dc));
            return if bound { self.unbind_group(group, dc, false).await } else { Ok(()) };
        }
        Err(StoreError::Contended)
    }

    /// Ends the membership of one who went while he was made a member. A group that is gone has no members.
    pub(crate) async fn expel(&self, group: &GroupName, user: &UserName) -> Result<(), StoreError> {
        self.0.leave(group, user).await
    }

    /// # Errors
    /// [`StoreError::Contended`] where there is another group of that name by now, which the replica then has.
    pub(crate) async fn delete_group(&self, group: &Group) -> Result<(), StoreError> {
        let dn = self.0.decoder.tree.group(&group.name);
        self.0.delete_entry(group.id, &dn, GROUP, group.members.len(), None).await
    }
}

impl Inner {
    /// Waits until slapd's `refint` is done with the group, where users of these names went away from it: a membership
    /// that is given before is taken away again, unseen. Where it does not come, nothing is waited for but its time.
    async fn await_clean_up(&self, group: &Group, members: &[UserName]) -> Result<(), StoreError> {
        let dn = self.decoder.tree.group(&group.name);
        loop {
            let departed = self.replica.read().departed_lately(group.id, members, CLEAN_UP);
            if departed.is_empty() {
                return Ok(());
            }
            let stored = self.client.read(&dn, schema::REPLICATED).await?;
            let stored = stored.and_then(|raw| self.decoder.decode(&raw, None)).map(|decoded| decoded.item);
            if !matches!(stored, Some(Item::Group(stored)) if departed.iter().any(|m| stored.members.contains(m))) {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Makes the user a member of the groups; `added` are those that he was none of. A group that is gone has no members, and
    /// another one of its name is none that was decided about.
    pub(super) async fn join(
        &self,
        groups: &[Arc<Group>],
        user: &UserName,
        added: &mut Vec<GroupName>,
    ) -> Result<(), StoreError> {
        let tree = &self.decoder.tree;
        for group in groups {
            self.await_clean_up(group, std::slice::from_ref(user)).await?;
            let change = Change::Add("member", vec![tree.user(user).into_bytes()]);
            let dn = tree.group(&group.name);
            match self.modify_entry(group.id, &dn, GROUP, &[change]).await {
                Ok(()) => added.push(group.name.clone()),
                Err(OpError::ValueState) => self.look_at(&dn).await.map(|_| ())?,
                Err(error) => gone_is_done(Err(error.into()))?,
            }
        }
        Ok(())
    }

    /// Ends the user's membership, if he has one. A group that is gone has no members.
    pub(super) async fn leave(&self, group: &GroupName, user: &UserName) -> Result<(), StoreError> {
        let tree = &self.decoder.tree;
        let change = Change::Delete("member", vec![tree.user(user).into_bytes()]);
        gone_is_done(self.change_values(None, &tree.group(group), vec![change]).await)
    }

    pub(super) async fn leave_all(&self, groups: &[GroupName], user: &UserName) -> Result<(), StoreError> {
        for group in groups {
            self.leave(group, user).await?;
        }
        Ok(())
    }
}
