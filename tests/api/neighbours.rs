//! Groups, datacenters and what they do to the users in them; relations; paging.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Api, Response, eventually_true};
use crate::world::{KEY_A, World, user_body};

#[test]
fn a_user_bound_elsewhere_is_unbound_by_joining_a_group_of_another_datacenter() {
    let world = World::new();
    world.root.put("/accounts/group/staff4/", &json!({"users": ["u1", "u4"]})).result(200);
    assert_eq!(world.user("u1")["dc_bound"], json!(false));
    assert_eq!(world.user("u4")["dc_bound"], json!(true));
    world.root.post("/accounts/group/new3/", &json!({"dc": "dc3", "users": ["u4", "u2"]})).result(201);
    assert_eq!(world.user("u4")["dc_bound"], json!(false));
    assert_eq!(world.user("u2")["dc_bound"], json!(true));
}

#[test]
fn attaching_a_group_unbinds_it_and_its_members_and_answers_as_it_was() {
    let world = World::new();
    let before = world.root.post("/dc/dc4/group/staff3/", &json!({})).result(201);
    assert_eq!((&before["name"], &before["dc_bound"]), (&json!("staff3"), &json!(true)));
    assert_eq!(world.root.post("/dc/dc4/group/STAFF3/", &json!({})).detail(406), "User Group already exists");
    let after = world.root.get("/accounts/group/staff3/?extended=1").result(200);
    assert_eq!((&after["dc_bound"], &after["dcs"]), (&json!(false), &json!(["dc3", "dc4"])));
    assert_eq!(world.user("u1")["dc_bound"], json!(false));
    assert_eq!(
        world.root.put("/accounts/group/staff3/", &json!({"dc_bound": true})).result(400),
        json!({"dc_bound": ["User Group is attached into more than one datacenter."]})
    );
    assert_eq!(world.root.delete("/dc/dc4/group/staff3/").result(200), Value::Null);
    assert_eq!(world.root.delete("/dc/dc4/group/staff3/").detail(404), "User Group not found");
    world.root.put("/accounts/group/staff3/", &json!({"dc_bound": true})).result(200);
}

#[test]
fn a_user_with_relations_is_not_deleted_and_a_deleted_datacenter_unbinds() {
    let world = World::new();
    world.root.put("/dc/dc4/", &json!({"owner": "u1"})).result(200);
    assert_eq!(world.user("u1")["dc_bound"], json!(false), "a new owner is bound to no other datacenter");
    assert_eq!(
        world.root.delete("/accounts/user/u1/").result(400),
        json!({"detail": "Cannot delete user, because he has relations to some objects.",
            "relations": {"Datacenter": ["dc4"]}})
    );
    assert_eq!(world.root.delete("/dc/dc4/").result(200), Value::Null);
    assert_eq!(world.user("u4")["dc_bound"], json!(false));
    let group = world.root.get("/accounts/group/staff4/?extended=1").result(200);
    assert_eq!((&group["dc_bound"], &group["dcs"]), (&json!(false), &json!([])));
    assert_eq!(world.root.delete("/accounts/user/u1/").result(200), Value::Null);
    assert_eq!(world.root.get("/accounts/group/staff3/").result(200)["users"], json!([]));
    assert_eq!(world.root.delete("/dc/main/").detail(428), "Default datacenter cannot be deleted");
}

#[test]
fn a_user_made_again_under_an_old_name_inherits_nothing() {
    let world = World::new();
    world.root.post("/accounts/user/u1/sshkey/k1/", &json!({"key": KEY_A})).result(201);
    let session = world.login("u1");
    world.root.delete("/accounts/user/u1/").result(200);
    let again = world.create("u1", &json!({"dc": "dc3"}));
    assert_eq!(again["groups"], json!([]));
    assert_eq!(world.root.get("/accounts/user/u1/sshkey/").result(200), json!([]));
    assert_eq!(session.get("/accounts/user/u1/").detail(403), "Invalid token.");
}

