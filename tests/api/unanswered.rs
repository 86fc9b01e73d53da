//! Two calls on one list, of which the second is read when the first is done and not yet answered: it can't know what the
//! first one added, and must not take it away.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::Response;
use crate::support::{Api, SyncProxy, eventually_true};
use crate::world::{World, user_body};

/// Runs `first`, and `second` once what the first one wrote can be seen but is not answered; both are answered when both
/// can be seen.
fn one_after_the_other(
    proxy: &SyncProxy,
    [first, second]: [&(dyn Fn() -> Response + Sync); 2],
    [shows_first, shows_second]: [&dyn Fn() -> bool; 2],
) {
    proxy.hold_results();
    std::thread::scope(|scope| {
        let limit = Duration::from_secs(3);
        let first = scope.spawn(first);
        eventually_true(limit, "what the first call wrote is seen", shows_first);
        let second = scope.spawn(second);
        eventually_true(limit, "what the second call wrote is seen", shows_second);
        assert!(!first.is_finished() && !second.is_finished());
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
fn what_a_call_adds_is_left_alone_until_it_is_answered() {
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
    let users = |name: &str| put(group, json!({ "users": [name] }));
    let groups = |name: &str| put(user, json!({ "groups": [name] }));
    let attached = |name: &str| put(dc, json!({ "groups": [name] }));
    let born = post("/accounts/user/born/", user_body("born", &json!({"dc_bound": false, "groups": ["ga"]})));
    let attach = post("/dc/dc4/group/ga/", json!({}));
    // What each step adds is shown under its name.
    let cases: [(&str, &str, [Step<'_>; 2]); 6] = [
        (group, "users", [(&users("u4"), "u4"), (&users("free"), "free")]),
        (group, "users", [(&groups("ga"), "free"), (&users("u4"), "u4")]),
        (user, "groups", [(&groups("ga"), "ga"), (&groups("gb"), "gb")]),
        (group, "users", [(&born, "born"), (&users("u4"), "u4")]),
        (dc, "groups", [(&attached("ga"), "ga"), (&attached("gb"), "gb")]),
        (dc, "groups", [(&attach, "ga"), (&attached("gb"), "gb")]),
    ];
    for (path, key, [(first, one), (second, other)]) in cases {
        for (path, empty) in [(group, "users"), (user, "groups"), (dc, "groups")] {
            // It is answered: what it added may go.
            api.put(path, &json!({ empty: [] })).result(200);
            assert_eq!(names(&api, path, empty), [""; 0]);
        }
        let shows = |name: &str| names(&api, path, key).iter().any(|shown| shown == name);
        one_after_the_other(&proxy, [&|| first(&api), &|| second(&api)], [&|| shows(one), &|| shows(other)]);
        let mut expected = [one, other];
        expected.sort_unstable();
        assert_eq!(names(&api, path, key), expected, "{path} {key}");
        assert_eq!(names(&root, path, key), expected, "{path} {key}, in the directory");
    }
}
