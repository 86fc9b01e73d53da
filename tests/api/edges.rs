//! Values at the edges of what the API takes, and which of several errors is the one that is told.

use serde_json::{Value, json};

use crate::support::Response;
use crate::world::{KEY_A, KEY_B, ROLE_DENIED, World, user_body};

const ELSEWHERE: &str = "User's group(s) are attached into another datacenter(s).";

#[test]
fn lists_of_names_are_read_the_same_in_every_spelling() {
    let world = World::new();
    let put = |groups: Value| world.root.put("/accounts/user/free/", &json!({ "groups": groups }));
    for (spelling, names) in [
        (json!(",loose,, staff4 ,"), json!(["loose", "staff4"])),
        (json!(","), json!([])),
        (json!(["loose", "loose"]), json!(["loose"])),
        (json!({}), json!([])),
    ] {
        assert_eq!(put(spelling.clone()).result(200)["groups"], names, "{spelling}");
    }
    for (spelling, said) in [
        (json!(["loose", ""]), "This field is required."),
        (json!([null]), "This field is required."),
        (json!([" loose"]), "Object with name= loose does not exist."),
        (json!([1]), "Object with name=1 does not exist."),
        (json!([true]), "Invalid value."),
        (json!(true), "Invalid value."),
    ] {
        assert_eq!(put(spelling.clone()).result(400), json!({"groups": [said]}), "{spelling}");
    }
    let users = json!({"users": ["u1", ""], "permissions": "admin,,"});
    assert_eq!(
        world.root.put("/accounts/group/loose/", &users).result(400),
        json!({"users": ["This field is required."]})
    );
}

#[test]
fn of_several_errors_about_groups_and_binding_one_is_told() {
    let world = World::new();
    let post = |more: Value| world.root.post("/accounts/user/new/", &user_body("new", &more)).result(400);
    assert_eq!(
        post(json!({"dc": "dc3", "is_super_admin": true, "groups": ["staff4"]})),
        json!({"dc_bound": [ELSEWHERE]}),
        "the groups before the SuperAdmin"
    );
    let unspecified = post(json!({}));
    assert_eq!(post(json!({"is_super_admin": true, "groups": ["staff4"]})), unspecified, "dc before both");

    let ua = world.login("ua");
    let put = |names: &[&str]| ua.put("/accounts/user/u1/", &json!({ "groups": names })).result(400);
    let unbound = json!({"groups": ["You don't have permission to use DC-unbound groups."]});
    let missing = json!({"groups": ["Object with name=nogroup does not exist."]});
    assert_eq!(put(&["staff3", "loose", "nogroup"]), unbound, "the first that is wrong");
    assert_eq!(put(&["staff3", "nogroup", "loose"]), missing);
}

#[test]
fn an_order_of_blanks_names_no_field_and_an_empty_one_is_the_default() {
    let world = World::new();
    for (path, fields) in
        [("user/", "username, created"), ("user/profile/", "username, created"), ("user/u1/sshkey/", "title")]
    {
        for order in ["%20", "+", "%2B", "-", ","] {
            assert_eq!(
                world.root.get(&format!("/accounts/{path}?order_by={order}")).detail(412),
                format!("Invalid order_by; Possible sort fields are: {fields}")
            );
        }
        let path = format!("/accounts/{path}");
        assert_eq!(world.root.get(&format!("{path}?order_by=")).result(200), world.root.get(&path).result(200));
    }
}

#[test]
fn a_detail_is_asked_for_its_additional_fields_and_for_nothing_else() {
    let world = World::new();
    for path in ["/accounts/user/u1/", "/accounts/group/loose/", "/dc/dc3/"] {
        let plain = world.root.get(path).result(200);
        assert_eq!(world.root.get(&format!("{path}?full=no&order_by=x&limit=x")).result(200), plain, "{path}");
        let refused = world.root.get(&format!("{path}?extended=no")).result(400);
        assert_eq!(refused, json!({"extended": ["Invalid value."]}), "{path}");
    }
}

#[test]
fn errors_of_a_key_and_of_its_title_are_told_together() {
    let world = World::new();
    let long = "t".repeat(33);
    let post =
        |title: &str, key: Value| world.root.post(&format!("/accounts/user/u1/sshkey/{title}/"), &json!({"key": key}));
    post("k1", json!(KEY_A)).result(201);
    let title = json!(["Ensure this value has at most 32 characters (it has 33)."]);
    for (key, said) in [
        (json!(format!("{KEY_A} elsewhere")), "SSH key already defined"),
        (json!("\n"), "Unknown SSH public key type."),
        (json!("ssh-ed25519\nAAAA"), "Unknown SSH public key type."),
        (json!("ssh-ed25519 AAAA\nx"), "Invalid SSH public key format (newlines detected)."),
        (json!(""), "This field is required."),
    ] {
        assert_eq!(post(&long, key.clone()).result(400), json!({"title": title, "key": [said]}), "{key}");
        assert_eq!(post("k2", key.clone()).result(400), json!({"key": [said]}), "{key}");
    }
    assert_eq!(post(&long, json!(KEY_B)).result(400), json!({ "title": title }));
}

