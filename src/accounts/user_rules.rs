//! Which bodies of user POST and PUT are valid, and what they change (contract 3.4, decisions 3, 6-9, 11, 15).
//!
//! Whether the caller may touch the user at all was decided before, in `access`.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::FIRST_ADMIN;
use super::access::Rights;
use super::group::Group;
use super::input::{Errors, INVALID, Input, Message, NO_PERMISSION, Text, no_object, too_long};
use super::secrets::Secret;
use super::user::{NewUser, User, UserChange};
use crate::name::{DcName, GroupName, NameError, UserName};

/// The most characters of a first or a last name.
pub(crate) const NAME_MAX: usize = 30;
/// The most characters of an e-mail address.
pub(crate) const EMAIL_MAX: usize = 254;

pub(crate) const EMAIL_TAKEN: Message =
    Message::Borrowed("This email is already in use. Please supply a different email.");
const NO_DATACENTER: &str = "You have to specify to which datacenter shall the user be bound. \
     Either use the \"dc\" parameter or set the \"dc_bound\" parameter to false.";
const BOUND_SUPER_ADMIN: &str = "A SuperAdmin user cannot be DC-bound.";
const GROUPS_ELSEWHERE: &str = "User's group(s) are attached into another datacenter(s).";
const UNBOUND_GROUPS: &str = "You don't have permission to use DC-unbound groups.";

/// User names that the original keeps for itself, in exactly this spelling.
pub(crate) const RESERVED: [&str; 3] = ["profile", "Admin", "provisioner"];

/// Whether it is one of them.
pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// What the rules need to know of the other users and groups.
pub(crate) struct Lookup<'a> {
    /// The group of this name.
    pub(crate) group: &'a dyn Fn(&str) -> Option<&'a Group>,
    /// Whether somebody else has this text as e-mail address or as name.
    pub(crate) email_taken: &'a dyn Fn(&str) -> bool,
    /// The call was begun: a group that has gone since is none that is asked for.
    pub(crate) is_begun: bool,
}

/// A user to be created, before its password is hashed.
#[derive(Debug)]
pub(crate) struct Creation {
    /// With an empty `password_hash`.
    pub(crate) user: NewUser,
    pub(crate) password: Secret,
}

/// Checks a POST. `name` is the path's; `dc` what the body's `dc` names, `main` without one.
///
/// # Errors
/// All fields that are wrong; the rules across fields count only if none is.
pub(crate) fn create(
    body: &Map<String, Value>,
    name: &str,
    rights: &Rights,
    dc: &DcName,
    lookup: &Lookup<'_>,
) -> Result<Creation, Errors> {
    let mut input = Input::new(body);
    let name = user_name(&mut input, name);
    body_name(&mut input);
    let first_name = input.required("first_name", Text::Safe(NAME_MAX));
    let last_name = input.required("last_name", Text::Safe(NAME_MAX));
    let email = input
        .required("email", Text::Email(EMAIL_MAX))
        .and_then(|email| free_email(&mut input, email, lookup.email_taken));
    let password = input.password("password", true);
    // Users of a UserAdmin are always bound (contract 3.4, 2).
    let bound = input.boolean("dc_bound").unwrap_or(true) || !rights.super_admin;
    let api_access = input.boolean("api_access").unwrap_or(false);
    let is_active = input.boolean("is_active").unwrap_or(true);
    let super_admin = input.boolean("is_super_admin").unwrap_or(false);
    if super_admin && !rights.super_admin {
        input.errors.add("is_super_admin", NO_PERMISSION);
    }
    new_keys(&mut input);
    let wanted = input.list("groups").unwrap_or_default();
    let groups = groups_or_error(&mut input, &wanted, (!rights.super_admin).then_some(Some(dc)), lookup);

    let (Some(name), Some(first_name), Some(last_name), Some(email), Some(password), Some(groups), true) =
        (name, first_name, last_name, email, password, groups, input.errors.is_empty())
    else {
        return Err(input.errors);
    };
    if bound {
        if !body.contains_key("dc") {
            let mut errors = Errors::one("dc_bound", NO_DATACENTER);
            errors.add("dc", NO_DATACENTER);
            return Err(errors);
        }
        binding(dc, super_admin, &groups)?;
    }
    Ok(Creation {
        user: NewUser {
            name,
            email,
            first_name,
            last_name,
            password_hash: String::new(),
            is_active,
            super_admin,
            api_access,
            dc_bound: bound.then(|| dc.clone()),
            groups: groups.into_iter().map(|g| g.name.clone()).collect(),
        },
        password,
    })
}

