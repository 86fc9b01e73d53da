//! Which bodies of datacenter POST and PUT are valid, and what they change (contract 5.5).

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::datacenter::{Access, Datacenter, DatacenterChange, NewDatacenter};
use super::group::Group;
use super::input::{Errors, INVALID, Input, Message, REQUIRED, Text, no_object, string, too_long};
use super::user::User;
use super::{MAIN_DC, group_rules::ALIAS_TAKEN};
use crate::name::{DcName, GroupName, NameError, UserName};

/// The most characters of each field.
pub(crate) const ALIAS_MAX: usize = 32;
pub(crate) const SITE_MAX: usize = 260;
pub(crate) const DESC_MAX: usize = 128;

pub(crate) const SITE_TAKEN: Message =
    Message::Borrowed("This site hostname is already in use. Please supply a different site hostname.");
const MAIN_OWNER: &str = "Default datacenter must be owned by user with SuperAdmin rights.";
const MAIN_PUBLIC: &str = "Default datacenter must be public.";

/// What the rules need to know of other objects.
pub(crate) struct Lookup<'a> {
    pub(crate) user: &'a dyn Fn(&str) -> Option<&'a User>,
    pub(crate) group: &'a dyn Fn(&str) -> Option<&'a Group>,
    /// Whether another datacenter has this alias, without regard to case.
    pub(crate) alias_taken: &'a dyn Fn(&str) -> bool,
    /// Whether another datacenter has this site, without regard to case.
    pub(crate) site_taken: &'a dyn Fn(&str) -> bool,
}

/// Checks a POST. `name` is the path's; `caller` owns the datacenter unless the body says who does.
///
/// # Errors
/// All fields that are wrong.
pub(crate) fn create(
    body: &Map<String, Value>,
    name: &str,
    caller: &User,
    lookup: &Lookup<'_>,
) -> Result<NewDatacenter, Errors> {
    let mut input = Input::new(body);
    let parsed = new_name(&mut input, name);
    if parsed.is_some() {
        body_name(&mut input);
    }
    let alias = input.filled_or("alias", Text::Safe(ALIAS_MAX), name);
    let alias = alias.and_then(|alias| free(&mut input, "alias", alias, lookup.alias_taken, ALIAS_TAKEN));
    if !input.has("site") {
        input.errors.add("site", REQUIRED);
    }
    let site = site(&mut input, "", lookup);
    let owner = owner(&mut input, lookup).unwrap_or(caller);
    let access = access(&mut input).unwrap_or(Access::Private);
    let desc = input.text("desc", Text::Safe(DESC_MAX)).unwrap_or_default();
    let groups = groups(&mut input, lookup).unwrap_or_default();
    match (parsed, alias, site, input.errors.is_empty()) {
        (Some(name), Some(alias), Some(site), true) => {
            Ok(NewDatacenter { name, alias, site, owner: owner.name.clone(), access, desc, groups })
        }
        _ => Err(input.errors),
    }
}

/// What a PUT changes.
#[derive(Debug, Default)]
pub(crate) struct Update {
    pub(crate) change: DatacenterChange,
    /// The groups that are to be attached, all of them; `None` leaves them as they are.
    pub(crate) groups: Option<Vec<GroupName>>,
}

/// Checks a PUT.
///
/// # Errors
/// All fields that are wrong.
pub(crate) fn update(body: &Map<String, Value>, dc: &Datacenter, lookup: &Lookup<'_>) -> Result<Update, Errors> {
    let mut input = Input::new(body);
    let is_main = dc.name.as_str().eq_ignore_ascii_case(MAIN_DC);
    body_name(&mut input);
    let alias = input
        .filled("alias", Text::Safe(ALIAS_MAX))
        .filter(|alias| *alias != *dc.alias)
        .and_then(|alias| free(&mut input, "alias", alias, lookup.alias_taken, ALIAS_TAKEN));
    let site = site(&mut input, &dc.site, lookup);
    let owner = owner(&mut input, lookup);
    if is_main && owner.is_some_and(|owner| !owner.super_admin) {
        input.errors.add("owner", MAIN_OWNER);
    }
    let access = access(&mut input);
    if is_main && access == Some(Access::Private) {
        input.errors.add("access", MAIN_PUBLIC);
    }
    let desc = input.text("desc", Text::Safe(DESC_MAX));
    let groups = groups(&mut input, lookup);
    if !input.errors.is_empty() {
        return Err(input.errors);
    }
    let owner = owner.map(|owner| owner.name.clone());
    let sets_groups = groups.is_some();
    Ok(Update { change: DatacenterChange { alias, site, owner, access, desc, sets_groups }, groups })
}

