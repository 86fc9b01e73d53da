//! Two daemons on one directory, of which the second learns of changes only when a test lets it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::support::http::encode;
use crate::support::{Api, Ldap, SyncProxy, Usherd, eventually_true};
use crate::world::{World, user_body};

pub(crate) const BASE: &str = "dc=example,dc=org";

/// Two daemons on one directory, of which the second can be kept from learning what the first writes.
pub(crate) struct Pair {
    pub(crate) fresh: Api,
    pub(crate) stale: Api,
    pub(crate) ldap: Ldap,
    pub(crate) proxy: SyncProxy,
    caught_up: AtomicU32,
    pub(crate) second: Usherd,
    pub(crate) first: Usherd,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let World { usherd: first, root: fresh } = World::new();
        let (second, proxy) = first.second_behind_proxy();
        let stale = fresh.moved_to(&second.anonymous());
        let ldap = first.ldap();
        Self { fresh, stale, ldap, proxy, caught_up: AtomicU32::new(0), second, first }
    }

    /// The second daemon knows all that was written until now, and learns nothing more until this is called again.
    pub(crate) fn part(&self) {
        self.catch_up();
        self.proxy.hold();
    }

    /// The second daemon knows all that was written until now.
    pub(crate) fn catch_up(&self) {
        self.proxy.release();
        // Content sync tells in the order of the writes.
        let count = self.caught_up.fetch_add(1, Ordering::Relaxed) + 1;
        let desc = format!("written {count} times");
        self.fresh.put("/dc/main/", &json!({ "desc": desc })).result(200);
        eventually_true(Duration::from_secs(10), "the second daemon catches up", || {
            self.stale.get("/dc/main/").result(200)["desc"] == *desc
        });
    }

    /// The server is killed, and what it told the second daemon last is lost.
    pub(crate) fn kill_server(&self) {
        kill(self.first.slapd_pid().unwrap(), Signal::SIGKILL).unwrap();
        self.proxy.lose();
    }

    /// A user who is bound to nothing.
    pub(crate) fn user(&self, name: &str, more: Value) {
        let mut body = user_body(name, &json!({"dc_bound": false, "email": mail(name)}));
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.fresh.post(&user(name), &body).result(201);
    }

    pub(crate) fn group(&self, name: &str, body: Value) {
        self.fresh.post(&group(name), &body).result(201);
    }

    pub(crate) fn datacenter(&self, name: &str) {
        self.fresh.post(&dc(name), &json!({"site": format!("{name}.example.com"), "owner": "admin"})).result(201);
    }

    /// The values of `attribute` of the one entry for which `filter` is true, as the directory has them.
    #[track_caller]
    pub(crate) fn stored(&self, filter: &str, attribute: &str) -> Vec<String> {
        let found = self.ldap.search(BASE, "sub", filter, &[attribute]);
        assert_eq!(found.len(), 1, "{filter}: {found:?}");
        found[0].all(attribute)
    }

    #[track_caller]
    pub(crate) fn assert_unbound(&self, username: &str) {
        assert_eq!(self.stored(&format!("(mail={})", mail(username)), "usherDcBound"), [""; 0], "{username}");
    }

    /// No user and no group is bound or attached to the datacenter.
    #[track_caller]
    pub(crate) fn assert_nothing_in(&self, name: &str) {
        let filter = format!("(|(usherDcBound=cn={name},{DCS})(usherDatacenterLink=cn={name},{DCS}))");
        assert_eq!(self.ldap.search(BASE, "sub", &filter, &["usherDcBound", "usherDatacenterLink"]), []);
    }
}

pub(crate) const DCS: &str = "ou=datacenters,dc=example,dc=org";

pub(crate) fn user(name: &str) -> String {
    format!("/accounts/user/{}/", encode(name))
}

pub(crate) fn group(name: &str) -> String {
    format!("/accounts/group/{name}/")
}

pub(crate) fn dc(name: &str) -> String {
    format!("/dc/{name}/")
}

pub(crate) fn bind(dc: &str) -> Value {
    json!({"dc_bound": true, "dc": dc})
}

/// The address of the user, whose name begins like no other one.
fn mail(name: &str) -> String {
    format!("{}@example.com", name.get(..8).unwrap_or(name))
}
