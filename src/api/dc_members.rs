//! `/dc/(dc)/user/…` and `/dc/(dc)/group/…` (contract 5.3, 5.4): who and what belongs to a datacenter.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::represent::{GroupObject, UserObject};
use super::routes::Pending;
use super::{ApiError, Call, Noun, Reply, bindings, groups, subject, users};
use crate::accounts::access::{self, Endpoint, Target};
use crate::accounts::{Access, Addition, Datacenter, Group, StoreError, User};
use crate::directory::View;
use crate::name::{DcName, UserName};

/// The datacenter that the path names (a parameter `dc` has no say: decision 18), if the caller is its admin.
fn administered<'v>(call: &Call, view: &'v View<'_>) -> Result<&'v Arc<Datacenter>, ApiError> {
    let dc = subject::datacenter(call, view, DcName::parse(call.arg(0)).ok())?;
    call.enter(dc);
    let caller = &call.caller.user;
    if access::administers(caller, &subject::groups_of(view, caller), dc) { Ok(dc) } else { Err(ApiError::denied()) }
}

/// Whether the user belongs to the datacenter: everybody does to a public one, else its owner and the members of its
/// groups.
fn belongs(view: &View<'_>, dc: &Datacenter, user: &User) -> bool {
    dc.access == Access::Public
        || dc.owner.as_ref() == Some(&user.name)
        || view.groups_of(&user.name).iter().any(|group| group.datacenters.contains(&dc.name))
}

/// The fields that a datacenter's users can be sorted by.
pub(super) const USER_ORDER: &[&str] = &["username"];

/// GET of the datacenter's users.
pub(super) fn list_users(call: &Call) -> Result<Reply, ApiError> {
    let (detail, users) = {
        let view = call.app.directory.read();
        let dc = administered(call, &view)?;
        if dc.access == Access::Public {
            users::select(call, &view, view.users(), |_| true, USER_ORDER)?
        } else {
            let visible = |user: &User| belongs(&view, dc, user);
            users::select(call, &view, members(&view, dc).into_iter(), visible, USER_ORDER)?
        }
    };
    Ok(users::reply(call, detail.plain(), users))
}

/// The owner of a private datacenter and the members of its groups, by name.
fn members<'v>(view: &'v View<'_>, dc: &Datacenter) -> Vec<&'v Arc<User>> {
    let owner = dc.owner.as_ref().and_then(|name| view.user(name));
    let members = view.groups_of_datacenter(&dc.name).into_iter().flat_map(|group| view.members_of(group));
    let mut seen = BTreeSet::new();
    let mut all: Vec<&Arc<User>> = owner.into_iter().chain(members).filter(|user| seen.insert(user.id)).collect();
    all.sort_unstable_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
    all
}

/// GET of one of them.
pub(super) fn show_user(call: &Call) -> Result<Reply, ApiError> {
    let view = call.app.directory.read();
    let dc = administered(call, &view)?;
    let user = UserName::parse(call.arg(1)).ok().and_then(|name| view.user(&name));
    let user = user.filter(|user| belongs(&view, dc, user)).ok_or_else(|| ApiError::not_found(Noun::User))?;
    Ok(Reply::ok(&UserObject::new(&view, user, false, call.now)))
}

/// GET of the groups attached to the datacenter.
pub(super) fn list_groups(call: &Call) -> Result<Reply, ApiError> {
    let (detail, groups) = {
        let view = call.app.directory.read();
        let dc = administered(call, &view)?;
        groups::select(call, &view, |group| group.datacenters.contains(&dc.name))?
    };
    Ok(groups::reply(call, detail.plain(), groups))
}

/// GET of one of them.
pub(super) fn show_group(call: &Call) -> Result<Reply, ApiError> {
    let view = call.app.directory.read();
    let dc = administered(call, &view)?;
    let group = subject::group(&view, call.arg(1)).filter(|group| group.datacenters.contains(&dc.name));
    let group = group.ok_or_else(|| ApiError::not_found(Noun::Group))?;
    Ok(Reply::ok(&GroupObject::new(&view, group, false)))
}

