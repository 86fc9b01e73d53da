//! Writing SSH keys: one atomic modify of the user's entry, under an assertion on its version, so that title,
//! fingerprint and the limit hold whoever writes at the same time.

use std::sync::Arc;

use crate::accounts::error::KeyConflict;
use crate::accounts::{NewSshKey, SshKey, StoreError, User};
use crate::name::KeyTitle;

use super::super::code::OpError;
use super::super::connection::Change;
use super::super::filter::Filter;
use super::super::raw::RawEntry;
use super::super::{Directory, keys, now, schema};
use super::{Rounds, USER, bytes, is_entry};

impl Directory {
    /// Adds a key unless title or fingerprint is taken or `limit` reached ([`StoreError::Key`]); the user as he is then, and
    /// the key, which may be gone again.
    pub(crate) async fn add_ssh_key(
        &self,
        user: &User,
        key: NewSshKey,
        limit: usize,
    ) -> Result<(Arc<User>, SshKey), StoreError> {
        let key = SshKey {
            title: key.title,
            public: key.public,
            created: Some(now()),
            expires: key.expires,
            options: key.options,
        };
        let decide = |current: &[SshKey]| {
            if current.iter().any(|k| k.title == key.title) {
                return Err(StoreError::Key(KeyConflict::Title));
            }
            if current.iter().any(|k| k.public.sha256() == key.public.sha256()) {
                return Err(StoreError::Key(KeyConflict::Fingerprint));
            }
            if current.len() >= limit {
                return Err(StoreError::Key(KeyConflict::Limit));
            }
            Ok(KeyChange::Add(&key))
        };
        let user = self.change_keys(user, decide).await?;
        Ok((user, key))
    }

    /// Removes the key called `title`; [`StoreError::NotFound`] where there is none.
    pub(crate) async fn remove_ssh_key(&self, user: &User, title: &KeyTitle) -> Result<Arc<User>, StoreError> {
        self.change_keys(user, |current| {
            let key = current.iter().find(|k| k.title == *title).ok_or(StoreError::NotFound)?;
            Ok(KeyChange::Remove(Box::new(key.clone())))
        })
        .await
    }

    /// Decides on the keys as they are and writes the decision, until both are about the same version of the entry.
    async fn change_keys<'a>(
        &self,
        user: &User,
        decide: impl Fn(&[SshKey]) -> Result<KeyChange<'a>, StoreError>,
    ) -> Result<Arc<User>, StoreError> {
        let inner = &*self.0;
        let dn = inner.decoder.tree.user(&user.name);
        // The values of the key to be removed as they are stored, once it turned out that they are not as we spell them.
        let mut stored: Option<RawEntry> = None;
        // What was decided holds for the rest of a key whose first value is gone: it goes by another title then.
        let mut begun: Option<KeyChange<'a>> = None;
        let mut rounds = Rounds::new();
        while rounds.next() {
            let Some((current, facts, csn)) = self.state_of(user) else {
                return Err(StoreError::NotFound);
            };
            let decision = match begun.take() {
                Some(decision) => decision,
                None => decide(&current.ssh_keys)?,
            };
            let mut changes = match (&decision, &stored) {
                (KeyChange::Add(key), _) => {
                    // what an LDAP tool left of an earlier time with this key says nothing about it now
                    let mut changes = if facts.loose_keys {
                        let raw = inner.client.read(&dn, schema::REPLICATED).await?.ok_or(StoreError::NotFound)?;
                        refuse_held(&raw, key)?;
                        values_about(&raw, &key.public.fingerprint_sha256())
                    } else {
                        Vec::new()
                    };
                    changes.push(Change::Add(schema::SSH_PUBLIC_KEY, vec![key.public.line().into_bytes()]));
                    changes.push(Change::Add(schema::SSH_KEY, vec![keys::encode(key).into_bytes()]));
                    changes
                }
                (KeyChange::Remove(key), None) => our_values(key),
                (KeyChange::Remove(key), Some(raw)) => values_about(raw, &key.public.fingerprint_sha256()),
            };
            if !facts.is_key_holder {
                changes.push(Change::Add("objectClass", vec![bytes("ldapPublicKey")]));
            }
            if !facts.is_account {
                changes.push(Change::Add("objectClass", vec![bytes("usherAccount")]));
            }
            let identity = user.id.to_string();
            let version =
                if csn.is_empty() { is_entry(&identity, USER) } else { Filter::Equal(schema::ENTRY_CSN, &csn) };
            match inner.client.modify(&dn, &changes, Some(&version)).await {
                Ok(raw) => {
                    let is_left =
                        |key: &SshKey, raw: &RawEntry| !values_about(raw, &key.public.fingerprint_sha256()).is_empty();
                    stored = match &decision {
                        KeyChange::Remove(key) => raw.as_ref().filter(|raw| is_left(key, raw)).cloned(),
                        KeyChange::Add(_) => None,
                    };
                    inner.take_in(&dn, raw, &[]).await?;
                    if stored.is_none() {
                        return self.read().user_by_id(user.id).cloned().ok_or(StoreError::NotFound);
                    }
                    // the key stood in more than one value: on to the others
                    begun = Some(decision);
                }
                Err(OpError::AssertionFailed) => {
                    rounds.pause().await;
                    inner.reread(&dn).await?;
                }
                Err(OpError::ValueState) => {
                    rounds.pause().await;
                    stored = inner.look(&dn).await?;
                    if let (KeyChange::Add(key), Some(raw)) = (&decision, &stored) {
                        // it is there and not shown, because what restricts it can't be read
                        refuse_held(raw, key)?;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Contended)
    }
}

enum KeyChange<'a> {
    Add(&'a SshKey),
    /// In all values that hold the key, however an LDAP tool spelt them.
    Remove(Box<SshKey>),
}

/// The deletion of the values that we write for a key. One that an LDAP tool added has no `usherSshKey` value.
fn our_values(key: &SshKey) -> Vec<Change> {
    let mut changes = vec![Change::Delete(schema::SSH_PUBLIC_KEY, vec![key.public.line().into_bytes()])];
    if key.created.is_some() || key.expires.is_some() || !key.options.is_empty() {
        changes.push(Change::Delete(schema::SSH_KEY, vec![keys::encode(key).into_bytes()]));
    }
    changes
}

/// Whether an `sshPublicKey` value is the key with this fingerprint.
fn holds(value: &[u8], fingerprint: &str) -> bool {
    keys::parse_line(value).is_some_and(|key| key.fingerprint_sha256() == fingerprint)
}

/// Refuses a key that the entry holds, shown or not.
fn refuse_held(raw: &RawEntry, key: &SshKey) -> Result<(), StoreError> {
    let fingerprint = key.public.fingerprint_sha256();
    if raw.values("sshpublickey").iter().any(|value| holds(value, &fingerprint)) {
        return Err(StoreError::Key(KeyConflict::Fingerprint));
    }
    Ok(())
}

/// The deletion of every value of the entry that is the key with this fingerprint, or about it.
fn values_about(raw: &RawEntry, fingerprint: &str) -> Vec<Change> {
    let lines = raw.values("sshpublickey").iter();
    let lines = lines.filter(|v| holds(v, fingerprint));
    let about = raw.values("ushersshkey").iter().filter(|v| keys::is_about(v, fingerprint));
    [(schema::SSH_PUBLIC_KEY, lines.cloned().collect::<Vec<_>>()), (schema::SSH_KEY, about.cloned().collect())]
        .into_iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(name, values)| Change::Delete(name, values))
        .collect()
}
