//! `/accounts/user/` and `/accounts/user/(username)/` (contract 3.2 to 3.5).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::bindings::{self, Before, Undo};
use super::listing::{Detail, Paging, extended, flag, name};
use super::represent::{UserObject, main_dc};
use super::routes::Pending;
use super::writing::{is_user_begun, wait_while};
use super::{ApiError, Call, DELETIONS, Noun, Params, Reply, hashing, subject};
use crate::accounts::access::{Endpoint, Target};
use crate::accounts::error::UniqueField;
use crate::accounts::input::boolean;
use crate::accounts::secrets::random;
use crate::accounts::user::PasswordEpoch;
use crate::accounts::user_rules::{self, Creation, Lookup, Update, Updating, is_reserved};
use crate::accounts::{Addition, FIRST_ADMIN, StoreError, User, UserChange};
use crate::directory::{List, View};
use crate::name::{DcName, GroupName, UserName};

/// The fields that users can be sorted by.
pub(super) const ORDER: &[&str] = &["username", "created"];

/// How long a change is made anew that crossed others of the same user, and the longest pause before that.
const CROSSED: Duration = Duration::from_secs(5);
const CROSSED_PAUSE: Duration = Duration::from_millis(40);

/// How often it is looked whether one whose groups were replaced is in others again.
const LOOKS: usize = 8;

/// GET: the users that the caller manages.
pub(super) fn list(call: &Call) -> Result<Reply, ApiError> {
    let (detail, users) = {
        let view = call.app.directory.read();
        let rights = subject::rights(call, &view);
        subject::check(&rights, Endpoint::Users, Target::List, Noun::User)?;
        let visible = |user: &User| rights.manages_user(user);
        select(call, &view, view.users().filter(|user| visible(user)), visible, ORDER)?
    };
    Ok(reply(call, detail, users))
}

/// Those of `users` (by name) that the parameters ask for, in their order. All of them are `visible`, as `after` must be.
pub(super) fn select<'v>(
    call: &Call,
    view: &'v View<'_>,
    users: impl Iterator<Item = &'v Arc<User>>,
    visible: impl Fn(&User) -> bool,
    fields: &[&str],
) -> Result<(Detail, Vec<Arc<User>>), ApiError> {
    let detail = Detail::parse(&call.params)?;
    let active = wants_active(&call.params)?;
    let paging = Paging::parse(&call.params, fields)?;
    let users = users.filter(|user| user.is_active() == active).collect();
    let users = paging.page(users, |name| find(view, name, &visible))?;
    Ok((detail, users.into_iter().cloned().collect()))
}

/// The list of `users`.
pub(super) fn reply(call: &Call, detail: Detail, users: Vec<Arc<User>>) -> Reply {
    if !detail.full {
        return Reply::list(call, users, name);
    }
    let (extended, now) = (detail.extended, call.now);
    Reply::list(call, users, move |view, user, out| {
        serde_json::to_writer(out, &UserObject::new(view, user, extended, now))
    })
}

/// The user of this name, for `after`; one who was deleted, or was `visible`, at the page before will do.
pub(super) fn find<'v>(view: &'v View<'_>, name: &str, visible: impl Fn(&User) -> bool) -> Option<&'v Arc<User>> {
    let user = view.user(&UserName::parse(name).ok()?).filter(|user| visible(user));
    user.or_else(|| view.former_user(name, visible))
}

/// Active users or inactive ones: the documented parameter, or the original's (decision 12).
fn wants_active(params: &Params) -> Result<bool, ApiError> {
    let (documented, original) = (flag(params, "is_active")?, flag(params, "active")?);
    Ok(documented.or(original).unwrap_or(true))
}

/// GET of one.
pub(super) fn show(call: &Call) -> Result<Reply, ApiError> {
    let view = call.app.directory.read();
    let user = subject::user(call, &view, &subject::rights(call, &view), Endpoint::User)?;
    let extended = extended(&call.params)?;
    Ok(Reply::ok(&UserObject::new(&view, user, extended, call.now)))
}

