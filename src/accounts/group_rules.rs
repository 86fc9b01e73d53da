//! Which bodies of group POST and PUT are valid, and what they change (contract 5.2).

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::group::{Group, GroupChange, NewGroup, Permission};
use super::input::{Errors, INVALID, Input, Message, Text, no_object, too_long};
use crate::name::{DcName, GroupName, NameError, UserName};

/// The most characters of an alias.
pub(crate) const ALIAS_MAX: usize = 80;

pub(crate) const ALIAS_TAKEN: Message =
    Message::Borrowed("This alias is already in use. Please supply a different alias.");
const NO_DATACENTER: &str = "You have to specify to which datacenter shall the user group be bound. \
     Either use the \"dc\" parameter or set the \"dc_bound\" parameter to false.";
const NOT_ATTACHED: &str = "User Group is not attached into any datacenters.";
const ATTACHED_TWICE: &str = "User Group is attached into more than one datacenter.";

/// What the rules need to know of other objects.
pub(crate) struct Lookup<'a> {
    /// The stored name of the user called this, if there is one.
    pub(crate) user: &'a dyn Fn(&str) -> Option<UserName>,
    /// Whether another group has this alias, without regard to case.
    pub(crate) alias_taken: &'a dyn Fn(&str) -> bool,
    /// Whether there is a datacenter of this name.
    pub(crate) is_datacenter: &'a dyn Fn(&DcName) -> bool,
}

/// Checks a POST. `name` is the path's; `dc` what the body's `dc` names, if anything.
///
/// # Errors
/// All fields that are wrong; the rule about the datacenter counts only if none is.
pub(crate) fn create(
    body: &Map<String, Value>,
    name: &str,
    dc: Option<&DcName>,
    lookup: &Lookup<'_>,
) -> Result<NewGroup, Errors> {
    let mut input = Input::new(body);
    let parsed = group_name(&mut input, name);
    if parsed.is_some() {
        body_name(&mut input);
    }
    let alias = input.filled_or("alias", Text::Safe(ALIAS_MAX), name);
    let alias = alias.and_then(|alias| free_alias(&mut input, alias, lookup));
    let permissions = permissions(&mut input).unwrap_or_default();
    let members = members(&mut input, lookup).unwrap_or_default();
    let bound = input.boolean("dc_bound").unwrap_or(true);
    let (Some(name), Some(alias), true) = (parsed, alias, input.errors.is_empty()) else { return Err(input.errors) };
    if bound && dc.is_none() {
        let mut errors = Errors::one("dc_bound", NO_DATACENTER);
        errors.add("dc", NO_DATACENTER);
        return Err(errors);
    }
    Ok(NewGroup { name, alias, permissions, members, dc_bound: dc.filter(|_| bound).cloned() })
}

/// What a PUT changes.
#[derive(Debug, Default)]
pub(crate) struct Update {
    pub(crate) change: GroupChange,
    /// The members that the body asks for: what they are bound to must fit the group, new or not.
    pub(crate) members: Vec<UserName>,
}

/// Checks a PUT. `current` are the members, also those that do not exist.
///
/// # Errors
/// All fields that are wrong.
pub(crate) fn update(
    body: &Map<String, Value>,
    group: &Group,
    current: &[&UserName],
    lookup: &Lookup<'_>,
) -> Result<Update, Errors> {
    let mut input = Input::new(body);
    let alias = input
        .filled("alias", Text::Safe(ALIAS_MAX))
        .filter(|alias| *alias != *group.alias)
        .and_then(|alias| free_alias(&mut input, alias, lookup));
    let permissions = permissions(&mut input);
    let members = members(&mut input, lookup);
    // Being bound or attached to what is no more is being bound or attached to nothing.
    let is_there = |dc: &DcName| (lookup.is_datacenter)(dc);
    let dc_bound = match input.boolean("dc_bound") {
        None => None,
        Some(false) => Some(None),
        Some(true) if group.dc_bound.as_ref().is_some_and(is_there) => None,
        Some(true) => match group.datacenters.as_slice() {
            attached if !attached.iter().any(is_there) => {
                input.errors.add("dc_bound", NOT_ATTACHED);
                None
            }
            [only] => Some(Some(only.clone())),
            _ => {
                input.errors.add("dc_bound", ATTACHED_TWICE);
                None
            }
        },
    };
    if !input.errors.is_empty() {
        return Err(input.errors);
    }
    let mut change = GroupChange { alias, permissions, dc_bound, ..GroupChange::default() };
    if let Some(members) = &members {
        let [has, wanted]: [HashSet<&UserName>; 2] = [current.iter().copied().collect(), members.iter().collect()];
        change.add_members = members.iter().filter(|m| !has.contains(m)).cloned().collect();
        change.remove_members = current.iter().filter(|m| !wanted.contains(*m)).map(|m| (*m).clone()).collect();
    }
    Ok(Update { change, members: members.unwrap_or_default() })
}

