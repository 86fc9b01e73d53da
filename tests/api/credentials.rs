//! Who calls: API keys, tokens, login and logout, with the protocol's texts and their order; throttles.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::{Api, Usherd, eventually_true};
use crate::world::World;

const NOT_PROVIDED: &str = "Authentication credentials were not provided.";
const WRONG_LOGIN: &str = "Unable to log in with provided credentials.";
const DISABLED: &str = "User account is disabled.";

fn login(api: &Api, username: &str, password: &str) -> crate::support::Response {
    api.post("/accounts/login/", &json!({"username": username, "password": password}))
}

#[test]
fn each_fault_of_the_credentials_has_its_text() {
    let usherd = Usherd::start();
    let key = usherd.admin.api_key.clone();
    let long = "a".repeat(8192);
    let upper = key.to_uppercase();
    let two = "Token a b";
    for (headers, text) in [
        (vec![], NOT_PROVIDED),
        (vec![("ES-API-KEY", "")], NOT_PROVIDED),
        (vec![("Authorization", "Basic YWRtaW46eA==")], NOT_PROVIDED),
        (vec![("ES-API-KEY", "bad")], "Invalid API key"),
        (vec![("ES-API-KEY", "ü")], "Invalid API key"),
        (vec![("ES-API-KEY", &long)], "Invalid API key"),
        (vec![("ES-API-KEY", &upper)], "Invalid API key"),
        (vec![("ES-API-KEY", &key), ("ES-API-KEY", "bad")], "Invalid API key"),
        (vec![("Authorization", "Token bad")], "Invalid token."),
        (
            vec![("Authorization", "Token ü")],
            "Invalid token header. Token string should not contain invalid characters.",
        ),
        (vec![("Authorization", &key)], NOT_PROVIDED),
        (vec![("Authorization", "Token")], "Invalid token header. No credentials provided."),
        (vec![("Authorization", two)], "Invalid token header. Token string should not contain spaces."),
        (vec![("ES-API-KEY", "bad"), ("Authorization", two)], "Invalid API key"),
    ] {
        let answer = usherd.anonymous().send("GET", "/accounts/user/", &headers, b"");
        assert_eq!(answer.detail(403), text, "{headers:?}");
    }
    let lower = usherd.anonymous().send("GET", "/accounts/user/admin/", &[("es-api-key", &key)], b"");
    assert_eq!(lower.status, 200);
}

#[test]
fn a_login_gives_a_token_that_logout_ends_and_others_stay() {
    let usherd = Usherd::start();
    let answer = login(&usherd.anonymous(), "ADMIN", &usherd.admin.password);
    let body = answer.json();
    let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["token", "expires", "detail"]);
    let token = body["token"].as_str().unwrap();
    assert!(token.len() == 40 && token.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
    assert!(body["expires"].as_str().unwrap().ends_with("+00:00"));
    assert_eq!(body["detail"], "Welcome to Danube Cloud API.");
    assert_eq!((answer.header("es_username"), answer.header("es_dc")), (Some("admin"), Some("main")));

    let first = usherd.anonymous().with_header("Authorization", &format!("tOkEn {token}"));
    let second = usherd.login("admin", &usherd.admin.password);
    assert_eq!(first.get("/accounts/logout/").json(), json!({"detail": "Bye."}));
    assert_eq!(first.get("/accounts/user/").detail(403), "Invalid token.");
    assert_eq!(second.get("/accounts/user/").status, 200);
    assert_eq!(usherd.api().get("/accounts/logout").json(), json!({"detail": "Bye."}));
    assert_eq!(usherd.api().get("/accounts/user/").status, 200);
    assert_eq!(usherd.anonymous().get("/accounts/logout/").detail(403), NOT_PROVIDED);
}

#[test]
fn the_key_decides_where_both_are_sent() {
    let usherd = Usherd::start();
    let token = usherd.login("admin", &usherd.admin.password);
    assert_eq!(token.get("/accounts/user/admin/apikeys/").result(200)["api_key"], usherd.admin.api_key);
    let both = token.clone().with_header("ES-API-KEY", &usherd.admin.api_key);
    let refused = "You do not have permission to perform this action.";
    assert_eq!(both.get("/accounts/user/admin/apikeys/").detail(403), refused);
    assert_eq!(token.with_header("ES-API-KEY", "").get("/accounts/user/admin/apikeys/").status, 200);
}

