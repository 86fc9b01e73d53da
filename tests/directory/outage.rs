//! slapd killed, stopped, restarted and set back, under load: what is answered meanwhile, and what is there afterwards.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::both_ways::create;
use crate::support::{Usherd, eventually_true};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn slapd_killed_under_writes_loses_nothing_acknowledged_and_reads_go_on() {
    let usherd = Usherd::start();
    let api = usherd.api();
    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..4)
        .map(|w| {
            let (api, stop, written) = (api.clone(), stop.clone(), written.clone());
            std::thread::spawn(move || {
                let (mut acknowledged, mut refused) = (Vec::new(), 0);
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let name = format!("w{w}-{n}");
                    let body = json!({"dc_bound": false});
                    let answer = api.post(&format!("/accounts/group/{name}/"), &body);
                    match answer.status {
                        201 => {
                            acknowledged.push(name);
                            written.fetch_add(1, Ordering::Relaxed);
                        }
                        503 => {
                            assert!(answer.json()["detail"].is_string(), "{answer:?}");
                            refused += 1;
                        }
                        _ => panic!("{answer:?}"),
                    }
                }
                (acknowledged, refused)
            })
        })
        .collect();
    let reader = {
        let (api, stop) = (api.clone(), stop.clone());
        std::thread::spawn(move || {
            let mut reads = 0;
            while !stop.load(Ordering::Relaxed) {
                api.get("/accounts/user/admin/").result(200);
                reads += 1;
            }
            reads
        })
    };
    for round in 0..3 {
        let so_far = written.load(Ordering::Relaxed);
        eventually_true(SOON, "writes go on", || written.load(Ordering::Relaxed) >= so_far + 20);
        let before = usherd.slapd_pid().unwrap();
        usherd.signal_slapd(Signal::SIGKILL);
        eventually_true(SOON, "a new slapd", || usherd.slapd_pid().is_some_and(|pid| pid != before));
        let back = Instant::now();
        eventually_true(Duration::from_secs(5), "writes and health within 5 s of slapd's return", || {
            let probe = format!("/accounts/group/probe{round}-{}/", back.elapsed().as_nanos() % 1_000_000_000);
            let written = api.post(&probe, &json!({"dc_bound": false})).status == 201;
            written && usherd.anonymous().root().get("/health/ready").status == 200
        });
    }
    stop.store(true, Ordering::Relaxed);
    assert!(reader.join().unwrap() > 0);
    let mut acknowledged = Vec::new();
    for writer in writers {
        let (names, _) = writer.join().unwrap();
        assert!(!names.is_empty());
        acknowledged.extend(names);
    }
    let stored: HashSet<String> = stored(&usherd, "groups", "cn").into_iter().collect();
    let lost: Vec<_> = acknowledged.iter().filter(|name| !stored.contains(*name)).collect();
    assert!(lost.is_empty(), "acknowledged and not in the directory: {lost:?}");
    let shown = api.get("/accounts/group/").result(200);
    let shown: HashSet<&str> = shown.as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
    let hidden: Vec<_> = acknowledged.iter().filter(|name| !shown.contains(name.as_str())).collect();
    assert!(hidden.is_empty(), "in the directory and not in the replica: {hidden:?}\n{}", usherd.stderr());
    replica_equals_directory(&usherd);
}

#[test]
fn a_daemon_that_starts_while_others_write_misses_nothing() {
    let usherd = Usherd::start();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|w| {
            let (api, stop) = (usherd.api(), stop.clone());
            std::thread::spawn(move || {
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    let name = format!("w{w}-{n}");
                    api.post(&format!("/accounts/group/{name}/"), &json!({"dc_bound": false})).result(201);
                    n += 1;
                }
            })
        })
        .collect();
    let others: Vec<_> = (0..8).map(|n| usherd.second(&format!("s{n}"))).collect();
    stop.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    replica_equals_directory(&usherd);
    for other in &others {
        replica_equals_directory(other);
    }
}

