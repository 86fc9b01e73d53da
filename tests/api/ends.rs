//! Entries that end while others act on them, or on their names: what the daemons show is what the directory has, and
//! nothing waits there for the next one of the name.

use std::time::Duration;

use serde_json::{Value, json};

use crate::crossing::together;
use crate::pair::{BASE, DCS, Pair, dc, group, user};
use crate::support::{Api, Ldap, Request, Usherd, eventually_true};
use crate::world::user_body;

/// Longer than a second look takes to come.
const HEALED: Duration = Duration::from_secs(10);

fn exists(ldap: &Ldap, filter: &str) -> bool {
    !ldap.search(BASE, "sub", filter, &["cn"]).is_empty()
}

#[test]
fn a_name_that_is_deleted_and_created_at_once_is_shown_as_the_directory_has_it() {
    let first = Usherd::start();
    let (api, ldap) = (first.api(), first.ldap());
    let site = json!({"site": "race.example.com", "owner": "admin"});
    for (path, body, filter) in [
        ("/accounts/group/race/", json!({"dc_bound": false}), "(&(objectClass=usherGroup)(cn=race))"),
        ("/dc/race/", site, "(&(objectClass=usherDatacenter)(cn=race))"),
    ] {
        for round in 0..12 {
            let statuses = together([&first, &first], 24, |api, i| {
                let call = || if i % 6 == 0 { api.post(path, &body) } else { api.delete(path) };
                (0..4).map(|_| call().status).max().unwrap_or(0)
            });
            assert!(statuses.iter().all(|status| [200, 201, 400, 404, 406].contains(status)), "{statuses:?}");
            eventually_true(HEALED, "the API shows what the directory has", || {
                (api.get(path).status == 200) == exists(&ldap, filter)
            });
            if round % 2 == 0 && exists(&ldap, filter) {
                api.delete(path).result(200);
                assert!(!exists(&ldap, filter));
            }
        }
    }
}

#[test]
fn a_group_or_datacenter_created_again_as_the_daemon_did_not_know_is_deleted_by_its_name() {
    let pair = Pair::new();
    for (path, filter) in [(group("again"), "(cn=again)"), (dc("dc9"), "(cn=dc9)")] {
        let create = || {
            let body = if path.starts_with("/dc/") {
                json!({"site": "dc9.example.com", "owner": "admin"})
            } else {
                json!({"dc_bound": false})
            };
            pair.fresh.post(&path, &body).result(201);
        };
        create();
        pair.part();
        pair.fresh.delete(&path).result(200);
        create();
        pair.stale.delete(&path).result(200);
        assert_eq!(pair.stale.get(&path).status, 404);
        assert!(!exists(&pair.ldap, filter));
        eventually_true(HEALED, "the other daemon knows it", || pair.fresh.get(&path).status == 404);
    }
}

#[test]
fn what_a_call_finds_missing_or_there_is_shown_so_even_where_content_sync_does_not_say_it() {
    let pair = Pair::new();
    let (name, city) = (json!({"alias": "x"}), json!({"first_name": "x"}));
    let all: [(String, Option<&Value>); 6] = [
        (group("went"), None),
        (group("went2"), Some(&name)),
        (dc("dc9"), None),
        (dc("dc7"), Some(&name)),
        (user("went3"), None),
        (user("went4"), Some(&city)),
    ];
    for went in ["went", "went2"] {
        pair.group(went, json!({"dc_bound": false}));
    }
    for went in ["dc9", "dc7"] {
        pair.datacenter(went);
    }
    for went in ["went3", "went4"] {
        pair.user(went, json!({}));
    }
    pair.part();
    for (path, change) in all {
        pair.fresh.delete(&path).result(200);
        assert_eq!(pair.stale.get(&path).status, 200);
        let answer = change.map_or_else(|| pair.stale.delete(&path), |change| pair.stale.put(&path, change));
        assert_eq!(answer.status, 404, "{path}");
        eventually_true(HEALED, "it is no longer shown", || pair.stale.get(&path).status == 404);
    }
    pair.group("came", json!({"dc_bound": false}));
    pair.datacenter("dc8");
    for (path, body) in [(group("came"), json!({"dc_bound": false})), (dc("dc8"), json!({"site": "x.example.com"}))] {
        assert_eq!(pair.stale.get(&path).status, 404);
        assert_eq!(pair.stale.post(&path, &body).status, 406);
        assert_eq!(pair.stale.get(&path).status, 200, "{path}");
    }
}

