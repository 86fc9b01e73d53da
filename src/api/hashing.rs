//! New passwords: hashed on threads that may block, as many at a time as there are cores.

use std::sync::LazyLock;

use tokio::sync::Semaphore;

use super::ApiError;
use crate::accounts::password::Cost;
use crate::accounts::secrets::Secret;

static CORES: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, Into::into)));

/// A value for `userPassword`. Belongs behind all validation: it takes tens of milliseconds of a core.
pub(super) async fn hash(cost: Cost, password: Secret) -> Result<String, ApiError> {
    let _permit = CORES.acquire().await.map_err(|_| ApiError::internal())?;
    match tokio::task::spawn_blocking(move || cost.hash(&password)).await {
        Ok(Ok(hash)) => Ok(hash),
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