fn new_name(input: &mut Input<'_>, name: &str) -> Option<DcName> {
    let has = name.chars().count();
    if has > DcName::MAX {
        input.errors.add("name", too_long(DcName::MAX, has));
    }
    let parsed = DcName::parse(name);
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || matches!(parsed, Err(NameError::Charset)) {
        input.errors.add("name", INVALID);
    }
    parsed.ok().filter(|_| !input.errors.has("name"))
}

/// A body's `name` is checked and otherwise ignored: no datacenter is renamed.
fn body_name(input: &mut Input<'_>) {
    if let Some(name) = input.filled("name", Text::Any) {
        new_name(input, &name);
    }
}

fn free(
    input: &mut Input<'_>,
    key: &'static str,
    value: String,
    taken: &dyn Fn(&str) -> bool,
    message: Message,
) -> Option<String> {
    if taken(&value) {
        input.errors.add(key, message);
        return None;
    }
    Some(value)
}

/// A new site in the body; the present one is no change.
fn site(input: &mut Input<'_>, present: &str, lookup: &Lookup<'_>) -> Option<String> {
    let site = input.filled("site", Text::Any).filter(|site| site != present)?;
    let has = site.chars().count();
    if has > SITE_MAX {
        input.errors.add("site", too_long(SITE_MAX, has));
    }
    if !is_site(&site) {
        input.errors.add("site", INVALID);
    }
    if input.errors.has("site") {
        return None;
    }
    free(input, "site", site, lookup.site_taken, SITE_TAKEN)
}

/// Lower-case letters, digits, `.`, `:` and `-`, at least three, a letter or a digit at both ends.
fn is_site(text: &str) -> bool {
    let end = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() >= 3
        && end(bytes.first())
        && end(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".:-".contains(b))
}

/// The owner whom the body names; no text names nobody.
fn owner<'a>(input: &mut Input<'_>, lookup: &Lookup<'a>) -> Option<&'a User> {
    let name = input.text("owner", Text::Any).filter(|name| !name.is_empty())?;
    let user = (lookup.user)(&name).filter(|user| user.is_active());
    if user.is_none() {
        input.errors.add("owner", no_object("username", &name));
    }
    user
}

/// The error of an owner who is no more.
pub(crate) fn no_owner(name: &UserName) -> Errors {
    Errors::one("owner", no_object("username", name.as_str()))
}

fn access(input: &mut Input<'_>) -> Option<Access> {
    let choices = [Access::Public, Access::Private].map(Access::number);
    input.number_choice("access", &choices).and_then(|number| Access::from_number(number.into()))
}

fn groups(input: &mut Input<'_>, lookup: &Lookup<'_>) -> Option<Vec<GroupName>> {
    let names = input.references("groups")?;
    let mut groups: Vec<GroupName> = Vec::with_capacity(names.len());
    let mut seen = HashSet::with_capacity(names.len());
    for name in names {
        let Some(group) = (lookup.group)(&name) else {
            input.errors.add("groups", no_object("name", &name));
            return None;
        };
        if seen.insert(&group.name) {
            groups.push(group.name.clone());
        }
    }
    Some(groups)
}