#[test]
fn a_stopped_slapd_costs_writes_a_clear_503_and_reads_nothing() {
    let limit = Duration::from_secs(2);
    let usherd = Usherd::builder().env("USHER__DIRECTORY__OPERATION_TIMEOUT_MS", limit.as_millis().to_string()).start();
    // as many as there are connections for writes
    for n in 0..4 {
        usherd.api().post(&format!("/accounts/group/before{n}/"), &json!({"dc_bound": false})).result(201);
    }
    usherd.signal_slapd(Signal::SIGSTOP);
    let api = usherd.api();
    // A password is written after a look at the entry. That waits for one time limit, too, and not for a second try's.
    for (method, path, body) in [
        ("PUT", "/accounts/user/admin/", json!({"email": "new@example.com", "password": "new"})),
        ("POST", "/accounts/group/g1/", json!({"dc_bound": false})),
    ] {
        let asked = Instant::now();
        let answer = api.json(method, path, &body);
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.json()["detail"].is_string());
        assert!(asked.elapsed() < 2 * limit, "{:?}", asked.elapsed());
    }
    usherd.api().get("/accounts/user/admin/").result(200);
    usherd.signal_slapd(Signal::SIGCONT);
    eventually_true(SOON, "writes again", || {
        [201, 406].contains(&usherd.api().post("/accounts/group/g1/", &json!({"dc_bound": false})).status)
    });
    replica_equals_directory(&usherd);
}

/// A daemon with so many groups that joining them all takes a while, and their names.
fn with_many_groups() -> (Usherd, Vec<String>) {
    let usherd = Usherd::start();
    let names: Vec<String> = (10..50).map(|n| format!("g{n}")).collect();
    for name in &names {
        usherd.api().post(&format!("/accounts/group/{name}/"), &json!({"dc_bound": false})).result(201);
    }
    (usherd, names)
}

/// The bodies of a user and of a datacenter with these groups.
fn in_groups(names: &[String]) -> [Value; 2] {
    [
        json!({"first_name": "F", "last_name": "L", "password": "pw", "dc_bound": false, "groups": names}),
        json!({ "groups": names }),
    ]
}

/// Kills slapd while something is created with groups, until a request is cut short between its entry and the last of
/// its groups; gives the name that it was for, and its body.
fn cut_short(usherd: &Usherd, path: &str, body: &Value, groups: usize) -> (String, Value) {
    let begun = |name: &str| {
        let shown = usherd.api().get(&format!("{path}{name}/"));
        (shown.status == 200).then(|| shown.result(200)["groups"].as_array().map_or(0, Vec::len))
    };
    for n in 0..20 {
        let name = format!("cut{n}");
        let mut body = body.clone();
        body["email"] = json!(format!("{name}@example.com"));
        body["site"] = json!(format!("{name}.example.com"));
        let (api, url, sent) = (usherd.api(), format!("{path}{name}/"), body.clone());
        let before = usherd.slapd_pid().unwrap();
        let post = std::thread::spawn(move || api.post(&url, &sent).status);
        eventually_true(SOON, "the entry", || begun(&name).is_some() || post.is_finished());
        usherd.signal_slapd(Signal::SIGKILL);
        let status = post.join().unwrap();
        eventually_true(SOON, "a new slapd that is followed", || {
            usherd.slapd_pid().is_some_and(|pid| pid != before)
                && usherd.anonymous().root().get("/health/ready").status == 200
        });
        if status == 503 && begun(&name).is_some_and(|has| has < groups) {
            return (name, body);
        }
    }
    panic!("no request was cut short");
}

#[test]
fn a_creation_that_is_cut_short_before_its_groups_is_completed_by_the_same_request() {
    let (usherd, names) = with_many_groups();
    let [user, dc] = in_groups(&names);
    for (path, ou, naming, body) in [("/accounts/user/", "people", "uid", user), ("/dc/", "datacenters", "cn", dc)] {
        let (name, body) = cut_short(&usherd, path, &body, names.len());
        let url = format!("{path}{name}/");
        let mut other = body.clone();
        other["desc"] = json!("another request");
        assert_eq!(usherd.api().post(&url, &other).status, 406);
        let made = usherd.api().post(&url, &body).result(201);
        assert_eq!(made["groups"], json!(names));
        assert_eq!(usherd.api().post(&url, &body).status, 406);
        let entry = format!("{naming}={name},ou={ou},dc=example,dc=org");
        let marked = usherd.ldap().search(&entry, "base", "(usherUnfinished=*)", &["cn"]);
        assert!(marked.is_empty(), "{marked:?}");
    }
}

