//! `/dc/` and `/dc/(dc)/` (contract 5.5).

use std::collections::HashSet;
use std::slice::from_ref;
use std::sync::Arc;
use std::time::Instant;

use hyper::StatusCode;

use super::bindings::{self, Binding};
use super::listing::{Detail, Paging, extended, name};
use super::represent::DatacenterObject;
use super::routes::Pending;
use super::writing::{is_datacenter_begun, wait_while};
use super::{ApiError, Call, DELETIONS, Noun, Reply, dc_members, subject};
use crate::accounts::access::{self, Endpoint, Target};
use crate::accounts::dc_rules::{self, Lookup, Update};
use crate::accounts::{Addition, Datacenter, DatacenterChange, Group, MAIN_DC, NewDatacenter, StoreError};
use crate::directory::{List, View, folded, undoing};
use crate::name::{DcName, GroupName, UserName};

/// Why `main` is not deleted.
pub(super) const MAIN_STAYS: &str = "Default datacenter cannot be deleted";

/// The fields that datacenters can be sorted by.
pub(super) const ORDER: &[&str] = &["name", "created"];

/// GET of all: the datacenters that the caller may see.
pub(super) fn list(call: &Call) -> Result<Reply, ApiError> {
    let staff = call.caller.is_super_admin();
    let detail = if staff { Detail::parse(&call.params)? } else { Detail::parse_full(&call.params)? };
    let paging = Paging::parse(&call.params, ORDER)?;
    let page: Vec<Arc<Datacenter>> = {
        let view = call.app.directory.read();
        let groups = subject::groups_of(&view, &call.caller.user);
        let may_see = |dc: &Datacenter| access::may_see(&call.caller.user, &groups, dc);
        let find = |name: &str| {
            let dc = view.datacenter(&DcName::parse(name).ok()?).filter(|dc| may_see(dc));
            dc.or_else(|| view.former_datacenter(name, may_see))
        };
        let page = paging.page(view.datacenters().filter(|dc| may_see(dc)).collect(), find)?;
        page.into_iter().cloned().collect()
    };
    if !detail.full {
        return Ok(Reply::list(call, page, name));
    }
    let extended = detail.extended;
    Ok(Reply::list(call, page, move |view, dc, out| {
        serde_json::to_writer(out, &DatacenterObject::new(view, dc, staff, extended))
    }))
}

/// GET of one.
pub(super) fn show(call: &Call) -> Result<Reply, ApiError> {
    let view = call.app.directory.read();
    let dc = subject::datacenter(call, &view, DcName::parse(call.arg(0)).ok())?;
    call.enter(dc);
    let extended = extended(&call.params)?;
    Ok(Reply::ok(&DatacenterObject::new(&view, dc, call.caller.is_super_admin(), extended)))
}

/// The datacenter that the path names, for a SuperAdmin.
fn target<'v>(call: &Call, view: &'v View<'_>) -> Result<&'v Arc<Datacenter>, ApiError> {
    let rights = subject::rights(call, view);
    let found = DcName::parse(call.arg(0)).ok().and_then(|name| view.datacenter(&name));
    let target = found.map_or(Target::Missing, |_| Target::Other { managed: true });
    subject::check(&rights, Endpoint::DatacenterWrite, target, Noun::Datacenter)?;
    let dc = found.ok_or_else(|| ApiError::not_found(Noun::Datacenter))?;
    call.enter(dc);
    Ok(dc)
}