#[test]
fn wrong_logins_tell_nothing_about_names() {
    let usherd = Usherd::start();
    let anonymous = usherd.anonymous();
    let expected = login(&anonymous, "admin", "wrong");
    assert_eq!(expected.json(), json!({"detail": WRONG_LOGIN}));
    assert_eq!(expected.header("es_username"), None);
    let (long, longer) = ("x".repeat(1025), "x".repeat(500_000));
    for (name, password) in [
        ("nobody", "wrong"),
        ("_system", "wrong"),
        ("admin", " "),
        ("admin", "\0"),
        ("admin", "\0wrong"),
        ("admin", &long),
        ("admin", &longer),
        ("*", "wrong"),
        ("admin)(uid=*", "wrong"),
        ("uid=admin,ou=people,dc=example,dc=org", "wrong"),
        (" admin", &usherd.admin.password),
        ("ａｄｍｉｎ", &usherd.admin.password),
        (&longer, "wrong"),
    ] {
        let answer = login(&anonymous, name, password);
        assert_eq!((answer.status, &answer.body), (400, &expected.body), "{name:.40} {password:.40}");
    }
    let required = json!(["This field is required."]);
    assert_eq!(login(&anonymous, "admin", "").json(), json!({"detail": {"password": required}}));
    let invalid = anonymous.post("/accounts/login/", &json!({"username": ["admin"], "password": "x"}));
    assert_eq!(invalid.json(), json!({"detail": {"username": ["Invalid value."]}}));
    assert_eq!(anonymous.get("/accounts/login/").detail(405), "Method \"GET\" not allowed.");
    let array = anonymous.send("POST", "/accounts/login/", &[("Content-Type", "application/json")], b"[1]");
    assert_eq!(array.result(400), json!({"non_field_errors": ["Invalid data"]}));
}

#[test]
fn inactive_users_and_users_without_api_access_are_refused_everywhere_with_the_same_text() {
    let world = World::new();
    let token = world.login("u1");
    let owner = world.usherd.login("u2", "pw-u2");
    let key = owner.get("/accounts/user/u2/apikeys/").result(200)["api_key"].as_str().unwrap().to_owned();
    let key = world.usherd.anonymous().with_header("ES-API-KEY", &key);
    let paths =
        ["/accounts/user/", "/accounts/user/u1/", "/accounts/group/", "/dc/main/", "/task/log/", "/accounts/logout/"];
    let change = |name: &str, body: serde_json::Value| {
        world.root.put(&format!("/accounts/user/{name}/"), &body).result(200);
    };
    let check = |key_text: &str, token_text: &str| {
        for path in paths {
            assert_eq!(key.get(path).detail(403), key_text, "{path}");
            assert_eq!(token.get(path).detail(403), token_text, "{path}");
        }
    };
    for name in ["u1", "u2"] {
        change(name, json!({"is_active": false}));
    }
    check("You do not have permission to perform this action.", "User inactive or deleted.");
    assert_eq!(login(&world.usherd.anonymous(), "u1", "pw-u1").detail(400), "User account is disabled.");
    assert_eq!(login(&world.usherd.anonymous(), "u1", "wrong").detail(400), WRONG_LOGIN);
    for name in ["u1", "u2"] {
        change(name, json!({"api_access": false}));
    }
    check("User account is not allowed to access API", "User inactive or deleted.");
    assert_eq!(login(&world.usherd.anonymous(), "u1", "pw-u1").detail(400), "User account is disabled.");
    for name in ["u1", "u2"] {
        change(name, json!({"is_active": true}));
    }
    let no_access = "User account is not allowed to access API";
    check(no_access, no_access);
    assert_eq!(login(&world.usherd.anonymous(), "u1", "pw-u1").detail(400), format!("{no_access}."));
    for name in ["u1", "u2"] {
        change(name, json!({"api_access": true}));
    }
    assert_eq!(token.get("/accounts/user/u1/").status, 200);
    assert_eq!(key.get("/accounts/user/u2/").status, 200);
}

#[test]
fn an_expired_token_is_no_credential_anywhere() {
    let world = World::on(Usherd::builder().env("USHER__SESSIONS__LIFETIME_SECONDS", "1").start());
    let token = world.login("u1");
    eventually_true(Duration::from_secs(10), "the token expires", || token.get("/accounts/user/u1/").status == 403);
    for path in ["/accounts/user/u1/", "/accounts/user/u1/apikeys/", "/dc/", "/task/log/", "/accounts/logout/"] {
        assert_eq!(token.get(path).detail(403), NOT_PROVIDED, "{path}");
    }
    assert_eq!(token.put("/accounts/user/u1/", &json!({"first_name": "X"})).detail(403), NOT_PROVIDED);
    assert_eq!(login(&token, "u1", "pw-u1").status, 200, "an old token is none");
}