#[test]
fn who_was_deleted_right_before_the_server_was_killed_is_gone_on_the_other_daemon() {
    let pair = Pair::new();
    pair.user("leaver", json!({}));
    pair.part();
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    fresh.delete(&user("leaver")).result(200);
    // A new server that has had a write takes it for complete what it remembers, and remembers nothing.
    let write = || {
        let written = || fresh.put("/dc/main/", &json!({"desc": "new"})).status == 200;
        eventually_true(HEALED, "a new server takes a write", written);
    };
    pair.proxy.before(Request::ContentSync, || pair.kill_server(), write);
    eventually_true(HEALED, "the second daemon follows the new server", || {
        stale.get("/dc/main/").result(200)["desc"] == "new"
    });
    eventually_true(HEALED, "he is gone", || stale.get(&user("leaver")).status == 404);
}

#[test]
fn a_daemon_follows_and_starts_also_while_the_server_begins_no_content_sync() {
    let pair = Pair::new();
    pair.user("leaver", json!({}));
    pair.user("stays", json!({}));
    pair.part();
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    let follow = |api: &Api| {
        eventually_true(HEALED, "what changed is shown", || {
            api.get(&user("leaver")).status == 404
                && api.get(&user("comes")).status == 200
                && api.get(&user("stays")).result(200)["first_name"] == "New"
        });
    };
    let mut third = None;
    pair.proxy.before(
        Request::ContentSync,
        || pair.kill_server(),
        || {
            eventually_true(HEALED, "a new server takes a write", || {
                fresh.put(&user("stays"), &json!({"first_name": "New"})).status == 200
            });
            fresh.delete(&user("leaver")).result(200);
            pair.user("comes", json!({}));
            follow(stale);
            assert_eq!(stale.root().get("/health/ready").status, 503);
            let urls = format!("directory.urls=[\"{}\"]", pair.proxy.url());
            let daemon = pair.first.second_with("third", &[&urls]);
            follow(&fresh.moved_to(&daemon.anonymous()));
            third = Some(daemon);
            fresh.delete(&user("comes")).result(200);
        },
    );
    let third = third.unwrap();
    for api in [stale.clone(), fresh.moved_to(&third.anonymous())] {
        eventually_true(HEALED, "content sync goes on", || api.root().get("/health/ready").status == 200);
        eventually_true(HEALED, "nothing is left", || api.get(&user("comes")).status == 404);
        assert_eq!(api.get(&user("stays")).result(200)["first_name"], "New");
    }
}

#[test]
fn nobody_is_left_a_member_who_is_deleted_before_the_membership_is_written() {
    let pair = Pair::new();
    pair.group("joined", json!({"dc_bound": false}));
    let (fresh, stale) = (&pair.fresh, &pair.stale);
    type Join = fn(&Api, &str) -> u16;
    let joins: [(&str, Join, &[u16]); 3] = [
        ("one", |api, _| api.put(&group("joined"), &json!({"users": ["one"]})).status, &[200]),
        ("two", |api, name| api.put(&user(name), &json!({"groups": ["joined"]})).status, &[404]),
        (
            "three",
            |api, name| {
                let body = user_body(name, &json!({"dc_bound": false, "groups": ["joined"]}));
                api.post(&user(name), &body).status
            },
            // The deletion waits for it, but not for long.
            &[406],
        ),
    ];
    for (name, join, statuses) in joins {
        if name != "three" {
            pair.user(name, json!({}));
        }
        pair.catch_up();
        let leave = || {
            eventually_true(HEALED, "the first daemon knows him", || fresh.get(&user(name)).status == 200);
            fresh.delete(&user(name)).result(200);
        };
        let status = pair.proxy.before(Request::GroupChange, || join(stale, name), leave);
        assert!(statuses.contains(&status), "{name}: {status}");
        assert_eq!(pair.stored("(cn=joined)", "member"), [""; 0], "{name}");
        // the next one of the name, whoever makes it
        pair.ldap.add(&format!("dn: uid={name},ou=people,{BASE}\nobjectClass: inetOrgPerson\ncn: x\nsn: x\n"));
        for api in [fresh, stale] {
            eventually_true(HEALED, "the entry counts", || api.get(&user(name)).status == 200);
            assert_eq!(api.get(&user(name)).result(200)["groups"], json!([]));
        }
    }
}

#[test]
fn who_becomes_a_member_between_the_last_look_at_his_groups_and_his_end_leaves_no_membership() {
    let pair = Pair::new();
    pair.user("ends", json!({}));
    pair.group("late", json!({"dc_bound": false}));
    for (path, key, value) in [(group("late"), "users", json!(["ends"])), (user("ends"), "groups", json!(["late"]))] {
        pair.part();
        let stale = &pair.stale;
        // The deletion begins anew.
        let join = || assert_eq!(pair.fresh.put(&path, &json!({ key: value })).result(200)[key], value);
        pair.proxy.before(Request::Deletion, || stale.delete(&user("ends")), join).result(200);
        assert_eq!(pair.stored("(cn=late)", "member"), [""; 0]);
        assert!(!exists(&pair.ldap, "(uid=ends)"));
        pair.proxy.release();
        pair.user("ends", json!({}));
    }
}