#[test]
fn a_new_user_owns_no_datacenter_that_waited_for_an_entry_of_the_name() {
    let world = World::new();
    let ldap = world.usherd.ldap();
    let owner = || world.root.get("/dc/dc4/").result(200)["owner"].clone();
    // As it is when a user is deleted while a datacenter is given to him.
    ldap.modify(&format!(
        "dn: cn=dc4,ou=datacenters,{base}\nchangetype: modify\nreplace: usherOwner\nusherOwner: uid=ghost,ou=people,{base}\n",
        base = ldap.base_dn()
    ));
    eventually_true(Duration::from_secs(10), "the owner shows", || owner() == "ghost");
    world.create("Ghost", &json!({"dc_bound": false}));
    assert_eq!(owner(), json!(null));
    assert_eq!(world.login("Ghost").get("/dc/dc4/").detail(404), "Datacenter not found");
}

#[test]
fn binding_follows_the_rules_both_ways() {
    let world = World::new();
    let put = |body: Value| world.root.put("/accounts/user/u1/", &body);
    let elsewhere = json!({"dc_bound": ["User's group(s) are attached into another datacenter(s)."]});
    assert_eq!(put(json!({"dc_bound": true, "dc": "dc4"})).result(400), elsewhere);
    assert_eq!(put(json!({"groups": ["staff4"]})).result(400), elsewhere);
    put(json!({"dc_bound": true, "dc": "dc4", "groups": ["staff4"]})).result(200);
    assert_eq!(world.root.get("/accounts/user/u1/").header("es_dc"), Some("dc4"));
    assert_eq!(put(json!({"dc_bound": true, "dc": "nodc"})).detail(404), "Datacenter not found");
    put(json!({"dc_bound": false})).result(200);
    assert_eq!(put(json!({"dc": "nodc"})).result(200)["dc_bound"], json!(false), "dc alone says nothing");
    let body = user_body("n1", &json!({"dc": "nodc", "dc_bound": false}));
    assert_eq!(world.root.post("/accounts/user/n1/", &body).detail(404), "Datacenter not found");
}

#[test]
fn names_and_addresses_are_one_name_space_without_regard_to_case() {
    let world = World::new();
    let post = |name: &str, more: Value| world.root.post(&format!("/accounts/user/{name}/"), &user_body(name, &more));
    let unbound = json!({"dc_bound": false});
    assert_eq!(post("U1", unbound.clone()).detail(406), "User already exists");
    assert_eq!(post("ADMIN", unbound.clone()).detail(406), "User already exists");
    assert_eq!(post("_system", unbound.clone()).detail(406), "User already exists");
    assert_eq!(post("U1@Example.com", unbound.clone()).detail(406), "User already exists");
    assert_eq!(
        post("Admin", json!({"dc_bound": false, "email": "free@example.net"})).result(400),
        json!({"username": ["Invalid value."]})
    );
    let taken = json!({"email": ["This email is already in use. Please supply a different email."]});
    assert_eq!(post("n1", json!({"dc_bound": false, "email": "U1@EXAMPLE.com"})).result(400), taken);
    post("own@example.com", json!({"dc_bound": false, "email": "own@example.com"})).result(201);
    assert_eq!(post("n2", json!({"dc_bound": false, "email": "OWN@example.com"})).result(400), taken);
    assert_eq!(world.root.get("/accounts/user/uA/").result(200)["username"], "ua");
    assert_eq!(world.root.post("/accounts/group/STAFF3/", &json!({})).detail(406), "User Group already exists");
    assert_eq!(world.root.post("/dc/DC3/", &json!({})).detail(406), "Datacenter already exists");
}

/// All pages of a list, each as long as `limit`.
fn pages(api: &Api, path: &str, limit: usize) -> Vec<Value> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let page = api.get(&format!("{path}&limit={limit}&after={after}")).result(200);
        let page = page.as_array().unwrap();
        assert!(page.len() <= limit);
        let Some(last) = page.last() else { return all };
        after = crate::support::http::encode(last.as_str().unwrap());
        all.extend(page.iter().cloned());
    }
}

