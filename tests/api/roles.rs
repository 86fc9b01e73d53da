//! Who may do what: SuperAdmin, UserAdmin of one datacenter, the owner of a profile, a plain user, one who is inactive
//! or may not use the API.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Api, Response, eventually_true};
use crate::world::{KEY_A, NOT_YOURS, OBJECT_DENIED, ROLE_DENIED, World, user_body};

/// Every write there is on somebody or something else.
fn writes_on_others(api: &Api) -> Vec<(String, Response)> {
    let body = json!({"first_name": "Evil", "password": "evil", "api_key": true, "key": KEY_A, "alias": "evil",
        "users": ["u2"], "permissions": ["admin"], "site": "evil.example.com", "title": "x", "dc_bound": false,
        "last_name": "E", "email": "evil@example.com", "groups": ["admins3"], "dc": "dc3", "is_super_admin": true});
    let mut answers = Vec::new();
    for (method, path) in [
        ("PUT", "/accounts/user/admin/"),
        ("DELETE", "/accounts/user/u4/"),
        ("POST", "/accounts/user/new/"),
        ("POST", "/accounts/user/u4/"),
        ("PUT", "/accounts/user/u4/"),
        ("PUT", "/accounts/user/nobody/"),
        ("PUT", "/accounts/user/u4/apikeys/"),
        ("GET", "/accounts/user/u4/apikeys/"),
        ("PUT", "/accounts/user/u4/profile/"),
        ("POST", "/accounts/user/u4/sshkey/k/"),
        ("DELETE", "/accounts/user/admin/sshkey/k/"),
        ("POST", "/accounts/group/new/"),
        ("PUT", "/accounts/group/admins3/"),
        ("DELETE", "/accounts/group/loose/"),
        ("POST", "/dc/new/"),
        ("PUT", "/dc/dc3/"),
        ("PUT", "/dc/main/"),
        ("DELETE", "/dc/main/"),
        ("POST", "/dc/main/group/loose/"),
        ("DELETE", "/dc/main/group/loose/"),
    ] {
        answers.push((format!("{method} {path}"), api.json(method, path, &body)));
    }
    answers
}

/// All that can be seen of users, groups, keys and datacenters.
fn snapshot(world: &World) -> Vec<Value> {
    let sorted = |path: &str| world.root.get(path).result(200);
    let mut all = vec![
        sorted("/accounts/user/?extended=1"),
        sorted("/accounts/user/profile/"),
        sorted("/accounts/group/?extended=1"),
        sorted("/dc/?full=1"),
    ];
    for name in ["admin", "ua", "u1", "u2", "u4", "free"] {
        all.push(sorted(&format!("/accounts/user/{name}/sshkey/?full=1")));
    }
    all
}

#[test]
fn a_plain_user_changes_nothing_but_himself() {
    let world = World::new();
    let plain = world.login("u1");
    let before = snapshot(&world);
    for (what, answer) in writes_on_others(&plain) {
        assert_eq!(answer.detail(403), ROLE_DENIED, "{what}");
    }
    assert_eq!(snapshot(&world), before);
    for path in [
        "/accounts/user/",
        "/accounts/user/profile/",
        "/accounts/user/u4/",
        "/accounts/user/nobody/",
        "/accounts/group/",
        "/accounts/group/nogroup/",
        "/accounts/permission/",
        "/accounts/permission/nope/",
    ] {
        assert_eq!(plain.get(path).detail(403), ROLE_DENIED, "{path}");
    }
    assert_eq!(plain.get("/dc/").result(200), json!(["dc3", "main"]));
    assert_eq!(plain.get("/dc/dc4/").detail(404), "Datacenter not found");
    assert_eq!(plain.get("/dc/dc3/user/").detail(403), ROLE_DENIED);
    assert_eq!(plain.get("/dc/dc4/user/").detail(404), "Datacenter not found");
    assert_eq!(plain.get("/dc/main/group/").detail(403), ROLE_DENIED);
    assert_eq!(plain.get("/dc/dc3/?extended=1").result(200).get("groups"), None);
}