#[test]
fn a_creation_that_was_cut_short_is_over_once_somebody_changes_what_it_made() {
    let (usherd, names) = with_many_groups();
    let [user, dc] = in_groups(&names);
    let user_change = json!({"is_active": false});
    let dc_change = json!({"desc": "mine now"});
    for (path, body, change) in [("/accounts/user/", user, user_change), ("/dc/", dc, dc_change)] {
        let (name, body) = cut_short(&usherd, path, &body, names.len());
        let url = format!("{path}{name}/");
        let before = usherd.api().put(&url, &change).result(200);
        assert_eq!(usherd.api().post(&url, &body).status, 406);
        assert_eq!(usherd.api().get(&url).result(200)["groups"], before["groups"]);
    }
}

#[test]
fn a_directory_set_back_to_an_older_state_is_taken_over_without_a_gap_in_service() {
    let mut usherd = Usherd::start();
    create(&usherd, "old", &json!({}));
    usherd.stop();
    let database = usherd.data_dir().to_owned();
    let saved = usherd.scratch().join("saved");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
        assert!(status.success());
    };
    copy(&database, &saved);
    usherd.start_again();
    // this daemon outlives the directory's change
    let second = usherd.second("second");
    create(&usherd, "new", &json!({}));
    eventually_true(SOON, "the second daemon knows", || second.api().get("/accounts/user/new/").status == 200);
    usherd.stop();
    second.api().get("/accounts/user/new/").result(200);
    std::fs::remove_dir_all(&database).unwrap();
    copy(&saved, &database);
    usherd.start_again();
    eventually_true(SOON, "the older state", || {
        second.api().get("/accounts/user/old/").result(200);
        second.api().get("/accounts/user/new/").status == 404
    });
    create(&second, "newer", &json!({}));
    eventually_true(SOON, "both see the new write", || usherd.api().get("/accounts/user/newer/").status == 200);
}

#[test]
fn two_daemons_on_one_directory_see_each_others_writes_and_sessions() {
    let usherd = Usherd::start();
    let second = usherd.second("second");
    create(&usherd, "bob", &json!({"api_access": true}));
    let there = || second.api().get("/accounts/user/bob/").status == 200;
    eventually_true(SOON, "the user at the second daemon", there);
    let token = usherd.login("bob", "pw-of-it");
    let elsewhere = token.moved_to(&second.anonymous());
    eventually_true(SOON, "the session at the second daemon", || elsewhere.get("/accounts/user/bob/").status == 200);
    token.get("/accounts/logout/");
    eventually_true(SOON, "its end", || elsewhere.get("/accounts/user/bob/").status == 403);
    replica_equals_directory(&usherd);
}

/// The lists of users and groups of the API are those of the directory.
fn replica_equals_directory(usherd: &Usherd) {
    for (family, ou, name) in [("user", "people", "uid"), ("group", "groups", "cn")] {
        let expected = stored(usherd, ou, name);
        let path = format!("/accounts/{family}/?limit=100000");
        eventually_true(SOON, &format!("{family}: the replica equals the directory"), || {
            usherd.api().get(&path).result(200) == json!(expected)
        });
    }
}

/// The names of the entries below `ou`, in order.
fn stored(usherd: &Usherd, ou: &str, name: &str) -> Vec<String> {
    let mut names: Vec<String> = usherd
        .ldap()
        .search(&format!("ou={ou},dc=example,dc=org"), "one", "(objectClass=*)", &[name])
        .iter()
        .filter_map(|entry| entry.first(name))
        .filter(|name| name != "_system")
        .collect();
    names.sort();
    names
}
