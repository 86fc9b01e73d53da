//! The store: everything that speaks LDAP, and the replica from which every read is answered.
//!
//! [`Directory`] is the public face: `read` gives a consistent view of the replica, never touching LDAP; the writes are
//! one LDAP operation per entry and return when this daemon's own replica shows them. What input is valid and who may
//! do what is decided above, in `accounts` and `api`.
#![allow(dead_code, unused_variables, clippy::unimplemented, clippy::unused_async, reason = "signatures first")]

use std::marker::PhantomData;
use std::sync::{Arc, RwLockReadGuard};

use crate::accounts::password::Cost;
use crate::accounts::secrets::{KeyRing, Secret};
use crate::accounts::*;
use crate::config;
use crate::name::{DcName, GroupName, KeyTitle, UserName};

/// The directory. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Directory(Arc<()>);

/// Whether the replica follows the directory, and what it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Health {
    /// Content sync is up and past its refresh.
    pub(crate) in_sync: bool,
    pub(crate) users: usize,
    pub(crate) groups: usize,
    pub(crate) datacenters: usize,
    pub(crate) sessions: usize,
    /// Entries that were skipped because nothing can be made of them.
    pub(crate) skipped: usize,
    /// How often the connection for content sync was lost.
    pub(crate) reconnects: u64,
}

/// A consistent view of the replica. Not `Send`: it can't be held across an `await`.
pub(crate) struct View<'a>(PhantomData<RwLockReadGuard<'a, ()>>);

impl Directory {
    /// Connects, checks the base entries and the key identifier, and fills the replica.
    ///
    /// # Errors
    /// A text for the operator.
    pub(crate) async fn open(config: &config::Directory, ring: Arc<KeyRing>, cost: Cost) -> Result<Self, String> {
        unimplemented!()
    }

    /// The replica as it is now. No LDAP, no waiting.
    pub(crate) fn read(&self) -> View<'_> {
        unimplemented!()
    }

    pub(crate) fn health(&self) -> Health {
        unimplemented!()
    }

    /// Adds the user's entry with a new number and new keys, then the memberships.
    pub(crate) async fn create_user(&self, new: NewUser) -> Result<Arc<User>, StoreError> {
        unimplemented!()
    }

    /// Changes the named fields. What takes rights away is written first, what grants them last.
    pub(crate) async fn update_user(&self, user: &User, change: UserChange) -> Result<Arc<User>, StoreError> {
        unimplemented!()
    }

    /// Removes the memberships, then the entry.
    pub(crate) async fn delete_user(&self, user: &User) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Adds a key unless title or fingerprint is taken or `limit` reached ([`StoreError::Key`]): decided by the
    /// directory's own entry, so that parallel writers can't break the rule.
    pub(crate) async fn add_ssh_key(&self, user: &User, key: NewSshKey, limit: usize) -> Result<Arc<User>, StoreError> {
        unimplemented!()
    }

    /// Removes the key called `title`; [`StoreError::NotFound`] where there is none.
    pub(crate) async fn remove_ssh_key(&self, user: &User, title: &KeyTitle) -> Result<Arc<User>, StoreError> {
        unimplemented!()
    }

    pub(crate) async fn create_group(&self, new: NewGroup) -> Result<Arc<Group>, StoreError> {
        unimplemented!()
    }

    pub(crate) async fn update_group(&self, group: &Group, change: GroupChange) -> Result<Arc<Group>, StoreError> {
        unimplemented!()
    }

    pub(crate) async fn delete_group(&self, group: &Group) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Adds the datacenter with a new number, then attaches `new.groups`.
    pub(crate) async fn create_datacenter(&self, new: NewDatacenter) -> Result<Arc<Datacenter>, StoreError> {
        unimplemented!()
    }

    pub(crate) async fn update_datacenter(
        &self,
        dc: &Datacenter,
        change: DatacenterChange,
    ) -> Result<Arc<Datacenter>, StoreError> {
        unimplemented!()
    }

    /// Unbinds its users and groups and detaches its groups, then deletes the entry.
    pub(crate) async fn delete_datacenter(&self, dc: &Datacenter) -> Result<(), StoreError> {
        unimplemented!()
    }

    pub(crate) async fn create_session(&self, new: NewSession) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Deletes the session; one that is gone already is no error.
    pub(crate) async fn delete_session(&self, session: &Session) -> Result<(), StoreError> {
        unimplemented!()
    }

    pub(crate) async fn delete_sessions_of(&self, user: &User) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Binds as the user, or for `None` as the decoy at the same cost. An empty password is never sent.
    pub(crate) async fn verify_password(&self, user: Option<&User>, password: &Secret) -> Result<bool, StoreError> {
        unimplemented!()
    }
}

impl View<'_> {
    /// The user called `name`; none where two entries claim the name, and none for the hidden `_system`.
    pub(crate) fn user(&self, name: &UserName) -> Option<&Arc<User>> {
        unimplemented!()
    }

    pub(crate) fn user_by_id(&self, id: EntryId) -> Option<&Arc<User>> {
        unimplemented!()
    }

    /// The user whose API key has this keyed hash; none where two entries claim it.
    pub(crate) fn user_by_api_key(&self, hash: &[u8; 32]) -> Option<&Arc<User>> {
        unimplemented!()
    }

    pub(crate) fn session(&self, token_hash: &[u8; 32]) -> Option<&Session> {
        unimplemented!()
    }

    /// All users, by the bytes of the stored name.
    pub(crate) fn users(&self) -> impl DoubleEndedIterator<Item = &Arc<User>> {
        std::iter::empty()
    }

    /// The users whose name or e-mail address is `text`, without regard to case; `_system` among them.
    pub(crate) fn identity_owners(&self, text: &str) -> Vec<&Arc<User>> {
        unimplemented!()
    }

    pub(crate) fn group(&self, name: &GroupName) -> Option<&Arc<Group>> {
        unimplemented!()
    }

    /// All groups, by the bytes of the stored name.
    pub(crate) fn groups(&self) -> impl DoubleEndedIterator<Item = &Arc<Group>> {
        std::iter::empty()
    }

    /// The groups that the user is a member of, by name.
    pub(crate) fn groups_of(&self, user: &UserName) -> Vec<&Arc<Group>> {
        unimplemented!()
    }

    /// The members that exist, by name.
    pub(crate) fn members_of(&self, group: &Group) -> Vec<&Arc<User>> {
        unimplemented!()
    }

    pub(crate) fn datacenter(&self, name: &DcName) -> Option<&Arc<Datacenter>> {
        unimplemented!()
    }

    /// All datacenters, by the bytes of the stored name.
    pub(crate) fn datacenters(&self) -> impl DoubleEndedIterator<Item = &Arc<Datacenter>> {
        std::iter::empty()
    }

    /// The groups attached to the datacenter, by name.
    pub(crate) fn groups_of_datacenter(&self, dc: &DcName) -> Vec<&Arc<Group>> {
        unimplemented!()
    }

    pub(crate) fn datacenters_owned_by(&self, user: &UserName) -> Vec<&Arc<Datacenter>> {
        unimplemented!()
    }

    /// The users bound to the datacenter, in no order.
    pub(crate) fn users_bound_to(&self, dc: &DcName) -> Vec<&Arc<User>> {
        unimplemented!()
    }
}