/// Changes `u1`'s entry by LDAP and waits until the daemon knows.
fn change_u1(world: &World, ldif: &str) {
    static CHANGES: AtomicU32 = AtomicU32::new(0);
    let seen = format!("Seen {}", CHANGES.fetch_add(1, Ordering::Relaxed));
    let dn = format!("uid=u1,ou=people,{}", world.usherd.ldap().base_dn());
    world.usherd.ldap().modify(&format!("dn: {dn}\nchangetype: modify\n{ldif}\n-\nreplace: sn\nsn: {seen}\n"));
    eventually_true(Duration::from_secs(10), "the change shows", || world.user("u1")["last_name"] == seen);
}

/// What a login as `u1` with this password is told.
#[track_caller]
fn refusal(world: &World, password: &str) -> String {
    login(&world.usherd.anonymous(), "u1", password).detail(400)
}

fn attributes_of_u1(world: &World) -> Vec<Option<String>> {
    let dn = format!("uid=u1,ou=people,{}", world.usherd.ldap().base_dn());
    let entry = world.usherd.ldap().search(&dn, "base", "(objectClass=*)", &["userPassword", "entryCSN"]).remove(0);
    vec![entry.first("userPassword"), entry.first("entryCSN")]
}

fn sessions(world: &World) -> usize {
    let ldap = world.usherd.ldap();
    ldap.search(&ldap.base_dn(), "sub", "(objectClass=usherSession)", &["cn"]).len()
}

#[test]
fn a_disabled_locked_or_expired_account_says_so_to_its_right_password_alone() {
    let world = World::new();
    change_u1(&world, "add: objectClass\nobjectClass: shadowAccount");
    for value in [
        "pwdAccountLockedTime: 000001010000Z",
        "pwdAccountLockedTime: 00000101000000Z",
        "pwdEndTime: 20200101000000Z",
        "shadowExpire: 1",
        "usherActive: FALSE",
    ] {
        let name = value.split_once(':').unwrap().0;
        change_u1(&world, &format!("replace: {name}\n{value}"));
        let before = (attributes_of_u1(&world), sessions(&world));
        assert_eq!(refusal(&world, "pw-u1"), DISABLED, "{value}");
        for wrong in ["wrong", "pw-u1\0", "pw-u2", "decoy"] {
            assert_eq!(refusal(&world, wrong), WRONG_LOGIN, "{value}: {wrong:?}");
        }
        // Nothing is hashed anew, and there is no session.
        assert_eq!((attributes_of_u1(&world), sessions(&world)), before, "{value}");
        change_u1(&world, &format!("delete: {name}"));
        world.login("u1");
    }
    // The account may be used, only its password may not yet.
    change_u1(&world, "replace: pwdStartTime\npwdStartTime: 20990101000000Z");
    assert_eq!(refusal(&world, "pw-u1"), WRONG_LOGIN);
}

#[test]
fn the_right_password_of_a_locked_account_is_known_by_a_hash_of_the_configured_cost_only() {
    let world = World::new();
    let own = attributes_of_u1(&world)[0].clone().unwrap();
    let ssha = "{SSHA}lloAmKRe69+w+H6R27d2MjGVs3nh+Fip";
    let cheap =
        "{ARGON2}$argon2id$v=19$m=64,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$a/+i06T/FfF/nRBGydZ9yXZt6PdSjNNmmR5yI0UTT7o";
    for (stored, right, locked) in
        [(&*own, "pw-u1", DISABLED), (ssha, "pw-u1", WRONG_LOGIN), (cheap, "pw", WRONG_LOGIN)]
    {
        // Where no lock of the server's is in the way, it is asked, whatever the scheme.
        let change =
            format!("replace: usherActive\nusherActive: FALSE\n-\nreplace: userPassword\nuserPassword: {stored}");
        change_u1(&world, &change);
        assert_eq!(refusal(&world, right), DISABLED, "{stored}");
        assert_eq!(refusal(&world, "wrong"), WRONG_LOGIN, "{stored}");
        change_u1(&world, "replace: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z");
        assert_eq!(refusal(&world, right), locked, "{stored}");
        assert_eq!(refusal(&world, "wrong"), WRONG_LOGIN, "{stored}");
    }
}

