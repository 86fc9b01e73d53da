//! Datacenters and groups: what the fields of their bodies take, and what their lists show.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Api, Usherd, eventually_true};
use crate::world::{World, user_body};

const REQUIRED: &str = "This field is required.";
const INVALID: &str = "Invalid value.";

fn too_long(max: usize, has: usize) -> String {
    format!("Ensure this value has at most {max} characters (it has {has}).")
}

fn nothing_called(key: &str, name: &str) -> String {
    format!("Object with {key}={name} does not exist.")
}

/// Creates what `path` names, deletes it again and returns the object.
#[track_caller]
fn made(root: &Api, path: &str, body: &Value) -> Value {
    let object = root.post(path, body).result(201);
    root.delete(path).result(200);
    object
}

#[test]
fn no_owner_is_the_caller_and_leaves_the_owner_as_he_is() {
    let usherd = Usherd::start();
    let root = usherd.api();
    for nobody in [json!(null), json!("")] {
        let body = json!({"site": "dc2.example.com", "owner": nobody});
        assert_eq!(made(&root, "/dc/dc2/", &body)["owner"], "admin");
        assert_eq!(root.put("/dc/main/", &json!({"owner": nobody})).result(200)["owner"], "admin");
    }
    // Nor is he a new one who is it already.
    root.post("/accounts/user/bob/", &user_body("bob", &json!({"dc_bound": false}))).result(201);
    root.post("/dc/dc3/", &json!({"site": "dc3.example.com", "owner": "bob"})).result(201);
    root.put("/accounts/user/bob/", &json!({"dc_bound": true, "dc": "main"})).result(200);
    for body in [json!({"owner": "Bob"}), json!({})] {
        root.put("/dc/dc3/", &body).result(200);
        assert_eq!(root.get("/accounts/user/bob/").result(200)["dc_bound"], true, "{body}");
    }
    let wrong = |owner: Value| root.post("/dc/dc2/", &json!({"site": "dc2.example.com", "owner": owner})).result(400);
    for name in ["nobody", "<x>", " admin", "_system", &"o".repeat(255)] {
        assert_eq!(wrong(json!(name)), json!({"owner": [nothing_called("username", name)]}));
    }
    for bad in [json!(true), json!(["admin"]), json!({}), json!("admin\n")] {
        assert_eq!(wrong(bad), json!({"owner": [INVALID]}));
    }
}

#[test]
fn a_name_in_the_body_is_checked_and_the_paths_counts() {
    let usherd = Usherd::start();
    let root = usherd.api();
    for (path, max) in [("/dc/here/", 16), ("/accounts/group/here/", 32)] {
        let body = |name: &str| json!({"site": "here.example.com", "dc_bound": false, "name": name});
        assert_eq!(made(&root, path, &body("there"))["name"], "here");
        for (name, message) in
            [("", REQUIRED.to_owned()), ("a b", INVALID.to_owned()), (&*"n".repeat(max + 1), too_long(max, max + 1))]
        {
            assert_eq!(root.post(path, &body(name)).result(400), json!({"name": [message]}), "{path} {name}");
        }
    }
    let put = |path: &str, name: &str| root.put(path, &json!({ "name": name }));
    let both = "a b".repeat(16);
    assert_eq!(put("/dc/main/", "other").result(200)["name"], "main");
    assert_eq!(put("/dc/main/", "").result(400), json!({"name": [REQUIRED]}));
    assert_eq!(put("/dc/main/", &both).result(400), json!({"name": [too_long(16, 48), INVALID.to_owned()]}));
    // a PUT of a group does not look at it (contract 5.2)
    for name in ["other", "", &both] {
        assert_eq!(put("/accounts/group/admins/", name).result(200)["name"], "admins");
    }
}

#[test]
fn an_alias_that_the_name_gives_is_checked_like_another() {
    let usherd = Usherd::start();
    let root = usherd.api();
    let answer = root.post(&format!("/dc/{}/", "n".repeat(33)), &json!({"site": "n.example.com"}));
    assert_eq!(answer.result(400), json!({"name": [too_long(16, 33)], "alias": [too_long(32, 33)]}));
    let answer = root.post(&format!("/accounts/group/{}/", "n".repeat(81)), &json!({"dc_bound": false}));
    assert_eq!(answer.result(400), json!({"name": [too_long(32, 81)], "alias": [too_long(80, 81)]}));
    root.post("/accounts/group/g1/", &json!({"dc_bound": false, "alias": "G2"})).result(201);
    let taken = "This alias is already in use. Please supply a different alias.";
    assert_eq!(root.post("/accounts/group/g2/", &json!({"dc_bound": false})).result(400), json!({"alias": [taken]}));
}