#[test]
fn an_owner_changes_himself_but_none_of_his_rights() {
    let world = World::new();
    let owner = world.login("u1");
    for (key, value) in [
        ("is_active", json!(false)),
        ("api_access", json!(false)),
        ("is_super_admin", json!(true)),
        ("dc_bound", json!(false)),
        ("groups", json!(["admins3"])),
        ("groups", json!([])),
        ("groups", json!(["nogroup"])),
    ] {
        assert_eq!(owner.put("/accounts/user/u1/", &json!({key: value})).result(400), json!({key: [NOT_YOURS]}));
    }
    let same = json!({"is_active": true, "api_access": true, "is_super_admin": false, "dc_bound": true,
        "groups": ["STAFF3"], "first_name": "New", "email": "new@example.com"});
    let changed = owner.put("/accounts/user/U1/", &same).result(200);
    assert_eq!((&changed["first_name"], &changed["email"]), (&json!("New"), &json!("new@example.com")));
    assert_eq!(changed["groups"], json!(["staff3"]));

    assert_eq!(owner.get("/accounts/user/u1/").result(200)["username"], "u1");
    assert_eq!(owner.post("/accounts/user/u1/", &json!({})).detail(406), "User already exists");
    assert_eq!(owner.delete("/accounts/user/u1/").detail(403), OBJECT_DENIED);
    assert_eq!(owner.get("/accounts/user/u1/apikeys/").result(200)["api_key"].as_str().map(str::len), Some(32));
    let profile = owner.put("/accounts/user/u1/profile/", &json!({"city": "Brno", "last_name": "Nový"})).result(200);
    assert_eq!((&profile["city"], &profile["last_name"]), (&json!("Brno"), &json!("Nový")));
    assert_eq!(
        owner.put("/accounts/user/u1/profile/", &json!({"email_verified": true})).result(400),
        json!({"email_verified": [NOT_YOURS]})
    );
    owner.post("/accounts/user/u1/sshkey/k1/", &json!({"key": KEY_A, "options": ["restrict"]})).result(201);
    assert_eq!(
        owner.post("/accounts/user/u1/sshkey/k2/", &json!({"key": KEY_A, "options": ["command=\"id\""]})).status,
        400
    );
    owner.delete("/accounts/user/u1/sshkey/k1/").result(200);
}

#[test]
fn a_new_password_ends_the_sessions_and_is_the_one_that_counts() {
    let world = World::new();
    let (owner, other) = (world.login("u1"), world.login("u1"));
    owner.put("/accounts/user/u1/", &json!({"password": "another"})).result(200);
    for session in [&owner, &other] {
        assert_eq!(session.get("/accounts/user/u1/").status, 403);
    }
    let again = world.usherd.login("u1", "another");
    assert_eq!(again.get("/accounts/user/u1/").status, 200);
    let old = json!({"username": "u1", "password": "pw-u1"});
    assert_eq!(
        world.usherd.anonymous().post("/accounts/login/", &old).detail(400),
        "Unable to log in with provided credentials."
    );
}