#[test]
fn a_group_that_is_not_ushers_keeps_nobody_from_being_deleted() {
    let pair = Pair::new();
    pair.user("ends", json!({}));
    pair.ldap.add(&format!(
        "dn: cn=foreign,ou=groups,{BASE}\nobjectClass: groupOfNames\ncn: foreign\nmember: uid=ends,ou=people,{BASE}\n"
    ));
    pair.fresh.delete(&user("ends")).result(200);
    assert!(!exists(&pair.ldap, "(uid=ends)") && exists(&pair.ldap, "(cn=foreign)"));
}

#[test]
fn what_the_server_says_of_memberships_follows_the_api() {
    let pair = Pair::new();
    pair.user("joins", json!({}));
    let groups_of = || pair.stored("(uid=joins)", "memberOf");
    for (change, joined) in [(json!({"users": ["joins"]}), true), (json!({"users": []}), false)] {
        if joined {
            pair.group("of", json!({"dc_bound": false}));
        }
        pair.fresh.put(&group("of"), &change).result(200);
        assert_eq!(!groups_of().is_empty(), joined, "{change}");
    }
    pair.fresh.put(&user("joins"), &json!({"groups": ["of"]})).result(200);
    assert!(!groups_of().is_empty());
    pair.fresh.delete(&group("of")).result(200);
    assert_eq!(groups_of(), [""; 0]);
}

#[test]
fn of_parallel_calls_that_detach_one_group_one_succeeds() {
    let first = Usherd::start();
    let second = first.second("second");
    let both = [&first, &second];
    first.api().post("/dc/dc3/", &json!({"site": "dc3.example.com"})).result(201);
    for body in [json!({"dc_bound": false}), json!({"dc_bound": true, "dc": "dc3"})] {
        first.api().post(&group("g1"), &body).result(201);
        if body["dc_bound"] == Value::Bool(false) {
            first.api().post("/dc/dc3/group/g1/", &json!({})).result(201);
        }
        for daemon in both {
            let attached = || daemon.api().get("/dc/dc3/group/g1/").status == 200;
            eventually_true(HEALED, "both know the attachment", attached);
        }
        let statuses = together(both, 32, |api, _| api.delete("/dc/dc3/group/g1/").status);
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| [200, 404].contains(status)), "{statuses:?}");
        let left = first.ldap().search(BASE, "sub", "(cn=g1)", &["usherDatacenterLink", "usherDcBound"]);
        assert_eq!([left[0].all("usherDatacenterLink"), left[0].all("usherDcBound")], [[""; 0]; 2]);
        first.api().delete(&group("g1")).result(200);
        eventually_true(HEALED, "both know its end", || second.api().get(&group("g1")).status == 404);
    }
}

#[test]
fn what_is_attached_to_a_datacenter_that_came_again_is_changed_by_every_daemon() {
    let pair = Pair::new();
    for round in 0..3 {
        let (name, dc) = (format!("at{round}"), format!("dc-again{round}"));
        let (attachment, links) = (format!("/dc/{dc}/group/{name}/"), format!("(cn={name})"));
        pair.group(&name, json!({"dc_bound": false}));
        pair.datacenter(&dc);
        pair.fresh.post(&attachment, &json!({})).result(201);
        pair.catch_up();
        pair.ldap.run("ldapdelete", &[&format!("cn={dc},{DCS}")], b"");
        eventually_true(HEALED, "it went", || pair.fresh.get(&format!("/dc/{dc}/")).status == 404);
        pair.datacenter(&dc);
        pair.fresh.post(&attachment, &json!({})).result(201);
        let statuses = match round {
            0 => [(); 2].map(|()| pair.stale.post(&attachment, &json!({})).status),
            1 => [(); 2].map(|()| pair.stale.delete(&attachment).status),
            _ => [(); 2].map(|()| pair.stale.put(&format!("/dc/{dc}/"), &json!({"groups": []})).status),
        };
        assert_eq!(statuses, [[406, 406], [200, 404], [200, 200]][round]);
        let attached = pair.stored(&links, "usherDatacenterLink");
        assert_eq!(attached.is_empty(), round > 0, "{attached:?}");
    }
}

