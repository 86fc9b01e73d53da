//! `/accounts/user/(username)/sshkey/` and `/accounts/user/(username)/sshkey/(title)/` (contract section 4, decision 10).

use std::sync::Arc;

use super::listing::{Detail, Names, Paging};
use super::represent::{Each, SshKeyObject};
use super::routes::Pending;
use super::{ApiError, Call, Noun, Reply, subject};
use crate::accounts::access::Endpoint;
use crate::accounts::{NewSshKey, SshKey, StoreError, User, key_rules};

/// The fields that keys can be sorted by.
pub(super) const ORDER: &[&str] = &["title"];

/// GET of all.
pub(super) fn list(call: &Call) -> Result<Reply, ApiError> {
    let view = call.app.directory.read();
    let user = subject::user(call, &view, &subject::rights(call, &view), Endpoint::User)?;
    let detail = Detail::parse(&call.params)?;
    let paging = Paging::parse(&call.params, ORDER)?;
    let keys = paging.page(user.ssh_keys.iter().collect(), |title| find(user, title))?;
    Ok(if detail.full { Reply::ok(&Each(&keys, SshKeyObject::new)) } else { Reply::ok(&Names(&keys)) })
}

/// GET of one.
pub(super) fn show(call: &Call) -> Result<Reply, ApiError> {
    let view = call.app.directory.read();
    let user = subject::user(call, &view, &subject::rights(call, &view), Endpoint::User)?;
    let key = find(user, call.arg(1)).ok_or_else(|| ApiError::not_found(Noun::SshKey))?;
    Ok(Reply::ok(&SshKeyObject::new(key)))
}

/// POST.
pub(super) fn create(call: &Call) -> Pending<'_> {
    Box::pin(async move {
        let (user, key) = plan_create(call)?;
        let added = call.app.directory.add_ssh_key(&user, key, call.app.config.keys.limit).await;
        let (user, added) = added.map_err(|error| ApiError::store(&error, Noun::User))?;
        // As the directory has it; where another call has removed it already, as it was.
        let key = find(&user, added.title.as_str()).unwrap_or(&added);
        Ok(Reply::created(&SshKeyObject::new(key)).owned_by(user.number))
    })
}

pub(super) fn plan_create(call: &Call) -> Result<(Arc<User>, NewSshKey), ApiError> {
    let view = call.app.directory.read();
    let rights = subject::rights(call, &view);
    let user = subject::user(call, &view, &rights, Endpoint::User)?;
    if find(user, call.arg(1)).is_some() {
        return Err(ApiError::exists(Noun::SshKey));
    }
    let is_admin = rights.manages_user(user);
    let key = key_rules::create(call.params.object()?, call.arg(1), user, is_admin, &call.app.policy, call.now);
    Ok((user.clone(), key.map_err(|errors| ApiError::failure(&errors))?))
}

/// DELETE.
pub(super) fn delete(call: &Call) -> Pending<'_> {
    Box::pin(async move {
        let (user, key) = plan_delete(call)?;
        let user = match call.app.directory.remove_ssh_key(&user, &key.title).await {
            Err(StoreError::NotFound) => return Err(ApiError::not_found(Noun::SshKey)),
            other => other.map_err(|error| ApiError::store(&error, Noun::SshKey))?,
        };
        Ok(Reply::deleted().owned_by(user.number))
    })
}

pub(super) fn plan_delete(call: &Call) -> Result<(Arc<User>, SshKey), ApiError> {
    let view = call.app.directory.read();
    let user = subject::user(call, &view, &subject::rights(call, &view), Endpoint::User)?;
    let key = find(user, call.arg(1)).ok_or_else(|| ApiError::not_found(Noun::SshKey))?;
    call.params.ignored()?;
    Ok((user.clone(), key.clone()))
}

/// The user's key of exactly this title.
fn find<'u>(user: &'u User, title: &str) -> Option<&'u SshKey> {
    user.ssh_keys.iter().find(|key| key.title.as_str() == title)
}
