//! Argon2 of our own: on threads that may block, as many at a time as there are cores.

use std::sync::LazyLock;

use tokio::sync::Semaphore;

use super::ApiError;
use crate::accounts::password::Cost;
use crate::accounts::secrets::Secret;

static CORES: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, Into::into)));

/// A value for `userPassword`. Belongs behind all validation: it takes tens of milliseconds of a core.
pub(super) async fn hash(cost: Cost, password: Secret) -> Result<String, ApiError> {
    on_a_core(move || cost.hash(&password)).await
}

/// Whether `stored` is the password's hash ([`Cost::verify`]); as long as [`hash()`] in any case.
pub(super) async fn verify(cost: Cost, stored: Secret, password: Secret) -> Result<bool, ApiError> {
    on_a_core(move || cost.verify(&stored, &password)).await
}

async fn on_a_core<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, ApiError> {
    let _permit = CORES.acquire().await.map_err(|_| ApiError::internal())?;
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