#[test]
fn nobody_is_bound_beside_a_group_of_another_datacenter_where_one_of_them_came_again() {
    let pair = Pair::new();
    pair.datacenter("dc-else");
    for (round, is_bound_first) in [true, false].into_iter().enumerate() {
        let (name, dc, of) = (format!("be{round}"), format!("dc-come{round}"), format!("of{round}"));
        pair.group(&of, json!({"dc_bound": false}));
        pair.datacenter(&dc);
        pair.user(&name, json!({}));
        let bind = |api: &Api, dc: &str| api.put(&user(&name), &json!({"dc_bound": true, "dc": dc})).status;
        let attach = |api: &Api, dc: &str| api.post(&format!("/dc/{dc}/group/{of}/"), &json!({})).status;
        if is_bound_first {
            assert_eq!(bind(&pair.fresh, &dc), 200);
        } else {
            assert_eq!(attach(&pair.fresh, &dc), 201);
        }
        pair.catch_up();
        pair.ldap.run("ldapdelete", &[&format!("cn={dc},{DCS}")], b"");
        eventually_true(HEALED, "it went", || pair.fresh.get(&format!("/dc/{dc}/")).status == 404);
        pair.datacenter(&dc);
        pair.fresh.put(&user(&name), &json!({"dc_bound": false, "groups": [of]})).result(200);
        let statuses = if is_bound_first {
            [bind(&pair.fresh, &dc), attach(&pair.stale, "dc-else")]
        } else {
            [attach(&pair.fresh, &dc), bind(&pair.stale, "dc-else")]
        };
        // An attach ends the binding, after which nobody is bound any more.
        assert_eq!(statuses, if is_bound_first { [200, 201] } else { [201, 400] });
        assert_eq!(pair.stored(&format!("(uid={name})"), "usherDcBound"), [""; 0]);
    }
}

#[test]
fn nobody_is_bound_beside_a_group_of_a_datacenter_that_another_daemon_made_again() {
    let pair = Pair::new();
    for name in ["dc-else", "dc-come"] {
        pair.datacenter(name);
    }
    pair.group("of", json!({"dc_bound": false}));
    pair.user("bound", json!({}));
    pair.user("joins", json!({"groups": ["of"]}));
    let bind = |name: &str| json!({"dc_bound": true, "dc": name});
    pair.fresh.put(&user("bound"), &bind("dc-else")).result(200);
    pair.fresh.post("/dc/dc-come/group/of/", &json!({})).result(201);
    pair.catch_up();
    pair.ldap.run("ldapdelete", &[&format!("cn=dc-come,{DCS}")], b"");
    eventually_true(HEALED, "it went", || pair.stale.get("/dc/dc-come/").status == 404);
    pair.proxy.hold();
    pair.datacenter("dc-come");
    pair.ldap.modify(&format!(
        "dn: cn=of,ou=groups,{BASE}\nchangetype: modify\nadd: usherDatacenterLink\nusherDatacenterLink: cn=dc-come,{DCS}\n"
    ));
    let elsewhere = json!({"dc_bound": ["User's group(s) are attached into another datacenter(s)."]});
    assert_eq!(pair.stale.put(&user("joins"), &bind("dc-else")).result(400), elsewhere);
    assert_eq!(pair.stale.put(&user("bound"), &json!({"groups": ["of"]})).result(400), elsewhere);
    assert_eq!(pair.stored("(uid=joins)", "usherDcBound"), [""; 0]);
    assert_eq!(pair.stored("(cn=of)", "member").len(), 1);
    // A group that takes him in ends that.
    pair.stale.put("/accounts/group/of/", &json!({"users": ["joins", "bound"]})).result(200);
    assert_eq!(pair.stored("(uid=bound)", "usherDcBound"), [""; 0]);
}

#[test]
fn an_end_that_the_server_told_nobody_of_is_found_once_others_come_or_go() {
    let pair = Pair::new();
    // A server names what it refers to whatever it is asked for.
    pair.ldap.add(&format!(
        "dn: ou=elsewhere,{BASE}\nobjectClass: referral\nobjectClass: extensibleObject\nou: elsewhere\n\
         ref: ldap://127.0.0.1:1/ou=elsewhere,{BASE}\n"
    ));
    for name in ["ghost", "haunt"] {
        pair.user(name, json!({}));
    }
    pair.part();
    pair.ldap.run("ldapdelete", &[&format!("uid=ghost,ou=people,{BASE}")], b"");
    eventually_true(Duration::from_secs(5), "the first daemon knows it", || {
        pair.fresh.get(&user("ghost")).status == 404
    });
    eventually_true(Duration::from_secs(5), "the second one is told", || pair.proxy.has_held_a_push());
    pair.proxy.lose();
    assert_eq!(pair.stale.get(&user("ghost")).status, 200);
    pair.user("other", json!({}));
    eventually_true(Duration::from_secs(10), "the second one finds it", || {
        pair.stale.get(&user("ghost")).status == 404
    });
    assert_eq!(pair.stale.get(&user("haunt")).status, 200);
}
