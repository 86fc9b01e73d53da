//! Calls that were decided by what is over when they come to write.

use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::pair::{BASE, Pair, dc, group, user};
use crate::support::{Api, Ldap, Request, Usherd, eventually_true};
use crate::world::{World, user_body};

/// How many calls at a time may be past the last question when the answer is no: those that hash, and those that write.
fn under_way() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into) + 4
}

/// Has `name` make users, and `revoke` what lets him once the first is made; how many were made in spite of that.
fn made_after(world: &World, name: &str, revoke: impl FnOnce()) -> usize {
    let calls = 3 * under_way();
    world.create(name, &json!({"dc_bound": false, "is_super_admin": true}));
    let evil = world.login(name);
    let (sender, answers) = mpsc::channel();
    std::thread::scope(|scope| {
        for i in 0..calls {
            let (evil, sender) = (evil.clone(), sender.clone());
            scope.spawn(move || {
                let made = format!("{name}-{i}");
                let body = user_body(&made, &json!({"dc_bound": false, "is_super_admin": true}));
                sender.send(evil.post(&user(&made), &body).status).unwrap();
            });
        }
        assert_eq!(answers.recv().unwrap(), 201);
        revoke();
        let late: Vec<u16> = answers.iter().take(calls - 1).collect();
        assert!(late.iter().all(|status| [201, 403].contains(status)), "{late:?}");
        late.iter().filter(|status| **status == 201).count()
    })
}

