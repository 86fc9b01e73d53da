//! Values at the edges of what the API takes, and which of several errors is the one that is told.

use serde_json::{Value, json};

use crate::world::{World, user_body};

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
