//! What a request is about: the caller's rights, the object that the path names, the datacenter that `dc` names. Turns
//! the verdicts of `accounts::access` into answers, in the order of contract 1.5.

use std::sync::Arc;

use super::represent::main_dc;
use super::{ApiError, Call, Noun};
use crate::accounts::access::{self, Endpoint, Rights, Target, Verdict};
use crate::accounts::{Datacenter, Group, SYSTEM_USER, User, dc_rules};
use crate::directory::View;
use crate::name::{DcName, GroupName, UserName};

/// What the caller may administer.
pub(super) fn rights(call: &Call, view: &View<'_>) -> Rights {
    rights_of(view, &call.caller.user)
}

/// What `user` may administer.
pub(super) fn rights_of(view: &View<'_>, user: &User) -> Rights {
    if user.super_admin {
        return Rights::of(user, &[], &[]);
    }
    let groups = groups_of(view, user);
    let owned = view.datacenters_owned_by(&user.name);
    Rights::of(user, &groups, &owned.iter().map(|dc| &dc.name).collect::<Vec<_>>())
}

/// The groups that `user` is in.
pub(super) fn groups_of<'v>(view: &'v View<'_>, user: &User) -> Vec<&'v Group> {
    view.groups_of(&user.name).into_iter().map(|group| &**group).collect()
}

/// The answer to what is not allowed.
pub(super) fn check(rights: &Rights, endpoint: Endpoint, target: Target, noun: Noun) -> Result<(), ApiError> {
    match access::decide(rights, endpoint, target) {
        Verdict::Allowed => Ok(()),
        Verdict::RoleDenied => Err(ApiError::denied()),
        Verdict::Missing => Err(ApiError::not_found(noun)),
        Verdict::Exists => Err(ApiError::exists(noun)),
        Verdict::ObjectDenied => Err(ApiError::forbidden()),
    }
}

/// The user whom the path names, if the caller may do this. One who is bound to a datacenter makes it the current one,
/// except for himself (contract 3.0).
pub(super) fn user<'v>(
    call: &Call,
    view: &'v View<'_>,
    rights: &Rights,
    endpoint: Endpoint,
) -> Result<&'v Arc<User>, ApiError> {
    let found = UserName::parse(call.arg(0)).ok().and_then(|name| view.user(&name));
    let target = match found {
        None => Target::Missing,
        Some(user) if call.caller.is(&user.name) => Target::Own,
        Some(user) => Target::Other { managed: rights.manages_user(user) },
    };
    check(rights, endpoint, target, Noun::User)?;
    let user = found.ok_or_else(|| ApiError::not_found(Noun::User))?;
    if target != Target::Own {
        enter(call, view, user.dc_bound.as_ref());
    }
    Ok(user)
}

/// Whether a user of this name can't be created: another entry goes by it, it is a user's e-mail address, or hidden.
pub(super) fn is_taken(view: &View<'_>, name: &UserName) -> bool {
    name.as_str().eq_ignore_ascii_case(SYSTEM_USER)
        || view.is_claimed(name)
        || !view.identity_owners(name.as_str()).is_empty()
}

/// Whether somebody else than `own` has this text as e-mail address or as name.
pub(super) fn is_others(view: &View<'_>, text: &str, own: Option<&User>) -> bool {
    view.identity_owners(text).iter().any(|owner| own.is_none_or(|own| own.id != owner.id))
}

/// The group of this name, as text.
pub(super) fn group<'v>(view: &'v View<'_>, name: &str) -> Option<&'v Arc<Group>> {
    GroupName::parse(name).ok().and_then(|name| view.group(&name))
}

/// Makes the datacenter that an object is bound to the request's current one.
pub(super) fn enter(call: &Call, view: &View<'_>, bound: Option<&DcName>) {
    if let Some(dc) = bound.and_then(|name| view.datacenter(name)) {
        call.enter(dc);
    }
}

/// Whether the caller may see the datacenter.
pub(super) fn sees(call: &Call, view: &View<'_>, dc: &Datacenter) -> bool {
    access::may_see(&call.caller.user, &groups_of(view, &call.caller.user), dc)
}

/// The datacenter of this name.
///
/// # Errors
/// 404 where there is none that the caller may see.
pub(super) fn datacenter<'v>(
    call: &Call,
    view: &'v View<'_>,
    name: Option<DcName>,
) -> Result<&'v Arc<Datacenter>, ApiError> {
    name.and_then(|name| view.datacenter(&name))
        .filter(|dc| sees(call, view, dc))
        .ok_or_else(|| ApiError::not_found(Noun::Datacenter))
}

/// The datacenter that the parameter `dc` names; none where there is no such parameter.
///
/// # Errors
/// 404 where it names none that the caller may see.
pub(super) fn named_dc<'v>(call: &Call, view: &'v View<'_>) -> Result<Option<&'v Arc<Datacenter>>, ApiError> {
    call.params.get("dc").map(|value| datacenter(call, view, dc_rules::named(value))).transpose()
}

/// The datacenter that the parameter `dc` names, or `main`.
pub(super) fn named_dc_or_main<'v>(call: &Call, view: &'v View<'_>) -> Result<&'v Arc<Datacenter>, ApiError> {
    match named_dc(call, view)? {
        Some(dc) => Ok(dc),
        None => main_dc(view).ok_or_else(|| ApiError::not_found(Noun::Datacenter)),
    }
}
