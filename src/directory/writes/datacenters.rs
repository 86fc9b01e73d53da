//! Writing datacenters.

use std::sync::Arc;

use crate::accounts::error::UniqueField;
use crate::accounts::secrets::RequestMark;
use crate::accounts::{Datacenter, DatacenterChange, EntryId, NewDatacenter, StoreError};
use crate::name::{DcName, UserName};

use super::super::code::OpError;
use super::super::connection::{Attribute, Change};
use super::super::decode::Item;
use super::super::filter::Filter;
use super::super::replica::departures::Reference;
use super::super::{Directory, Inner, schema};
use super::{DATACENTER, attribute, bytes, gone_is_done};

impl Directory {
    /// Adds the datacenter with a new number. Where it has groups, the caller attaches them and then says
    /// [`finish_datacenter`](Self::finish_datacenter); `mark` is the request's, by which it is known again if it is cut
    /// short in between.
    pub(crate) async fn create_datacenter(
        &self,
        new: NewDatacenter,
        mark: RequestMark,
    ) -> Result<Arc<Datacenter>, StoreError> {
        let inner = &*self.0;
        let tree = &inner.decoder.tree;
        let dn = tree.datacenter(&new.name);
        inner.await_refint(&Reference::Datacenter(new.name.clone())).await?;
        // References that wait for an entry of this name were to another entry.
        if self.read().datacenter(&new.name).is_none() {
            self.forget_datacenter(&new.name, true).await?;
        }
        let number = inner.client.increment(&tree.state(), schema::NEXT_DATACENTER).await?;
        let mut entry: Vec<Attribute> = vec![
            ("objectClass", vec![bytes("usherDatacenter")]),
            attribute("cn", new.name.as_str()),
            attribute(schema::NUMBER, &number.to_string()),
            attribute(schema::ALIAS, &new.alias),
            attribute(schema::SITE, &new.site),
            attribute(schema::OWNER, &tree.user(&new.owner)),
            attribute(schema::ACCESS, &new.access.number().to_string()),
        ];
        if !new.groups.is_empty() {
            entry.push(attribute(schema::UNFINISHED, &mark.as_stored()));
        }
        if !new.desc.is_empty() {
            entry.push(attribute("description", &new.desc));
        }
        let (id, added) = match inner.add_entry(&dn, &entry).await {
            Ok(added) => added,
            Err(error) => return Err(inner.datacenter_error(error, None, Some(&new.alias), Some(&new.site)).await),
        };
        match (self.read().datacenter_by_id(id), added) {
            (Some(dc), _) => Ok(Arc::clone(dc)),
            (None, Some(Item::Datacenter(dc))) => Ok(Arc::new(dc)),
            (None, _) => Err(StoreError::NotFound),
        }
    }

    /// Ends the mark of the request that created the datacenter: its groups are attached.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if another one of the same request has ended it.
    pub(crate) async fn finish_datacenter(&self, dc: &Datacenter, mark: RequestMark) -> Result<(), StoreError> {
        self.0.finish(&self.0.decoder.tree.datacenter(&dc.name), mark).await
    }

    pub(crate) async fn update_datacenter(
        &self,
        dc: &Datacenter,
        change: DatacenterChange,
    ) -> Result<Arc<Datacenter>, StoreError> {
        let inner = &*self.0;
        let tree = &inner.decoder.tree;
        let dn = tree.datacenter(&dc.name);
        let mut changes = Vec::new();
        if let Some(alias) = &change.alias {
            changes.push(Change::set(schema::ALIAS, Some(alias)));
        }
        if let Some(site) = &change.site {
            changes.push(Change::set(schema::SITE, Some(site)));
        }
        if let Some(owner) = &change.owner {
            changes.push(Change::set(schema::OWNER, Some(&tree.user(owner))));
        }
        if let Some(access) = change.access {
            changes.push(Change::set(schema::ACCESS, Some(&access.number().to_string())));
        }
        if let Some(desc) = change.desc.as_deref() {
            changes.push(Change::set("description", (!desc.is_empty()).then_some(desc)));
        }
        // as for users
        if dc.unfinished.is_some() && (change.sets_groups || !changes.is_empty()) {
            changes.push(Change::set(schema::UNFINISHED, None));
        }
        if !changes.is_empty() {
            if dc.number == 0 {
                let number = inner.client.increment(&tree.state(), schema::NEXT_DATACENTER).await?;
                changes.push(Change::set(schema::NUMBER, Some(&number.to_string())));
            }
            if let Err(error) = inner.modify_entry(dc.id, &dn, DATACENTER, &changes).await {
                let (alias, site) = (change.alias.as_deref(), change.site.as_deref());
                return Err(inner.datacenter_error(error, Some(dc.id), alias, site).await);
            }
        }
        self.read().datacenter(&dc.name).cloned().ok_or(StoreError::NotFound)
    }

