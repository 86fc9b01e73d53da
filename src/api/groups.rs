//! `/accounts/group/` and `/accounts/group/(name)/` (contract 5.2).

use std::collections::HashSet;
use std::sync::Arc;

use super::bindings::{self, Binding};
use super::listing::{Detail, Paging, extended, name};
use super::represent::GroupObject;
use super::routes::Pending;
use super::{ApiError, Call, DELETIONS, Noun, Reply, subject};
use crate::accounts::access::{Endpoint, Rights, Target};
use crate::accounts::group_rules::{self, Lookup, Update};
use crate::accounts::{Addition, Group, GroupChange, NewGroup, StoreError};
use crate::directory::{List, View, folded};
use crate::name::UserName;

/// The fields that groups can be sorted by.
pub(super) const ORDER: &[&str] = &["name", "created"];

/// GET of all: the groups that the caller manages.
pub(super) fn list(call: &Call) -> Result<Reply, ApiError> {
    let (detail, groups) = {
        let view = call.app.directory.read();
        let rights = subject::rights(call, &view);
        subject::check(&rights, Endpoint::Groups, Target::List, Noun::Group)?;
        select(call, &view, |group| rights.manages(group.dc_bound.as_ref()))?
    };
    Ok(reply(call, detail, groups))
}

/// Those of the groups that are `visible` that the parameters ask for, in their order.
pub(super) fn select(
    call: &Call,
    view: &View<'_>,
    visible: impl Fn(&Group) -> bool,
) -> Result<(Detail, Vec<Arc<Group>>), ApiError> {
    let detail = Detail::parse(&call.params)?;
    let paging = Paging::parse(&call.params, ORDER)?;
    let find = |name: &str| {
        let group = subject::group(view, name).filter(|group| visible(group));
        group.or_else(|| view.former_group(name, &visible))
    };
    let groups = paging.page(view.groups().filter(|group| visible(group)).collect(), find)?;
    Ok((detail, groups.into_iter().cloned().collect()))
}

/// The list of `groups`.
pub(super) fn reply(call: &Call, detail: Detail, groups: Vec<Arc<Group>>) -> Reply {
    if !detail.full {
        return Reply::list(call, groups, name);
    }
    let extended = detail.extended;
    Reply::list(call, groups, move |view, group, out| {
        serde_json::to_writer(out, &GroupObject::new(view, group, extended))
    })
}

/// GET of one.
pub(super) fn show(call: &Call) -> Result<Reply, ApiError> {
    let view = call.app.directory.read();
    let group = target(call, &view, &subject::rights(call, &view), Endpoint::Groups)?;
    let extended = extended(&call.params)?;
    Ok(Reply::ok(&GroupObject::new(&view, group, extended)))
}

/// The group that the path names, if the caller may do this.
fn target<'v>(
    call: &Call,
    view: &'v View<'_>,
    rights: &Rights,
    endpoint: Endpoint,
) -> Result<&'v Arc<Group>, ApiError> {
    let found = subject::group(view, call.arg(0));
    let target =
        found.map_or(Target::Missing, |group| Target::Other { managed: rights.manages(group.dc_bound.as_ref()) });
    subject::check(rights, endpoint, target, Noun::Group)?;
    let group = found.ok_or_else(|| ApiError::not_found(Noun::Group))?;
    subject::enter(call, view, group.dc_bound.as_ref());
    Ok(group)
}

/// POST.
pub(super) fn create(call: &Call) -> Pending<'_> {
    Box::pin(async move {
        let (new, bound_elsewhere) = plan_create(call)?;
        let members = new.members.clone();
        let store = |error: StoreError| ApiError::store(&error, Noun::Group);
        call.announce().await.map_err(store)?;
        let created = async { call.app.directory.create_group(new).await.map_err(store) };
        let group = bindings::unbind_for(call, bound_elsewhere, created).await?;
        let group = bindings::settle_group(call, group).await.map_err(store)?;
        let group = bindings::settle_members(call, group, &members).await?;
        Ok(Reply::created(&GroupObject::new(&call.app.directory.read(), &group, false)))
    })
}

