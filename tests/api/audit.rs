//! The audit log and the task endpoints that answer from it; metrics and health; secrets stay out of all logs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::pair::BASE;
use crate::support::{Usherd, eventually_true};
use crate::world::{World, user_body};

/// A world whose daemon logs everything, and its audit file.
fn with_file() -> (World, PathBuf) {
    let world = World::on(Usherd::builder().env("USHER_LOG", "trace").start());
    let file = world.usherd.data_dir().join("audit.jsonl");
    (world, file)
}

/// The lines of all that was answered until now.
fn lines(world: &World, file: &Path) -> Vec<Value> {
    let metrics = world.usherd.anonymous().root();
    eventually_true(Duration::from_secs(10), "every line is written", || {
        metrics.get("/metrics").text().lines().any(|line| line == "usher_audit_waiting 0")
    });
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line:?}: {e}"))).collect()
}

#[test]
fn every_write_has_one_line_under_its_task_id_and_no_secret_is_in_any_log() {
    let (world, file) = with_file();
    let owner = world.login("u2");
    let secret = "N3v3r-1n-a-log";
    let before = lines(&world, &file).len();
    let answer = world.root.put("/accounts/user/U1/", &json!({"password": secret, "is_active": true, "x": secret}));
    let id = answer.json()["task_id"].as_str().unwrap().to_owned();
    let refused = owner.put("/accounts/user/u1/", &json!({"password": secret}));
    assert_eq!(refused.status, 403);
    let invalid = world.root.post("/accounts/user/new/", &json!({"email": "a\r\nb", "password": secret}));
    assert_eq!(invalid.status, 400);
    world.usherd.anonymous().post("/accounts/login/", &json!({"username": "u1", "password": secret}));
    world.usherd.anonymous().post("/accounts/login/", &json!({"username": format!("{secret}!"), "password": "x"}));
    world.root.put("/accounts/user/u2/", &json!({"is_active": false})).result(200);
    world.usherd.anonymous().post("/accounts/login/", &json!({"username": "u2", "password": "pw-u2"}));
    world.root.get("/accounts/user/u1/").result(200);

    let written = lines(&world, &file)[before..].to_vec();
    let short: Vec<_> = written
        .iter()
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap().to_owned();
            (text("action"), text("actor"), text("object_name"), text("status"), line["http_status"].as_u64().unwrap())
        })
        .collect();
    let line = |action: &str, actor: &str, name: &str, status: &str, code: u64| {
        (action.to_owned(), actor.to_owned(), name.to_owned(), status.to_owned(), code)
    };
    assert_eq!(
        short,
        [
            line("Update user", "admin", "u1", "SUCCESS", 200),
            line("Update user", "u2", "u1", "FAILURE", 403),
            line("Create user", "admin", "new", "FAILURE", 400),
            line("Login", "u1", "u1", "SUCCESS", 200),
            line("Login", "", "", "FAILURE", 400),
            line("Update user", "admin", "u2", "SUCCESS", 200),
            line("Login", "u2", "u2", "FAILURE", 400),
        ]
    );
    assert_eq!(written[6]["detail"], "User account is disabled.");
    assert_eq!((&written[0]["task_id"], &written[0]["credential"]), (&json!(id), &json!("api-key")));
    assert_eq!((&written[0]["peer"], &written[1]["credential"]), (&json!("127.0.0.1"), &json!("token")));

    let ldap = world.usherd.ldap();
    let dn = format!("uid=u2,ou=people,{}", ldap.base_dn());
    let hash = ldap.search(&dn, "base", "(objectClass=*)", &["userPassword"])[0].first("userPassword").unwrap();
    let key = world.usherd.admin.api_key.clone();
    let all = std::fs::read_to_string(&file).unwrap() + &world.usherd.stderr();
    for secret in [secret, "pw-u1", "pw-u2", &hash, &key, &world.usherd.admin.password] {
        assert!(!all.contains(secret), "a log holds {secret:?}");
    }
}