/// POST. The groups are attached to the datacenter once it is there.
pub(super) fn create(call: &Call) -> Pending<'_> {
    Box::pin(async move {
        let CreatePlan { new, begun } = plan_create(call)?;
        let (groups, owner) = (new.groups.clone(), new.owner.clone());
        let store = |error: StoreError| ApiError::store(&error, Noun::Datacenter);
        let no_owner = || ApiError::failure(&dc_rules::no_owner(&owner));
        let bound = bound_owner(call, &owner, &new.name).await?.ok_or_else(no_owner)?;
        call.announce().await.map_err(store)?;
        let directory = &call.app.directory;
        let created = async {
            let dc = match begun {
                Some(begun) => begun,
                None => directory.create_datacenter(new, call.mark()).await.map_err(store)?,
            };
            let Some(bound) = bound_owner(call, &owner, &dc.name).await? else {
                directory.delete_datacenter(&dc).await.map_err(store)?;
                return Err(no_owner());
            };
            bindings::unbind(call, bound).await?;
            call.enter(&dc);
            match finish_create(call, &dc, &groups).await {
                // It went: the same request made twice had told of it, or somebody did not wait for that.
                Err(error) if error.status == StatusCode::NOT_FOUND => Err(ApiError::exists(Noun::Datacenter)),
                finished => finished.map(|()| dc),
            }
        };
        let dc = bindings::unbind_for(call, bound, created).await?;
        Ok(shown(call, &dc, true))
    })
}

/// Attaches the groups of a datacenter whose entry is written.
async fn finish_create(call: &Call, dc: &Datacenter, groups: &[GroupName]) -> Result<(), ApiError> {
    if groups.is_empty() {
        return Ok(());
    }
    for name in groups {
        attach(call, name, dc).await?;
    }
    let finished = call.app.directory.finish_datacenter(dc, call.mark()).await;
    finished.map_err(|error| ApiError::store(&error, Noun::Datacenter))
}

pub(super) struct CreatePlan {
    new: NewDatacenter,
    /// The entry, if this same request made it already and was cut short.
    begun: Option<Arc<Datacenter>>,
}

pub(super) fn plan_create(call: &Call) -> Result<CreatePlan, ApiError> {
    let view = call.app.directory.read();
    let rights = subject::rights(call, &view);
    subject::check(&rights, Endpoint::DatacenterWrite, Target::List, Noun::Datacenter)?;
    let known = view.datacenters().find(|dc| dc.name.as_str().eq_ignore_ascii_case(call.arg(0)));
    let begun = known.filter(|dc| dc.unfinished.as_deref().is_some_and(|mark| *mark == call.mark()));
    if known.is_some() && begun.is_none() {
        return Err(ApiError::exists(Noun::Datacenter));
    }
    let body = call.params.object()?;
    let own = begun.map(|dc| &**dc);
    let new = with_lookup(&view, own, |lookup| dc_rules::create(body, call.arg(0), &call.caller.user, lookup));
    let new = new.map_err(|errors| ApiError::failure(&errors))?;
    call.adds(new.groups.iter().map(|group| Addition::Attachment(group.clone(), new.name.clone())));
    Ok(CreatePlan { new, begun: begun.cloned() })
}

/// PUT. First the fields, which may be refused, then groups that go are detached; those that come are attached last.
pub(super) fn update(call: &Call) -> Pending<'_> {
    Box::pin(async move {
        let list = || Ok(List::AttachedTo(plan_update(call)?.dc.name.clone()));
        let settled = call.settled("groups", list).await?;
        let plan = plan_update(call)?;
        let mut change = plan.update.change;
        let directory = &call.app.directory;
        let store = |error: StoreError| ApiError::store(&error, Noun::Datacenter);
        let leave = others(&settled, plan.update.groups.as_deref());
        if change.owner.is_some() {
            let now = directory.look_at_datacenter(&plan.dc.name).await.map_err(store)?;
            // The present owner is no change, and stays what else he is.
            change.owner.take_if(|owner| now.as_ref().is_some_and(|dc| dc.owner.as_ref() == Some(owner)));
        }
        let no_owner = |owner: &UserName| ApiError::failure(&dc_rules::no_owner(owner));
        let bound = match &change.owner {
            Some(owner) => bound_owner(call, owner, &plan.dc.name).await?.ok_or_else(|| no_owner(owner))?,
            None => Vec::new(),
        };
        let before = match change.owner {
            Some(_) => directory.look_at_datacenter(&plan.dc.name).await.map_err(store)?,
            None => None,
        };
        call.announce().await.map_err(store)?;
        let updated = async {
            let dc = directory.update_datacenter(&plan.dc, change.clone()).await.map_err(store)?;
            let Some(owner) = &change.owner else { return Ok(dc) };
            if let Some(bound) = bound_owner(call, owner, &dc.name).await? {
                bindings::unbind(call, bound).await?;
                return Ok(dc);
            }
            if let Some(before) = before {
                let now = directory.look_at_datacenter(&dc.name).await.map_err(store)?;
                let back = back(&change, &before, now.as_deref().unwrap_or(&dc));
                undoing(directory.update_datacenter(&dc, back)).await.map_err(store)?;
            }
            Err(no_owner(owner))
        };
        let dc = bindings::unbind_for(call, bound, updated).await?;
        for name in &leave {
            detach(call, name, &dc).await?;
        }
        for name in plan.update.groups.iter().flatten() {
            let is_settled = settled.contains(&Addition::Attachment(name.clone(), dc.name.clone()));
            let is_attached = |group: &&Arc<Group>| is_settled && group.datacenters.contains(&dc.name);
            let attached = directory.read().group(name).filter(is_attached).cloned();
            match attached {
                // Not anew, as another call may detach it. One that was cut short may have left something to do.
                Some(group) => bindings::settle_attached(call, &group).await?,
                None => attach(call, name, &dc).await?,
            }
        }
        Ok(shown(call, &dc, false))
    })
}

