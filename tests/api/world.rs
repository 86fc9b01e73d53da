//! Users of every role around two private datacenters, for the tests of roles.

use serde_json::{Value, json};

use crate::support::{Api, Usherd};

pub(crate) const KEY_A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM2Cbze9O1y9ipWF6ryo8WqAug4QaIk94QN0v3fPnINR";
pub(crate) const KEY_B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPqS6Of3h1udaocaGwCokPoiC0KgWti4WcxB7WmNDK2a";

pub(crate) const NOT_YOURS: &str = "You don't have permission to modify this attribute.";
pub(crate) const ROLE_DENIED: &str = "Permission denied";
pub(crate) const OBJECT_DENIED: &str = "You do not have permission to perform this action.";

/// A daemon with two private datacenters and their groups:
///
/// * `ua`, a UserAdmin of `dc3` and bound to it, by the group `admins3`;
/// * `u1` and `u2`, plain users bound to `dc3`; `u1` is in the group `staff3`;
/// * `u4`, a plain user bound to `dc4`; `free`, a plain user bound to nothing.
pub(crate) struct World {
    pub(crate) usherd: Usherd,
    pub(crate) root: Api,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::on(Usherd::start())
    }

    pub(crate) fn on(usherd: Usherd) -> Self {
        let root = usherd.api();
        for dc in ["dc3", "dc4"] {
            let site = json!({"site": format!("{dc}.example.com"), "owner": "admin"});
            root.post(&format!("/dc/{dc}/"), &site).result(201);
        }
        let group = |name: &str, body: Value| root.post(&format!("/accounts/group/{name}/"), &body).result(201);
        group("admins3", json!({"dc": "dc3", "permissions": ["admin", "user_admin"]}));
        group("staff3", json!({"dc": "dc3"}));
        group("staff4", json!({"dc": "dc4"}));
        group("loose", json!({"dc_bound": false}));
        let world = Self { usherd, root };
        world.create("ua", &json!({"dc": "dc3", "groups": ["admins3"]}));
        world.create("u1", &json!({"dc": "dc3", "groups": ["staff3"]}));
        world.create("u2", &json!({"dc": "dc3"}));
        world.create("u4", &json!({"dc": "dc4"}));
        world.create("free", &json!({"dc_bound": false}));
        world
    }

    /// A user who may use the API, with the password `pw-NAME`.
    #[track_caller]
    pub(crate) fn create(&self, name: &str, more: &Value) -> Value {
        self.root.post(&format!("/accounts/user/{name}/"), &user_body(name, more)).result(201)
    }

    /// The API as the user called `name`.
    #[track_caller]
    pub(crate) fn login(&self, name: &str) -> Api {
        self.usherd.login(name, &format!("pw-{name}"))
    }

    /// The user as a SuperAdmin sees it.
    #[track_caller]
    pub(crate) fn user(&self, name: &str) -> Value {
        self.root.get(&format!("/accounts/user/{name}/")).result(200)
    }
}

/// The body of a POST that creates the user called `name`.
pub(crate) fn user_body(name: &str, more: &Value) -> Value {
    let mut body = json!({
        "first_name": "First", "last_name": "Last", "email": format!("{name}@example.com"),
        "password": format!("pw-{name}"), "api_access": true,
    });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}