#[test]
fn a_lock_out_by_wrong_passwords_stays_closed_to_the_right_one() {
    let world = World::new();
    let ldap = world.usherd.ldap();
    let policy = format!("cn=default,ou=policies,{}", ldap.base_dn());
    ldap.modify(&format!("dn: {policy}\nchangetype: modify\nreplace: pwdMaxFailure\npwdMaxFailure: 2\n"));
    for _ in 0..2 {
        assert_eq!(refusal(&world, "wrong"), WRONG_LOGIN);
    }
    let dn = format!("uid=u1,ou=people,{}", ldap.base_dn());
    let locked = ldap.search(&dn, "base", "(pwdAccountLockedTime=*)", &["pwdAccountLockedTime"]);
    assert!(!locked[0].first("pwdAccountLockedTime").unwrap().starts_with("0000"));
    assert_eq!(refusal(&world, "pw-u1"), WRONG_LOGIN);
    change_u1(&world, "replace: usherActive\nusherActive: FALSE");
    assert_eq!(refusal(&world, "pw-u1"), WRONG_LOGIN);
    change_u1(&world, "replace: usherActive\nusherActive: TRUE\n-\nreplace: pwdEndTime\npwdEndTime: 20200101000000Z");
    assert_eq!(refusal(&world, "pw-u1"), WRONG_LOGIN);
    change_u1(&world, "delete: pwdAccountLockedTime");
    assert_eq!(refusal(&world, "pw-u1"), DISABLED);
}

#[test]
fn wrong_passwords_lock_out_an_account_that_may_not_be_used_too_and_still_do_when_it_may_again() {
    let world = World::new();
    let ldap = world.usherd.ldap();
    let policy = format!("cn=default,ou=policies,{}", ldap.base_dn());
    ldap.modify(&format!("dn: {policy}\nchangetype: modify\nreplace: pwdMaxFailure\npwdMaxFailure: 3\n"));
    change_u1(&world, "add: objectClass\nobjectClass: shadowAccount");
    for value in ["usherActive: FALSE", "shadowExpire: 1"] {
        let name = value.split_once(':').unwrap().0;
        change_u1(&world, &format!("replace: {name}\n{value}"));
        for _ in 0..2 {
            assert_eq!(refusal(&world, "wrong"), WRONG_LOGIN, "{value}");
        }
        // The right one ends the count.
        assert_eq!(refusal(&world, "pw-u1"), DISABLED, "{value}");
        for _ in 0..3 {
            assert_eq!(refusal(&world, "wrong"), WRONG_LOGIN, "{value}");
        }
        assert_eq!(refusal(&world, "pw-u1"), WRONG_LOGIN, "{value}");
        change_u1(&world, &format!("delete: {name}"));
        assert_eq!(refusal(&world, "pw-u1"), WRONG_LOGIN, "{value}");
        change_u1(&world, "delete: pwdAccountLockedTime");
        world.login("u1");
    }
}

#[test]
fn what_counts_is_who_the_caller_is_when_the_body_is_there() {
    let world = World::new();
    world.create("boss", &json!({"dc_bound": false, "is_super_admin": true}));
    let address = world.usherd.anonymous().address().to_owned();
    let body = crate::world::user_body("new", &json!({"dc_bound": false, "is_super_admin": true})).to_string();
    for (change, text) in [
        (json!({"is_super_admin": false}), "Permission denied"),
        (json!({"is_super_admin": true, "password": "pw-boss"}), "Invalid token."),
        (json!({"is_active": false}), "User inactive or deleted."),
    ] {
        let token = world.root.post("/accounts/login/", &json!({"username": "boss", "password": "pw-boss"})).json();
        let head = format!(
            "POST /api/accounts/user/new/ HTTP/1.1\r\nHost: x\r\nAuthorization: Token {}\r\nExpect: 100-continue\r\n\
             Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            token["token"].as_str().unwrap(),
            body.len()
        );
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        // It asks for the body, so it knows who asks.
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        world.root.put("/accounts/user/boss/", &change).result(200);
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains(text), "{change}: {answer}");
        assert_eq!(world.root.get("/accounts/user/new/").status, 404);
    }
}