#[test]
fn the_task_log_shows_writes_newest_first_to_those_who_may_see_them() {
    let world = World::new();
    let owner = world.login("u1");
    let answer = owner.put("/accounts/user/u1/", &json!({"first_name": "Uno"}));
    let id = answer.json()["task_id"].as_str().unwrap().to_owned();
    world.root.delete("/accounts/group/loose/").result(200);

    let log = world.root.get("/task/log/").json();
    let results = log["results"].as_array().unwrap();
    assert_eq!(results.len(), 10);
    assert_eq!((&results[0]["msg"], &results[0]["object_name"]), (&json!("Delete user group"), &json!("loose")));
    assert_eq!((&results[0]["object_type"], &results[0]["flag"]), (&json!("role"), &json!(2)));
    let keys: Vec<&String> = results[0].as_object().unwrap().keys().collect();
    let expected = [
        "status",
        "username",
        "task_type",
        "object_type",
        "detail",
        "object_alias",
        "flag",
        "task",
        "object_name",
        "time",
        "msg",
    ];
    assert_eq!(keys, expected);
    assert_eq!(world.root.get("/task/log/?limit=2").json()["results"].as_array().unwrap().len(), 2);
    assert_eq!(world.root.get("/task/log/?limit=0").status, 400);
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let page = world.root.get(&format!("/task/log/?limit=3&after={after}")).json();
        let page = page["results"].as_array().unwrap();
        let Some(last) = page.last() else { break };
        after = last["task"].as_str().unwrap().to_owned();
        paged.extend(page.iter().map(|line| line["task"].clone()));
    }
    let whole = world.root.get("/task/log/?limit=1000").json();
    let whole: Vec<_> = whole["results"].as_array().unwrap().iter().map(|line| line["task"].clone()).collect();
    assert!(paged == whole && whole.len() > 6, "{paged:?} {whole:?}");
    let unknown = world.root.get("/task/log/?after=1d1u1-6f75849b-0000-0000-0000").result(400);
    assert_eq!(unknown, json!({"after": ["Object with task=1d1u1-6f75849b-0000-0000-0000 does not exist."]}));

    let own = owner.get("/task/log/").json();
    let own = own["results"].as_array().unwrap();
    assert_eq!((own.len(), &own[0]["task"], &own[0]["object_alias"]), (2, &json!(id), &json!("Uno Last")));
    assert_eq!((&own[1]["msg"], &own[1]["username"]), (&json!("Create user"), &json!("admin")));
    assert_eq!(world.root.get(&format!("/task/{id}/")).json(), own[0]);
    assert_eq!(owner.get(&format!("/task/{id}")).json(), own[0]);
    let others = world.login("u2");
    assert_eq!(others.get(&format!("/task/{id}/")).detail(403), "Permission denied");
    let theirs = others.get("/task/log/").json();
    assert_eq!((theirs["results"].as_array().unwrap().len(), &theirs["results"][0]["object_name"]), (1, &json!("u2")));
}