pub(super) fn plan_create(call: &Call) -> Result<(NewGroup, Vec<Binding>), ApiError> {
    let view = call.app.directory.read();
    let rights = subject::rights(call, &view);
    subject::check(&rights, Endpoint::GroupWrite, Target::List, Noun::Group)?;
    if view.groups().any(|group| group.name.as_str().eq_ignore_ascii_case(call.arg(0))) {
        return Err(ApiError::exists(Noun::Group));
    }
    let dc = subject::named_dc(call, &view)?;
    // A new group is bound to it until the validation says otherwise, and so is current there, as a new user is.
    subject::enter(call, &view, dc.map(|dc| &dc.name));
    let lookup = Lookup {
        user: &|name| user_name(&view, name),
        alias_taken: &|alias| alias_taken(&view, alias, None),
        is_datacenter: &|dc| view.datacenter(dc).is_some(),
    };
    let new = group_rules::create(call.params.object()?, call.arg(0), dc.map(|dc| &dc.name), &lookup);
    let new = new.map_err(|errors| ApiError::failure(&errors))?;
    let members = new.members.iter().map(|member| Addition::Member(new.name.clone(), member.clone()));
    let attachment = new.dc_bound.iter().map(|dc| Addition::Attachment(new.name.clone(), dc.clone()));
    call.adds(members.chain(attachment));
    let users = bindings::bound_elsewhere(&view, &new.members, new.dc_bound.as_slice());
    Ok((new, users))
}

/// PUT.
pub(super) fn update(call: &Call) -> Pending<'_> {
    Box::pin(async move {
        let settled = call.settled("users", || Ok(List::MembersOf(plan_update(call)?.0.id))).await?;
        let (group, mut change, bound_elsewhere) = plan_update(call)?;
        let store = |error: StoreError| ApiError::store(&error, Noun::Group);
        let member = |user: &UserName| Addition::Member(group.name.clone(), user.clone());
        change.remove_members.retain(|user| settled.contains(&member(user)));
        // What counts for nothing too: it is of somebody of the name who went, and must not wait for the next one.
        let known: HashSet<&UserName> = group.members.iter().chain(&change.add_members).collect();
        let dead = settled.iter().filter_map(|stored| match stored {
            Addition::Member(_, user) if !known.contains(user) => Some(user.clone()),
            _ => None,
        });
        change.remove_members.extend(dead);
        call.announce().await.map_err(store)?;
        let (binds, joined) = (matches!(change.dc_bound, Some(Some(_))), change.add_members.clone());
        let updated = async { call.app.directory.update_group(&group, change).await.map_err(store) };
        let mut group = bindings::unbind_for(call, bound_elsewhere, updated).await?;
        if binds {
            group = bindings::settle_group(call, group).await.map_err(store)?;
        }
        // Whoever binds one that was a member before sees that.
        let group = bindings::settle_members(call, group, &joined).await?;
        Ok(Reply::ok(&GroupObject::new(&call.app.directory.read(), &group, false)))
    })
}

/// The group, what changes, and the members who are bound elsewhere.
pub(super) type GroupUpdate = (Arc<Group>, GroupChange, Vec<Binding>);

pub(super) fn plan_update(call: &Call) -> Result<GroupUpdate, ApiError> {
    let view = call.app.directory.read();
    let group = target(call, &view, &subject::rights(call, &view), Endpoint::GroupWrite)?;
    // Those too that nobody goes by now: who is not named is no member, whoever takes the name later.
    let current: Vec<&UserName> = group.members.iter().collect();
    let lookup = Lookup {
        user: &|name| user_name(&view, name),
        alias_taken: &|alias| alias_taken(&view, alias, Some(group)),
        is_datacenter: &|dc| view.datacenter(dc).is_some(),
    };
    let update = group_rules::update(call.params.object()?, group, &current, &lookup);
    let Update { change, members } = update.map_err(|errors| ApiError::failure(&errors))?;
    call.adds(change.add_members.iter().map(|member| Addition::Member(group.name.clone(), member.clone())));
    let users = bindings::bound_elsewhere(&view, &members, &group.datacenters);
    Ok((group.clone(), change, users))
}

/// DELETE: nothing protects a group, not even the built-in one.
pub(super) fn delete(call: &Call) -> Pending<'_> {
    Box::pin(async move {
        for _ in 0..DELETIONS {
            let group = plan_delete(call)?;
            match call.app.directory.delete_group(&group).await {
                Ok(()) => return Ok(Reply::deleted()),
                // By now there is another one of the name.
                Err(StoreError::Contended) => {}
                Err(error) => return Err(ApiError::store(&error, Noun::Group)),
            }
        }
        Err(ApiError::store(&StoreError::Contended, Noun::Group))
    })
}

pub(super) fn plan_delete(call: &Call) -> Result<Arc<Group>, ApiError> {
    let view = call.app.directory.read();
    let group = target(call, &view, &subject::rights(call, &view), Endpoint::GroupWrite)?;
    call.params.ignored()?;
    Ok(group.clone())
}

fn user_name(view: &View<'_>, name: &str) -> Option<UserName> {
    UserName::parse(name).ok().and_then(|name| view.user(&name)).map(|user| user.name.clone())
}

fn alias_taken(view: &View<'_>, alias: &str, own: Option<&Group>) -> bool {
    let alias = folded(alias);
    view.groups().any(|group| own.is_none_or(|own| own.id != group.id) && folded(&group.alias) == alias)
}