/// The name that a parameter `dc` gives; none where it can't be one.
pub(crate) fn named(value: &Value) -> Option<DcName> {
    string(value).ok().and_then(|name| DcName::parse(&name).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::accounts::samples;

    fn with_lookup<T>(run: impl FnOnce(&Lookup<'_>) -> T) -> T {
        let users = [
            User { super_admin: true, ..samples::user("admin") },
            samples::user("bob"),
            User { enabled: false, ..samples::user("gone") },
        ];
        let group = samples::group("g1");
        run(&Lookup {
            user: &|name| users.iter().find(|u| u.name.as_str().eq_ignore_ascii_case(name)),
            group: &|name| Some(&group).filter(|g| g.name.as_str().eq_ignore_ascii_case(name)),
            alias_taken: &|alias| alias == "taken",
            site_taken: &|site| site == "taken.example.com",
        })
    }

    fn post(name: &str, body: Value) -> Result<NewDatacenter, Value> {
        let caller = samples::user("admin");
        with_lookup(|lookup| create(body.as_object().unwrap(), name, &caller, lookup))
            .map_err(|errors| serde_json::to_value(&errors).unwrap())
    }

    fn put(name: &str, body: Value) -> Result<Update, Value> {
        let dc = samples::datacenter(name);
        with_lookup(|lookup| update(body.as_object().unwrap(), &dc, lookup))
            .map_err(|errors| serde_json::to_value(&errors).unwrap())
    }

    #[test]
    fn a_new_datacenter_has_its_defaults() {
        let new = post("dc2", json!({"site": "dc2.example.com"})).unwrap();
        assert_eq!((new.alias.as_str(), new.desc.as_str(), new.access), ("dc2", "", Access::Private));
        assert_eq!(new.owner.as_str(), "admin");
        let new = post("dc2", json!({"site": "a-1", "owner": "BOB", "access": "1", "groups": "G1, g1", "desc": "x"}));
        let new = new.unwrap();
        assert_eq!((new.owner.as_str(), new.access, new.groups.len()), ("bob", Access::Public, 1));
    }

    #[test]
    fn a_new_datacenters_fields_are_checked_together() {
        let wrong = |name: &str, body: Value| post(name, body).unwrap_err();
        assert_eq!(wrong("dc4", json!({})), json!({"site": ["This field is required."]}));
        let long = json!({"name": ["Ensure this value has at most 16 characters (it has 19)."]});
        assert_eq!(wrong("thisnameistoolong17", json!({"site": "zz.example.com"})), long);
        assert_eq!(wrong(".x", json!({"site": "zz.example.com"})), json!({"name": ["Invalid value."]}));
        let both = json!({"name": ["Ensure this value has at most 16 characters (it has 33)."],
            "alias": ["Ensure this value has at most 32 characters (it has 33)."]});
        assert_eq!(wrong(&"n".repeat(33), json!({"site": "zz.example.com"})), both);
        let long = json!({"site": ["Ensure this value has at most 260 characters (it has 261).", "Invalid value."]});
        assert_eq!(wrong("dc4", json!({"site": "A".repeat(261)})), long);
        for (name, message) in [("", "This field is required."), ("a b", "Invalid value."), (".a", "Invalid value.")] {
            assert_eq!(wrong("dc4", json!({"site": "zz.example.com", "name": name})), json!({"name": [message]}));
        }
        for bad in ["ab", "-ab", "ab-", "Ab.c", "a_b", "a b"] {
            assert_eq!(wrong("dc4", json!({"site": bad})), json!({"site": ["Invalid value."]}), "{bad}");
        }
        let body = json!({"site": "taken.example.com", "alias": "taken", "owner": "gone", "access": 2, "groups": ["g2"],
            "desc": "x".repeat(129)});
        assert_eq!(
            wrong("dc4", body),
            json!({
                "alias": ["This alias is already in use. Please supply a different alias."],
                "site": ["This site hostname is already in use. Please supply a different site hostname."],
                "owner": ["Object with username=gone does not exist."],
                "access": ["Select a valid choice. 2 is not one of the available choices."],
                "desc": ["Ensure this value has at most 128 characters (it has 129)."],
                "groups": ["Object with name=g2 does not exist."],
            })
        );
    }

    #[test]
    fn main_stays_public_and_a_super_admins() {
        assert_eq!(put("main", json!({"access": 3})).unwrap_err(), json!({"access": [MAIN_PUBLIC]}));
        assert_eq!(put("main", json!({"owner": "bob"})).unwrap_err(), json!({"owner": [MAIN_OWNER]}));
        assert!(put("main", json!({"owner": "admin", "access": 1})).is_ok());
        assert!(put("dc2", json!({"owner": "bob", "access": 3})).is_ok());
    }

    #[test]
    fn a_put_changes_what_it_names() {
        let update = put("dc2", json!({"name": "x", "desc": "", "alias": "dc2", "site": "dc2.example.com"})).unwrap();
        assert_eq!(update.change.desc.as_deref(), Some(""));
        assert!(update.change.alias.is_none() && update.change.site.is_none() && update.groups.is_none());
        assert_eq!(put("dc2", json!({"groups": null})).unwrap().groups, Some(Vec::new()));
        assert_eq!(put("dc2", json!({"site": ""})).unwrap_err(), json!({"site": ["This field is required."]}));
        assert_eq!(put("dc2", json!({"name": "a b"})).unwrap_err(), json!({"name": ["Invalid value."]}));
        for nobody in [json!(null), json!("")] {
            assert_eq!(put("dc2", json!({"owner": nobody})).unwrap().change.owner, None);
            assert_eq!(post("dc2", json!({"site": "a-1", "owner": nobody})).unwrap().owner.as_str(), "admin");
        }
    }
}
