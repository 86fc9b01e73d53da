//! Passwords at the server: binds as users, and what makes all refusals cost it the same.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::accounts::secrets::Secret;
use crate::accounts::{StoreError, Timestamp, User};

use super::code::OpError;
use super::connection::Bind;
use super::{Directory, Inner, decode, schema};

/// A refusal that took less than this part of the decoy's took no hash.
const AT_ONCE: u64 = 4;

/// What the server's refusals so far have shown.
pub(super) struct Refusals {
    /// The shortest of the decoy's, in microseconds: about what a hash takes the server.
    hash: AtomicU64,
    /// The last account that `usherActive: FALSE` disables was refused at once: an ACL takes `auth` away from it. Nothing
    /// but time tells whether a server has such a rule.
    disabled_at_once: AtomicBool,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { hash: AtomicU64::new(u64::MAX), disabled_at_once: AtomicBool::default() }
    }
}

impl Refusals {
    fn decoy(&self, took: Duration) {
        self.hash.fetch_min(micros(took), Ordering::Relaxed);
    }

    /// Whether a refusal took no hash. Before the decoy's first one, each may be one that did not.
    fn is_at_once(&self, took: Duration) -> bool {
        micros(took) < self.hash.load(Ordering::Relaxed) / AT_ONCE
    }
}

fn micros(took: Duration) -> u64 {
    took.as_micros().try_into().unwrap_or(u64::MAX)
}

impl Directory {
    /// Whether the server lets the user in with this password. A refusal takes it one hash of the configured cost, if
    /// need be the decoy's, whoever the user is: `None` for nobody.
    ///
    /// The user is bound, so that the server's policy counts, also where the account may not be used. Only one that may
    /// not be used, that ppolicy refuses unseen and uncounted, and whose password can be verified without
    /// ([`Self::stored_password`]) is not. An empty password is never sent.
    pub(crate) async fn verify_password(
        &self,
        user: Option<&User>,
        password: &Secret,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let Inner { client, decoder, refusals, .. } = &*self.0;
        let facts = user.and_then(|user| self.read().user_state(user.id)).map(|(_, facts, _)| facts);
        let Some((user, facts)) = user.zip(facts) else { return self.bind_decoy(password).await.map(|()| false) };
        if facts.verifiable && facts.refused_unseen(now) && !user.usable_at(now) {
            return self.bind_decoy(password).await.map(|()| false);
        }
        let dn = decoder.tree.user(&user.name);
        let hashes = facts.costs_a_hash(now);
        let with_decoy = !hashes || (!user.enabled && refusals.disabled_at_once.load(Ordering::Relaxed));
        let (bind, decoy) = if with_decoy {
            // At the same time: a refusal at once and then the decoy's together take longer than the decoy's.
            tokio::join!(client.bind(&dn, password), self.bind_decoy(password))
        } else {
            (client.bind(&dn, password).await, Ok(()))
        };
        let Bind::Refused(took) = bind? else { return Ok(true) };
        decoy?;
        if !with_decoy && refusals.is_at_once(took) {
            self.bind_decoy(password).await?;
        }
        // Of what else is refused at once, this would say nothing.
        if hashes && !user.enabled {
            refusals.disabled_at_once.store(refusals.is_at_once(took), Ordering::Relaxed);
        }
        Ok(false)
    }

    async fn bind_decoy(&self, password: &Secret) -> Result<(), StoreError> {
        let Inner { client, decoder, refusals, .. } = &*self.0;
        if let Bind::Refused(took) = client.bind(&decoder.tree.decoy(), password).await? {
            refusals.decoy(took);
        }
        Ok(())
    }

    /// The one value of the user's `userPassword`, of an account that may not be used; for `None` the decoy's, which
    /// costs the same. `None` where there is none to be read, or several, and after a lock-out by wrong passwords: what
    /// that refuses must not be had by another way.
    pub(crate) async fn stored_password(&self, user: Option<&User>) -> Result<Option<Secret>, StoreError> {
        let Inner { client, decoder, .. } = &*self.0;
        let dn = user.map_or_else(|| decoder.tree.decoy(), |user| decoder.tree.user(&user.name));
        let entry = match client.read(&dn, &[schema::PASSWORD, schema::LOCKED_TIME]).await {
            Ok(Some(entry)) if !decode::is_locked_out(&entry) => entry,
            Ok(_) | Err(OpError::Store(StoreError::Refused(_))) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let [value] = entry.values("userpassword") else { return Ok(None) };
        Ok(std::str::from_utf8(value).ok().map(|text| Secret::new(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_much_faster_than_the_decoys_fastest_took_no_hash() {
        let refusals = Refusals::default();
        let ms = Duration::from_millis;
        assert!(refusals.is_at_once(ms(30)), "nothing is known yet");
        for took in [100, 40, 80] {
            refusals.decoy(ms(took));
        }
        assert!(refusals.is_at_once(ms(9)) && !refusals.is_at_once(ms(10)) && !refusals.is_at_once(ms(40)));
    }
}
