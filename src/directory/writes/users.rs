//! Writing users: create, change, delete.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::accounts::error::UniqueField;
use crate::accounts::secrets::{KeyKind, RequestMark, hex, new_key};
use crate::accounts::{Group, NewUser, StoreError, User, UserChange};
use crate::name::{DcName, GroupName, UserName};

use super::super::assent::undoing;
use super::super::code::OpError;
use super::super::connection::{Attribute, Change};
use super::super::decode::{Item, NOWHERE, UserFacts};
use super::super::dn::is_packed;
use super::super::filter::Filter;
use super::super::replica::departures::Reference;
use super::super::{Directory, Inner, schema};
use super::user_change::{before_leaving, crosses, is_still, still_bound, takes};
use super::{Rounds, USER, attribute, boolean, bytes, gone_is_done, is_entry, is_entry_with, unique};

/// How long it is waited for that a call which crosses this one is undone.
const UNDONE: Duration = Duration::from_millis(200);

/// What a user is to be who is bound again: as the change left him that unbound him, which gave his entry this CSN, or bound
/// there.
pub(crate) enum Rebinding<'a> {
    Since(&'a str),
    From(&'a DcName),
}

impl Directory {
    /// Adds the user's entry with a new number and new keys, then the memberships. `mark` is the request's, by which it is
    /// known again if it is cut short in between.
    pub(crate) async fn create_user(&self, new: NewUser, mark: RequestMark) -> Result<Arc<User>, StoreError> {
        let inner = &*self.0;
        let tree = &inner.decoder.tree;
        let dn = tree.user(&new.name);
        let groups = self.groups_called(&new.groups);
        self.forget_user(&new.name, &dn).await?;
        let number = inner.client.increment(&tree.state(), schema::NEXT_USER).await?;
        let mut entry: Vec<Attribute> = vec![
            ("objectClass", ["inetOrgPerson", "ldapPublicKey", "usherAccount"].map(bytes).to_vec()),
            attribute("uid", new.name.as_str()),
            attribute("cn", &common_name(&new.first_name, &new.last_name, &new.name)),
            attribute("sn", &new.last_name),
            attribute("givenName", &new.first_name),
            attribute("mail", &new.email),
            attribute(schema::PASSWORD, &new.password_hash),
            attribute(schema::NUMBER, &number.to_string()),
            attribute(schema::ACTIVE, boolean(new.is_active)),
            attribute(schema::API_ACCESS, boolean(new.api_access)),
            attribute(schema::SUPER_ADMIN, boolean(new.super_admin)),
            // the API verifies addresses of users that it makes (contract 3.4)
            attribute("usherEmailVerified", "TRUE"),
            attribute("usherPhoneVerified", "TRUE"),
            (schema::IDENTITY, identities(&new.name, &new.email)),
        ];
        if let Some(dc) = &new.dc_bound {
            entry.push(attribute(schema::DC_BOUND, &tree.datacenter(dc)));
        }
        if !new.groups.is_empty() {
            entry.push(attribute(schema::UNFINISHED, &mark.as_stored()));
        }
        let [api_key, api_key_hash] = inner.new_api_key();
        entry.push((schema::API_KEY, vec![api_key]));
        entry.push((schema::API_KEY_HASH, vec![api_key_hash]));
        entry.push((schema::CALLBACK_KEY, vec![inner.new_callback_key()]));
        let added = match inner.add_entry(&dn, &entry).await {
            Err(OpError::NotUnique(_)) if inner.free_identities(&new.name, &new.email).await? => {
                inner.add_entry(&dn, &entry).await
            }
            other => other,
        };
        let (id, added) = added.map_err(|error| match error {
            OpError::Constraint(text) => StoreError::PasswordRefused(text),
            OpError::Schema(text) if is_packed(&new.name) => {
                warn!(%text, "the server's schema lacks usherName: it can't hold a user name of this length");
                StoreError::NameTooLong
            }
            other => unique(other, UniqueField::Identity),
        })?;
        let user = match (self.read().user_by_id(id), added) {
            (Some(user), _) => Arc::clone(user),
            (None, Some(Item::User(user, _))) => Arc::new(user),
            (None, _) => return Err(StoreError::NotFound),
        };
        if groups.is_empty() { Ok(user) } else { self.join_all(&user, &groups).await }
    }

    /// The groups that there are of these.
    fn groups_called(&self, names: &[GroupName]) -> Vec<Arc<Group>> {
        let view = self.read();
        names.iter().filter_map(|name| view.group(name).cloned()).collect()
    }

    /// The memberships of a user whose entry a request made. Then it says [`finish_user`](Self::finish_user).
    pub(crate) async fn complete_user(&self, user: &User, groups: &[GroupName]) -> Result<Arc<User>, StoreError> {
        self.join_all(user, &self.groups_called(groups)).await
    }

    async fn join_all(&self, user: &User, groups: &[Arc<Group>]) -> Result<Arc<User>, StoreError> {
        self.0.join(groups, &user.name, &mut Vec::new()).await?;
        let now = self.read().user_by_id(user.id).cloned();
        if now.is_none() {
            let names: Vec<GroupName> = groups.iter().map(|group| group.name.clone()).collect();
            self.settle_joined(user, &names).await?;
        }
        now.ok_or(StoreError::NotFound)
    }

    /// The end of the mark of the request that made the user, who is complete. Of several that do this at the same time one
    /// succeeds, the others are told that the user exists. The user as he is then; where he is gone, as he was.
    pub(crate) async fn finish_user(&self, user: Arc<User>, mark: RequestMark) -> Result<Arc<User>, StoreError> {
        self.0.finish(&self.0.decoder.tree.user(&user.name), mark).await?;
        let now = self.read().user_by_id(user.id).cloned();
        Ok(now.unwrap_or(user))
    }

    /// Changes the named fields. What takes rights away is written first, what grants them last; but before all what may be
    /// refused, so that nothing is changed then: an address that may be taken, a password that the directory's policy may not
    /// like. Where nothing is taken away the groups come first, which can be left again: what the entry must be like for them
    /// is asserted of it then.
    pub(crate) async fn update_user(&self, user: &User, change: UserChange) -> Result<Arc<User>, StoreError> {
        self.0.told(user.id, self.change_all(user, change).await)
    }

    async fn change_all(&self, user: &User, mut change: UserChange) -> Result<Arc<User>, StoreError> {
        let inner = &*self.0;
        let joined = self.groups_called(&change.join);
        // Memberships go by the name, which may be another entry's by now.
        let is_about_groups = !(change.leave.is_empty() && change.join.is_empty());
        if is_about_groups && inner.look_at(&inner.decoder.tree.user(&user.name)).await? != Some(user.id) {
            return Err(StoreError::NotFound);
        }
        let now = self.read().user_by_id(user.id).cloned();
        // Before anything is changed.
        if now.is_some_and(|now| crosses(&change, &joined, user, &now)) {
            return Err(StoreError::Contended);
        }
        let leaves_first = !(change.leaves_last || change.leave.is_empty());
        if leaves_first || takes(&change, user) {
            let key_last = change.key_last && !change.join.is_empty();
            let new_key = UserChange { new_api_key: key_last, key_last, ..UserChange::default() };
            change.new_api_key &= !key_last;
            if leaves_first {
                inner.change_user(self, user, &before_leaving(&mut change)).await?;
                inner.leave_all(&change.leave, &user.name).await?;
            }
            inner.change_user(self, user, &change).await?;
            self.join_settled(user, &joined, &change.join, &mut Vec::new()).await?;
            inner.change_user(self, user, &new_key).await?;
        } else {
            let mut added = Vec::new();
            let changed = match self.join_settled(user, &joined, &change.join, &mut added).await {
                Ok(()) => self.change_joined(user, &change).await,
                refused => refused,
            };
            if changed.is_err() {
                inner.leave_all(&added, &user.name).await?;
            }
            changed?;
        }
        if change.leaves_last {
            inner.leave_all(&change.leave, &user.name).await?;
        }
        self.read().user_by_id(user.id).cloned().ok_or(StoreError::NotFound)
    }

    async fn join_settled(
        &self,
        user: &User,
        joined: &[Arc<Group>],
        names: &[GroupName],
        added: &mut Vec<GroupName>,
    ) -> Result<(), StoreError> {
        // What was joined before a refusal is settled all the same.
        let all_joined = self.0.join(joined, &user.name, added).await;
        self.settle_joined(user, names).await?;
        all_joined
    }

    /// The change of the entry of one who has joined the groups. Where it crosses another call's that bound him, that looks as
    /// well at what it meets, and may be undone.
    async fn change_joined(&self, user: &User, change: &UserChange) -> Result<(), StoreError> {
        let inner = &*self.0;
        let begin = Instant::now();
        let may_be_undone = change.dc_bound.is_none() && !change.join.is_empty();
        loop {
            match inner.change_user(self, user, change).await {
                Err(StoreError::Contended) if may_be_undone && begin.elapsed() < UNDONE => {
                    tokio::time::sleep(UNDONE / 20).await;
                    inner.reread(&inner.decoder.tree.user(&user.name)).await?;
                }
                other => return other,
            }
        }
    }

    /// Ends the user's binding to this datacenter; the CSN of his entry since, if he had it and the server says that. One who
    /// is gone, or was bound to another one meanwhile, is left alone.
    pub(crate) async fn unbind_user(&self, user: &User, dc: &DcName) -> Result<Option<String>, StoreError> {
        let inner = &*self.0;
        let tree = &inner.decoder.tree;
        let (dn, identity) = (tree.user(&user.name), user.id.to_string());
        let change = match dc.as_str() {
            NOWHERE => Change::set(schema::DC_BOUND, None),
            _ => Change::Delete(schema::DC_BOUND, vec![tree.datacenter(dc).into_bytes()]),
        };
        let changes = [change];
        match inner.client.modify(&dn, &changes, Some(&is_entry(&identity, USER))).await {
            Ok(raw) => {
                let csn = raw.as_ref().and_then(|raw| raw.texts("entrycsn").next()).map(str::to_owned);
                inner.take_in(&dn, raw, &changes).await.map(|_| csn)
            }
            Err(OpError::AssertionFailed | OpError::ValueState) => inner.look_at(&dn).await.map(|_| None),
            Err(error) => gone_is_done(inner.told(user.id, Err(error.into()))).map(|()| None),
        }
    }

    /// Binds the user to `before` again, which a call ended that is undone; whether it does. What another call did meanwhile is
    /// left alone.
    pub(crate) async fn rebind_user(
        &self,
        user: &User,
        from: Rebinding<'_>,
        before: &DcName,
    ) -> Result<bool, StoreError> {
        let inner = &*self.0;
        let tree = &inner.decoder.tree;
        let (dn, identity) = (tree.user(&user.name), user.id.to_string());
        let value = |dc| vec![tree.datacenter(dc).into_bytes()];
        let mut back = vec![Change::Add(schema::DC_BOUND, value(before))];
        let unchanged = match from {
            Rebinding::Since(csn) => Filter::Equal(schema::ENTRY_CSN, csn),
            Rebinding::From(dc) => {
                back.insert(0, Change::Delete(schema::DC_BOUND, value(dc)));
                // A SuperAdmin is bound to nothing.
                Filter::Not(Box::new(Filter::Equal(schema::SUPER_ADMIN, "TRUE")))
            }
        };
        let assertion = is_entry_with(&identity, USER, [unchanged]);
        match undoing(inner.client.modify(&dn, &back, Some(&assertion))).await {
            Ok(raw) => inner.take_in(&dn, raw, &back).await.map(|_| true),
            Err(OpError::AssertionFailed | OpError::ValueState) => inner.look_at(&dn).await.map(|_| false),
            Err(error) => gone_is_done(inner.told(user.id, Err(error.into()))).map(|()| false),
        }
    }

    /// Memberships and datacenters that wait for an entry of this name were given to another entry: one that was deleted
    /// while they were given.
    async fn forget_user(&self, name: &UserName, dn: &str) -> Result<(), StoreError> {
        let inner = &*self.0;
        inner.await_refint(&Reference::User(name.clone())).await?;
        let (groups, dcs) = {
            let view = self.read();
            if view.is_claimed(name) {
                return Ok(());
            }
            view.naming_user(name)
        };
        if !(groups.is_empty() && dcs.is_empty()) {
            inner.is_absent(dn).await?;
        }
        for group in groups {
            inner.leave(&group, name).await?;
        }
        for dc in dcs {
            inner.disown(&dc, name).await?;
        }
        Ok(())
    }
}

impl Inner {
    /// The change of the user's own entry: one modify, tried again while the entry is not as we thought.
    async fn change_user(&self, directory: &Directory, user: &User, change: &UserChange) -> Result<(), StoreError> {
        let dn = self.decoder.tree.user(&user.name);
        let joined = directory.groups_called(&change.join);
        let mut rounds = Rounds::new();
        while rounds.next() {
            let Some((now, facts, csn)) = directory.state_of(user) else {
                return Err(StoreError::NotFound);
            };
            if change.while_password.is_some_and(|epoch| epoch != now.password_epoch)
                || crosses(change, &joined, user, &now)
            {
                return Err(StoreError::Contended);
            }
            let mut changes = self.field_changes(&now, facts, change);
            if changes.is_empty() {
                return Ok(());
            }
            let unnumbered = now.number == 0;
            if !facts.is_account {
                changes.push(Change::Add("objectClass", vec![bytes("usherAccount")]));
            }
            // Added, not set: of two daemons that number an entry at the same time one is told so.
            if unnumbered {
                let number = self.client.increment(&self.decoder.tree.state(), schema::NEXT_USER).await?;
                changes.push(Change::Add(schema::NUMBER, vec![number.to_string().into_bytes()]));
            }
            let identity = user.id.to_string();
            let bound = now.dc_bound.as_ref().map(|dc| self.decoder.tree.datacenter(dc));
            // Not so where the directory may have him bound to what went, or to what is no datacenter.
            let is_nowhere = now.dc_bound.as_ref().is_some_and(|dc| dc.as_str() == NOWHERE);
            let is_known = !is_nowhere && directory.read().bindings(&now).eq(&now.dc_bound);
            let bound = is_known.then(|| still_bound(change, &joined, user, bound.as_deref())).flatten();
            let state = is_still(change, user, &now, facts, &csn).chain(bound);
            let assertion = is_entry_with(&identity, USER, state);
            match self.client.modify(&dn, &changes, Some(&assertion)).await {
                Ok(raw) => return self.take_in(&dn, raw, &changes).await.map(|_| ()),
                Err(OpError::AssertionFailed | OpError::ValueState) => {
                    rounds.pause().await;
                    self.reread(&dn).await?;
                }
                Err(OpError::Constraint(text)) if change.password_hash.is_some() => {
                    return Err(StoreError::PasswordRefused(text));
                }
                Err(OpError::Constraint(text)) if unnumbered => {
                    self.reread(&dn).await?;
                    // it is not that somebody else has numbered it
                    if directory.state_of(user).is_some_and(|(now, ..)| now.number == 0) {
                        return Err(StoreError::Refused(text));
                    }
                }
                Err(error) => {
                    let email = change.email.as_ref().filter(|_| matches!(error, OpError::NotUnique(_)));
                    let freed = match email {
                        Some(email) => self.free_identities(&now.name, email).await?,
                        None => false,
                    };
                    if !freed {
                        return Err(unique(error, UniqueField::Identity));
                    }
                }
            }
        }
        Err(StoreError::Contended)
    }

    /// Takes the canonical forms of a name and an address away from entries that went by them before an LDAP tool renamed
    /// them or changed their address; whether there were any.
    async fn free_identities(&self, name: &UserName, email: &str) -> Result<bool, StoreError> {
        let forms = identities(name, email);
        let forms: Vec<&str> = forms.iter().filter_map(|form| std::str::from_utf8(form).ok()).collect();
        let filter = Filter::Any(forms.iter().map(|form| Filter::Equal(schema::IDENTITY, form)).collect());
        let tree = &self.decoder.tree;
        let attributes = [schema::REPLICATED, &[schema::IDENTITY]].concat();
        let mut freed = false;
        for raw in self.client.find(tree.base(), &filter, &attributes).await? {
            let Some(Item::User(user, _)) = self.decoder.decode(&raw, None).map(|decoded| decoded.item) else {
                continue;
            };
            let own = identities(&user.name, &user.email);
            let is_stale = |value: &&Vec<u8>| {
                forms.iter().any(|form| value.eq_ignore_ascii_case(form.as_bytes()))
                    && !own.iter().any(|form| value.eq_ignore_ascii_case(form))
            };
            let stale: Vec<_> = raw.values("usheridentity").iter().filter(is_stale).cloned().collect();
            if !stale.is_empty() {
                let change = Change::Delete(schema::IDENTITY, stale);
                self.change_values(Some((user.id, USER)), &tree.user(&user.name), vec![change]).await?;
                freed = true;
            }
        }
        Ok(freed)
    }

    fn field_changes(&self, now: &User, facts: UserFacts, change: &UserChange) -> Vec<Change> {
        let mut changes = Vec::new();
        if change.first_name.is_some() || change.last_name.is_some() {
            let first = change.first_name.as_deref().unwrap_or(&now.first_name);
            let last = change.last_name.as_deref().unwrap_or(&now.last_name);
            if let Some(first) = &change.first_name {
                changes.push(Change::set("givenName", non_empty(first)));
            }
            if let Some(last) = &change.last_name {
                changes.push(Change::set("sn", non_empty(last)));
            }
            changes.push(Change::set("cn", Some(&common_name(first, last, &now.name))));
        }
        if let Some(email) = &change.email {
            changes.push(Change::set("mail", non_empty(email)));
            changes.push(Change::Replace(schema::IDENTITY, identities(&now.name, email)));
        }
        if let Some(hash) = &change.password_hash {
            changes.push(Change::set(schema::PASSWORD, Some(hash)));
        }
        match change.is_active {
            Some(true) => {
                changes.push(Change::set(schema::ACTIVE, Some("TRUE")));
                // Deleted, not replaced with nothing: ppolicy would delete it once more with an old password, and fail.
                if facts.locked_time {
                    changes.push(Change::Delete(schema::LOCKED_TIME, Vec::new()));
                }
                if facts.ns_lock {
                    changes.push(Change::set(schema::NS_LOCK, None));
                }
            }
            Some(false) => changes.push(Change::set(schema::ACTIVE, Some("FALSE"))),
            None => {}
        }
        // ppolicy deletes an administrator's lock with the old password, unless the same modify deletes it: so it is
        // deleted and added again (one replace would be followed by ppolicy's own delete)
        if change.password_hash.is_some() && facts.locked_time && change.is_active != Some(true) {
            changes.push(Change::Delete(schema::LOCKED_TIME, Vec::new()));
            changes.push(Change::Add(schema::LOCKED_TIME, vec![bytes(schema::LOCKED_FOR_GOOD)]));
        }
        if let Some(value) = change.super_admin {
            changes.push(Change::set(schema::SUPER_ADMIN, Some(boolean(value))));
        }
        if let Some(value) = change.api_access {
            changes.push(Change::set(schema::API_ACCESS, Some(boolean(value))));
        }
        if let Some(bound) = &change.dc_bound {
            let dn = bound.as_ref().map(|dc| self.decoder.tree.datacenter(dc));
            changes.push(Change::set(schema::DC_BOUND, dn.as_deref()));
        }
        for (field, value) in &change.profile {
            let value = value.as_deref().filter(|v| !v.is_empty());
            changes.push(Change::set(schema::profile_attribute(*field), value));
        }
        if change.new_api_key {
            let [key, hash] = self.new_api_key();
            changes.push(Change::Replace(schema::API_KEY, vec![key]));
            changes.push(Change::Replace(schema::API_KEY_HASH, vec![hash]));
        }
        if change.new_callback_key {
            changes.push(Change::Replace(schema::CALLBACK_KEY, vec![self.new_callback_key()]));
        }
        // a request that made the entry, or was about to delete it, and was cut short is not to be completed over this
        if (now.unfinished.is_some() || facts.leaving) && (change.sets_groups || !changes.is_empty()) {
            changes.push(Change::set(schema::UNFINISHED, None));
        }
        changes
    }

    /// A new API key: the sealed value and its look-up hash.
    fn new_api_key(&self) -> [Vec<u8>; 2] {
        let key = new_key();
        let hash = hex(&self.ring.lookup_hash(key.reveal()));
        [bytes(self.ring.seal(KeyKind::Api, &key).as_stored()), hash.into_bytes()]
    }

    fn new_callback_key(&self) -> Vec<u8> {
        bytes(self.ring.seal(KeyKind::Callback, &new_key()).as_stored())
    }
}

/// `cn`, which the class demands: the full name, or the user's name where there is none.
fn common_name(first: &str, last: &str, name: &UserName) -> String {
    let full = format!("{first} {last}");
    let full = full.trim();
    if full.is_empty() { name.as_str().to_owned() } else { full.to_owned() }
}

/// The canonical forms under which no other entry may be known.
fn identities(name: &UserName, email: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![name.canonical()];
    let email = email.to_ascii_lowercase();
    if !email.is_empty() && email != forms[0] {
        forms.push(email);
    }
    forms.into_iter().map(String::into_bytes).collect()
}

fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