#[test]
fn whoever_loses_what_lets_him_while_his_calls_wait_for_hashes_does_no_more() {
    // Such a hash takes longer than a change, and they take turns.
    let world = World::on(Usherd::builder().env("USHER__PASSWORDS__PASSES", "6").start());
    let root = &world.root;
    type Revoke<'a> = Box<dyn FnOnce() + 'a>;
    let revocations: [(&str, Revoke<'_>); 4] = [
        ("gone", Box::new(|| drop(root.delete(&user("gone")).result(200)))),
        ("disabled", Box::new(|| drop(root.put(&user("disabled"), &json!({"is_active": false})).result(200)))),
        ("demoted", Box::new(|| drop(root.put(&user("demoted"), &json!({"is_super_admin": false})).result(200)))),
        (
            "locked",
            Box::new(|| {
                let change = "changetype: modify\nreplace: usherActive\nusherActive: FALSE\n";
                world.usherd.ldap().modify(&format!("dn: uid=locked,ou=people,{BASE}\n{change}"));
                let shown = || root.get(&user("locked")).result(200)["is_active"] == false;
                eventually_true(Duration::from_secs(5), "the change shows", shown);
            }),
        ),
    ];
    for (name, revoke) in revocations {
        let late = made_after(&world, name, revoke);
        assert!(late <= under_way(), "{name}: {late}");
    }
}

#[test]
fn whoever_loses_what_lets_him_amid_a_call_gives_nobody_anything_from_then_on() {
    let pair = Pair::new();
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    for name in ["g1", "g2", "left"] {
        pair.group(name, json!({"dc_bound": false}));
    }
    pair.user("pal", json!({}));
    let (off, demoted) = (json!({"is_active": false}), json!({"is_super_admin": false}));
    // A datacenter of the caller's name makes the call none about himself.
    pair.datacenter("boss4");
    let left = json!({"groups": ["left"]});
    let more = json!({"groups": [], "is_super_admin": true, "api_access": true});
    let joins = json!({"groups": ["g1", "g2"]});
    // Who calls and what ends that; what is there before; the call, and what of it holds.
    for (caller, revocation, before, path, call, holds) in [
        ("boss1", &off, json!({"groups": []}), user("pal"), &joins, json!({"groups": []})),
        ("boss2", &demoted, json!({"groups": []}), user("pal"), &joins, json!({"groups": []})),
        ("boss3", &off, left, user("pal"), &more, json!({"groups": [], "is_super_admin": false, "api_access": false})),
        ("boss4", &off, json!({"groups": []}), dc("boss4"), &joins, json!({"groups": ["g1"]})),
    ] {
        pair.user(caller, json!({"is_super_admin": true, "api_access": true}));
        fresh.put(&path, &before).result(200);
        fresh.put(&user("pal"), &json!({"api_access": false})).result(200);
        pair.catch_up();
        let boss = pair.second.login(caller, &format!("pw-{caller}"));
        let revoke = || {
            fresh.put(&user(caller), revocation).result(200);
            let field = revocation.as_object().unwrap().keys().next().unwrap();
            let shown = || stale.get(&user(caller)).result(200)[field] == false;
            eventually_true(Duration::from_secs(5), "the second daemon knows it", shown);
        };
        // The first change of a group is on its way.
        let status = pair.proxy.before(Request::GroupChange, || boss.put(&path, call).status, revoke);
        assert_eq!(status, 403, "{caller}");
        let now = fresh.get(&path).result(200);
        for (key, value) in holds.as_object().unwrap() {
            assert_eq!(now[key], *value, "{caller} {key}");
        }
    }
}

/// Changes the object by the one daemon, and waits until the other one shows it so.
fn change(pair: &Pair, path: &str, body: &Value) {
    let changed = pair.fresh.put(path, body).result(200);
    let shown = || pair.stale.get(path).result(200) == changed;
    eventually_true(Duration::from_secs(5), "the second daemon knows it", shown);
}

#[test]
fn a_user_admin_gives_nothing_from_when_he_whom_it_is_about_or_what_he_gives_is_no_more_his() {
    let pair = Pair::new();
    for name in ["g1", "g2"] {
        pair.group(name, json!({"dc": "dc3", "permissions": ["admin", "user_admin"]}));
    }
    pair.proxy.release();
    let ua = pair.second.login("ua", "pw-ua");
    let (others, own) = (json!({"groups": ["g1", "g2"]}), json!({"groups": ["admins3", "g1", "g2"]}));
    let with_access = json!({"groups": ["admins3", "g1", "g2"], "api_access": true});
    let (u2, ua_path, admins, g2) = (user("u2"), user("ua"), group("admins3"), group("g2"));
    // Whom he makes a member of two groups; what is changed when the first membership is on its way; the answer.
    for (about, call, object, changes, status) in [
        (&u2, &others, &admins, json!({"permissions": []}), 403),
        (&u2, &others, &u2, json!({"dc_bound": false, "is_super_admin": true}), 403),
        (&u2, &others, &g2, json!({"dc_bound": false}), 400),
        (&ua_path, &own, &g2, json!({"dc_bound": false}), 400),
        (&ua_path, &own, &ua_path, json!({"is_active": false}), 403),
        (&ua_path, &own, &ua_path, json!({"api_access": false}), 403),
        (&ua_path, &with_access, &ua_path, json!({"api_access": false}), 403),
    ] {
        change(&pair, &admins, &json!({"permissions": ["admin", "user_admin"]}));
        change(&pair, &g2, &json!({"dc_bound": true, "dc": "dc3"}));
        change(&pair, &ua_path, &json!({"groups": ["admins3"], "is_active": true, "api_access": true}));
        change(&pair, &u2, &json!({"is_super_admin": false, "groups": []}));
        change(&pair, &u2, &json!({"dc_bound": true, "dc": "dc3"}));
        let call = || ua.put(about, call).status;
        let answer = pair.proxy.before(Request::GroupChange, call, || change(&pair, object, &changes));
        assert_eq!(answer, status, "{about} {object} {changes}");
        let groups = pair.fresh.get(about).result(200)["groups"].clone();
        assert!(!groups.as_array().unwrap().contains(&json!("g2")), "{about} {object} {changes}: {groups}");
    }
}

#[test]
fn a_group_that_goes_while_a_user_admin_gives_it_is_left_out() {
    let pair = Pair::new();
    for name in ["g1", "g2"] {
        pair.group(name, json!({"dc": "dc3"}));
    }
    pair.catch_up();
    let ua = pair.second.login("ua", "pw-ua");
    let groups = json!({"dc": "dc3", "groups": ["g1", "g2"]});
    let gone = || {
        pair.fresh.delete(&group("g2")).result(200);
        eventually_true(Duration::from_secs(5), "it is known", || pair.stale.get(&group("g2")).status == 404);
    };
    // The first membership is on its way.
    let call = || ua.post(&user("born"), &user_body("born", &groups));
    let born = pair.proxy.before(Request::GroupChange, call, gone);
    assert_eq!(born.result(201)["groups"], json!(["g1"]));
}

#[test]
fn who_gives_himself_groups_loses_them_by_the_answer_of_who_takes_them() {
    let pair = Pair::new();
    for name in ["g1", "g2", "g3"] {
        pair.group(name, json!({"dc": "dc3", "permissions": ["admin", "user_admin"]}));
    }
    pair.proxy.release();
    let ua = pair.second.login("ua", "pw-ua");
    change(&pair, &user("ua"), &json!({"groups": ["admins3", "g1"]}));
    // The membership is there, and the call that gave it not answered.
    let taken = std::thread::scope(|scope| {
        pair.proxy.hold_results();
        let call = scope.spawn(|| ua.put(&user("ua"), &json!({"groups": ["admins3", "g1", "g2"]})).status);
        let shown = || pair.fresh.get(&user("ua")).result(200)["groups"].as_array().unwrap().contains(&json!("g2"));
        eventually_true(Duration::from_secs(5), "the membership is seen", shown);
        let taken = pair.fresh.put(&user("ua"), &json!({"groups": []})).result(200);
        pair.proxy.release();
        call.join().unwrap();
        taken
    });
    assert_eq!(taken["groups"], json!([]));
    assert_eq!(pair.fresh.get(&user("ua")).result(200)["groups"], json!([]));
    assert_eq!(ua.get("/accounts/user/").status, 403);
}

#[test]
fn a_password_that_comes_with_a_promotion_is_the_one_that_holds() {
    let pair = Pair::new();
    pair.catch_up();
    let ua = pair.first.login("ua", "pw-ua");
    let good = json!({"password": "good", "is_super_admin": true, "dc_bound": false, "groups": []});
    let evil = || {
        let shown = || pair.fresh.get(&user("u1")).result(200)["is_super_admin"] == true;
        eventually_true(Duration::from_secs(5), "the promotion is written with the password", shown);
        ua.put(&user("u1"), &json!({"password": "evil"})).result(403);
    };
    // The password is written; that he leaves his group is on its way.
    let promoted = pair.proxy.before(Request::GroupChange, || pair.stale.put(&user("u1"), &good).status, evil);
    assert_eq!(promoted, 200);
    pair.first.login("u1", "good");
}

#[test]
fn a_password_that_an_admin_sets_ends_the_call_that_was_setting_another_one() {
    let pair = Pair::new();
    pair.catch_up();
    let own = pair.second.login("u2", "pw-u2");
    let reset = || change(&pair, &user("u2"), &json!({"password": "reset"}));
    for body in [
        json!({"email": "u2@example.org", "password": "evil"}),
        json!({"email": "u2@example.net", "password": "evil", "is_active": true}),
    ] {
        let (login, path) = (pair.second.login("u2", "pw-u2"), user("u2"));
        let call = || login.put(&path, &body).status;
        // The address is written, and the password is on its way.
        assert_eq!(pair.proxy.before(Request::UserChange, call, reset), 403, "{body}");
        drop(pair.first.login("u2", "reset"));
        change(&pair, &path, &json!({"password": "pw-u2"}));
    }
    assert_eq!(own.get(&user("u2")).status, 403);
}

#[test]
fn a_call_about_its_caller_ends_with_the_api_key_that_it_was_made_with() {
    let pair = Pair::new();
    for name in ["g1", "g2"] {
        pair.group(name, json!({"dc": "dc3"}));
    }
    pair.catch_up();
    let path = format!("{}apikeys/", user("ua"));
    let first = pair.first.login("ua", "pw-ua");
    let second = first.moved_to(&pair.second.anonymous());
    let key = |api: &Api| api.get(&path).result(200)["api_key"].as_str().unwrap().to_owned();
    let replace = || {
        let before = key(&second);
        first.put(&path, &json!({"api_key": true})).result(200);
        eventually_true(Duration::from_secs(5), "the second daemon knows it", || key(&second) != before);
    };
    let whole = json!({"groups": ["admins3"], "api_access": true});
    for (body, amid) in [
        (json!({"groups": ["admins3", "g1", "g2"]}), Request::GroupChange),
        // Nothing is taken by it: he is none.
        (json!({"groups": ["admins3", "g1", "g2"], "is_super_admin": false}), Request::GroupChange),
        (json!({"email": "ua@example.net", "password": "evil", "is_super_admin": false}), Request::UserChange),
        // What it is about to take is not taken yet.
        (json!({"email": "ua@example.com", "password": "evil", "api_key": true}), Request::UserChange),
    ] {
        change(&pair, &user("ua"), &whole);
        let ua = pair.second.anonymous().with_header("ES-API-KEY", &key(&second));
        assert_eq!(pair.proxy.before(amid, || ua.put(&user("ua"), &body).status, replace), 403, "{body}");
        let groups = pair.fresh.get(&user("ua")).result(200)["groups"].clone();
        assert!(!groups.as_array().unwrap().contains(&json!("g2")), "{body}: {groups}");
        drop(pair.first.login("ua", "pw-ua"));
    }
    // Nor does it put another key in the place of the new one.
    change(&pair, &user("ua"), &json!({"groups": ["admins3"]}));
    let ua = pair.second.anonymous().with_header("ES-API-KEY", &key(&second));
    let join = || ua.put(&user("ua"), &json!({"groups": ["admins3", "g1"], "api_key": true})).status;
    let mut replaced_by = String::new();
    let status = pair.proxy.before(Request::GroupChange, join, || {
        replace();
        replaced_by = key(&first);
    });
    assert_eq!((status, key(&first)), (403, replaced_by));
    // What is about himself alone is refused as a whole.
    let ua = pair.second.anonymous().with_header("ES-API-KEY", &key(&second));
    let body = json!({"first_name": "Mal", "email": "mal@example.net", "is_active": true, "api_key": true});
    assert_eq!(pair.proxy.before(Request::UserChange, || ua.put(&user("ua"), &body).status, replace), 403);
    let stored = pair.fresh.get(&user("ua")).result(200).clone();
    assert!(stored["first_name"] != "Mal" && stored["email"] != "mal@example.net", "{stored}");
}

#[test]
fn the_password_of_whom_somebody_has_promoted_meanwhile_stays() {
    let pair = Pair::new();
    pair.catch_up();
    let ua = pair.second.login("ua", "pw-ua");
    let call = || ua.put(&user("u2"), &json!({"email": "u2@example.org", "password": "evil"})).status;
    let promote = || change(&pair, &user("u2"), &json!({"dc_bound": false, "is_super_admin": true}));
    assert_eq!(pair.proxy.before(Request::UserChange, call, promote), 403);
    assert_eq!(pair.fresh.get(&user("u2")).result(200)["email"], "u2@example.com");
    pair.first.login("u2", "pw-u2");
}

#[test]
fn a_daemon_that_lost_content_sync_asks_the_directory_who_may_write() {
    let pair = Pair::new();
    for name in ["chief", "lead"] {
        pair.user(name, json!({"is_super_admin": true}));
    }
    pair.catch_up();
    let (chief, lead) = (pair.second.login("chief", "pw-chief"), pair.second.login("lead", "pw-lead"));
    let ua = pair.second.login("ua", "pw-ua");
    let gone = pair.second.login("ua", "pw-ua");
    pair.kill_server();
    pair.proxy.hold();
    let limit = Duration::from_secs(20);
    let write = |api: &Api| api.put(&user("u2"), &json!({"first_name": "N"})).status;
    eventually_true(limit, "the server is back", || write(&pair.fresh) == 200);
    for api in [&chief, &lead, &ua, &gone] {
        eventually_true(limit, "the second daemon has it too", || write(api) == 200);
    }
    pair.fresh.put(&user("chief"), &json!({"is_active": false})).result(200);
    assert_eq!(write(&chief), 403);
    pair.fresh.put(&user("lead"), &json!({"is_super_admin": false})).result(200);
    assert_eq!(write(&lead), 403);
    let logout = gone.moved_to(&pair.first.anonymous()).get("/accounts/logout/");
    assert_eq!(logout.status, 200);
    assert_eq!(write(&gone), 403);
    pair.fresh.put(&group("admins3"), &json!({"users": []})).result(200);
    assert_eq!(write(&ua), 403);
    assert_eq!(pair.second.anonymous().root().get("/health/ready").status, 503, "content sync is not back");
}

#[test]
fn a_call_about_the_caller_himself_may_end_what_it_was_made_with() {
    let world = World::new();
    let root = &world.root;
    for name in ["g1", "g2"] {
        root.post(&group(name), &json!({"dc_bound": false})).result(201);
    }
    for (name, change) in [
        ("key", json!({"api_key": true})),
        ("password", json!({"password": "another"})),
        ("demoted", json!({"is_super_admin": false})),
        ("off", json!({"is_active": false})),
    ] {
        world.create(name, &json!({"dc_bound": false, "is_super_admin": true}));
        let body = json!({"groups": ["g1", "g2"], "first_name": "N"});
        let mut body = body.as_object().unwrap().clone();
        body.extend(change.as_object().unwrap().clone());
        let mut caller = world.login(name);
        if name == "key" {
            let keys = caller.get(&format!("{}apikeys/", user(name))).result(200);
            caller = world.usherd.anonymous().with_header("ES-API-KEY", keys["api_key"].as_str().unwrap());
        }
        let answer = caller.put(&user(name), &Value::Object(body));
        assert_eq!(answer.result(200)["groups"], json!(["g1", "g2"]), "{name}");
    }
    world.create("key2", &json!({"dc_bound": false, "is_super_admin": true}));
    let keys = || world.login("key2").get(&format!("{}apikeys/", user("key2"))).result(200)["api_key"].clone();
    for mut body in
        [json!({"is_active": true}), json!({"first_name": "X", "api_access": true}), json!({"email": "k@x.cz"})]
    {
        let key = keys();
        body["api_key"] = json!(true);
        let caller = world.usherd.anonymous().with_header("ES-API-KEY", key.as_str().unwrap());
        caller.put(&user("key2"), &body).result(200);
        assert_ne!(keys(), key, "{body}");
    }
    let ua = world.login("ua");
    let change = json!({"groups": ["staff3"], "password": "another", "first_name": "N", "is_active": false});
    assert_eq!(ua.put(&user("ua"), &change).result(200)["groups"], json!(["staff3"]));
}

fn rename(ldap: &Ldap, dn: &str, rdn: &str) {
    ldap.modify(&format!("dn: {dn}\nchangetype: modrdn\nnewrdn: {rdn}\ndeleteoldrdn: 1\n"));
}

#[test]
fn nothing_is_written_to_another_entry_that_took_the_name() {
    let pair = Pair::new();
    let stale = &pair.stale;
    let changes: [(&str, Value); 6] = [
        ("", json!({"email": "new@example.com"})),
        ("", json!({"is_active": false})),
        ("", json!({"first_name": "New"})),
        ("", json!({"password": "pw-new"})),
        ("", json!({"api_key": true})),
        ("profile/", json!({"city": "Brno"})),
    ];
    for (round, (path, change)) in changes.into_iter().enumerate() {
        let (name, boss) = (format!("x{round}"), format!("boss{round}"));
        pair.user(&name, json!({}));
        pair.user(&boss, json!({"is_super_admin": true}));
        pair.part();
        rename(&pair.ldap, &format!("uid={name},ou=people,{BASE}"), &format!("uid=old{round}"));
        rename(&pair.ldap, &format!("uid={boss},ou=people,{BASE}"), &format!("uid={name}"));
        let stored = || pair.ldap.search(BASE, "sub", &format!("(uid={name})"), &["*"]);
        let before = stored();
        let answer = stale.put(&format!("{}{path}", user(&name)), &change);
        assert_eq!(answer.status, 404, "{change}: {answer:?}\n{}", pair.second.stderr());
        assert!(stored() == before, "{change}");
    }
    // Memberships go by the name.
    pair.user("joins", json!({}));
    pair.user("chief", json!({}));
    pair.group("staff", json!({"dc_bound": false, "users": ["chief"]}));
    pair.group("more", json!({"dc_bound": false}));
    pair.part();
    rename(&pair.ldap, &format!("uid=joins,ou=people,{BASE}"), "uid=joined");
    rename(&pair.ldap, &format!("uid=chief,ou=people,{BASE}"), "uid=joins");
    let members = |name: &str| pair.stored(&format!("(cn={name})"), "member");
    let renamed = || members("staff") == [format!("uid=joins,ou=people,{BASE}")];
    eventually_true(Duration::from_secs(5), "the server follows the name", renamed);
    assert_eq!(stale.put(&user("joins"), &json!({"groups": ["staff", "more"]})).status, 404);
    assert!(renamed() && members("more").is_empty());
    pair.group("g1", json!({"dc_bound": false}));
    pair.group("g2", json!({"dc_bound": false}));
    pair.part();
    rename(&pair.ldap, &format!("cn=g1,ou=groups,{BASE}"), "cn=g3");
    rename(&pair.ldap, &format!("cn=g2,ou=groups,{BASE}"), "cn=g1");
    for change in [json!({"alias": "new"}), json!({"permissions": ["admin"]}), json!({"users": ["admin"]})] {
        // The first call brings the other one here, which the others are about.
        let status = stale.put(&group("g1"), &change).status;
        assert_eq!(status, if change["alias"] == "new" { 404 } else { 200 }, "{change}");
    }
}

#[test]
fn nobody_becomes_a_member_of_another_group_that_took_the_name() {
    let pair = Pair::new();
    let stale = &pair.stale;
    pair.user("joins", json!({}));
    type Join<'a> = Box<dyn FnOnce() -> u16 + Send + 'a>;
    let joins: [(&str, Join<'_>); 2] = [
        ("put", Box::new(|| stale.put(&user("joins"), &json!({"groups": ["taken"]})).status)),
        (
            "post",
            Box::new(|| {
                stale.post(&user("new"), &user_body("new", &json!({"dc_bound": false, "groups": ["taken"]}))).status
            }),
        ),
    ];
    for (way, join) in joins {
        pair.group("taken", json!({"dc_bound": false}));
        pair.part();
        let replace = || {
            pair.fresh.delete(&group("taken")).result(200);
            pair.group("taken", json!({"dc_bound": false, "permissions": ["admin"]}));
        };
        // The membership is on its way.
        let status = pair.proxy.before(Request::GroupChange, join, replace);
        assert!(matches!(status, 200 | 201), "{way}: {status}");
        assert_eq!(pair.stored("(cn=taken)", "member"), [""; 0], "{way}");
        pair.fresh.delete(&group("taken")).result(200);
    }
}

#[test]
fn values_are_unique_also_where_the_daemon_does_not_know_who_has_them() {
    let pair = Pair::new();
    pair.user("early", json!({}));
    pair.group("early", json!({"dc_bound": false}));
    pair.part();
    pair.user("late", json!({}));
    pair.group("late", json!({"dc_bound": false, "alias": "taken"}));
    let taken = pair.stale.put(&user("early"), &json!({"email": "late@example.com"})).result(400);
    assert_eq!(taken, json!({"email": ["This email is already in use. Please supply a different email."]}));
    let taken = pair.stale.put(&group("early"), &json!({"alias": "taken"})).result(400);
    assert_eq!(taken, json!({"alias": ["This alias is already in use. Please supply a different alias."]}));
}