#[test]
fn every_list_comes_in_pages_that_make_up_the_whole() {
    let world = World::new();
    for title in ["a", "b", "c"] {
        let key = format!("ecdsa-sha2-nistp256 {}", ecdsa(title));
        world.root.post(&format!("/accounts/user/u1/sshkey/{title}/"), &json!({ "key": key })).result(201);
    }
    for path in [
        "/accounts/user/?order_by=username",
        "/accounts/user/?order_by=-username",
        "/accounts/user/?order_by=created",
        "/accounts/user/?order_by=-created,username",
        "/accounts/group/?order_by=-created",
        "/accounts/permission/?order_by=-name",
        "/accounts/user/u1/sshkey/?order_by=-title",
        "/dc/?order_by=created",
        "/dc/dc3/user/?order_by=-username",
        "/dc/dc3/group/?order_by=name",
    ] {
        let whole = world.root.get(path).result(200);
        assert!(whole.as_array().unwrap().len() > 1, "{path}");
        for limit in [1, 2, 100] {
            assert_eq!(Value::from(pages(&world.root, path, limit)), whole, "{path}, {limit}");
        }
    }
    assert_eq!(world.root.get("/accounts/user/profile/?limit=2").result(200).as_array().map(Vec::len), Some(2));
    for (path, fields) in [
        ("/accounts/user/", "username, created"),
        ("/accounts/user/profile/", "username, created"),
        ("/accounts/group/", "name, created"),
        ("/accounts/permission/", "name"),
        ("/dc/", "name, created"),
        ("/dc/dc3/user/", "username"),
        ("/dc/dc3/group/", "name, created"),
        ("/accounts/user/u1/sshkey/", "title"),
    ] {
        let answer = world.root.get(&format!("{path}?order_by=zzz"));
        assert_eq!(answer.detail(412), format!("Invalid order_by; Possible sort fields are: {fields}"), "{path}");
        assert_eq!(world.root.get(&format!("{path}?limit=x")).status, 400, "{path}");
    }
}

#[test]
fn a_list_goes_on_after_what_has_left_it_since_the_page_before() {
    let world = World::new();
    let ua = world.login("ua");
    for (api, path, object, name) in [
        (&ua, "/accounts/user/?order_by=created", "/accounts/user", "u1"),
        (&world.root, "/accounts/user/profile/?order_by=-created", "/accounts/user", "free"),
        (&world.root, "/dc/dc4/group/?order_by=created", "/accounts/group", "staff4"),
        (&world.root, "/accounts/group/?order_by=-created", "/accounts/group", "loose"),
        (&world.root, "/dc/?order_by=-created", "/dc", "dc4"),
    ] {
        let rest = || api.get(&format!("{path}&after={name}")).result(200);
        let before = rest();
        let otherwise_spelt = api.get(&format!("{path}&after={}", name.to_uppercase())).result(200);
        assert_eq!(otherwise_spelt, before, "{path}");
        world.root.delete(&format!("{object}/{name}/")).result(200);
        assert_eq!(rest(), before, "{path}");
    }
    // What is in the list of somebody else now.
    let detach = || world.root.delete("/dc/dc3/group/staff3/");
    let unbind = || world.root.put("/accounts/user/u2/", &json!({"dc_bound": false}));
    type Move<'a> = &'a dyn Fn() -> Response;
    for (path, name, leave) in [
        ("/dc/dc3/group/?order_by=created", "staff3", &detach as Move<'_>),
        ("/accounts/user/?order_by=-created", "u2", &unbind),
    ] {
        let rest = || ua.get(&format!("{path}&after={name}")).result(200);
        let before = rest();
        leave().result(200);
        assert_eq!(rest(), before, "{path}");
    }
    let cursor = "/accounts/user/?order_by=created&after=free";
    let unseen = json!({"after": ["Object with name=free does not exist."]});
    assert_eq!(ua.get(cursor).result(400), unseen, "nothing is told of those whom the caller never saw");
}

/// A valid point on the curve P-256 for each of three titles.
fn ecdsa(title: &str) -> &'static str {
    match title {
        "a" => P256[0],
        "b" => P256[1],
        _ => P256[2],
    }
}

const P256: [&str; 3] = [
    "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBFp6aX/meWjpseuIPjrMLp0jurYk5Ecdjyxxk/n+/9b5DKQQ0pBN3z4w0KRX+lJnEvuk9OMwVbq316C+7mN4CEM=",
    "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBBkZZX9t6ykMylrcqWKoxITESLmObGm8mHfRylYedjhUWIMCUTlwwVuACpGxQwPwr++Ch5K7o/Ub+qJpKsjZ4o4=",
    "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBInkB9QGocmh+GpWM7OF9pnK5D9gbn4r+0d3xyx2CNviVRcCFqkecoouEiC7dyNI3yv3zEA/tuIdhXJD8rCme9M=",
];
