//! Lists that calls replace: of two, the second is read when the first is done and not yet answered. It can't know what the
//! first one added, and must not take it away. What was answered for it takes away, whichever daemon it was.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::pair::{BASE, Pair};
use crate::support::http::Response;
use crate::support::{Api, Ldap, Request, SyncProxy, eventually_true};
use crate::world::{World, user_body};

/// Runs `first`, and `second` once what the first one wrote can be seen but is not answered; the first is answered when both
/// can be seen.
fn one_after_the_other(
    proxy: &SyncProxy,
    [first, second]: [&(dyn Fn() -> Response + Sync); 2],
    [shows_first, shows_second]: [&dyn Fn() -> bool; 2],
) {
    proxy.hold_results();
    std::thread::scope(|scope| {
        let limit = Duration::from_secs(10);
        let first = scope.spawn(first);
        eventually_true(limit, "what the first call wrote is seen", shows_first);
        let second = scope.spawn(second);
        eventually_true(limit, "what the second call wrote is seen", shows_second);
        assert!(!first.is_finished());
        proxy.release();
        for call in [first, second] {
            let answer = call.join().unwrap();
            assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        }
    });
}

/// The names under `key` of the object at `path`.
fn names(api: &Api, path: &str, key: &str) -> Vec<String> {
    let object = api.get(path);
    if object.status != 200 {
        return Vec::new();
    }
    let mut names: Vec<String> =
        object.result(200)[key].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    names.sort_unstable();
    names
}

