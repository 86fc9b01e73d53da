//! The end of a user, beside calls that make him somebody: a member, an owner.
//!
//! Whoever deletes him marks him, looks for what refers to him, and deletes him as long as the mark is there. What was
//! written before the mark is seen by that look; whoever writes it later finds the mark, and ends it: then all of that
//! begins anew.

use crate::accounts::secrets::RequestMark;
use crate::accounts::{StoreError, User};
use crate::name::GroupName;

use super::super::code::OpError;
use super::super::connection::Change;
use super::super::decode::LEAVING;
use super::super::filter::Filter;
use super::super::{Directory, schema};
use super::{Rounds, USER, bytes, gone_is_done};

impl Directory {
    /// Notes that the user is about to be deleted. Nothing else changes by that, and the next change of his fields or groups ends it.
    ///
    /// # Errors
    /// [`StoreError::Contended`] where there is another entry of that name by now; the replica has it then.
    pub(crate) async fn begin_delete(&self, user: &User, mark: RequestMark) -> Result<(), StoreError> {
        let inner = &*self.0;
        let dn = inner.decoder.tree.user(&user.name);
        let mut rounds = Rounds::new();
        while rounds.next() {
            let Some((_, facts, _)) = self.state_of(user) else { return Err(StoreError::NotFound) };
            let mut changes = vec![Change::set(schema::UNFINISHED, Some(&leaving(mark)))];
            if !facts.is_account {
                changes.push(Change::Add("objectClass", vec![bytes("usherAccount")]));
            }
            let identity = user.id.to_string();
            let this = Filter::Equal(schema::ENTRY_UUID, &identity);
            match inner.client.modify(&dn, &changes, Some(&this)).await {
                Ok(raw) => return inner.take_in(&dn, raw, &[]).await.map(|_| ()),
                Err(OpError::AssertionFailed) => {
                    inner.told(user.id, inner.reread(&dn).await)?;
                    return Err(StoreError::Contended);
                }
                Err(OpError::ValueState) => {
                    rounds.pause().await;
                    inner.told(user.id, inner.reread(&dn).await)?;
                }
                Err(error) => return inner.told(user.id, Err(error.into())),
            }
        }
        Err(StoreError::Contended)
    }

    /// The user is not deleted after all.
    pub(crate) async fn end_delete(&self, user: &User, mark: RequestMark) -> Result<(), StoreError> {
        let done = Change::Delete(schema::UNFINISHED, vec![leaving(mark).into_bytes()]);
        let dn = self.0.decoder.tree.user(&user.name);
        gone_is_done(self.0.change_values(Some((user.id, USER)), &dn, vec![done]).await)
    }

    /// Removes the memberships in `groups`, then the entry. The sessions belong to the entry and end with it.
    ///
    /// # Errors
    /// [`StoreError::Contended`] where the entry no longer has the mark: another call ended it.
    pub(crate) async fn delete_user(
        &self,
        user: &User,
        groups: &[GroupName],
        mark: RequestMark,
    ) -> Result<(), StoreError> {
        let inner = &*self.0;
        for group in groups {
            inner.leave(group, &user.name).await?;
        }
        // gone already, or renamed: content sync tells which
        let (dn, mark) = (inner.decoder.tree.user(&user.name), leaving(mark));
        inner.delete_entry(user.id, &dn, USER, 0, Some(Filter::Equal(schema::UNFINISHED, &mark))).await?;
        self.sweep_sessions_of(user.id).await;
        Ok(())
    }

    /// After the user was made a member of these groups: takes that back if he was deleted meanwhile, since it must not wait
    /// for another one of his name.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if so.
    pub(crate) async fn settle_joined(&self, user: &User, groups: &[GroupName]) -> Result<(), StoreError> {
        if groups.is_empty() {
            return Ok(());
        }
        let now = self.look_at_user(&user.name).await?.filter(|now| now.id == user.id);
        if let Some(now) = now
            && self.hold(&now).await?
        {
            return Ok(());
        }
        self.0.leave_all(groups, &user.name).await?;
        Err(StoreError::NotFound)
    }

    /// Whether he is about to be deleted, as far as is known.
    pub(crate) fn is_leaving(&self, user: &User) -> bool {
        self.state_of(user).is_some_and(|(_, facts, _)| facts.leaving)
    }

    /// After something was made to refer to the user, and he was looked at: ends the mark. Whether he is there.
    pub(crate) async fn hold(&self, user: &User) -> Result<bool, StoreError> {
        let Some((_, facts, _)) = self.state_of(user) else { return Ok(false) };
        if !facts.leaving {
            return Ok(true);
        }
        let dn = self.0.decoder.tree.user(&user.name);
        match self.0.modify_entry(user.id, &dn, USER, &[Change::set(schema::UNFINISHED, None)]).await {
            Ok(()) => Ok(true),
            Err(OpError::Store(StoreError::NotFound)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The mark of a request that is about to delete the entry.
fn leaving(mark: RequestMark) -> String {
    format!("{LEAVING}{}", mark.as_stored())
}
