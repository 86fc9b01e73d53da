//! Tests of the rules for users.

use serde_json::{Value, json};

use super::*;
use crate::accounts::samples;

fn dc(name: &str) -> DcName {
    DcName::parse(name).unwrap()
}

fn root() -> Rights {
    Rights::of(&User { super_admin: true, ..samples::user("root") }, &[], &[])
}

/// The rights of somebody who manages `dc3`.
fn user_admin() -> Rights {
    use crate::accounts::group::Permission::{Admin, UserAdmin};
    let group =
        Group { permissions: vec![Admin, UserAdmin], datacenters: vec![dc("dc3")], ..samples::group("admins3") };
    Rights::of(&samples::user("ua"), &[&group], &[])
}

fn groups() -> [Group; 3] {
    let free = samples::group("free");
    let in3 = Group { dc_bound: Some(dc("dc3")), datacenters: vec![dc("dc3")], ..samples::group("in3") };
    let in4 = Group { dc_bound: Some(dc("dc4")), datacenters: vec![dc("dc4")], ..samples::group("in4") };
    [free, in3, in4]
}

fn with_lookup<T>(run: impl FnOnce(&Lookup<'_>) -> T) -> T {
    let groups = groups();
    run(&Lookup {
        is_begun: false,
        group: &|name| groups.iter().find(|g| g.name.as_str().eq_ignore_ascii_case(name)),
        email_taken: &|text| text.eq_ignore_ascii_case("admin@example.com"),
    })
}

fn post(name: &str, extra: Value, rights: &Rights, target: &str) -> Result<NewUser, Value> {
    let mut body = json!({"first_name": "Bob", "last_name": "B", "email": "bob@example.com", "password": "pw"});
    for (key, value) in extra.as_object().unwrap() {
        body[key] = value.clone();
    }
    with_lookup(|lookup| create(body.as_object().unwrap(), name, rights, &dc(target), lookup))
        .map(|creation| creation.user)
        .map_err(|errors| serde_json::to_value(&errors).unwrap())
}

fn put(user: &User, current: &[&Group], body: Value, rights: &Rights, target: &str) -> Result<UserChange, Value> {
    let target = Updating { user, groups: current, rights, dc: &dc(target) };
    with_lookup(|lookup| update(body.as_object().unwrap(), &target, lookup))
        .map(|update| update.change)
        .map_err(|errors| serde_json::to_value(&errors).unwrap())
}

#[test]
fn a_new_user_needs_four_fields() {
    let body = json!({});
    let errors =
        with_lookup(|lookup| create(body.as_object().unwrap(), "bob", &root(), &dc("main"), lookup)).unwrap_err();
    let required = json!(["This field is required."]);
    assert_eq!(
        serde_json::to_value(&errors).unwrap(),
        json!({"first_name": required, "last_name": required, "email": required, "password": required})
    );
}

#[test]
fn a_new_user_has_the_contracts_defaults() {
    let new = post("bob", json!({"dc": "main"}), &root(), "main").unwrap();
    assert!(new.is_active && !new.super_admin && !new.api_access && new.groups.is_empty());
    assert_eq!(new.dc_bound, Some(dc("main")));
    let new =
        post("bob", json!({"dc_bound": false, "is_super_admin": "1", "is_active": "f"}), &root(), "main").unwrap();
    assert!(new.super_admin && !new.is_active && new.dc_bound.is_none());
}

#[test]
fn binding_needs_a_datacenter_once_the_fields_are_right() {
    let errors = post("bob", json!({}), &root(), "main").unwrap_err();
    assert!(errors["dc_bound"][0].as_str().unwrap().starts_with("You have to specify to which datacenter"));
    assert_eq!(errors["dc"], errors["dc_bound"]);
    assert_eq!(
        post("bob", json!({"email": "x"}), &root(), "main").unwrap_err(),
        json!({"email": ["Enter a valid email address."]})
    );
    assert_eq!(
        post("bob", json!({"dc": "main", "is_super_admin": true}), &root(), "main").unwrap_err(),
        json!({"dc_bound": ["A SuperAdmin user cannot be DC-bound."]})
    );
    assert_eq!(
        post("bob", json!({"dc": "dc3", "groups": ["in4"]}), &root(), "dc3").unwrap_err(),
        json!({"dc_bound": ["User's group(s) are attached into another datacenter(s)."]})
    );
    assert_eq!(
        post("bob", json!({"dc": "dc3", "groups": ["in4"], "is_super_admin": true}), &root(), "dc3").unwrap_err(),
        json!({"dc_bound": ["User's group(s) are attached into another datacenter(s)."]})
    );
    let everything = json!({"groups": ["in4"], "is_super_admin": true});
    assert_eq!(post("bob", everything, &root(), "main").unwrap_err(), errors, "without dc that is all there is to say");
    assert!(post("bob", json!({"dc": "dc3", "groups": ["IN3", "free"]}), &root(), "dc3").is_ok());
}

#[test]
fn a_user_admin_makes_bound_users_without_more_rights_than_his() {
    let new = post("bob", json!({"dc": "dc3", "dc_bound": false, "groups": ["in3"]}), &user_admin(), "dc3").unwrap();
    assert_eq!(new.dc_bound, Some(dc("dc3")));
    // Dropped, but what is no boolean is refused as everywhere (decision 6).
    let odd = post("bob", json!({"dc": "dc3", "dc_bound": "nonsense"}), &user_admin(), "dc3").unwrap_err();
    assert_eq!(odd, json!({"dc_bound": ["Invalid value."]}));
    assert_eq!(
        post("bob", json!({"dc": "dc3", "is_super_admin": true}), &user_admin(), "dc3").unwrap_err(),
        json!({"is_super_admin": ["You don't have permission to modify this attribute."]})
    );
    for group in ["free", "in4"] {
        assert_eq!(
            post("bob", json!({"dc": "dc3", "groups": [group]}), &user_admin(), "dc3").unwrap_err(),
            json!({"groups": ["You don't have permission to use DC-unbound groups."]})
        );
    }
    assert!(post("bob", json!({"dc": "dc3", "is_super_admin": false}), &user_admin(), "dc3").is_ok());
}

#[test]
fn names_are_measured_and_reserved() {
    let said = |name: &str, extra: Value| post(name, extra, &root(), "main").unwrap_err();
    for reserved in ["profile", "Admin", "provisioner"] {
        assert_eq!(said(reserved, json!({"dc_bound": false})), json!({"username": ["Invalid value."]}));
    }
    assert_eq!(
        said(&"a".repeat(255), json!({})),
        json!({"username": ["Ensure this value has at most 254 characters (it has 255)."]})
    );
    assert!(post("PROFILE", json!({"dc_bound": false}), &root(), "main").is_ok());
    assert!(post("bob", json!({"dc_bound": false, "username": "other"}), &root(), "main").is_ok());
    assert_eq!(said("bob", json!({"username": "a b", "dc_bound": false})), json!({"username": ["Invalid value."]}));
    let long = json!({"username": ["Ensure this value has at most 254 characters (it has 300).", "Invalid value."]});
    assert_eq!(said("bob", json!({"username": "x y".repeat(100), "dc_bound": false})), long);
}

#[test]
fn an_email_must_be_free_unless_it_is_the_users_own() {
    let taken = json!({"email": ["This email is already in use. Please supply a different email."]});
    assert_eq!(post("bob", json!({"email": "ADMIN@example.com"}), &root(), "main").unwrap_err(), taken);
    let bob = samples::user("bob");
    assert_eq!(put(&bob, &[], json!({"email": "admin@example.com"}), &root(), "main").unwrap_err(), taken);
    assert_eq!(put(&bob, &[], json!({"email": " bob@example.com"}), &root(), "main").unwrap().email, None);
    let admin = samples::user("admin");
    assert_eq!(put(&admin, &[], json!({"email": "admin@example.com"}), &root(), "main").unwrap().email, None);
}

#[test]
fn wrong_words_are_no_booleans_anywhere() {
    for key in ["is_active", "api_access", "is_super_admin", "dc_bound", "api_key", "callback_key"] {
        let invalid = json!({key: ["Invalid value."]});
        assert_eq!(put(&samples::user("bob"), &[], json!({key: "no"}), &root(), "main").unwrap_err(), invalid);
        assert_eq!(put(&samples::user("bob"), &[], json!({key: []}), &root(), "main").unwrap_err(), invalid);
    }
}

#[test]
fn the_first_admin_is_protected() {
    let admin = User { number: 1, super_admin: true, ..samples::user("admin") };
    let body = json!({"is_active": false, "api_access": false, "is_super_admin": false, "username": "admin"});
    let message = json!(["You don't have permission to modify this attribute."]);
    assert_eq!(
        put(&admin, &[], body, &root(), "main").unwrap_err(),
        json!({"username": message, "api_access": message, "is_active": message, "is_super_admin": message})
    );
    for name in ["", "a b", "profile", "admin"] {
        let errors = put(&admin, &[], json!({"username": name}), &root(), "main").unwrap_err();
        assert_eq!(errors, json!({"username": message}), "{name:?}");
    }
    let change = put(&admin, &[], json!({"is_active": true, "is_super_admin": 1, "api_access": 1}), &root(), "main");
    let change = change.unwrap();
    assert_eq!((change.is_active, change.super_admin, change.api_access), (None, None, None));
}

#[test]
fn an_owner_without_rights_changes_no_rights_of_his() {
    let user = User { dc_bound: Some(dc("dc3")), api_access: true, ..samples::user("u1") };
    let [free, in3, _] = groups();
    let nobody = Rights::default();
    for (key, value) in [
        ("is_active", json!(false)),
        ("api_access", json!(false)),
        ("is_super_admin", json!(true)),
        ("dc_bound", json!(false)),
        ("groups", json!(["in3"])),
        ("groups", json!(["nogroup"])),
    ] {
        assert_eq!(
            put(&user, &[&free], json!({key: value}), &nobody, "main").unwrap_err(),
            json!({key: ["You don't have permission to modify this attribute."]}),
            "{key}"
        );
    }
    let same = json!({"is_active": 1, "api_access": true, "is_super_admin": 0, "dc_bound": true, "groups": "IN3",
        "first_name": "New", "password": "x", "api_key": true});
    let change = put(&user, &[&in3], same, &nobody, "main").unwrap();
    assert_eq!(change.first_name.as_deref(), Some("New"));
    assert!(change.new_api_key && change.join.is_empty() && change.leave.is_empty());
    assert_eq!((change.is_active, change.api_access, change.super_admin), (None, None, None));
    assert_eq!(change.dc_bound, None);
    // the rule of all who are no SuperAdmins, whether or not he has them already (contract 3.4)
    let unbound = json!({"groups": ["You don't have permission to use DC-unbound groups."]});
    let both = json!({"groups": "FREE,in3"});
    assert_eq!(put(&user, &[&free, &in3], both, &nobody, "main").unwrap_err(), unbound);
}

#[test]
fn a_user_admin_gives_groups_of_the_users_own_datacenter() {
    let user = User { dc_bound: Some(dc("dc3")), ..samples::user("u1") };
    let change = put(&user, &[], json!({"groups": "in3", "is_active": false}), &user_admin(), "main").unwrap();
    assert_eq!(change.join, [GroupName::parse("in3").unwrap()]);
    assert_eq!(change.is_active, Some(false));
    assert_eq!(
        put(&user, &[], json!({"groups": ["in3", "free"]}), &user_admin(), "main").unwrap_err(),
        json!({"groups": ["You don't have permission to use DC-unbound groups."]})
    );
    for (names, said) in [
        (json!(["in3", "nogroup", "free"]), "Object with name=nogroup does not exist."),
        (json!(["free", "nogroup"]), "You don't have permission to use DC-unbound groups."),
        (json!([""]), "This field is required."),
    ] {
        let errors = put(&user, &[], json!({ "groups": names }), &user_admin(), "main").unwrap_err();
        assert_eq!(errors, json!({"groups": [said]}), "the first wrong name of {names}");
    }
}

#[test]
fn groups_are_joined_and_left_as_a_difference() {
    let [free, in3, _] = groups();
    let user = samples::user("u1");
    let change = put(&user, &[&free, &in3], json!({"groups": ["in4", "Free"]}), &root(), "main").unwrap();
    assert_eq!(change.join, [GroupName::parse("in4").unwrap()]);
    assert_eq!(change.leave, [GroupName::parse("in3").unwrap()]);
    let change = put(&user, &[&free], json!({"groups": null}), &root(), "main").unwrap();
    assert_eq!(change.leave, [GroupName::parse("free").unwrap()]);
    let change = put(&user, &[&free], json!({"first_name": "x"}), &root(), "main").unwrap();
    assert!(change.join.is_empty() && change.leave.is_empty());
}

#[test]
fn a_super_admin_binds_rebinds_and_unbinds() {
    let [_, in3, _] = groups();
    let bound = User { dc_bound: Some(dc("dc3")), ..samples::user("u1") };
    let to = |body: Value, target: &str| put(&bound, &[&in3], body, &root(), target);
    assert_eq!(to(json!({"dc_bound": false}), "dc3").unwrap().dc_bound, Some(None));
    assert_eq!(to(json!({"dc_bound": true}), "dc3").unwrap().dc_bound, Some(Some(dc("dc3"))));
    assert!(to(json!({"dc_bound": true, "dc": "dc4"}), "dc4").unwrap_err()["dc_bound"][0].is_string());
    assert_eq!(
        to(json!({"dc_bound": true, "dc": "dc4", "groups": []}), "dc4").unwrap().dc_bound,
        Some(Some(dc("dc4")))
    );
    assert_eq!(
        to(json!({"is_super_admin": true}), "dc3").unwrap_err(),
        json!({"dc_bound": ["A SuperAdmin user cannot be DC-bound."]})
    );
    assert!(to(json!({"is_super_admin": true, "dc_bound": false}), "dc3").is_ok());
    // An entry that breaks the rule by an LDAP tool's doing can still be changed in other respects.
    let odd = User { super_admin: true, ..bound.clone() };
    assert!(put(&odd, &[], json!({"first_name": "x"}), &root(), "dc3").is_ok());
}