/// Whether a member who is bound to `user_dc` must be unbound by joining a group that is attached to `group_dcs`: to
/// more than one datacenter, or to another one.
pub(crate) fn unbinds(group_dcs: &[DcName], user_dc: Option<&DcName>) -> bool {
    user_dc.is_some_and(|dc| group_dcs.iter().any(|attached| attached != dc))
}

/// The name, if a group may be created with it.
fn group_name(input: &mut Input<'_>, name: &str) -> Option<GroupName> {
    let has = name.chars().count();
    if has > GroupName::MAX {
        input.errors.add("name", too_long(GroupName::MAX, has));
    }
    let parsed = GroupName::parse(name);
    if matches!(parsed, Err(NameError::Charset)) {
        input.errors.add("name", INVALID);
    }
    parsed.ok()
}

/// A body's `name` is checked and otherwise ignored: the path's counts, and no group is renamed.
fn body_name(input: &mut Input<'_>) {
    if let Some(name) = input.filled("name", Text::Any) {
        group_name(input, &name);
    }
}

fn free_alias(input: &mut Input<'_>, alias: String, lookup: &Lookup<'_>) -> Option<String> {
    if (lookup.alias_taken)(&alias) {
        input.errors.add("alias", ALIAS_TAKEN);
        return None;
    }
    Some(alias)
}

fn permissions(input: &mut Input<'_>) -> Option<Vec<Permission>> {
    let names = input.list("permissions")?;
    let mut permissions = Vec::with_capacity(names.len());
    for name in names {
        let Some(permission) = Permission::parse(&name) else {
            input.errors.add("permissions", no_object("name", &name));
            return None;
        };
        permissions.push(permission);
    }
    permissions.sort_unstable();
    Some(permissions)
}