/// The user that a PUT changes, and who changes it.
pub(crate) struct Updating<'a> {
    pub(crate) user: &'a User,
    /// The groups that the user is in.
    pub(crate) groups: &'a [&'a Group],
    /// The caller's.
    pub(crate) rights: &'a Rights,
    /// What the body's `dc` names, where a SuperAdmin binds the user; else the user's datacenter if it exists, or `main`.
    pub(crate) dc: &'a DcName,
}

/// What a PUT changes, before its password is hashed.
#[derive(Debug, Default)]
pub(crate) struct Update {
    pub(crate) change: UserChange,
    pub(crate) password: Option<Secret>,
}

/// Checks a PUT. Values that are the present ones and not the caller's to change are dropped; others are written even
/// if they seem to be the present ones: another daemon's write may be on its way.
///
/// # Errors
/// All fields that are wrong; the rules across fields count only if none is.
pub(crate) fn update(body: &Map<String, Value>, target: &Updating<'_>, lookup: &Lookup<'_>) -> Result<Update, Errors> {
    let Updating { user, groups: current, rights, dc } = *target;
    let mut input = Input::new(body);
    let is_first = user.number == FIRST_ADMIN;
    // Neither SuperAdmin nor UserAdmin for this user: the ProfileOwner (decision 3).
    let entitled = rights.manages_user(user);
    if is_first && body.contains_key("username") {
        input.errors.add("username", NO_PERMISSION);
    } else {
        body_name(&mut input);
    }
    let mut change = UserChange {
        first_name: input.filled("first_name", Text::Safe(NAME_MAX)),
        last_name: input.filled("last_name", Text::Safe(NAME_MAX)),
        email: changed_email(&mut input, user, lookup.email_taken),
        ..UserChange::default()
    };
    let password = input.password("password", false);
    change.api_access = guarded(&mut input, "api_access", user.api_access, entitled && !is_first);
    change.is_active = guarded(&mut input, "is_active", user.is_active(), entitled && !is_first);
    change.super_admin = guarded(&mut input, "is_super_admin", user.super_admin, rights.super_admin && !is_first);
    let bound = guarded(&mut input, "dc_bound", user.dc_bound.is_some(), rights.super_admin);
    [change.new_api_key, change.new_callback_key] = new_keys(&mut input);

    let wanted = input.list("groups");
    let mut groups = None;
    if let Some(wanted) = wanted {
        if entitled {
            let same_dc = (!rights.super_admin).then_some(user.dc_bound.as_ref());
            groups = groups_or_error(&mut input, &wanted, same_dc, lookup);
        } else if are_these(&wanted, current) {
            // That he has them makes them no others.
            groups_or_error(&mut input, &wanted, Some(user.dc_bound.as_ref()), lookup);
        } else {
            input.errors.add("groups", NO_PERMISSION);
        }
    }
    if !input.errors.is_empty() {
        return Err(input.errors);
    }

    let binds = match bound {
        Some(true) => Some(dc),
        Some(false) => None,
        // where that exists
        None => user.dc_bound.as_ref().filter(|own| *own == dc),
    };
    if let Some(dc) = binds
        && (bound.is_some() || groups.is_some() || change.super_admin.is_some())
    {
        binding(dc, change.super_admin.unwrap_or(user.super_admin), groups.as_deref().unwrap_or(current))?;
    }
    change.dc_bound = bound.map(|bound| bound.then(|| dc.clone()));
    if let Some(groups) = groups {
        let names = |these: &[&Group], but: &[&Group]| -> Vec<GroupName> {
            let but: HashSet<&GroupName> = but.iter().map(|g| &g.name).collect();
            these.iter().filter(|g| !but.contains(&g.name)).map(|g| g.name.clone()).collect()
        };
        change.join = names(&groups, current);
        change.leave = names(current, &groups);
        change.sets_groups = true;
    }
    Ok(Update { change, password })
}

/// The name in the path, if a user may be created with it.
fn user_name(input: &mut Input<'_>, name: &str) -> Option<UserName> {
    match UserName::parse(name) {
        Ok(parsed) if !is_reserved(name) => return Some(parsed),
        Err(NameError::TooLong { max, has }) => input.errors.add("username", too_long(max, has)),
        Ok(_) | Err(NameError::Charset) => input.errors.add("username", INVALID),
    }
    None
}