pub(super) struct UpdatePlan {
    dc: Arc<Datacenter>,
    update: Update,
}

/// The groups that the directory has attached, and no call is attaching, but for those that are given. Also what counts for
/// nothing, or not yet: it is of an earlier datacenter of the name, or by another daemon.
fn others(settled: &HashSet<Addition>, given: Option<&[GroupName]>) -> Vec<GroupName> {
    let Some(given) = given else { return Vec::new() };
    let given: HashSet<&GroupName> = given.iter().collect();
    let others = settled.iter().filter_map(|stored| match stored {
        Addition::Attachment(group, _) if !given.contains(group) => Some(group.clone()),
        _ => None,
    });
    others.collect()
}

pub(super) fn plan_update(call: &Call) -> Result<UpdatePlan, ApiError> {
    let view = call.app.directory.read();
    let dc = target(call, &view)?;
    let body = call.params.object()?;
    let update = with_lookup(&view, Some(dc), |lookup| dc_rules::update(body, dc, lookup));
    let update = update.map_err(|errors| ApiError::failure(&errors))?;
    let attached: HashSet<&GroupName> = view.groups_of_datacenter(&dc.name).iter().map(|group| &group.name).collect();
    let new = update.groups.iter().flatten().filter(|group| !attached.contains(group)).cloned();
    call.adds(new.map(|group| Addition::Attachment(group, dc.name.clone())));
    Ok(UpdatePlan { dc: dc.clone(), update })
}

/// DELETE: unbinds and detaches; nothing else is deleted.
pub(super) fn delete(call: &Call) -> Pending<'_> {
    Box::pin(async move {
        for round in 0..DELETIONS {
            if round > 0 {
                wait_while(|| is_datacenter_begun(call), Instant::now()).await;
            }
            let (dc, owner) = plan_delete(call)?;
            // Rounds take time, and what was done in them is no reason to go on.
            if round > 0 {
                plan_delete(&call.again()?)?;
            }
            match call.app.directory.delete_datacenter(&dc).await {
                Ok(()) => return Ok(owned_by(Reply::deleted(), owner)),
                // By now there is another one of the name.
                Err(StoreError::Contended) => {}
                Err(error) => return Err(ApiError::store(&error, Noun::Datacenter)),
            }
        }
        Err(ApiError::store(&StoreError::Contended, Noun::Datacenter))
    })
}

/// The datacenter, and its owner's number.
pub(super) fn plan_delete(call: &Call) -> Result<(Arc<Datacenter>, Option<u64>), ApiError> {
    let view = call.app.directory.read();
    let dc = target(call, &view)?;
    if dc.name.as_str().eq_ignore_ascii_case(MAIN_DC) {
        return Err(ApiError::precondition_required(MAIN_STAYS));
    }
    call.params.ignored()?;
    Ok((dc.clone(), owner_number(&view, dc)))
}