#[test]
fn a_user_admin_manages_the_users_of_his_datacenter_and_no_others() {
    let world = World::new();
    let ua = world.login("ua");
    assert_eq!(ua.get("/accounts/user/").result(200), json!(["u1", "u2", "ua"]));
    let names: Vec<Value> = ua
        .get("/accounts/user/profile/")
        .result(200)
        .as_array()
        .unwrap()
        .iter()
        .map(|profile| profile["username"].clone())
        .collect();
    assert_eq!(names, ["u1", "u2", "ua"]);
    assert_eq!(ua.get("/accounts/group/").result(200), json!(["admins3", "staff3"]));

    // Missing is a 404, another datacenter's a 403.
    for path in ["", "profile/", "sshkey/"] {
        assert_eq!(ua.get(&format!("/accounts/user/nobody/{path}")).detail(404), "User not found");
        for foreign in ["u4", "free", "admin"] {
            assert_eq!(ua.get(&format!("/accounts/user/{foreign}/{path}")).detail(403), OBJECT_DENIED);
        }
        ua.get(&format!("/accounts/user/u1/{path}")).result(200);
    }
    assert_eq!(ua.get("/accounts/group/staff4/").detail(403), OBJECT_DENIED);
    assert_eq!(ua.get("/accounts/group/loose/").detail(403), OBJECT_DENIED);
    assert_eq!(ua.get("/accounts/group/nogroup/").detail(404), "User Group not found");
    assert_eq!(ua.get("/accounts/user/u1/apikeys/").detail(403), ROLE_DENIED);

    let before = snapshot(&world);
    for (what, answer) in writes_on_others(&ua) {
        assert!(matches!(answer.status, 400 | 403 | 404 | 406), "{what}: {answer:?}");
    }
    assert_eq!(snapshot(&world), before);

    let changed =
        ua.put("/accounts/user/u1/", &json!({"first_name": "X", "groups": "", "is_active": false, "password": "p"}));
    let changed = changed.result(200);
    assert_eq!((&changed["groups"], &changed["is_active"]), (&json!([]), &json!(false)));
    ua.put("/accounts/user/u1/", &json!({"is_active": true, "groups": ["staff3", "admins3"]})).result(200);
    for (key, value, message) in [
        ("is_super_admin", json!(true), NOT_YOURS),
        ("dc_bound", json!(false), NOT_YOURS),
        ("groups", json!(["loose"]), "You don't have permission to use DC-unbound groups."),
        ("groups", json!(["staff4"]), "You don't have permission to use DC-unbound groups."),
        ("groups", json!(["nogroup"]), "Object with name=nogroup does not exist."),
    ] {
        assert_eq!(ua.put("/accounts/user/u1/", &json!({key: value})).result(400), json!({key: [message]}));
    }
    let key = json!({"key": KEY_A, "options": ["command=\"id\""]});
    ua.post("/accounts/user/u1/sshkey/k1/", &key).result(201);
    ua.put("/accounts/user/u1/profile/", &json!({"phone": "+421905123456"})).result(200);
    // For himself he is the owner, with a UserAdmin's rights.
    ua.put("/accounts/user/ua/", &json!({"groups": ["admins3", "staff3"], "api_access": true})).result(200);
    assert_eq!(ua.delete("/accounts/user/ua/").detail(403), OBJECT_DENIED);
    assert_eq!(ua.delete("/accounts/user/u1/").result(200), Value::Null);
}

#[test]
fn a_user_admin_creates_users_bound_to_his_datacenter() {
    let world = World::new();
    let ua = world.login("ua");
    let post = |name: &str, more: Value| ua.post(&format!("/accounts/user/{name}/"), &user_body(name, &more));
    assert_eq!(post("n1", json!({})).detail(403), OBJECT_DENIED, "without dc it is main");
    assert_eq!(post("n1", json!({"dc": "main"})).detail(403), OBJECT_DENIED);
    assert_eq!(post("n1", json!({"dc": "dc4"})).detail(404), "Datacenter not found");
    assert_eq!(post("u4", json!({"dc": "dc3"})).detail(406), "User already exists");
    let new = post("n1", json!({"dc": "dc3", "dc_bound": false, "groups": ["staff3"]})).result(201);
    assert_eq!((&new["dc_bound"], &new["groups"]), (&json!(true), &json!(["staff3"])));
    assert_eq!(
        post("n2", json!({"dc": "dc3", "is_super_admin": true})).result(400),
        json!({"is_super_admin": [NOT_YOURS]})
    );
}

#[test]
fn what_an_ldap_tool_binds_does_not_give_a_super_admin_to_a_user_admin() {
    let world = World::new();
    world.create("boss", &json!({"dc_bound": false, "is_super_admin": true}));
    world.usherd.ldap().modify(
        "dn: uid=boss,ou=people,dc=example,dc=org\nchangetype: modify\nadd: usherDcBound\n\
         usherDcBound: cn=dc3,ou=datacenters,dc=example,dc=org\n",
    );
    eventually_true(Duration::from_secs(5), "the binding in the API", || world.user("boss")["dc_bound"] == json!(true));
    let ua = world.login("ua");
    assert_eq!(ua.put("/accounts/user/boss/", &json!({"password": "mine"})).detail(403), OBJECT_DENIED);
    assert_eq!(ua.get("/accounts/user/").result(200), json!(["u1", "u2", "ua"]));
}