#[test]
fn the_task_log_tells_nothing_about_what_its_reader_was_not_let_at() {
    let world = World::new();
    world.root.put("/accounts/group/loose/", &json!({"alias": "Hidden"})).result(200);
    world.root.put("/dc/dc4/", &json!({"alias": "Hidden"})).result(200);
    for (caller, paths) in [
        ("u1", &["user/u4", "user/nobody", "user/u4/profile", "user/u4/apikeys", "group/loose", "dc/dc4"][..]),
        ("ua", &["user/u4", "user/nobody", "user/u4/profile", "user/u4/apikeys", "group/loose"]),
    ] {
        let api = world.login(caller);
        for path in paths {
            let path = if path.starts_with("dc") { format!("/{path}/") } else { format!("/accounts/{path}/") };
            assert!(matches!(api.put(&path, &json!({})).status, 403 | 404), "{path}");
        }
        assert!(matches!(api.post("/accounts/user/u4/", &json!({})).status, 403 | 406));
        let log = api.get("/task/log/").json();
        let lines: Vec<_> = log["results"].as_array().unwrap().iter().filter(|l| l["username"] == caller).collect();
        assert_eq!(lines.len(), paths.len() + 1);
        for line in lines {
            assert_eq!(line["object_alias"], line["object_name"]);
        }
    }
    // What is one's own, or one's to manage, has its name.
    let ua = world.login("ua");
    assert_eq!(ua.put("/accounts/user/u1/", &json!({"dc_bound": false})).status, 400);
    ua.put("/accounts/user/u1/", &json!({})).result(200);
    let log = ua.get("/task/log/?limit=2").json();
    assert_eq!(
        (&log["results"][0]["object_alias"], &log["results"][1]["object_alias"]),
        (&json!("First Last"), &json!("First Last"))
    );
}

#[test]
fn names_in_the_log_are_as_long_as_names_can_be() {
    let (world, file) = with_file();
    let plain = world.login("u1");
    let long = "x".repeat(20_000);
    assert_eq!(plain.put(&format!("/accounts/user/{long}/"), &json!({})).status, 403);
    assert_eq!(plain.delete(&format!("/accounts/user/{long}/sshkey/{long}/")).status, 403);
    assert_eq!(plain.delete(&format!("/accounts/user/u1/sshkey/{}/", "x".repeat(10_000))).status, 404);
    let longest = "x".repeat(300) + "…";
    for line in &lines(&world, &file)[lines(&world, &file).len() - 3..] {
        assert!(line.to_string().len() < 1200, "{line}");
    }
    let log = plain.get("/task/log/").json();
    assert_eq!(log["results"][2]["object_name"], longest);
}

#[test]
fn a_user_does_not_see_what_one_before_of_the_same_name_did() {
    let world = World::new();
    world.login("u1").put("/accounts/user/u1/", &json!({"first_name": "Uno"})).result(200);
    world.root.delete("/accounts/user/u1/").result(200);
    world.create("u1", &json!({"dc": "dc3"}));
    let log = world.login("u1").get("/task/log/").json();
    assert_eq!((log["results"].as_array().unwrap().len(), &log["results"][0]["msg"]), (1, &json!("Create user")));
}

#[test]
fn a_logged_write_is_shown_to_whom_it_concerns_and_to_the_datacenters_admins() {
    let world = World::new();
    let write = |user: &str| {
        let answer = world.root.put(&format!("/accounts/user/{user}/"), &json!({"first_name": "Uno"}));
        answer.json()["task_id"].as_str().unwrap().to_owned()
    };
    let (u1, u4) = (write("u1"), write("u4"));
    let sees = |caller: &str, id: &str| {
        let api = world.login(caller);
        let (one, log) = (api.get(&format!("/task/{id}/")), api.get("/task/log/").json());
        let logged = log["results"].as_array().unwrap().iter().any(|line| line["task"] == *id);
        assert_eq!(logged, one.status == 200, "{caller}");
        one.status
    };
    assert_eq!([sees("u1", &u1), sees("ua", &u1), sees("u2", &u1), sees("u4", &u1)], [200, 200, 403, 403]);
    assert_eq!([sees("u4", &u4), sees("ua", &u4)], [200, 403]);
    // What another tried in vain is that one's and the SuperAdmins' to see.
    let failed = world.login("u1").put("/accounts/user/u1/", &json!({"is_super_admin": true})).json();
    let failed = failed["task_id"].as_str().unwrap();
    assert_eq!([sees("u1", failed), sees("ua", failed)], [200, 403]);
}