/// Runs `rules` with what they need to know; `own` is the datacenter that they are about.
fn with_lookup<T>(view: &View<'_>, own: Option<&Datacenter>, rules: impl FnOnce(&Lookup<'_>) -> T) -> T {
    let others = || view.datacenters().filter(|dc| own.is_none_or(|own| own.id != dc.id));
    let same = |a: &str, b: &str| folded(a) == folded(b);
    rules(&Lookup {
        user: &|name| UserName::parse(name).ok().and_then(|name| view.user(&name)).map(|user| &**user),
        group: &|name| subject::group(view, name).map(|group| -> &Group { group }),
        alias_taken: &|alias| others().any(|dc| same(&dc.alias, alias)),
        site_taken: &|site| others().any(|dc| same(&dc.site, site)),
    })
}

/// Looks, in the directory, whether he can be the datacenter's owner: he is there and active. Then whoever is about to delete
/// him looks again at what he owns. Gives his bindings to others, which an owner must not have.
async fn bound_owner(call: &Call, owner: &UserName, dc: &DcName) -> Result<Option<Vec<Binding>>, ApiError> {
    let directory = &call.app.directory;
    let store = |error: StoreError| ApiError::store(&error, Noun::Datacenter);
    let mut user = directory.look_at_user(owner).await.map_err(store)?;
    if let Some(leaving) = user.take_if(|user| directory.is_leaving(user)) {
        // That is over in a moment; an owner it met would be told after his groups are left.
        wait_while(|| directory.is_leaving(&leaving), Instant::now()).await;
        user = directory.look_at_user(owner).await.map_err(store)?;
    }
    let Some(user) = user.filter(|user| user.is_active()) else { return Ok(None) };
    if !directory.hold(&user).await.map_err(store)? {
        return Ok(None);
    }
    Ok(Some(bindings::bound_elsewhere(&directory.read(), from_ref(&user.name), from_ref(dc))))
}

/// What undoes `change`, made to a datacenter that had an owner `before`, as far as it is so `now`: the rest is by others.
fn back(change: &DatacenterChange, before: &Datacenter, now: &Datacenter) -> DatacenterChange {
    let text = |changed: &Option<String>, now: &str, before: &str| {
        changed.as_ref().filter(|changed| **changed == *now).map(|_| before.to_owned())
    };
    DatacenterChange {
        owner: before.owner.clone().filter(|_| now.owner.is_none() || now.owner == change.owner),
        alias: text(&change.alias, &now.alias, &before.alias),
        site: text(&change.site, &now.site, &before.site),
        access: change.access.filter(|changed| *changed == now.access).map(|_| before.access),
        desc: text(&change.desc, &now.desc, &before.desc),
        sets_groups: false,
    }
}

async fn attach(call: &Call, name: &GroupName, dc: &Datacenter) -> Result<(), ApiError> {
    let group = call.app.directory.read().group(name).cloned();
    match group {
        Some(group) => dc_members::attach(call, &group, &dc.name, true).await,
        None => Ok(()),
    }
}

async fn detach(call: &Call, name: &GroupName, dc: &Datacenter) -> Result<(), ApiError> {
    let group = call.app.directory.read().group(name).cloned();
    match group {
        Some(group) => dc_members::detach(call, &group, &dc.name).await,
        None => Ok(()),
    }
}

fn owner_number(view: &View<'_>, dc: &Datacenter) -> Option<u64> {
    dc.owner.as_ref().and_then(|name| view.user(name)).map(|user| user.number)
}

fn owned_by(reply: Reply, owner: Option<u64>) -> Reply {
    match owner {
        Some(number) => reply.owned_by(number),
        None => reply,
    }
}

fn shown(call: &Call, dc: &Datacenter, created: bool) -> Reply {
    let view = call.app.directory.read();
    let object = DatacenterObject::new(&view, dc, call.caller.is_super_admin(), false);
    let reply = if created { Reply::created(&object) } else { Reply::ok(&object) };
    owned_by(reply, owner_number(&view, dc))
}