#[test]
fn a_new_password_ends_all_sessions_whoever_set_it() {
    let world = World::new();
    let (first, second) = (world.login("u1"), world.login("u1"));
    world.root.put("/accounts/user/u1/", &json!({"password": "other"})).result(200);
    for token in [&first, &second] {
        assert_eq!(token.get("/accounts/user/u1/").detail(403), "Invalid token.");
    }
    let third = world.usherd.login("u1", "other");
    let dn = format!("uid=u1,ou=people,{}", world.usherd.ldap().base_dn());
    world.usherd.ldap().modify(&format!("dn: {dn}\nchangetype: modify\nreplace: userPassword\nuserPassword: third\n"));
    eventually_true(Duration::from_secs(10), "the session ends", || third.get("/accounts/user/u1/").status == 403);
    assert_eq!(third.get("/accounts/user/u1/").detail(403), "Invalid token.");
    assert_eq!(world.usherd.login("u1", "third").get("/accounts/user/u1/").status, 200);
}

#[test]
fn a_weak_hash_is_renewed_by_the_login_and_that_session_holds() {
    let world = World::new();
    let ldap = world.usherd.ldap();
    let dn = format!("uid=u1,ou=people,{}", ldap.base_dn());
    ldap.modify(&format!("dn: {dn}\nchangetype: modify\nreplace: userPassword\nuserPassword: imported\n"));
    let mut token = None;
    eventually_true(Duration::from_secs(10), "the new password works", || {
        let answer = login(&world.usherd.anonymous(), "u1", "imported");
        token = answer.json()["token"].as_str().map(str::to_owned);
        token.is_some()
    });
    let token = world.usherd.anonymous().with_header("Authorization", &format!("Token {}", token.unwrap()));
    assert_eq!(token.get("/accounts/user/u1/").status, 200);
    let stored = ldap.search(&dn, "base", "(objectClass=*)", &["userPassword"])[0].first("userPassword").unwrap();
    assert!(stored.starts_with("{ARGON2}$argon2id$"), "not renewed");
    assert_eq!(login(&world.usherd.anonymous(), "u1", "imported").status, 200);
}

#[test]
fn a_stronger_hash_of_the_same_password_ends_no_session() {
    let world = World::new();
    let before = world.login("u1");
    let other = world.login("u2");
    let stronger = world.usherd.second_with("stronger", &["passwords.passes=3"]);
    let after = stronger.login("u1", "pw-u1");
    let dn = format!("uid=u1,ou=people,{}", world.usherd.ldap().base_dn());
    let stored = world.usherd.ldap().search(&dn, "base", "(objectClass=*)", &["userPassword"])[0].first("userPassword");
    assert!(stored.unwrap().contains(",t=3,"), "not renewed");
    for session in [&before, &after] {
        for daemon in [&world.usherd, &stronger] {
            let api = session.moved_to(&daemon.anonymous());
            eventually_true(Duration::from_secs(10), "the session holds", || {
                api.get("/accounts/user/u1/").status == 200
            });
        }
    }
    // A new password ends both, and nobody else's.
    world.usherd.api().put("/accounts/user/u1/", &json!({"password": "new"})).result(200);
    assert_eq!(before.get("/accounts/user/u1/").detail(403), "Invalid token.");
    assert_eq!(after.moved_to(&world.usherd.anonymous()).get("/accounts/user/u1/").detail(403), "Invalid token.");
    assert_eq!(other.get("/accounts/user/u2/").status, 200);
}

#[test]
fn sessions_end_with_their_time_and_with_their_user() {
    let usherd = Usherd::builder().env("USHER__SESSIONS__LIFETIME_SECONDS", "2").start();
    let token = usherd.login("admin", &usherd.admin.password);
    assert_eq!(token.get("/accounts/user/").status, 200);
    eventually_true(Duration::from_secs(10), "the session ends", || token.get("/accounts/user/").status == 403);
    let world = World::new();
    let token = world.login("u2");
    world.root.delete("/accounts/user/u2/").result(200);
    world.create("u2", &json!({"dc": "dc3"}));
    assert_eq!(token.get("/accounts/user/u2/").detail(403), "Invalid token.");
}

#[test]
fn failed_passwords_are_throttled_by_name_in_all_its_spellings() {
    let usherd = Usherd::builder().throttled().env("USHER__THROTTLE__LOGINS_PER_MINUTE", "0").start();
    let anonymous = usherd.anonymous();
    for name in ["admin", "Admin", "ADMIN", "admin ", "admin", "admin", "admin", "admin", "admin", "admin"] {
        assert_eq!(login(&anonymous, name, "wrong").detail(400), WRONG_LOGIN);
    }
    let answer = login(&anonymous, "aDMIN", &usherd.admin.password);
    let text = answer.detail(429);
    let wait = answer.header("retry-after").unwrap();
    assert_eq!(text, format!("Request was throttled. Expected available in {wait} seconds."));
    assert!((50..=60).contains(&wait.parse::<u32>().unwrap()), "{wait}");
    assert_eq!(login(&anonymous, "nobody", "wrong").detail(400), WRONG_LOGIN);
    assert_eq!(usherd.api().get("/accounts/user/").status, 200);
}