/// A body's `username` is checked and otherwise ignored: nobody is renamed.
fn body_name(input: &mut Input<'_>) {
    if input.errors.has("username") {
        return;
    }
    let Some(name) = input.filled("username", Text::Any) else { return };
    let has = name.chars().count();
    if has > UserName::MAX {
        input.errors.add("username", too_long(UserName::MAX, has));
    }
    match UserName::parse(&name) {
        Ok(_) if !is_reserved(&name) => {}
        Err(NameError::TooLong { .. }) => {}
        Ok(_) | Err(NameError::Charset) => input.errors.add("username", INVALID),
    }
}

/// The body's `email`, which must not be another user's address or name.
fn free_email(input: &mut Input<'_>, email: String, email_taken: &dyn Fn(&str) -> bool) -> Option<String> {
    if email_taken(&email) {
        input.errors.add("email", EMAIL_TAKEN);
        return None;
    }
    Some(email)
}

/// A new address in the body's `email`. The present one is no change: of two users who share an address by an LDAP
/// tool's doing each may keep it.
pub(crate) fn changed_email(input: &mut Input<'_>, user: &User, email_taken: &dyn Fn(&str) -> bool) -> Option<String> {
    let email = input.filled("email", Text::Email(EMAIL_MAX)).filter(|email| *email != *user.email)?;
    free_email(input, email, email_taken)
}

/// A flag that only some may change: for the others the present value is no change, another one an error.
fn guarded(input: &mut Input<'_>, key: &'static str, present: bool, allowed: bool) -> Option<bool> {
    let value = input.boolean(key)?;
    if !allowed && value != present {
        input.errors.add(key, NO_PERMISSION);
    }
    allowed.then_some(value)
}

/// Whether a new API key and a new callback key are asked for.
pub(crate) fn new_keys(input: &mut Input<'_>) -> [bool; 2] {
    ["api_key", "callback_key"].map(|key| input.boolean(key).unwrap_or(false))
}

/// The groups of these names, each once. `same_dc`: the only datacenter that they may be bound to. The first name that
/// is wrong has the message.
fn groups_or_error<'a>(
    input: &mut Input<'_>,
    names: &[String],
    same_dc: Option<Option<&DcName>>,
    lookup: &Lookup<'a>,
) -> Option<Vec<&'a Group>> {
    let mut groups: Vec<&Group> = Vec::with_capacity(names.len());
    let mut seen = HashSet::with_capacity(names.len());
    for name in names {
        let Some(group) = (lookup.group)(name) else {
            if lookup.is_begun {
                continue;
            }
            input.errors.add("groups", no_object("name", name));
            return None;
        };
        if same_dc.is_some_and(|dc| group.dc_bound.is_none() || group.dc_bound.as_ref() != dc) {
            input.errors.add("groups", UNBOUND_GROUPS);
            return None;
        }
        if seen.insert(&group.name) {
            groups.push(group);
        }
    }
    Some(groups)
}

/// Whether the names are those of exactly these groups.
fn are_these(names: &[String], groups: &[&Group]) -> bool {
    let has: HashSet<&GroupName> = groups.iter().map(|g| &g.name).collect();
    let named: Option<HashSet<GroupName>> = names.iter().map(|name| GroupName::parse(name).ok()).collect();
    named.is_some_and(|named| {
        named.iter().all(|name| has.contains(name)) && has.iter().all(|name| named.contains(*name))
    })
}

/// What a user who is bound to `dc` may not be. The original notes both under one key, so the groups have the last word.
fn binding(dc: &DcName, super_admin: bool, groups: &[&Group]) -> Result<(), Errors> {
    if groups.iter().any(|g| g.datacenters.iter().any(|attached| attached != dc)) {
        return Err(groups_elsewhere());
    }
    if super_admin {
        return Err(Errors::one("dc_bound", BOUND_SUPER_ADMIN));
    }
    Ok(())
}

/// That a user who is bound to a datacenter is in a group that is attached to another one.
pub(crate) fn groups_elsewhere() -> Errors {
    Errors::one("dc_bound", GROUPS_ELSEWHERE)
}

#[cfg(test)]
mod tests;
