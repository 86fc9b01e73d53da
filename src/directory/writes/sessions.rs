//! Writing sessions, and sweeping those that are over.

use std::time::Duration;

use tracing::debug;

use crate::accounts::secrets::{hex, random};
use crate::accounts::user::PasswordEpoch;
use crate::accounts::{EntryId, NewSession, Session, StoreError, User};

use super::super::code::OpError;
use super::super::connection::Change;
use super::super::{Directory, now, schema};
use super::{attribute, below_nothing, bytes, gone_is_done};

/// How often sessions that are over are looked for.
const SWEEP: Duration = Duration::from_secs(60);
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
        let sessions: Vec<Session> = self.read().sessions_of(user.id).into_iter().filter(|s| s.is_of(user)).collect();
        for session in sessions {
            let dn = inner.decoder.tree.session(&session.token_hash);
            let next = Change::Add(schema::SESSION_EPOCH, vec![next.as_stored().into_bytes()]);
            gone_is_done(inner.change_values(&dn, vec![next]).await)?;
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

    pub(crate) async fn delete_sessions_of(&self, user: &User) -> Result<(), StoreError> {
        let sessions = self.read().sessions_of(user.id);
        for session in sessions {
            self.delete_session(&session).await?;
        }
        Ok(())
    }

    /// Deletes what a deleted user left. The entries mean nothing without the user, so a failure is the sweep's to mend.
    pub(super) async fn sweep_sessions_of(&self, user: EntryId) {
        let sessions = self.read().sessions_of(user);
        for session in sessions {
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
                let is_over =
                    |s: &&Session| s.expires <= now || view.user_by_id(s.user).is_none_or(|user| !s.is_of(user));
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