/// Whoever is bound to what is no datacenter is bound to one as if he were bound to none.
#[test]
fn what_is_bound_to_no_datacenter_by_an_ldap_tool_can_be_bound_to_one() {
    let world = World::new();
    let bind = |rdn: &str, dn: &str| {
        world.usherd.ldap().modify(&format!(
            "dn: {rdn},dc=example,dc=org\nchangetype: modify\nreplace: usherDcBound\nusherDcBound: {dn}\n"
        ));
    };
    let shown = |path: &str| world.root.get(path).result(200)["dc_bound"].clone();
    let put = |path: &str, body: Value| world.root.put(path, &body);
    let bound_in = |path: &str, rdn: &str| {
        assert_eq!(shown(path), json!(true), "{path}");
        let entry =
            world.usherd.ldap().search(&format!("{rdn},dc=example,dc=org"), "base", "(cn=*)", &["usherDcBound"]);
        entry[0].first("usherDcBound").unwrap()
    };
    let (user, user_rdn) = ("/accounts/user/free/", "uid=free,ou=people");
    let (group, group_rdn) = ("/accounts/group/loose/", "cn=loose,ou=groups");
    for dn in ["cn=gone,ou=datacenters,dc=example,dc=org", "cn=no datacenter,dc=example,dc=org"] {
        for (body, expected) in [(json!({"dc_bound": true}), "main"), (json!({"dc_bound": true, "dc": "dc4"}), "dc4")] {
            put(user, json!({"dc_bound": false})).result(200);
            bind(user_rdn, dn);
            eventually_true(Duration::from_secs(5), "the binding in the API", || shown(user) == json!(true));
            assert_eq!(put(user, body).result(200)["dc_bound"], json!(true), "{dn}");
            assert_eq!(bound_in(user, user_rdn), format!("cn={expected},ou=datacenters,dc=example,dc=org"));
        }

        // nor does it keep him from groups of any
        bind(user_rdn, dn);
        eventually_true(Duration::from_secs(5), "the binding in the API", || shown(user) == json!(true));
        assert_eq!(put(user, json!({"groups": ["staff4"]})).result(200)["dc_bound"], json!(false), "{dn}");
        put(user, json!({"groups": []})).result(200);

        bind(group_rdn, dn);
        eventually_true(Duration::from_secs(5), "the binding in the API", || shown(group) == json!(true));
        let unattached = json!({"dc_bound": ["User Group is not attached into any datacenters."]});
        assert_eq!(put(group, json!({"dc_bound": true})).result(400), unattached, "{dn}");
        // nor is one that is attached to what is gone
        world.usherd.ldap().modify(&format!(
            "dn: {group_rdn},dc=example,dc=org\nchangetype: modify\nreplace: usherDatacenterLink\n\
             usherDatacenterLink: {dn}\n-\nreplace: usherAlias\nusherAlias: attached\n"
        ));
        let is_attached = || world.root.get(group).result(200)["alias"] == "attached";
        eventually_true(Duration::from_secs(5), "the attachment in the API", is_attached);
        assert_eq!(put(group, json!({"dc_bound": true})).result(400), unattached, "{dn}");
        world.usherd.ldap().modify(&format!(
            "dn: {group_rdn},dc=example,dc=org\nchangetype: modify\ndelete: usherDatacenterLink\n-\n\
             replace: usherAlias\nusherAlias: detached\n"
        ));
        let is_detached = || world.root.get(group).result(200)["alias"] == "detached";
        eventually_true(Duration::from_secs(5), "the end of it in the API", is_detached);
        world.root.post("/dc/dc3/group/loose/", &json!({})).result(201);
        bind(group_rdn, dn);
        eventually_true(Duration::from_secs(5), "the binding in the API", || shown(group) == json!(true));
        assert_eq!(put(group, json!({"dc_bound": true})).result(200)["dc_bound"], json!(true), "{dn}");
        assert_eq!(bound_in(group, group_rdn), "cn=dc3,ou=datacenters,dc=example,dc=org");
        world.root.delete("/dc/dc3/group/loose/").result(200);
    }
}