#[test]
fn right_passwords_do_not_count_against_the_name() {
    let usherd = Usherd::builder().throttled().env("USHER__THROTTLE__LOGINS_PER_MINUTE", "0").start();
    for _ in 0..15 {
        assert_eq!(login(&usherd.anonymous(), "admin", &usherd.admin.password).status, 200);
    }
}

#[test]
fn wrong_passwords_of_a_locked_account_count_and_its_right_one_does_not() {
    let world = World::on(Usherd::builder().throttled().env("USHER__THROTTLE__LOGINS_PER_MINUTE", "0").start());
    change_u1(&world, "replace: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z");
    for _ in 0..5 {
        for _ in 0..3 {
            assert_eq!(refusal(&world, "pw-u1"), DISABLED);
        }
        for _ in 0..2 {
            assert_eq!(refusal(&world, "wrong"), WRONG_LOGIN);
        }
    }
    for password in ["wrong", "pw-u1"] {
        assert_eq!(login(&world.usherd.anonymous(), "u1", password).status, 429);
    }
    let metrics = world.usherd.anonymous().root().get("/metrics").text();
    assert!(metrics.lines().any(|line| line == "usher_failed_logins_total 10"), "{metrics}");
}

#[test]
fn logins_and_wrong_credentials_are_throttled_by_address_each_for_itself() {
    let usherd = Usherd::builder().throttled().start();
    let wrong = usherd.anonymous().with_header("ES-API-KEY", "wrong");
    for number in 0..30 {
        // Neither a forwarded address nor another kind of credential is a way around.
        let forwarded = format!("203.0.113.{number}");
        let answer = wrong.send("GET", "/accounts/user/", &[("X-Forwarded-For", &forwarded)], b"");
        assert_eq!(answer.detail(403), "Invalid API key");
        usherd.anonymous().get("/accounts/user/").detail(403);
        usherd.anonymous().get("/ping/");
        assert_eq!(usherd.anonymous().send("POST", "/ping/", &[], b"").status, 405);
    }
    assert_eq!(wrong.get("/accounts/user/").status, 429);
    assert_eq!(usherd.anonymous().with_header("Authorization", "Token x").get("/accounts/user/").status, 429);
    assert_eq!(usherd.anonymous().get("/accounts/user/").detail(403), NOT_PROVIDED);
    assert_eq!(usherd.api().get("/accounts/user/").status, 200);
    for number in 0..30 {
        assert_eq!(login(&usherd.anonymous(), &format!("n{number}"), "wrong").detail(400), WRONG_LOGIN);
    }
    assert_eq!(login(&usherd.anonymous(), "admin", &usherd.admin.password).status, 429);
    assert_eq!(usherd.api().get("/accounts/user/").status, 200);
}

#[test]
fn logins_at_the_same_time_strengthen_a_weak_hash_and_every_token_works() {
    let world = World::new();
    let ldap = world.usherd.ldap();
    let dn = format!("uid=u1,ou=people,{}", ldap.base_dn());
    for round in 0..3 {
        ldap.modify(&format!("dn: {dn}\nchangetype: modify\nreplace: userPassword\nuserPassword: weak-{round}\n"));
        let password = format!("weak-{round}");
        // The replica knows of the new password.
        let old = world.usherd.anonymous();
        eventually_true(Duration::from_secs(10), "the weak password holds", || {
            login(&old, "u1", "pw-u1").status == 400
        });
        let answers: Vec<_> = std::thread::scope(|scope| {
            let logins: Vec<_> =
                (0..8).map(|_| scope.spawn(|| login(&world.usherd.anonymous(), "u1", &password))).collect();
            logins.into_iter().map(|login| login.join().unwrap()).collect()
        });
        for answer in answers {
            assert_eq!(answer.status, 200, "{answer:?}");
            let token = format!("Token {}", answer.json()["token"].as_str().unwrap());
            let api = world.usherd.anonymous().with_header("Authorization", &token);
            assert_eq!(api.get("/accounts/user/u1/").status, 200, "round {round}");
        }
        let stored = ldap.search(&dn, "base", "(objectClass=*)", &["userPassword"]);
        assert!(stored[0].first("userPassword").unwrap().starts_with("{ARGON2}"));
    }
}
