//! Argon2 of our own: on threads that may block, and only so many at a time.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{ApiError, Noun};
use crate::accounts::StoreError;
use crate::accounts::password::Cost;
use crate::accounts::secrets::Secret;

/// New passwords: as many at a time as there are cores.
static NEW: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(cores()));

/// Refused logins: anybody can cause them, so that they have a queue of their own and half of the cores at most.
static REFUSALS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new((cores() / 2).max(1)));

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// A value for `userPassword`. Belongs behind all validation: it takes tens of milliseconds of a core.
pub(super) async fn hash(cost: Cost, password: Secret) -> Result<String, ApiError> {
    let permit = NEW.acquire().await.map_err(|_| ApiError::internal())?;
    on_a_thread(permit, move || cost.hash(&password)).await
}

/// Whether `stored` is the password's hash ([`Cost::verify`]); as long as [`hash()`] in any case. Waits for its turn no
/// longer than `limit`.
pub(super) async fn verify(cost: Cost, stored: Secret, password: Secret, limit: Duration) -> Result<bool, ApiError> {
    let Ok(permit) = tokio::time::timeout(limit, REFUSALS.acquire()).await else {
        return Err(ApiError::store(&StoreError::Unavailable("too many logins at a time".to_owned()), Noun::User));
    };
    let permit = permit.map_err(|_| ApiError::internal())?;
    on_a_thread(permit, move || cost.verify(&stored, &password)).await
}

async fn on_a_thread<T: Send + 'static>(
    permit: SemaphorePermit<'static>,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, ApiError> {
    // The permit goes with the work: that goes on where the caller goes away.
    let work = move || {
        let _permit = permit;
        work()
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(reason)) => {
            tracing::error!(%reason, "a password could not be hashed");
            Err(ApiError::internal())
        }
        Err(error) => {
            tracing::error!(%error, "hashing a password ended early");
            Err(ApiError::internal())
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    #[tokio::test]
    async fn refused_logins_wait_only_so_long_and_new_passwords_do_not_wait_for_them() {
        let cost = Cost { memory: 64, passes: 2, lanes: 1 };
        let secret = || Secret::new("pw".to_owned());
        let others = REFUSALS.acquire_many(REFUSALS.available_permits().try_into().unwrap()).await.unwrap();
        let stored = Secret::new(hash(cost, secret()).await.unwrap());
        let late = verify(cost, stored.clone(), secret(), Duration::from_millis(1)).await;
        assert_eq!(late.unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
        drop(others);
        assert!(verify(cost, stored, secret(), Duration::from_secs(60)).await.unwrap());
    }
}