#[test]
fn neither_an_inactive_user_nor_one_without_api_access_gets_in() {
    let world = World::new();
    let (token, key) = (world.login("u1"), world.root.get("/accounts/user/u1/").status);
    assert_eq!(key, 200);
    let keys = token.get("/accounts/user/u1/apikeys/").result(200);
    let by_key = world.usherd.anonymous().with_header("ES-API-KEY", keys["api_key"].as_str().unwrap());
    by_key.get("/accounts/user/u1/").result(200);
    assert_eq!(by_key.get("/accounts/user/u1/apikeys/").detail(403), OBJECT_DENIED);

    let set = |body: Value| world.root.put("/accounts/user/u1/", &body).result(200);
    set(json!({"is_active": false}));
    assert_eq!(token.get("/accounts/user/u1/").detail(403), "User inactive or deleted.");
    assert_eq!(by_key.get("/accounts/user/u1/").detail(403), OBJECT_DENIED);
    set(json!({"is_active": true, "api_access": false}));
    assert_eq!(token.get("/accounts/user/u1/").detail(403), "User account is not allowed to access API");
    assert_eq!(by_key.get("/accounts/user/u1/").detail(403), "User account is not allowed to access API");
    // Nothing was lost: both work again when the flag returns.
    set(json!({"api_access": true}));
    token.get("/accounts/user/u1/").result(200);
    by_key.get("/accounts/user/u1/").result(200);
}

#[test]
fn a_cursor_tells_nothing_about_what_is_not_in_the_list() {
    let world = World::new();
    world.root.put("/dc/dc4/", &json!({"owner": "free"})).result(200);
    let (ua, owner) = (world.login("ua"), world.login("free"));
    for (api, path, own, hidden, missing) in [
        (&ua, "/accounts/user/", "u1", "u4", "nobody"),
        (&ua, "/accounts/user/profile/", "u1", "u4", "nobody"),
        (&ua, "/accounts/group/", "staff3", "loose", "nogroup"),
        (&owner, "/dc/dc4/group/", "staff4", "admins3", "nogroup"),
    ] {
        let after = |name: &str| api.get(&format!("{path}?order_by=created&after={name}"));
        assert_eq!(after(own).status, 200, "{path}");
        for name in [hidden, missing] {
            let expected = json!({"after": [format!("Object with name={name} does not exist.")]});
            assert_eq!(after(name).result(400), expected, "{path}");
        }
    }
}

#[test]
fn a_datacenters_owner_and_the_members_of_its_admin_groups_see_who_belongs_to_it() {
    let world = World::new();
    let ua = world.login("ua");
    assert_eq!(ua.get("/dc/dc3/user/").result(200), json!(["admin", "u1", "ua"]));
    assert_eq!(ua.get("/dc/dc3/group/").result(200), json!(["admins3", "staff3"]));
    assert_eq!(ua.get("/dc/dc3/user/u1/").result(200)["username"], "u1");
    assert_eq!(ua.get("/dc/dc3/user/u2/").detail(404), "User not found");
    assert_eq!(ua.get("/dc/dc3/user/?dc=main").result(200), json!(["admin", "u1", "ua"]), "the path names it");
    assert_eq!(ua.post("/dc/dc3/group/staff3/", &json!({})).detail(403), ROLE_DENIED);
    assert_eq!(ua.delete("/dc/dc3/group/staff3/").detail(403), ROLE_DENIED);
    world.root.put("/dc/dc4/", &json!({"owner": "free"})).result(200);
    let owner = world.login("free");
    assert_eq!(owner.get("/dc/dc4/user/").result(200), json!(["free"]));
    assert_eq!(owner.get("/dc/").result(200), json!(["dc4", "main"]));
    assert_eq!(owner.get("/accounts/user/").detail(403), ROLE_DENIED, "an owner is no UserAdmin by that");
}