/// By the directory's own guard, which takes for one value what differs in the width of letters.
#[test]
fn what_the_directory_refuses_as_taken_is_told_under_its_own_field() {
    let usherd = Usherd::start();
    let (root, ldap) = (usherd.api(), usherd.ldap());
    root.post("/dc/dc1/", &json!({"site": "dc1.example.com", "alias": "\u{ff30}rod East"})).result(201);
    let base = ldap.base_dn();
    ldap.modify(&format!("dn: cn=dc1,ou=datacenters,{base}\nchangetype: modify\nreplace: usherSite\nusherSite:: 772EYzEuZXhhbXBsZS5jb20=\n"));
    let stored = || root.get("/dc/dc1/").result(200)["site"] == "\u{ff44}c1.example.com";
    eventually_true(Duration::from_secs(5), "the site with a wide letter", stored);

    let alias = json!({"alias": ["This alias is already in use. Please supply a different alias."]});
    let site = "This site hostname is already in use. Please supply a different site hostname.";
    let site = json!({ "site": [site] });
    let both = |alias: &str, site: &str| json!({ "alias": alias, "site": site });
    let (taken_alias, taken_site) = (both("Prod East", "new.example.com"), both("New", "dc1.example.com"));
    assert_eq!(root.post("/dc/dc2/", &taken_alias).result(400), alias);
    assert_eq!(root.post("/dc/dc2/", &taken_site).result(400), site);
    root.post("/dc/dc2/", &json!({"site": "dc2.example.com"})).result(201);
    assert_eq!(root.put("/dc/dc2/", &taken_alias).result(400), alias);
    assert_eq!(root.put("/dc/dc2/", &taken_site).result(400), site);
    assert_eq!(root.put("/dc/dc2/", &json!({"alias": "Prod East"})).result(400), alias);
    assert_eq!(root.put("/dc/dc2/", &json!({"site": "dc1.example.com"})).result(400), site);
    // its own values are nobody else's
    root.put("/dc/dc1/", &both("Prod East", "dc1.example.com")).result(200);
}

#[test]
fn an_alias_that_differs_in_blanks_is_taken_and_its_refusal_unbinds_nobody() {
    let World { usherd: _usherd, root } = World::new();
    root.put("/dc/dc4/", &json!({"alias": "Prod East"})).result(200);
    root.post("/accounts/group/ga/", &json!({"dc_bound": false, "alias": "Team A"})).result(201);
    root.post("/accounts/group/gb/", &json!({"dc_bound": false})).result(201);
    root.post("/dc/dc4/group/gb/", &json!({})).result(201);
    let bound = || root.get("/accounts/user/u2/").result(200)["dc_bound"].clone();
    assert_eq!(bound(), true);
    let owned = |alias: &str| json!({"alias": alias, "site": "new.example.com", "owner": "u2"});
    root.post("/dc/new/", &owned(" prod   east")).result(400);
    root.put("/dc/main/", &owned("PROD  EAST ")).result(400);
    root.put("/accounts/group/gb/", &json!({"alias": "team  a ", "users": ["u2"]})).result(400);
    assert_eq!(bound(), true);
}

#[test]
fn lists_of_names_skip_nothing_between_commas_and_refuse_it_in_arrays() {
    let world = World::new();
    let root = &world.root;
    let group = "/accounts/group/g1/";
    let body = json!({"dc_bound": false, "permissions": " admin,, user_admin ,", "users": ","});
    let shown = made(root, group, &body);
    assert_eq!((&shown["permissions"], &shown["users"]), (&json!(["admin", "user_admin"]), &json!([])));
    for empty in [json!(""), json!(null)] {
        let body = json!({"dc_bound": false, "permissions": [empty], "users": ["u1", empty]});
        assert_eq!(root.post(group, &body).result(400), json!({"permissions": [REQUIRED], "users": [REQUIRED]}));
    }
    // A datacenter's groups are references, where no name is the name of nothing.
    let dc = |groups: Value| root.put("/dc/dc4/", &json!({ "groups": groups }));
    for (groups, expected) in [
        (json!("loose, ,staff4"), json!(["loose", "staff4"])),
        (json!([""]), json!([])),
        (json!(["staff4"]), json!(["staff4"])),
        (json!(","), json!([])),
    ] {
        assert_eq!(dc(groups).result(200)["groups"], expected);
    }
    for (groups, name) in [(json!(["", "loose"]), ""), (json!([null]), "None"), (json!(["loose", null]), "None")] {
        assert_eq!(dc(groups).result(400), json!({"groups": [nothing_called("name", name)]}));
    }
}

#[test]
fn a_new_group_is_current_in_the_datacenter_that_is_named_whatever_becomes_of_it() {
    let world = World::new();
    for (body, status) in [
        (json!({"dc": "dc3", "alias": ""}), 400),
        (json!({"dc": "dc3", "dc_bound": false}), 201),
        (json!({"dc": "dc3"}), 406),
    ] {
        let answer = world.root.post("/accounts/group/new/", &body);
        let current = if status == 406 { "main" } else { "dc3" };
        assert_eq!((answer.status, answer.header("es_dc")), (status, Some(current)), "{body}");
    }
}

#[test]
fn extended_adds_nothing_within_a_datacenter_and_means_nothing_to_whom_it_is_not_for() {
    let world = World::new();
    let keys = |object: &Value| object.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for path in ["/dc/dc3/user/", "/dc/dc3/group/", "/dc/dc3/user/u1/", "/dc/dc3/group/staff3/"] {
        let shown = |query: &str| world.root.get(&format!("{path}{query}")).result(200);
        assert_eq!(shown("?extended=1"), shown("?full=1"));
    }
    assert_eq!(keys(&world.root.get("/dc/?extended=1").result(200)[0]).len(), 16);
    let plain = world.login("u1");
    assert_eq!(plain.get("/dc/?extended=1").result(200), json!(["dc3", "main"]));
    let full = plain.get("/dc/?full=1").result(200);
    assert_eq!(keys(&full[0]), ["name", "alias", "site", "owner", "access", "desc", "created"]);
    assert_eq!(plain.get("/dc/?full=1&extended=1").result(200), full);
}