/// POST.
pub(super) fn create(call: &Call) -> Pending<'_> {
    Box::pin(async move {
        let (Creation { mut user, password }, unfinished) = plan_create(call)?;
        let (name, email, groups) = (user.name.clone(), user.email.clone(), user.groups.clone());
        if unfinished.is_none() {
            user.password_hash = hashing::hash(call.app.cost, password).await?;
        }
        call.announce().await.map_err(|error| ApiError::store(&error, Noun::User))?;
        let created = match unfinished {
            Some(begun) => call.app.directory.complete_user(&begun, &user.groups).await,
            None => call.app.directory.create_user(user, call.mark()).await,
        };
        // The mark last: what is left undone before is done by the same request made again.
        let finished = match created {
            Ok(user) => finish_create(call, user, &groups).await,
            Err(error) => Err(error),
        };
        match finished {
            Ok(user) => {
                let view = call.app.directory.read();
                let object = UserObject::new(&view, &user, false, call.now);
                Ok(Reply::created(&object).owned_by(user.number))
            }
            Err(StoreError::NotUnique(UniqueField::Identity)) => Err(identity_taken(call, &name, &email).await),
            // He went: the same request made twice had told of him, or somebody did not wait for that.
            Err(StoreError::NotFound) => Err(ApiError::exists(Noun::User)),
            Err(error) => Err(ApiError::store(&error, Noun::User)),
        }
    })
}

/// The user whose entry and memberships are written, complete.
async fn finish_create(call: &Call, user: Arc<User>, groups: &[GroupName]) -> Result<Arc<User>, StoreError> {
    let directory = &call.app.directory;
    let settled = bindings::settle_user(call, Arc::clone(&user), Undo::default()).await;
    let finished = match settled.map(|(user, _)| user) {
        Ok(user) if !groups.is_empty() => directory.finish_user(user, call.mark()).await,
        other => other,
    };
    if let Err(StoreError::NotFound | StoreError::Exists) = finished {
        directory.settle_joined(&user, groups).await?;
    }
    finished
}

/// What is to be created, and the entry if this same request made it already and was cut short.
pub(super) fn plan_create(call: &Call) -> Result<(Creation, Option<Arc<User>>), ApiError> {
    let view = call.app.directory.read();
    let rights = subject::rights(call, &view);
    let path = call.arg(0);
    // Reserved names are refused in validation, whatever their case variants are.
    let name = UserName::parse(path).ok().filter(|_| !is_reserved(path));
    let begun = name.as_ref().and_then(|name| view.user(name));
    let is_begun = |user: &User| user.unfinished.as_deref().is_some_and(|mark| *mark == call.mark());
    let begun = begun.filter(|user| is_begun(user) && rights.manages_user(user));
    let target = match &name {
        _ if begun.is_some() => Target::Missing,
        Some(name) if call.caller.is(name) => Target::Own,
        Some(name) if subject::is_taken(&view, name) => Target::Other { managed: false },
        _ => Target::Missing,
    };
    subject::check(&rights, Endpoint::UserCreate, target, Noun::User)?;
    let dc = subject::named_dc_or_main(call, &view)?;
    if !rights.manages(Some(&dc.name)) {
        return Err(ApiError::forbidden());
    }
    // A new user is bound to it until the validation says otherwise (contract 3.4, 1), and so is current there.
    call.enter(dc);
    let lookup = Lookup {
        is_begun: call.is_begun,
        group: &|name| subject::group(&view, name).map(|group| &**group),
        email_taken: &|email| subject::is_others(&view, email, begun.map(|user| &**user)),
    };
    let creation = user_rules::create(call.params.object()?, path, &rights, &dc.name, &lookup);
    let creation = creation.map_err(|errors| ApiError::failure(&errors))?;
    let user = &creation.user;
    call.adds(user.groups.iter().map(|group| Addition::Member(group.clone(), user.name.clone())));
    Ok((creation, begun.cloned()))
}