#[test]
fn what_a_call_adds_is_left_alone_by_all_daemons_until_it_is_answered() {
    let World { usherd, root } = World::new();
    let (second, proxy) = usherd.second_behind_proxy();
    let api = root.moved_to(&second.anonymous());
    for name in ["ga", "gb"] {
        api.post(&format!("/accounts/group/{name}/"), &json!({"dc_bound": false})).result(201);
    }
    let put = |path: &'static str, body: Value| move |api: &Api| api.put(path, &body);
    let post = |path: &'static str, body: Value| move |api: &Api| api.post(path, &body);
    type Step<'a> = (&'a (dyn Fn(&Api) -> Response + Sync), &'a str);
    let (group, user, dc) = ("/accounts/group/ga/", "/accounts/user/free/", "/dc/dc4/");
    let u4 = "/accounts/user/u4/";
    let users = |name: &str| put(group, json!({ "users": [name] }));
    let groups = |name: &str| put(user, json!({ "groups": [name] }));
    let attached = |name: &str| put(dc, json!({ "groups": [name] }));
    let born = post("/accounts/user/born/", user_body("born", &json!({"dc_bound": false, "groups": ["ga"]})));
    let attach = post("/dc/dc4/group/ga/", json!({}));
    // What each step adds is shown under its name.
    let made = post("/accounts/group/made/", json!({"dc": "dc4", "users": ["u4"]}));
    let cases: [(&str, &str, [Step<'_>; 2]); 8] = [
        (group, "users", [(&users("u4"), "u4"), (&users("free"), "free")]),
        (group, "users", [(&groups("ga"), "free"), (&users("u4"), "u4")]),
        (user, "groups", [(&groups("ga"), "ga"), (&groups("gb"), "gb")]),
        (group, "users", [(&born, "born"), (&users("u4"), "u4")]),
        (dc, "groups", [(&attached("ga"), "ga"), (&attached("gb"), "gb")]),
        (dc, "groups", [(&attach, "ga"), (&attached("gb"), "gb")]),
        (dc, "groups", [(&made, "made"), (&attached("gb"), "gb")]),
        (u4, "groups", [(&made, "made"), (&put(u4, json!({"groups": ["staff4"]})), "staff4")]),
    ];
    for (other_daemon, (path, key, [(first, one), (second, other)])) in
        [&api, &root].into_iter().flat_map(|other| cases.iter().map(move |case| (other, case)))
    {
        for (path, empty) in [(group, "users"), (user, "groups"), (u4, "groups"), (dc, "groups")] {
            // It is answered: what it added may go, whichever daemon it was.
            other_daemon.put(path, &json!({ empty: [] })).result(200);
            assert_eq!(names(other_daemon, path, empty), [""; 0]);
        }
        root.delete("/accounts/user/born/");
        root.delete("/accounts/group/made/");
        let shows = |name: &str| names(other_daemon, path, key).iter().any(|shown| shown == name);
        let calls: [&(dyn Fn() -> Response + Sync); 2] = [&|| first(&api), &|| second(other_daemon)];
        one_after_the_other(&proxy, calls, [&|| shows(one), &|| shows(other)]);
        let mut expected = [*one, *other];
        expected.sort_unstable();
        for api in [&api, &root] {
            eventually_true(Duration::from_secs(3), &format!("both hold: {path} {key} {expected:?}"), || {
                names(api, path, key) == expected
            });
        }
    }
    eventually_true(Duration::from_secs(5), "of each call is said that it was answered", || {
        let said = announced(&usherd.ldap());
        let ends = said.iter().filter(|value| value.ends_with(" answered")).count();
        ends > 0 && ends * 2 == said.len()
    });
}

#[test]
fn a_call_that_came_before_anothers_answer_went_out_leaves_what_that_added() {
    let pair = Pair::new();
    for (path, key, [one, other]) in [
        ("/accounts/group/ga/", "users", ["free", "u4"]),
        ("/accounts/user/free/", "groups", ["ga", "gb"]),
        ("/dc/dc4/", "groups", ["ga", "gb"]),
    ] {
        for group in ["ga", "gb"] {
            pair.fresh.delete(&format!("/accounts/group/{group}/"));
            pair.group(group, json!({"dc_bound": false}));
        }
        pair.catch_up();
        // The second daemon reads it only when the first one has answered.
        pair.second.signal(Signal::SIGSTOP);
        let begun = pair.stale.begin_put(path, &json!({ key: [other] }), 0);
        pair.fresh.put(path, &json!({ key: [one] })).result(200);
        // others come after that
        for _ in 0..20 {
            for users in [json!([]), json!(["u4"])] {
                pair.fresh.put("/accounts/group/staff4/", &json!({ "users": users })).result(200);
            }
        }
        pair.second.signal(Signal::SIGCONT);
        assert_eq!(begun.answer().result(200)[key], json!([one, other]), "{path}");
        // What comes after that takes it away, at once and by either daemon.
        for (n, api) in [&pair.fresh, &pair.stale, &pair.fresh].into_iter().enumerate() {
            let name = [one, other][n % 2];
            assert_eq!(api.put(path, &json!({ key: [name] })).result(200)[key], json!([name]), "{path} {n}");
        }
    }
}

#[test]
fn a_call_whose_body_comes_when_another_is_answered_came_before_that() {
    let World { usherd: _usherd, root } = World::new();
    root.post("/accounts/group/ga/", &json!({"dc_bound": false})).result(201);
    let path = "/accounts/group/ga/";
    let slow = root.begin_put(path, &json!({"users": ["u4"]}), 3);
    root.put(path, &json!({"users": ["free"]})).result(200);
    assert_eq!(slow.answer().result(200)["users"], json!(["free", "u4"]));
    root.put(path, &json!({"users": ["u4"]})).result(200);
    assert_eq!(names(&root, path, "users"), ["u4"]);
}

#[test]
fn what_a_user_admin_adds_to_himself_and_others_to_him_holds_but_for_rights() {
    let World { usherd, root } = World::new();
    let (second, proxy) = usherd.second_behind_proxy();
    for name in ["own3", "more3"] {
        root.post(&format!("/accounts/group/{name}/"), &json!({"dc": "dc3"})).result(201);
    }
    let (path, ua) = ("/accounts/user/ua/", second.login("ua", "pw-ua"));
    let shows = |name: &str| names(&root, path, "groups").iter().any(|shown| shown == name);
    let calls: [&(dyn Fn() -> Response + Sync); 2] =
        [&|| ua.put(path, &json!({"groups": ["admins3", "own3"]})), &|| {
            root.put(path, &json!({"groups": ["admins3", "more3"]}))
        }];
    one_after_the_other(&proxy, calls, [&|| shows("own3"), &|| shows("more3")]);
    assert_eq!(names(&root, path, "groups"), ["admins3", "more3", "own3"]);
}

#[test]
fn what_was_given_to_a_user_admin_while_his_groups_are_replaced_is_left_to_him() {
    let pair = Pair::new();
    pair.group("late3", json!({"dc": "dc3"}));
    pair.catch_up();
    let replace = || pair.stale.put("/accounts/user/ua/", &json!({"groups": ["admins3"], "password": "new"})).status;
    let give = || drop(pair.fresh.put("/accounts/group/late3/", &json!({"users": ["ua"]})).result(200));
    assert_eq!(pair.proxy.before(Request::UserChange, replace, give), 200);
    assert_eq!(names(&pair.fresh, "/accounts/user/ua/", "groups"), ["admins3", "late3"]);
}

/// What calls under way say that they add.
fn announced(ldap: &Ldap) -> Vec<String> {
    ldap.search(BASE, "sub", "(objectClass=usherState)", &["usherUnanswered"])[0].all("usherUnanswered")
}

#[test]
fn what_a_call_that_was_cut_short_was_adding_counts_no_longer_after_a_while() {
    let pair = Pair::new();
    let add = |value: &str| {
        pair.ldap.modify(&format!(
            "dn: cn=usher,ou=policies,{BASE}\nchangetype: modify\nadd: usherUnanswered\nusherUnanswered: {value}\n"
        ));
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let lately = format!("{} other-daemon-0 0011223344556677", now - 5_000_000);
    let old = [format!("{} other-daemon-1 0011223344556677", now - 100_000_000), "what is this?".to_owned()];
    for value in [&lately].into_iter().chain(&old) {
        add(value);
    }
    pair.fresh.put("/accounts/group/staff4/", &json!({"users": ["u4"]})).result(200);
    let left = announced(&pair.ldap);
    assert!(left.contains(&lately) && old.iter().all(|value| !left.contains(value)), "{left:?}");
}

#[test]
fn what_a_daemon_that_was_killed_had_not_answered_is_taken_away_at_once() {
    let mut pair = Pair::new();
    pair.group("ga", json!({"dc_bound": false}));
    pair.user("cut", json!({}));
    pair.catch_up();
    pair.proxy.hold_results();
    let adding = pair.stale.begin_put("/accounts/group/ga/", &json!({"users": ["cut"]}), 0);
    eventually_true(Duration::from_secs(10), "what is added is seen", || {
        names(&pair.fresh, "/accounts/group/ga/", "users") == ["cut"]
    });
    let list = || pair.fresh.put("/accounts/group/ga/", &json!({"users": []})).result(200)["users"].clone();
    assert_eq!(list(), json!(["cut"]), "it may be answered still");
    pair.second.kill();
    drop(adding);
    let list = pair.fresh.put("/accounts/group/ga/", &json!({"users": []})).result(200)["users"].clone();
    assert_eq!(list, json!([]));
}

#[test]
fn a_list_is_replaced_as_the_directory_has_it_by_a_daemon_that_did_not_know() {
    let pair = Pair::new();
    for (path, key, names) in [
        ("/accounts/group/ga/", "users", ["free", "u4", "admin"]),
        ("/accounts/user/free/", "groups", ["ga", "gb", "gc"]),
        ("/dc/dc4/", "groups", ["ga", "gb", "gc"]),
    ] {
        for group in ["ga", "gb", "gc"] {
            pair.fresh.delete(&format!("/accounts/group/{group}/"));
            pair.group(group, json!({"dc_bound": false}));
        }
        let [staying, ending, new] = names;
        pair.fresh.put(path, &json!({ key: [ending] })).result(200);
        pair.part();
        pair.fresh.put(path, &json!({ key: [new] })).result(200);
        assert_eq!(pair.stale.get(path).result(200)[key], json!([ending]), "the second daemon does not know it");
        let mut wanted = vec![staying, ending];
        wanted.sort_unstable();
        assert_eq!(pair.stale.put(path, &json!({ key: wanted })).result(200)[key], json!(wanted), "{path}");
        pair.part();
        assert_eq!(pair.fresh.get(path).result(200)[key], json!(wanted), "{path}");
    }
}

#[test]
fn a_group_that_is_attached_already_is_added_by_nobody() {
    let pair = Pair::new();
    pair.group("ga", json!({"dc_bound": false}));
    pair.part();
    pair.fresh.post("/dc/dc4/group/ga/", &json!({})).result(201);
    eventually_true(Duration::from_secs(5), "it is said that the call was answered", || {
        announced(&pair.ldap).iter().any(|value| value.ends_with(" answered"))
    });
    let before = announced(&pair.ldap);
    for api in [&pair.fresh, &pair.stale] {
        api.post("/dc/dc4/group/ga/", &json!({})).detail(406);
        let said = announced(&pair.ldap);
        assert!(said.iter().all(|value| before.contains(value)), "{before:?} {said:?}");
    }
}
