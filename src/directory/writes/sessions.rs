//! Writing sessions, and sweeping those that are over.

use std::time::Duration;

use tracing::debug;

use crate::accounts::secrets::{hex, random};
use crate::accounts::user::PasswordEpoch;
use crate::accounts::{EntryId, NewSession, Session, StoreError, Timestamp, User};

use super::super::code::OpError;
use super::super::connection::Change;
use super::super::{Directory, now, schema};
use super::{attribute, below_nothing, bytes, gone_is_done};

/// How often sessions that are over are looked for.
const SWEEP: Duration = Duration::from_secs(60);
/// How long a session is kept after its end, in seconds: as long as it is known, its token is told from a wrong one
/// (contract 2.1) and does not count as one. A day, so that whoever comes back the next morning is asked to log in again.
const KEPT_EXPIRED: i64 = 86_400;
/// Most sessions that one sweep deletes, so that it never competes with writers.
const SWEEP_MOST: usize = 1000;

impl Directory {
    pub(crate) async fn create_session(&self, new: NewSession) -> Result<(), StoreError> {
        let inner = &*self.0;
        let dn = inner.decoder.tree.session(&new.token_hash);
        let entry = [
            ("objectClass", vec![bytes("usherSession")]),
            attribute(schema::TOKEN_HASH, &hex(&new.token_hash)),
            attribute(schema::SESSION_USER, &new.user.to_string()),
            attribute(schema::SESSION_EPOCH, &new.epoch.as_stored()),
            attribute(schema::EXPIRES, &new.expires.generalized()),
        ];
        let raw = inner.client.add(&dn, &entry).await.map_err(below_nothing)?;
        inner.take_in(&dn, raw, &[]).await.map(|_| ())
    }

    /// Lets the user's sessions outlast a new hash of the same password, which is not written yet: `next` will be its epoch.
    /// If it is never written, this means nothing.
    pub(crate) async fn carry_sessions(&self, user: &User, next: PasswordEpoch) -> Result<(), StoreError> {
        let inner = &*self.0;
        for session in self.open_sessions_of(user.id).into_iter().filter(|s| s.is_of(user)) {
            let dn = inner.decoder.tree.session(&session.token_hash);
            let next = Change::Add(schema::SESSION_EPOCH, vec![next.as_stored().into_bytes()]);
            gone_is_done(inner.change_values(None, &dn, vec![next]).await)?;
        }
        Ok(())
    }

    /// Deletes the session; one that is gone already is no error.
    pub(crate) async fn delete_session(&self, session: &Session) -> Result<(), StoreError> {
        let inner = &*self.0;
        match inner.client.delete(&inner.decoder.tree.session(&session.token_hash), 0, None).await {
            Ok(()) | Err(OpError::Store(StoreError::NotFound)) => {
                inner.replica.change(|tables| tables.remove_own(session.id));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the user's sessions, which his new password ended. Those that had expired are left to the sweep.
    pub(crate) async fn delete_sessions_of(&self, user: &User) -> Result<(), StoreError> {
        for session in self.open_sessions_of(user.id) {
            self.delete_session(&session).await?;
        }
        Ok(())
    }

    /// The sessions that have not expired. A program that logs in every minute leaves a thousand others in a day, which
    /// no call of his should have to wait for.
    fn open_sessions_of(&self, user: EntryId) -> Vec<Session> {
        let (mut sessions, now) = (self.read().sessions_of(user), now());
        sessions.retain(|session| now < session.expires);
        sessions
    }

    /// Deletes what a deleted user left. The entries mean nothing without the user, so a failure is the sweep's to mend.
    pub(super) async fn sweep_sessions_of(&self, user: EntryId) {
        for session in self.open_sessions_of(user) {
            if let Err(error) = self.delete_session(&session).await {
                debug!(%error, "a session of a deleted user is left to the sweep");
            }
        }
    }

    /// Deletes sessions that are over, from time to time, for as long as the daemon runs. Several daemons may do it at
    /// once: each session is deleted by one of them.
    pub(in crate::directory) async fn sweep_sessions(self) {
        loop {
            let [spread] = random::<1>();
            tokio::time::sleep(SWEEP.mul_f64(0.75 + f64::from(spread) / 510.0)).await;
            let over: Vec<Session> = {
                let (view, now) = (self.read(), now());
                let is_over = |s: &&Session| is_over(s, view.user_by_id(s.user).map(|user| &**user), now);
                view.sessions().filter(is_over).take(SWEEP_MOST).cloned().collect()
            };
            // A replica that does not follow may show users as missing who are not.
            if !self.health().in_sync {
                continue;
            }
            for session in over {
                if let Err(error) = self.delete_session(&session).await {
                    debug!(%error, "the sweep of sessions stops for now");
                    break;
                }
            }
        }
    }
}

/// Whether the session is to be deleted: it expired some time ago, or is no more the `user`'s, so that its token is like
/// a wrong one already.
fn is_over(session: &Session, user: Option<&User>, now: Timestamp) -> bool {
    session.expires.plus_seconds(KEPT_EXPIRED) <= now || user.is_none_or(|user| !session.is_of(user))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::samples;

    #[test]
    fn an_expired_session_is_kept_for_a_day_and_one_that_is_nobodys_is_not() {
        let user = samples::user("bob");
        let session = Session {
            id: EntryId([7; 16]),
            token_hash: [1; 32],
            user: user.id,
            epochs: Box::new([user.password_epoch]),
            expires: Timestamp::from_seconds(1000),
        };
        let over = |user, now| is_over(&session, user, Timestamp::from_seconds(now));
        assert!(!over(Some(&user), 999));
        assert!(!over(Some(&user), 1000), "its token is told from a wrong one");
        assert!(!over(Some(&user), 1000 + KEPT_EXPIRED - 1));
        assert!(over(Some(&user), 1000 + KEPT_EXPIRED));
        assert!(over(None, 999));
        let changed = User { password_epoch: PasswordEpoch([9; 16]), ..user.clone() };
        assert!(over(Some(&changed), 999));
    }
}