/// Whose value was taken when the directory refused a new user's name and e-mail address: the name's (406) or the
/// address's (400). The other entry may be another daemon's and on its way here, so this waits for it a little.
async fn identity_taken(call: &Call, name: &UserName, email: &str) -> ApiError {
    for _ in 0..20 {
        {
            let view = call.app.directory.read();
            if subject::is_taken(&view, name) {
                return ApiError::exists(Noun::User);
            }
            if subject::is_others(&view, email, None) {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ApiError::store(&StoreError::NotUnique(UniqueField::Identity), Noun::User)
}

/// PUT.
pub(super) fn update(call: &Call) -> Pending<'_> {
    Box::pin(async move {
        let mut begin = None;
        let user = loop {
            if let Some(user) = change(call).await? {
                break user;
            }
            // What it crossed may come again, but not for long.
            if begin.get_or_insert_with(Instant::now).elapsed() > CROSSED {
                return Err(ApiError::store(&StoreError::Contended, Noun::User));
            }
            let [spread] = random::<1>();
            tokio::time::sleep(CROSSED_PAUSE * u32::from(spread) / 255).await;
        };
        let view = call.app.directory.read();
        Ok(Reply::ok(&UserObject::new(&view, &user, false, call.now)).owned_by(user.number))
    })
}

/// Makes the change that was planned; the user after it. `None` where he was bound or promoted or is being changed by many
/// meanwhile, and that is not against it.
async fn change(call: &Call) -> Result<Option<Arc<User>>, ApiError> {
    let settled = call.settled("groups", || Ok(List::GroupsOf(plan_update(call)?.0.name.clone()))).await?;
    let (planned, Update { mut change, password }) = plan_update(call)?;
    let stays = stays(call, &planned, &change);
    // What counts for nothing too: it was given to another one of the name, who went.
    change.leave = others(&settled, &stays);
    let new_password = password.is_some();
    if let Some(password) = password {
        let hash = hashing::hash(call.app.cost, password).await?;
        *call.password() = Some(PasswordEpoch(call.app.ring.password_epoch(&mut [hash.as_bytes()])));
        change.password_hash = Some(hash);
    }
    let store = |error: StoreError| ApiError::store(&error, Noun::User);
    call.announce().await.map_err(store)?;
    // One who is bound there is not bound by this call: it must find him so.
    let bound = change.dc_bound.clone().flatten().filter(|bound| planned.dc_bound.as_ref() != Some(bound));
    let undo = Undo {
        before: bound.as_ref().and_then(|_| Before::new(&call.app.directory.read(), &planned)),
        bound,
        joined: change.join.iter().filter(|group| !is_in(&settled, group)).cloned().collect(),
    };
    if undo.bound.is_some() {
        change.while_named = change.named(&planned);
    }
    let is_more = undo.bound.is_some() || change.sets_groups || change.super_admin == Some(true);
    let is_revoked = change.sets_groups && !change.leaves_last && {
        let view = call.app.directory.read();
        subject::rights_of(&view, &planned).is_user_admin()
    };
    let mut user = match call.app.directory.update_user(&planned, change.clone()).await {
        Err(StoreError::Contended) => {
            // He is bound by now, or a SuperAdmin: that may be against it.
            plan_update(&call.afresh())?;
            return Ok(None);
        }
        other => other.map_err(store)?,
    };
    if is_revoked {
        user = keep_out(call, user, &stays).await?;
    }
    if is_more {
        let (settled, refusal) = bindings::settle_user(call, user, undo).await.map_err(store)?;
        user = settled;
        if let Some(refusal) = refusal {
            // Where more was changed, which stays, it is no refusal.
            let back = change.back(&planned, &user).ok_or_else(|| store(StoreError::Contended))?;
            call.app.directory.update_user(&user, back).await.map_err(|error| match error {
                StoreError::NotUnique(_) => store(StoreError::Contended),
                error => store(error),
            })?;
            // What it met is as if that had come before, also where the directory alone knows it yet.
            plan_update(&call.afresh())?;
            return Err(refusal);
        }
    }
    if new_password {
        // The sessions are over already, since the password is another one; this only clears them away.
        if let Err(error) = call.app.directory.delete_sessions_of(&user).await {
            tracing::warn!(%error, "sessions that a new password ended were not deleted");
        }
    }
    Ok(Some(user))
}

/// The groups that the user is in after this change.
fn stays(call: &Call, user: &User, change: &UserChange) -> HashSet<GroupName> {
    let view = call.app.directory.read();
    let leave: HashSet<&GroupName> = change.leave.iter().collect();
    let now = subject::groups_of(&view, user).into_iter().map(|group| &group.name);
    now.filter(|group| !leave.contains(group)).chain(&change.join).cloned().collect()
}

/// The groups that the user is in, and no call is making him a member of, but for those where he stays.
fn others(settled: &HashSet<Addition>, stays: &HashSet<GroupName>) -> Vec<GroupName> {
    let others = settled.iter().filter_map(|stored| match stored {
        Addition::Member(group, _) if !stays.contains(group) => Some(group.clone()),
        _ => None,
    });
    others.collect()
}

fn is_in(settled: &HashSet<Addition>, group: &GroupName) -> bool {
    settled.iter().any(|stored| matches!(stored, Addition::Member(of, _) if of == group))
}

fn gives_rights(view: &View<'_>, group: &GroupName) -> bool {
    view.group(group).is_some_and(|group| group.gives_rights())
}

/// After the groups of one who manages others were replaced: amid that he may have made himself a member of others that let
/// him, by what those that were not left yet let him do.
async fn keep_out(call: &Call, mut user: Arc<User>, stays: &HashSet<GroupName>) -> Result<Arc<User>, ApiError> {
    for _ in 0..LOOKS {
        let settled = call.settled("groups", || Ok(List::GroupsOf(user.name.clone()))).await?;
        let mut leave = others(&settled, stays);
        leave.retain(|group| gives_rights(&call.app.directory.read(), group));
        if leave.is_empty() {
            break;
        }
        let change = UserChange { leave, ..UserChange::default() };
        let updated = call.app.directory.update_user(&user, change).await;
        user = updated.map_err(|error| ApiError::store(&error, Noun::User))?;
    }
    Ok(user)
}

pub(super) fn plan_update(call: &Call) -> Result<(Arc<User>, Update), ApiError> {
    let view = call.app.directory.read();
    let rights = subject::rights(call, &view);
    let user = subject::user(call, &view, &rights, Endpoint::User)?;
    let binds = rights.super_admin && call.params.get("dc_bound").map(boolean) == Some(Ok(true));
    let named = if binds { subject::named_dc(call, &view)? } else { None };
    // One who is bound to what does not exist is bound as one who is bound to nothing.
    let own = user.dc_bound.as_ref().filter(|bound| view.datacenter(bound).is_some());
    let dc = named.map(|dc| &dc.name).or(own).or(main_dc(&view).map(|dc| &dc.name));
    let dc = dc.ok_or_else(|| ApiError::not_found(Noun::Datacenter))?;
    let groups = subject::groups_of(&view, user);
    let lookup = Lookup {
        is_begun: call.is_begun,
        group: &|name| subject::group(&view, name).map(|group| &**group),
        email_taken: &|email| subject::is_others(&view, email, Some(user)),
    };
    let target = Updating { user, groups: &groups, rights: &rights, dc };
    let update = user_rules::update(call.params.object()?, &target, &lookup);
    let mut update = update.map_err(|errors| ApiError::failure(&errors))?;
    update.change.leaves_last = call.caller.is(&user.name) && !rights.super_admin;
    update.change.key_last = update.change.new_api_key && call.caller.is(&user.name) && call.caller.uses_api_key();
    // The rights that one gives himself are no reason for others not to take them away.
    let is_kept = |group: &&GroupName| !(update.change.leaves_last && gives_rights(&view, group));
    let kept = update.change.join.iter().filter(is_kept);
    call.adds(kept.map(|group| Addition::Member(group.clone(), user.name.clone())));
    Ok((user.clone(), update))
}

/// DELETE.
pub(super) fn delete(call: &Call) -> Pending<'_> {
    Box::pin(async move {
        let directory = &call.app.directory;
        let store = |error: StoreError| ApiError::store(&error, Noun::User);
        let mark = call.mark();
        for round in 0..DELETIONS {
            if round > 0 {
                wait_while(|| is_user_begun(call), Instant::now()).await;
            }
            let user = plan_delete(call)?;
            // Marked first: who made him an owner or a member before that shows, and who does so later ends the mark.
            match directory.begin_delete(&user, mark).await {
                Err(StoreError::Contended) => continue,
                begun => begun.map_err(store)?,
            }
            let (groups, owned) = directory.look_at_what_names(&user.name).await.map_err(store)?;
            // By whoever calls now: rounds take time, and a mark counts as a change that was made.
            let refusal = match call.again().and_then(|again| plan_delete(&again)) {
                // What an entry names that went may be shown as his only later.
                Ok(_) if !owned.is_empty() => has_relations(owned.iter().map(DcName::as_str).collect()),
                Ok(now) if now.id == user.id => match directory.delete_user(&user, &groups, mark).await {
                    Ok(()) => return Ok(Reply::deleted()),
                    // Changed meanwhile, which ended the mark: by now he may own something.
                    Err(StoreError::Contended) => continue,
                    Err(error @ StoreError::Unavailable(_)) => return Err(store(error)),
                    Err(error) => store(error),
                },
                // By now there is another one of his name.
                Ok(_) => continue,
                Err(refusal) => refusal,
            };
            directory.end_delete(&user, mark).await.map_err(store)?;
            return Err(refusal);
        }
        Err(store(StoreError::Contended))
    })
}

pub(super) fn plan_delete(call: &Call) -> Result<Arc<User>, ApiError> {
    let view = call.app.directory.read();
    let user = subject::user(call, &view, &subject::rights(call, &view), Endpoint::UserDelete)?;
    if user.number == FIRST_ADMIN {
        return Err(ApiError::forbidden());
    }
    call.params.ignored()?;
    let mut owned = view.datacenters_owned_by(&user.name);
    if !owned.is_empty() {
        // The oldest first.
        owned.sort_by_key(|dc| dc.number);
        return Err(has_relations(owned.iter().map(|dc| dc.name.as_str()).collect()));
    }
    Ok(user.clone())
}

fn has_relations(owned: Vec<&str>) -> ApiError {
    ApiError::failure(&json!({
        "detail": "Cannot delete user, because he has relations to some objects.",
        "relations": { "Datacenter": owned },
    }))
}