#[test]
fn datacenters_that_have_no_number_yet_are_not_one() {
    let world = World::new();
    for (name, owner) in [("lda", "u1"), ("ldb", "u2")] {
        world.usherd.ldap().add(&format!(
            "dn: cn={name},ou=datacenters,{BASE}\nobjectClass: usherDatacenter\ncn: {name}\nusherAlias: {name}\n\
             usherSite: {name}.example.com\nusherOwner: uid={owner},ou=people,{BASE}\nusherAccess: 3\n"
        ));
        let shown = || world.root.get(&format!("/dc/{name}/")).status == 200;
        eventually_true(Duration::from_secs(5), "the datacenter is seen", shown);
    }
    let bound = world.root.post("/accounts/user/bound/", &user_body("bound", &json!({"dc": "ldb"}))).json();
    let id = bound["task_id"].as_str().unwrap();
    let owner = world.login("u1");
    let log = owner.get("/task/log/").json()["results"].as_array().unwrap().clone();
    assert!(log.iter().all(|line| line["object_name"] == "u1"), "{log:?}");
    assert_eq!(owner.get(&format!("/task/{id}/")).status, 403);
}

#[test]
fn the_task_log_outlives_a_restart() {
    let mut world = World::new();
    let before = world.root.get("/task/log/").json();
    world.usherd.stop();
    world.usherd.start_again();
    assert_eq!(world.usherd.api().get("/task/log/").json(), before);
}

#[test]
fn there_are_no_asynchronous_tasks() {
    let usherd = Usherd::start();
    let api = usherd.api();
    let id = "1d1u1-6f75849b-1c39-408a-8deb";
    assert_eq!(api.get("/task/").json(), json!([]));
    assert_eq!(api.get(&format!("/task/{id}/")).detail(404), "Task does not exist");
    for (path, marked) in [("status", Some("true")), ("state", Some("true")), ("done", None)] {
        let answer = api.get(&format!("/task/{id}/{path}/"));
        assert_eq!(answer.detail(404), "Task does not exist (anymore)");
        assert_eq!(answer.header("es_task_response"), marked);
    }
    assert_eq!(api.put(&format!("/task/{id}/cancel/"), &json!({})).detail(406), "Task cannot be canceled");
    assert_eq!(api.get("/task/xyz/").detail(403), "Permission denied");
    assert_eq!(api.json("DELETE", &format!("/task/{id}/"), &json!({})).detail(404), "Task does not exist");
    assert_eq!(api.json("DELETE", "/task/xyz/", &json!({})).detail(403), "Permission denied");
    assert_eq!(usherd.anonymous().get("/task/log/").status, 403);
    // The datacenter that is named is looked for first, whoever asks.
    api.post("/accounts/user/bob/", &user_body("bob", &json!({"dc_bound": false}))).result(201);
    let bob = usherd.login("bob", "pw-bob");
    let nowhere = json!({"dc": "nowhere"});
    for answer in [
        bob.get(&format!("/task/{id}/?dc=nowhere")),
        bob.get(&format!("/task/{id}/done/?dc=nowhere")),
        bob.put(&format!("/task/{id}/cancel/"), &nowhere),
        bob.json("DELETE", &format!("/task/{id}/"), &nowhere),
    ] {
        assert_eq!(answer.detail(404), "Datacenter not found");
    }
}

#[test]
fn a_task_is_its_callers_its_objects_and_its_datacenters_admins() {
    let world = World::new();
    let id = |api: &crate::support::Api, path: &str| api.get(path).json()["task_id"].as_str().unwrap().to_owned();
    let plain = world.login("u1");
    let (others, own, in_dc3) =
        (id(&world.root, "/accounts/user/"), id(&plain, "/accounts/user/u1/"), id(&world.root, "/dc/dc3/user/"));
    let answers = |api: &crate::support::Api, id: &str| {
        let get = |path: &str| api.get(&format!("/task/{id}/{path}")).status;
        let send = |method: &str, path: &str| api.json(method, &format!("/task/{id}/{path}"), &json!({})).status;
        [get(""), get("status/"), get("done/"), send("PUT", "cancel/"), send("DELETE", "")]
    };
    assert_eq!(answers(&plain, &others), [403; 5]);
    assert_eq!(answers(&plain, &own), [404, 404, 404, 406, 403]);
    assert_eq!(answers(&world.root, &own), [404, 404, 404, 406, 404]);
    assert_eq!(answers(&plain, &in_dc3), [403; 5]);
    assert_eq!(answers(&world.login("ua"), &in_dc3), [404, 404, 404, 406, 403]);
    // Changed by admin: it concerns u1, who may ask for it but not cancel it.
    let changed = world.root.put("/accounts/user/u1/", &json!({"first_name": "Uno"})).json();
    let changed = changed["task_id"].as_str().unwrap();
    assert_eq!(plain.get(&format!("/task/{changed}/status/")).status, 404);
    assert_eq!(plain.put(&format!("/task/{changed}/cancel/"), &json!({})).detail(403), "Permission denied");
}