    /// Unbinds its users and groups and detaches its groups, then deletes the entry. Nothing else is deleted.
    ///
    /// # Errors
    /// [`StoreError::Contended`] where there is another datacenter of that name by now, which the replica then has.
    pub(crate) async fn delete_datacenter(&self, dc: &Datacenter) -> Result<(), StoreError> {
        let inner = &*self.0;
        self.forget_datacenter(&dc.name, false).await?;
        inner.delete_entry(dc.id, &inner.decoder.tree.datacenter(&dc.name), DATACENTER, 0, None).await?;
        // Who was bound to it while it went away. refint does that too, where a server has it, but late and unseen.
        self.look_at_those_in(&dc.name).await?;
        match self.forget_datacenter(&dc.name, true).await {
            // there is another one of its name already
            Err(StoreError::Exists) => Ok(()),
            other => other,
        }
    }

    /// Unbinds the users and groups of a datacenter of this name and detaches its groups. `absent`: only if it has no entry.
    async fn forget_datacenter(&self, name: &DcName, absent: bool) -> Result<(), StoreError> {
        let (users, groups) = self.read().naming_datacenter(name);
        if absent && !(users.is_empty() && groups.is_empty()) {
            self.0.is_absent(&self.0.decoder.tree.datacenter(name)).await?;
        }
        // groups first: an attachment may give rights in it, being unbound gives none
        for group in groups {
            self.unbind_group(&group, name, true).await?;
        }
        for user in users {
            self.unbind_user(&user, name).await?;
        }
        Ok(())
    }
}

impl Inner {
    /// Ends the user's ownership, if he has it. A datacenter that is gone is nobody's.
    pub(super) async fn disown(&self, dc: &DcName, user: &UserName) -> Result<(), StoreError> {
        let tree = &self.decoder.tree;
        let change = Change::Delete(schema::OWNER, vec![tree.user(user).into_bytes()]);
        gone_is_done(self.change_values(None, &tree.datacenter(dc), vec![change]).await)
    }

    /// The error of a write that gave the datacenter `own`, or a new one, these values. A refusal as not unique says which
    /// values the guard looked for, and not which one it found: of two, the directory is asked, by whose rules "a  b" and
    /// "a b" are one value.
    async fn datacenter_error(
        &self,
        error: OpError,
        own: Option<EntryId>,
        alias: Option<&str>,
        site: Option<&str>,
    ) -> StoreError {
        if !matches!(error, OpError::NotUnique(_)) {
            return error.into();
        }
        StoreError::NotUnique(match (alias, site) {
            (Some(_), Some(site)) => match self.has_site(site, own).await {
                Ok(true) => UniqueField::Site,
                Ok(false) => UniqueField::Alias,
                Err(error) => return error.into(),
            },
            (Some(_), None) => UniqueField::Alias,
            (None, Some(_)) => UniqueField::Site,
            (None, None) => UniqueField::Other,
        })
    }

    /// Whether the directory has a datacenter, other than `own`, of this site.
    async fn has_site(&self, site: &str, own: Option<EntryId>) -> Result<bool, OpError> {
        let own = own.map(|id| id.to_string());
        let not_own = own.as_deref().map(|id| Filter::Not(Box::new(Filter::Equal(schema::ENTRY_UUID, id))));
        let of_site = [DATACENTER, Filter::Equal(schema::SITE, site)];
        let filter = Filter::All(of_site.into_iter().chain(not_own).collect());
        let found = self.client.find(self.decoder.tree.base(), &filter, &[schema::ENTRY_UUID]).await?;
        Ok(!found.is_empty())
    }
}
