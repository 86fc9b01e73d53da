//! Who may stay bound to a datacenter (contract 3.4, 5.2, 5.4, 5.5), also where two calls cross.
//!
//! The rules span entries: a user is bound here, a group of his is attached there. A call checks them by the replica
//! before it writes, and so does another one that it crosses, on another entry or by another daemon: both find nothing in
//! the way. So each looks again after its write, in the directory. Whichever was written last sees both. What a change of the
//! user did to bindings and memberships is undone then, and it is refused as if it had come last, if that was all of it; a
//! group or a datacenter that takes him in ends the binding, as if that had come first. A binding that was ended for what is
//! refused or undone is given back, unless anything is against it by then. What goes away meanwhile went after the call,
//! which has it as it was.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::{ApiError, Call, Noun};
use crate::accounts::group_rules::unbinds;
use crate::accounts::{EntryId, Group, StoreError, User, user_rules};
use crate::directory::{Directory, Rebinding, View};
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

/// Unbinds users from the datacenters that they are bound to, or may be, where a group or a datacenter makes them
/// somebody in another one.
pub(super) async fn unbind(call: &Call, bindings: Vec<Binding>) -> Result<(), ApiError> {
    for (user, dc) in bindings {
        let unbound = call.app.directory.unbind_user(&user, &dc).await;
        unbound.map_err(|error| ApiError::store(&error, Noun::User))?;
    }
    Ok(())
}

/// Makes `write`, by which users become somebody elsewhere, once they are unbound: who manages the one datacenter must at no
/// time manage somebody in another. Those whom it unbound are bound again where `write` is refused; where it is not known
/// what came of it they are not.
pub(super) async fn unbind_for<T>(
    call: &Call,
    bindings: Vec<Binding>,
    write: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let directory = &call.app.directory;
    let mut unbound = Vec::new();
    let written = async {
        for (user, dc) in bindings {
            // What counts for nothing is not given back.
            let before = Before::new(&directory.read(), &user).filter(|before| before.dc == dc);
            let csn = directory.unbind_user(&user, &dc).await;
            let csn = csn.map_err(|error| ApiError::store(&error, Noun::User))?;
            unbound.extend(csn.zip(before).map(|(csn, before)| (user, csn, before)));
        }
        write.await
    };
    let written = written.await;
    if written.as_ref().is_err_and(|error| error.status.is_client_error()) {
        for (user, csn, before) in unbound {
            if let Err(error) = bind_again(directory, &user, Rebinding::Since(&csn), &before).await {
                let (user, dc) = (&user.name, &before.dc);
                tracing::warn!(%user, %dc, %error, "a user whom a refused call unbound is not bound again, nor are others");
                break;
            }
        }
    }
    written
}

/// Binds a user again as he was before, unless he is somebody elsewhere by now; whether he is bound so then.
async fn bind_again(
    directory: &Directory,
    user: &User,
    from: Rebinding<'_>,
    before: &Before,
) -> Result<bool, StoreError> {
    if !before.may_return(directory, user).await? || !directory.rebind_user(user, from, &before.dc).await? {
        return Ok(false);
    }
    // Whoever makes him somebody elsewhere after this finds him bound.
    let stays = before.may_return(directory, user).await;
    if !matches!(stays, Ok(true)) {
        directory.unbind_user(user, &before.dc).await?;
    }
    stays
}

/// The binding that a user had, and the datacenters that he owned then.
pub(super) struct Before {
    dc: DcName,
    id: EntryId,
    owned: HashSet<DcName>,
}

impl Before {
    /// None where he is bound to nothing that there is.
    pub(super) fn new(view: &View<'_>, user: &User) -> Option<Self> {
        let dc = view.datacenter(user.dc_bound.as_ref()?)?;
        let owned = view.datacenters_owned_by(&user.name).into_iter().map(|dc| dc.name.clone()).collect();
        Some(Self { dc: dc.name.clone(), id: dc.id, owned })
    }