#[test]
fn the_task_log_is_one_datacenters_where_a_parameter_names_it() {
    let world = World::new();
    world.root.put("/dc/dc4/", &json!({"desc": "x"})).result(200);
    let log = world.root.get("/task/log/?dc=DC4&limit=1000");
    assert_eq!(log.header("es_dc"), Some("dc4"));
    let log = log.json();
    let results = log["results"].as_array().unwrap();
    assert_eq!(results[0]["msg"], "Update datacenter");
    assert!(results.iter().all(|line| line["task"].as_str().unwrap().contains("d4-") || line["object_type"] != "dc"));
    for path in ["/task/", "/task/log/", "/task/xyz/"] {
        assert_eq!(world.root.get(&format!("{path}?dc=nodc")).detail(404), "Datacenter not found", "{path}");
        assert_eq!(world.login("u1").get(&format!("{path}?dc=dc4")).detail(404), "Datacenter not found", "{path}");
    }
    assert_eq!(world.root.get("/task/?dc=").json(), json!([]));
}

#[test]
fn health_and_metrics_tell_the_truth() {
    let usherd = Usherd::start();
    let root = usherd.anonymous().root();
    assert_eq!(root.get("/health/live").status, 200);
    assert_eq!(root.get("/health/ready/").status, 200);
    usherd.anonymous().get("/accounts/user/");
    usherd.anonymous().with_header("ES-API-KEY", "wrong").get("/accounts/user/");
    let metrics = root.get("/metrics");
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let text = metrics.text();
    for line in [
        "usher_users 1",
        "usher_datacenters 2",
        "usher_groups 1",
        "usher_directory_in_sync 1",
        "usher_http_responses_total{class=\"4xx\"} 2",
        "usher_wrong_credentials_total 1",
        "usher_audit_failures_total 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    usherd.signal_slapd(nix::sys::signal::Signal::SIGSTOP);
    assert_eq!(root.get("/health/live").status, 200);
    usherd.signal_slapd(nix::sys::signal::Signal::SIGCONT);
    eventually_true(Duration::from_secs(20), "ready again", || root.get("/health/ready").status == 200);
}

#[test]
fn without_the_directory_reads_go_on_and_writes_say_so() {
    let usherd = Usherd::start();
    usherd.signal_slapd(nix::sys::signal::Signal::SIGSTOP);
    assert_eq!(usherd.api().get("/accounts/user/").result(200), json!(["admin"]));
    let answer = usherd.api().put("/accounts/user/admin/", &json!({"first_name": "X"}));
    assert!(answer.detail(503).starts_with("The directory is unavailable."));
    let login = json!({"username": "admin", "password": "x"});
    let known = usherd.anonymous().post("/accounts/login/", &login);
    assert!(known.detail(503).starts_with("The directory is unavailable."));
    usherd.signal_slapd(nix::sys::signal::Signal::SIGCONT);
    eventually_true(Duration::from_secs(20), "writes work again", || {
        usherd.api().put("/accounts/user/admin/", &json!({"first_name": "Y"})).status == 200
    });
}
