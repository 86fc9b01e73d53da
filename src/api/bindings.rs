//! Who may stay bound to a datacenter (contract 3.4, 5.2, 5.4, 5.5), also where two calls cross.
//!
//! The rules span entries: a user is bound here, a group of his is attached there. A call checks them by the replica
//! before it writes, and so does another one that it crosses, on another entry or by another daemon: both find nothing in
//! the way. So each looks again after its write, in the directory. Whichever was written last sees both. A change of the user
//! is undone then, and refused as if it had come last; a group or a datacenter that takes him in ends the binding, as if that
//! had come first. What goes away meanwhile went after the call, which has it as it was.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::{ApiError, Call, Noun};
use crate::accounts::group_rules::unbinds;
use crate::accounts::{Group, StoreError, User, user_rules};
use crate::directory::View;
use crate::name::{DcName, GroupName, UserName};

/// The bindings of `members` that may not be in a group that is attached to these datacenters.
pub(super) fn bound_elsewhere(view: &View<'_>, members: &[UserName], datacenters: &[DcName]) -> Vec<Binding> {
    let users = members.iter().filter_map(|name| view.user(name));
    let bindings = users.flat_map(|user| view.bindings(user).map(move |dc| (user, dc)));
    let elsewhere = bindings.filter(|(_, dc)| unbinds(datacenters, Some(dc)));
    elsewhere.map(|(user, dc)| (Arc::clone(user), dc.clone())).collect()
}

/// A user, and the datacenter that he is bound to.
pub(super) type Binding = (Arc<User>, DcName);

/// Unbinds users from the datacenters that they are bound to, or may be, before a group or a datacenter makes them
/// somebody in another one.
pub(super) async fn unbind(call: &Call, bindings: Vec<Binding>) -> Result<(), ApiError> {
    for (user, dc) in bindings {
        let unbound = call.app.directory.unbind_user(&user, &dc).await;
        unbound.map_err(|error| ApiError::store(&error, Noun::User))?;
    }
    Ok(())
}

/// What a call did that is undone where it meets what is against it.
#[derive(Default)]
pub(super) struct Undo {
    /// That the user is bound there.
    pub(super) bound: Option<DcName>,
    /// That he is a member of these groups.
    pub(super) joined: Vec<GroupName>,
}

/// How often it is looked whether another call ends the binding that it made, and how long apart.
const LOOKS: usize = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// After a write that bound the user, or gave a bound one groups or all rights: the user as he may stay, and why the call was
/// undone if it was.
pub(super) async fn settle_user(
    call: &Call,
    user: Arc<User>,
    undo: Undo,
) -> Result<(Arc<User>, Option<ApiError>), StoreError> {
    let directory = &call.app.directory;
    let Some(dc) = &user.dc_bound else { return Ok((user, None)) };
    let groups = directory.look_at_attached_groups_of(&user.name).await?;
    let exists = directory.has_datacenter(dc).await?;
    let there = exists && !user.super_admin;
    let in_doubt: Vec<Arc<Group>> = {
        let view = directory.read();
        view.groups_of(&user.name).into_iter().filter(|group| view.may_be_attached(group)).cloned().collect()
    };
    let mut again = Vec::new();
    for group in in_doubt {
        if unbinds(&directory.attachments(&group).await?, Some(dc)) {
            again.push(group.id);
        }
    }
    let fits = || {
        let view = directory.read();
        let elsewhere = |group: &&Arc<Group>| {
            groups.contains(&group.id) && (again.contains(&group.id) || unbinds(&group.datacenters, Some(dc)))
        };
        !view.groups_of(&user.name).iter().any(elsewhere)
    };
    if there && fits() {
        return Ok((user, None));
    }
    let Undo { bound, joined } = undo;
    // With the datacenter, or by a promotion, the binding alone goes.
    let is_undone = bound.is_some() || (there && !joined.is_empty());
    if let Some(bound) = &bound {
        // Not the one by another call, which looks after that itself.
        directory.unbind_user(&user, bound).await?;
    } else if is_undone {
        // Whoever bound him looks as well, and undoes that if he sees these.
        for _ in 0..LOOKS {
            tokio::time::sleep(PAUSE).await;
            match directory.look_at_user(&user.name).await? {
                Some(now) if now.id == user.id && now.dc_bound.as_ref() == Some(dc) => {}
                Some(now) if now.id == user.id => return Ok((now, None)),
                _ => return Err(StoreError::NotFound),
            }
        }
    }
    if is_undone {
        for group in &joined {
            directory.expel(group, &user.name).await?;
        }
    }
    // Where it is another group that does not fit, too.
    if bound.is_none() && !(there && fits()) {
        directory.unbind_user(&user, dc).await?;
    }
    let now = directory.read().user_by_id(user.id).cloned();
    let refusal = is_undone.then(|| match exists {
        true => ApiError::failure(&user_rules::groups_elsewhere()),
        false => ApiError::not_found(Noun::Datacenter),
    });
    Ok((now.unwrap_or(user), refusal))
}

/// After a write that bound the group: the group as it may stay, which is bound to the one datacenter that it is attached
/// to.
pub(super) async fn settle_group(call: &Call, group: Arc<Group>) -> Result<Arc<Group>, StoreError> {
    let directory = &call.app.directory;
    let Some(dc) = &group.dc_bound else { return Ok(group) };
    let exists = directory.has_datacenter(dc).await?;
    if exists && group.datacenters == [dc.clone()] {
        return Ok(group);
    }
    directory.unbind_group(&group, dc, !exists).await?;
    let now = directory.read().group_by_id(group.id).cloned();
    Ok(now.unwrap_or(group))
}

/// After a write that made these users members of the group: those who went meanwhile are none, as if they had gone after
/// it; those who are bound to another datacenter than the group's are so no more. The group as it is then.
pub(super) async fn settle_members(
    call: &Call,
    group: Arc<Group>,
    joined: &[UserName],
) -> Result<Arc<Group>, ApiError> {
    if joined.is_empty() {
        return Ok(group);
    }
    let directory = &call.app.directory;
    let store = |error: StoreError| ApiError::store(&error, Noun::User);
    let mut there = HashSet::new();
    for user in directory.look_at_users(joined).await.map_err(store)? {
        if directory.hold(&user).await.map_err(store)? {
            there.insert(user.name.clone());
        }
    }
    for user in joined.iter().filter(|user| !there.contains(user)) {
        directory.expel(&group.name, user).await.map_err(store)?;
    }
    let attachments = directory.attachments(&group).await.map_err(store)?;
    let elsewhere = bound_elsewhere(&directory.read(), joined, &attachments);
    unbind(call, elsewhere).await?;
    let now = directory.read().group_by_id(group.id).cloned();
    Ok(now.unwrap_or(group))
}

/// After the group was attached: its members who are bound to another datacenter are so no more.
pub(super) async fn settle_attached(call: &Call, group: &Group) -> Result<(), ApiError> {
    let directory = &call.app.directory;
    let looked = directory.look_at_users(&group.members).await;
    looked.map_err(|error| ApiError::store(&error, Noun::User))?;
    let elsewhere = bound_elsewhere(&directory.read(), &group.members, &group.datacenters);
    unbind(call, elsewhere).await
}