fn members(input: &mut Input<'_>, lookup: &Lookup<'_>) -> Option<Vec<UserName>> {
    let names = input.list("users")?;
    let mut members = Vec::with_capacity(names.len());
    let mut seen = HashSet::with_capacity(names.len());
    for name in names {
        let Some(user) = (lookup.user)(&name) else {
            input.errors.add("users", no_object("username", &name));
            return None;
        };
        if seen.insert(user.clone()) {
            members.push(user);
        }
    }
    Some(members)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::accounts::samples;

    fn dc(name: &str) -> DcName {
        DcName::parse(name).unwrap()
    }

    fn user(name: &str) -> UserName {
        UserName::parse(name).unwrap()
    }

    fn known(name: &str) -> Option<UserName> {
        ["bob", "carl"].iter().find(|n| n.eq_ignore_ascii_case(name)).map(|n| user(n))
    }

    const LOOKUP: Lookup<'_> = Lookup {
        user: &known,
        alias_taken: &|alias| alias.eq_ignore_ascii_case("admins"),
        is_datacenter: &|dc| dc.as_str() != "gone",
    };

    fn post(name: &str, body: Value, dc: Option<&DcName>) -> Result<NewGroup, String> {
        create(body.as_object().unwrap(), name, dc, &LOOKUP).map_err(|e| serde_json::to_string(&e).unwrap())
    }

    fn put(group: &Group, current: &[&UserName], body: Value) -> Result<Update, String> {
        update(body.as_object().unwrap(), group, current, &LOOKUP).map_err(|e| serde_json::to_string(&e).unwrap())
    }

    #[test]
    fn a_new_group_is_bound_unless_it_is_asked_not_to_be() {
        let bound = post("g1", json!({"permissions": "user_admin,admin", "users": ["BOB", "bob"]}), Some(&dc("main")));
        let bound = bound.unwrap();
        assert_eq!(bound.alias, "g1");
        assert_eq!(bound.permissions, [Permission::Admin, Permission::UserAdmin]);
        assert_eq!(bound.members, [user("bob")]);
        assert_eq!(bound.dc_bound, Some(dc("main")));
        assert_eq!(post("g0", json!({"dc_bound": false}), Some(&dc("main"))).unwrap().dc_bound, None);
        let errors = post("g0", json!({}), None).unwrap_err();
        assert!(errors.contains(r#""dc_bound":["You have to specify"#) && errors.contains(r#""dc":["You have"#));
    }

    #[test]
    fn a_new_groups_fields_are_checked_together_and_before_its_datacenter() {
        let errors = post(&"g".repeat(33), json!({"permissions": ["nope"], "users": "nobody", "alias": ""}), None);
        let errors: Value = serde_json::from_str(&errors.unwrap_err()).unwrap();
        assert_eq!(errors["name"], json!(["Ensure this value has at most 32 characters (it has 33)."]));
        assert_eq!(errors["permissions"], json!(["Object with name=nope does not exist."]));
        assert_eq!(errors["users"], json!(["Object with username=nobody does not exist."]));
        assert_eq!(errors["alias"], json!(["This field is required."]));
        assert_eq!(errors["dc"], Value::Null);
        assert!(post("g1", json!({"alias": "ADMINS"}), None).unwrap_err().contains("already in use"));
        assert!(post("admins", json!({"dc_bound": false}), None).unwrap_err().contains("already in use"));
    }

    #[test]
    fn a_put_of_members_is_a_difference() {
        let group = samples::group("g1");
        let (bob, dave) = (user("bob"), user("dave"));
        let update = put(&group, &[&bob, &dave], json!({"users": ["carl", "Bob"]})).unwrap();
        assert_eq!(update.change.add_members, [user("carl")]);
        assert_eq!(update.change.remove_members, [user("dave")]);
        assert_eq!(update.members, [user("carl"), user("bob")]);
        let update = put(&group, &[&bob], json!({"alias": "g1", "name": "other"})).unwrap();
        assert!(update.change.add_members.is_empty() && update.change.remove_members.is_empty());
        assert_eq!(update.change.alias, None);
        assert_eq!(update.change.permissions, None);
    }

    #[test]
    fn a_group_is_bound_to_the_one_datacenter_that_it_is_attached_to() {
        let mut group = samples::group("g1");
        assert!(put(&group, &[], json!({"dc_bound": true})).unwrap_err().contains("not attached into any"));
        group.datacenters = vec![dc("main")];
        let bound = |update: Update| update.change.dc_bound;
        assert_eq!(bound(put(&group, &[], json!({"dc_bound": true})).unwrap()), Some(Some(dc("main"))));
        assert_eq!(bound(put(&group, &[], json!({"dc_bound": false})).unwrap()), Some(None));
        group.datacenters.push(dc("dc3"));
        assert!(put(&group, &[], json!({"dc_bound": true})).unwrap_err().contains("more than one"));
        group.dc_bound = Some(dc("main"));
        assert_eq!(bound(put(&group, &[], json!({"dc_bound": true})).unwrap()), None);
    }

    #[test]
    fn a_group_that_is_bound_to_no_datacenter_that_exists_can_be_bound_to_one() {
        let mut group = Group { dc_bound: Some(dc("gone")), ..samples::group("g1") };
        let mut bind = |datacenters: &[&str]| {
            group.datacenters = datacenters.iter().map(|name| dc(name)).collect();
            put(&group, &[], json!({"dc_bound": true})).map(|update| update.change.dc_bound)
        };
        assert_eq!(bind(&["main"]), Ok(Some(Some(dc("main")))));
        assert!(bind(&[]).unwrap_err().contains("not attached into any"));
        assert!(bind(&["gone"]).unwrap_err().contains("not attached into any"));
        assert!(bind(&["main", "dc3"]).unwrap_err().contains("more than one"));
        // as what it is attached to unbinds its members
        assert!(bind(&["main", "gone"]).unwrap_err().contains("more than one"));
    }

    #[test]
    fn members_bound_elsewhere_are_unbound() {
        assert!(!unbinds(&[], Some(&dc("main"))));
        assert!(!unbinds(&[dc("MAIN")], Some(&dc("main"))));
        assert!(!unbinds(&[dc("main"), dc("dc3")], None));
        assert!(unbinds(&[dc("dc3")], Some(&dc("main"))));
        assert!(unbinds(&[dc("main"), dc("dc3")], Some(&dc("main"))));
    }
}