/// The datacenter and the group that the path names, for a SuperAdmin.
fn write_target(call: &Call) -> Result<(Arc<Datacenter>, Arc<Group>), ApiError> {
    let view = call.app.directory.read();
    let dc = subject::datacenter(call, &view, DcName::parse(call.arg(0)).ok())?;
    call.enter(dc);
    let rights = subject::rights(call, &view);
    subject::check(&rights, Endpoint::DatacenterWrite, Target::List, Noun::Datacenter)?;
    let group = subject::group(&view, call.arg(1)).ok_or_else(|| ApiError::not_found(Noun::Group))?;
    Ok((dc.clone(), group.clone()))
}

pub(super) fn plan_attach(call: &Call) -> Result<(Arc<Datacenter>, Arc<Group>), ApiError> {
    let (dc, group) = write_target(call)?;
    let body = call.params.object();
    // one that is attached is told before a body that is none
    if group.datacenters.contains(&dc.name) && body.is_err() {
        return Err(ApiError::exists(Noun::Group));
    }
    body?;
    Ok((dc, group))
}

/// POST: attaches a group. The answer shows it as it was before (contract section 0).
pub(super) fn attach_group(call: &Call) -> Pending<'_> {
    Box::pin(async move {
        let (dc, group) = plan_attach(call)?;
        let store = |error: StoreError| ApiError::store(&error, Noun::Group);
        // What is there already, maybe by another daemon, is not added, and may go.
        if !call.app.directory.is_attached(&group, &dc.name).await.map_err(store)? {
            call.adds([Addition::Attachment(group.name.clone(), dc.name.clone())].into_iter());
            call.announce().await.map_err(store)?;
        }
        attach(call, &group, &dc.name, false).await?;
        Ok(Reply::created(&GroupObject::new(&call.app.directory.read(), &group, false)))
    })
}

pub(super) fn plan_detach(call: &Call) -> Result<(Arc<Datacenter>, Arc<Group>), ApiError> {
    let (dc, group) = write_target(call)?;
    if !group.datacenters.contains(&dc.name) {
        return Err(ApiError::not_found(Noun::Group));
    }
    call.params.ignored()?;
    Ok((dc, group))
}

/// DELETE: detaches a group.
pub(super) fn detach_group(call: &Call) -> Pending<'_> {
    Box::pin(async move {
        let (dc, group) = plan_detach(call)?;
        let detached = call.app.directory.detach_group(&group, &dc.name).await;
        detached.map_err(|error| ApiError::store(&error, Noun::Group))?;
        Ok(Reply::deleted())
    })
}

/// Attaches the group, which is bound to nothing from then on, as are its members who were bound to another
/// datacenter: whoever manages that one must not manage people who are somebody in this one. `again`: it is no error if
/// the group is attached already, or gone.
pub(super) async fn attach(call: &Call, group: &Group, dc: &DcName, again: bool) -> Result<(), ApiError> {
    let directory = &call.app.directory;
    let bound_elsewhere = {
        let after: Vec<DcName> = group.datacenters.iter().chain([dc]).cloned().collect();
        bindings::bound_elsewhere(&directory.read(), &group.members, &after)
    };
    let (mut was_attached, mut is_gone) = (false, false);
    let attached = async {
        let attached = directory.attach_group(group, dc).await;
        was_attached = matches!(attached, Err(StoreError::Exists));
        let attached = match attached {
            // what a call that was cut short left to do is done below
            Err(StoreError::Exists) => directory.read().group_by_id(group.id).cloned().ok_or(StoreError::NotFound),
            other => other,
        };
        is_gone = matches!(attached, Err(StoreError::NotFound));
        let group = attached.map_err(|error| ApiError::store(&error, Noun::Group))?;
        let exists = directory.has_datacenter(dc).await.map_err(|error| ApiError::store(&error, Noun::Datacenter))?;
        if !exists {
            detach(call, &group, dc).await?;
            return Err(ApiError::not_found(Noun::Datacenter));
        }
        Ok(group)
    };
    let group = match bindings::unbind_for(call, bound_elsewhere, attached).await {
        Err(_) if is_gone && again => return Ok(()),
        attached => attached?,
    };
    bindings::settle_attached(call, &group).await?;
    if was_attached && !again { Err(ApiError::exists(Noun::Group)) } else { Ok(()) }
}

/// Detaches the group, which is not bound to the datacenter from then on.
pub(super) async fn detach(call: &Call, group: &Group, dc: &DcName) -> Result<(), ApiError> {
    let detached = call.app.directory.unbind_group(group, dc, true).await;
    detached.map_err(|error| ApiError::store(&error, Noun::Group))
}
