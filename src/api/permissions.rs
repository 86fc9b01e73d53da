//! `/accounts/permission/` and `/accounts/permission/(name)/` (contract 5.1): what exists is built in.

use super::listing::{Detail, Names, Paging};
use super::represent::{Each, PermissionObject};
use super::{ApiError, Call, Noun, Reply, subject};
use crate::accounts::Permission;
use crate::accounts::access::{Endpoint, Target};

/// The fields that permissions can be sorted by.
pub(super) const ORDER: &[&str] = &["name"];

/// GET of all.
pub(super) fn list(call: &Call) -> Result<Reply, ApiError> {
    let rights = subject::rights(call, &call.app.directory.read());
    subject::check(&rights, Endpoint::Permissions, Target::List, Noun::Permission)?;
    let detail = Detail::parse(&call.params)?;
    let paging = Paging::parse(&call.params, ORDER)?;
    let all = Permission::ALL;
    let page = paging.page(all.iter().collect(), |name| all.iter().find(|permission| permission.name() == name))?;
    Ok(if detail.full {
        Reply::ok(&Each(&page, |permission: &Permission| PermissionObject::new(*permission)))
    } else {
        Reply::ok(&Names(&page))
    })
}

/// GET of one.
pub(super) fn show(call: &Call) -> Result<Reply, ApiError> {
    let rights = subject::rights(call, &call.app.directory.read());
    let found = Permission::parse(call.arg(0));
    let target = found.map_or(Target::Missing, |_| Target::Other { managed: true });
    subject::check(&rights, Endpoint::Permissions, target, Noun::Permission)?;
    let permission = found.ok_or_else(|| ApiError::not_found(Noun::Permission))?;
    Ok(Reply::ok(&PermissionObject::new(permission)))
}