    /// Whether nothing is against the binding: the datacenter is there, none of his groups is attached to another one, and he
    /// was made the owner of no other one since.
    async fn may_return(&self, directory: &Directory, user: &User) -> Result<bool, StoreError> {
        let (_, owns) = directory.look_at_what_names(&user.name).await?;
        if owns.iter().any(|dc| *dc != self.dc && !self.owned.contains(dc)) {
            return Ok(false);
        }
        let is_there = directory.look_at_datacenter(&self.dc).await?.is_some_and(|dc| dc.id == self.id);
        Ok(is_there && fits(directory, &user.name, &self.dc).await?)
    }
}

/// What a call did that is undone where it meets what is against it.
#[derive(Default)]
pub(super) struct Undo {
    /// That the user is bound there.
    pub(super) bound: Option<DcName>,
    /// The binding that this ended.
    pub(super) before: Option<Before>,
    /// That he is a member of these groups.
    pub(super) joined: Vec<GroupName>,
}

/// How often it is looked whether another call undoes what it did, and how long apart: a binding, by who joined groups; that
/// he joined groups, by who bound him. The second gives up first.
const LOOKS: [usize; 2] = [20, 5];
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
    let exists = directory.has_datacenter(dc).await?;
    let there = exists && !user.super_admin;
    if there && fits(directory, &user.name, dc).await? {
        return Ok((user, None));
    }
    let Undo { bound, before, joined } = undo;
    // Of one who was bound already, the binding alone goes with the datacenter or by a promotion.
    let is_undone = bound.is_some() || (there && !joined.is_empty());
    let looks = match &bound {
        Some(bound) if there && bound == dc => LOOKS[1],
        None if is_undone => LOOKS[0],
        _ => 0,
    };
    // Whoever did what this meets looks as well.
    for _ in 0..looks {
        tokio::time::sleep(PAUSE).await;
        let now = directory.look_at_user(&user.name).await?.filter(|now| now.id == user.id);
        let now = now.ok_or(StoreError::NotFound)?;
        let is_bound = now.dc_bound.as_ref() == Some(dc);
        let is_over = match &bound {
            None => !is_bound,
            Some(_) if !is_bound => break,
            Some(_) => fits(directory, &user.name, dc).await?,
        };
        if is_over {
            return Ok((now, None));
        }
    }
    if is_undone {
        for group in &joined {
            directory.expel(group, &user.name).await?;
        }
    }
    if let Some(bound) = &bound {
        let is_back = match &before {
            Some(before) => bind_again(directory, &user, Rebinding::From(bound), before).await?,
            None => false,
        };
        // Not the one by another call, which looks after that itself.
        let is_over = !is_back && directory.unbind_user(&user, bound).await?.is_none();
        if is_over && !exists && joined.is_empty() {
            // He is unbound as by whoever deleted the datacenter: after this call.
            return Ok((user, None));
        }
    }
    // Where it is another group that does not fit, too.
    if bound.is_none() && !(there && fits(directory, &user.name, dc).await?) {
        directory.unbind_user(&user, dc).await?;
    }
    let now = directory.read().user_by_id(user.id).cloned();
    let refusal = is_undone.then(|| match exists {
        true => ApiError::failure(&user_rules::groups_elsewhere()),
        false => ApiError::not_found(Noun::Datacenter),
    });
    Ok((now.unwrap_or(user), refusal))
}

/// Whether none of the user's groups is attached to another datacenter, as the directory has it.
async fn fits(directory: &Directory, user: &UserName, dc: &DcName) -> Result<bool, StoreError> {
    let attached = directory.look_at_attached_groups_of(user).await?;
    let (elsewhere, in_doubt): (bool, Vec<Arc<Group>>) = {
        let view = directory.read();
        let groups = || view.groups_of(user).into_iter().filter(|group| attached.contains(&group.id));
        let elsewhere = groups().any(|group| unbinds(&group.datacenters, Some(dc)));
        (elsewhere, groups().filter(|group| view.may_be_attached(group)).cloned().collect())
    };
    if elsewhere {
        return Ok(false);
    }
    for group in in_doubt {
        if unbinds(&directory.attachments(&group).await?, Some(dc)) {
            return Ok(false);
        }
    }
    Ok(true)
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
    let store = |error: StoreError| ApiError::store(&error, Noun::User);
    let members = directory.members(group).await.map_err(store)?;
    directory.look_at_users(&members).await.map_err(store)?;
    let elsewhere = bound_elsewhere(&directory.read(), &members, &group.datacenters);
    unbind(call, elsewhere).await
}