#[test]
fn a_phone_number_may_have_blanks_around_it() {
    let world = World::new();
    for key in ["phone", "phone2", "alerting_phone"] {
        let profile = world.root.put("/accounts/user/u1/profile/", &json!({key: " +421 905 123 456 "})).result(200);
        assert_eq!(profile[key], "+421905123456");
    }
}

#[test]
fn task_ids_name_the_owner_and_the_datacenter_that_was_entered() {
    let world = World::new();
    let number = |answer: &Response| -> String {
        let id = answer.json()["task_id"].as_str().unwrap().to_owned();
        id.split('-').next().unwrap().to_owned()
    };
    let post = |name: &str, more: Value| world.root.post(&format!("/accounts/user/{name}/"), &user_body(name, &more));
    let main = number(&world.root.get("/accounts/user/"));
    assert_eq!(main, "1d1u1");
    let refused = post("new", json!({"dc": "dc3", "email": ""}));
    assert_eq!((number(&refused).as_str(), refused.header("es_dc")), ("1d1u3", Some("dc3")));
    let unbound = post("new", json!({"dc": "dc3", "dc_bound": false}));
    assert!(number(&unbound).ends_with("u3"), "{unbound:?}");
    assert_eq!(unbound.header("es_dc"), Some("dc3"));

    // A datacenter that is not there has no number.
    let site = json!({"site": "dc9.example.com"});
    assert_eq!(number(&world.root.post("/dc/dc9/", &json!({}))), "1d1d0");
    let created = number(&world.root.post("/dc/dc9/", &site));
    assert_eq!(number(&world.root.put("/dc/dc9/", &json!({"site": ""}))), created);
    assert_eq!(number(&world.root.json("DELETE", "/dc/dc9/", &json!(null))), created);
    assert_eq!(number(&world.root.delete("/dc/dc9/")), "1d1d0");

    let admin = world.usherd.login("admin", &world.usherd.admin.password);
    let keys = admin.put("/accounts/user/new/apikeys/", &json!({}));
    assert_eq!(number(&keys), number(&world.root.put("/accounts/user/new/", &json!({}))));
    assert_ne!(number(&keys), main);
}

#[test]
fn what_a_user_owns_is_told_oldest_first() {
    let world = World::new();
    world.root.post("/dc/aaa/", &json!({"site": "aaa.example.com", "owner": "free"})).result(201);
    world.root.put("/dc/dc4/", &json!({"owner": "free"})).result(200);
    assert_eq!(
        world.root.delete("/accounts/user/free/").result(400)["relations"],
        json!({"Datacenter": ["dc4", "aaa"]})
    );
}

#[test]
fn calls_that_read_no_parameters_refuse_bodies_that_are_no_object_as_well() {
    let world = World::new();
    world.root.post("/accounts/user/free/sshkey/k/", &json!({"key": KEY_A})).result(201);
    for (method, path) in [
        ("DELETE", "/accounts/user/free/sshkey/k/"),
        ("DELETE", "/accounts/user/free/"),
        ("DELETE", "/accounts/group/staff4/"),
        ("POST", "/dc/dc4/group/loose/"),
        ("DELETE", "/dc/dc3/group/staff3/"),
        ("DELETE", "/dc/dc4/"),
    ] {
        for (body, message) in [(json!(null), "No input provided"), (json!([]), "Invalid data")] {
            let answer = world.root.json(method, path, &body);
            assert_eq!(answer.result(400), json!({"non_field_errors": [message]}), "{method} {path}");
        }
        // a DELETE has no parameters at all: decision 2 names null and arrays, everything else is ignored
        let ignored = if method == "DELETE" { json!("x") } else { json!({"x": 1}) };
        assert!(matches!(world.root.json(method, path, &ignored).status, 200 | 201), "{method} {path}");
    }
    // What comes before validation comes before it here, too.
    assert_eq!(world.root.json("DELETE", "/accounts/user/free/", &json!([])).detail(404), "User not found");
    assert_eq!(world.login("u1").json("DELETE", "/accounts/user/u2/", &json!([])).detail(403), ROLE_DENIED);
}
