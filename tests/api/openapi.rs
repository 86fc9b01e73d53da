//! The OpenAPI document against what the daemon answers.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::Usherd;
use crate::world::{KEY_A, World};

fn committed() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/openapi.json")).unwrap()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}

#[test]
fn the_document_is_served_to_everybody_and_printed() {
    let usherd = Usherd::start();
    let root = usherd.anonymous().root();
    for path in ["/api/openapi.json", "/api/openapi.json/"] {
        let answer = root.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        assert!(answer.text() == committed(), "{path}");
    }
    let answer = root.send("POST", "/api/openapi.json", &[], b"");
    assert_eq!(answer.detail(405), "Method \"POST\" not allowed.");
    assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    let printed = Command::new(env!("CARGO_BIN_EXE_usherd")).arg("openapi").output().unwrap();
    assert!(printed.status.success() && String::from_utf8(printed.stdout).unwrap() == committed());
}

/// Schemas leave room for more keys; this holds that there are none but the documented ones.
#[test]
fn objects_have_exactly_the_documented_keys() {
    let world = World::new();
    let root = &world.root;
    root.post("/accounts/user/u1/sshkey/k1/", &json!({"key": KEY_A})).result(201);
    let document: Value = serde_json::from_str(&committed()).unwrap();
    let check = |name: &str, object: &Value, but: &[&str]| {
        let schema = &document["components"]["schemas"][name];
        let documented: BTreeSet<&str> =
            keys(&schema["properties"]).into_iter().filter(|key| !but.contains(key)).collect();
        assert_eq!(keys(object), documented, "{name}");
        for key in schema["required"].as_array().unwrap() {
            assert!(object.get(key.as_str().unwrap()).is_some(), "{name}: {key}");
        }
    };
    check("User", &root.get("/accounts/user/u1/?extended=1").result(200), &["warnings"]);
    check("User", &root.get("/accounts/user/u1/").result(200), &["warnings", "dcs"]);
    check("Profile", &root.get("/accounts/user/u1/profile/").result(200), &[]);
    check("SshKey", &root.get("/accounts/user/u1/sshkey/k1/").result(200), &[]);
    check("Group", &root.get("/accounts/group/staff3/?extended=1").result(200), &[]);
    check("Permission", &root.get("/accounts/permission/admin/").result(200), &[]);
    check("Datacenter", &root.get("/dc/dc3/?extended=1").result(200), &[]);
    let login = json!({"username": "u1", "password": "pw-u1"});
    check("Session", &world.usherd.anonymous().post("/accounts/login/", &login).json(), &[]);
    check("ApiKeys", &world.login("u1").get("/accounts/user/u1/apikeys/").result(200), &[]);
    check("Description", &root.json("OPTIONS", "/accounts/user/", &json!({})).json(), &[]);
    check("TaskLogEntry", &root.get("/task/log/").json()["results"][0], &[]);
}
