//! The protocol under all endpoints: URLs, negotiation, bodies, methods, the envelope, headers, and in which order a
//! request's faults are found.

use serde_json::{Value, json};

use crate::support::http::exchange;
use crate::support::{Api, Response, Usherd};
use crate::world::World;

fn allow(answer: &Response) -> Vec<String> {
    let mut methods: Vec<String> =
        answer.header("allow").unwrap_or_default().split(", ").filter(|m| !m.is_empty()).map(str::to_owned).collect();
    methods.sort();
    methods
}

#[test]
fn urls_work_with_and_without_the_slash_and_others_are_not_found() {
    let usherd = Usherd::start();
    let api = usherd.api();
    for path in ["/accounts/user/admin", "/accounts/user/admin/", "/accounts/user/%61dmin/", "/%61ccounts/user/admin"] {
        assert_eq!(api.get(path).result(200)["username"], "admin", "{path}");
    }
    for path in [
        "",
        "/",
        "/foo/ping/",
        "/accounts/user/admin//",
        "//accounts/user/",
        "/accounts/user/a%20b/",
        "/accounts/user/%ff/",
        "/accounts/user/%C3%BC/",
        "/accounts/user/a%0A/",
        "/accounts/user/%00/",
        "/accounts/group/a@b/",
        "/accounts/user/..%2f/",
        "/accounts/user/admin%2Fprofile%2Fx",
    ] {
        let answer = api.get(path);
        assert_eq!((answer.status, answer.text().as_str()), (404, "{\"detail\":\"Resource not found\"}"), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    assert_eq!(api.root().get("/nothing").detail(404), "Resource not found");
    // Bytes that are no UTF-8 on the wire itself never reach a handler.
    let raw = b"GET /api/accounts/user/\xff/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let status = exchange(api.address(), raw).unwrap().status;
    assert!(matches!(status, 400 | 404), "{status}");
}

#[test]
fn ping_answers_anybody() {
    let usherd = Usherd::start();
    for api in [usherd.anonymous(), usherd.api()] {
        let answer = api.get("/ping/");
        assert_eq!((answer.status, answer.text().as_str()), (200, "\"pong\""));
        assert_eq!(answer.header("es_version"), None);
        assert_eq!(allow(&answer), ["GET", "OPTIONS"]);
    }
}

#[test]
fn wrong_credentials_are_refused_where_none_are_needed_but_an_old_token_is_none() {
    let world = World::new();
    world.create("nobody1", &json!({"dc_bound": false, "api_access": true}));
    let anonymous = world.usherd.anonymous();
    let good = json!({"username": "admin", "password": world.usherd.admin.password});
    let all = |api: &Api| {
        [
            api.post("/accounts/login/", &good),
            api.get("/accounts/login/"),
            api.send("OPTIONS", "/accounts/login/", &[], b""),
            api.get("/ping/"),
            api.send("OPTIONS", "/ping/", &[], b""),
        ]
    };
    let key = |key: &str| anonymous.clone().with_header("ES-API-KEY", key);
    let token = |value: &str| anonymous.clone().with_header("Authorization", value);
    for (api, text) in [
        (key("bad"), "Invalid API key"),
        (token("Token bad"), "Invalid token."),
        (token("Token"), "Invalid token header. No credentials provided."),
        (token("Token a b"), "Invalid token header. Token string should not contain spaces."),
    ] {
        for answer in all(&api) {
            assert_eq!(answer.detail(403), text);
            assert_eq!(answer.header("es_version"), None);
        }
    }
    let session = world.login("nobody1");
    let statuses = |api: &Api| all(api).map(|answer| answer.status);
    assert_eq!(statuses(&session), [200, 405, 200, 200, 200]);
    world.root.put("/accounts/user/nobody1/", &json!({"api_access": false})).result(200);
    for answer in all(&session) {
        assert_eq!(answer.detail(403), "User account is not allowed to access API");
    }
    world.root.put("/accounts/user/nobody1/", &json!({"api_access": true, "is_active": false})).result(200);
    for answer in all(&session) {
        assert_eq!(answer.detail(403), "User inactive or deleted.");
    }
    // A new password ends the session. What is left of it keeps nobody from logging in.
    world.root.put("/accounts/user/nobody1/", &json!({"is_active": true, "password": "pw-new"})).result(200);
    for old in [session, token("Token 0123456789012345678901234567890123456789"), token("Basic eDp5"), key("")] {
        assert_eq!(statuses(&old), [200, 405, 200, 200, 200]);
    }
}

#[test]
fn the_envelope_has_three_keys_and_its_headers() {
    let usherd = Usherd::start();
    let answer = usherd.api().get("/accounts/user/");
    let body = answer.json();
    let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["status", "result", "task_id"]);
    assert_eq!(body["status"], "SUCCESS");
    let id = body["task_id"].as_str().unwrap();
    assert!(id.starts_with("1d1u1-6f75849b-"), "{id}");
    assert_eq!(answer.header("es_task_id"), Some(id));
    assert_eq!(answer.header("es_username"), Some("admin"));
    assert_eq!(answer.header("es_dc"), Some("main"));
    assert!(answer.header("es_version").is_some_and(|version| !version.is_empty()));
    assert_eq!(answer.header("es_stream"), None);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_ne!(usherd.api().get("/accounts/user/").json()["task_id"], body["task_id"]);
}

#[test]
fn failures_have_an_envelope_and_refusals_have_none() {
    let usherd = Usherd::start();
    let failed = usherd.api().post("/accounts/user/bob/", &json!({}));
    assert_eq!((failed.status, &failed.json()["status"]), (400, &json!("FAILURE")));
    assert!(failed.header("es_task_id").is_some());
    let missing = usherd.api().get("/accounts/user/bob/");
    assert_eq!(missing.json(), json!({"detail": "User not found"}));
    assert_eq!(missing.header("es_task_id"), None);
    assert_eq!(missing.header("es_username"), Some("admin"));
    let anonymous = usherd.anonymous().get("/accounts/user/bob/");
    assert_eq!(anonymous.header("es_username"), Some(""));
    assert_eq!(anonymous.header("es_dc"), None);
}

#[test]
fn faults_are_found_in_the_contracts_order() {
    let usherd = Usherd::start();
    let (api, anonymous) = (usherd.api(), usherd.anonymous());
    let html = [("Accept", "text/html")];
    assert_eq!(anonymous.send("PATCH", "/nothing/", &html, b"").status, 404);
    let answer = anonymous.send("PATCH", "/accounts/user/bob/", &html, b"{bad");
    assert_eq!(answer.detail(406), "Could not satisfy the request Accept header.");
    assert_eq!(allow(&answer), ["DELETE", "GET", "OPTIONS", "POST", "PUT"]);
    let not_provided = "Authentication credentials were not provided.";
    for method in ["PATCH", "GET", "POST", "OPTIONS", "TRACE"] {
        let answer = anonymous.send(method, "/accounts/user/bob/", &[], b"");
        assert_eq!(answer.status, 403, "{method}");
        assert_eq!(answer.header("www-authenticate"), None);
        assert_eq!(answer.detail(403), not_provided);
    }
    let json = [("Content-Type", "application/json")];
    assert_eq!(anonymous.send("PUT", "/accounts/user/bob/", &json, b"{bad").detail(403), not_provided);
    assert_eq!(api.send("PATCH", "/accounts/user/bob/", &json, b"{bad").detail(405), "Method \"PATCH\" not allowed.");
    assert!(api.send("PUT", "/accounts/user/bob/", &json, b"{bad").detail(400).starts_with("JSON parse error - "));
    assert_eq!(api.send("PUT", "/accounts/user/bob/", &json, b"[]").detail(404), "User not found");
    assert_eq!(api.send("PUT", "/dc/nodc/group/x/", &json, b"{}").detail(405), "Method \"PUT\" not allowed.");
}

#[test]
fn head_is_not_allowed_and_says_what_is() {
    let usherd = Usherd::start();
    let answer = usherd.api().send("HEAD", "/accounts/user/admin/", &[], b"");
    assert_eq!((answer.status, answer.body.len()), (405, 0));
    assert_eq!(allow(&answer), ["DELETE", "GET", "OPTIONS", "POST", "PUT"]);
    assert_eq!(usherd.anonymous().send("HEAD", "/accounts/user/admin/", &[], b"").status, 403);
}

#[test]
fn options_describes_the_view() {
    let usherd = Usherd::start();
    let answer =
        usherd.api().send("OPTIONS", "/accounts/permission/x/", &[("Content-Type", "application/json")], b"{}");
    let body = answer.json();
    assert_eq!((answer.status, &body["name"]), (200, &json!("Permission Manage")));
    assert_eq!((&body["renders"], &body["parses"]), (&json!(["application/json"]), &json!(["application/json"])));
    assert!(body["description"].as_str().is_some_and(|text| !text.is_empty()));
    assert_eq!(allow(&answer), ["GET", "OPTIONS"]);
    assert_eq!(answer.header("es_username"), None);
    for (path, name) in [("/accounts/login/", "Api Login"), ("/accounts/logout/", "Api Logout"), ("/ping/", "Api Ping")]
    {
        assert_eq!(usherd.api().send("OPTIONS", path, &[], b"").json()["name"], name);
    }
}

#[test]
fn bodies_that_are_no_json_object_are_refused_and_change_nothing() {
    let usherd = Usherd::start();
    let api = usherd.api();
    let path = "/accounts/user/admin/";
    let before = api.get(path).result(200);
    let send = |kind: Option<&str>, body: &[u8]| {
        let headers: Vec<(&str, &str)> = kind.map(|kind| ("Content-Type", kind)).into_iter().collect();
        api.send("PUT", path, &headers, body)
    };
    let json = Some("application/json");
    for bad in [&b"{bad"[..], b" ", b"{\"a\":NaN}", b"\xff\xfe", b"{\"first_name\":\"\\ud800\"}", b"\xef\xbb\xbf{}"] {
        assert!(send(json, bad).detail(400).starts_with("JSON parse error - "), "{bad:?}");
    }
    assert_eq!(send(json, "[".repeat(200_000).as_bytes()).status, 400);
    let form = "application/x-www-form-urlencoded";
    let answer = send(Some(form), b"first_name=Eve").detail(415);
    assert_eq!(answer, format!("Unsupported media type \"{form}\" in request."));
    assert_eq!(send(None, b"{\"first_name\":\"Eve\"}").detail(415), "Unsupported media type \"\" in request.");
    for (body, message) in [("null", "No input provided"), ("[]", "Invalid data"), ("\"x\"", "Invalid data")] {
        assert_eq!(send(json, body.as_bytes()).result(400), json!({"non_field_errors": [message]}));
    }
    for kind in [None, Some("text/plain"), Some("application/json; indent=4; charset=utf-8")] {
        assert_eq!(send(kind, b"").result(200)["username"], "admin");
    }
    assert_eq!(send(Some("application/json; indent=4"), b"{\"unknown\": 1}").status, 200);
    assert_eq!(api.get(path).result(200), before);
}

#[test]
fn a_get_ignores_its_body_and_reads_its_query() {
    let usherd = Usherd::start();
    let api = usherd.api();
    let odd = [("Content-Type", "application/x-www-form-urlencoded")];
    let answer = api.send("GET", "/accounts/user/?full=false&full=True", &odd, b"{bad");
    assert_eq!(answer.result(200)[0]["username"], "admin");
    let put = api.send("PUT", "/accounts/user/admin/?first_name=Eve", &[("Content-Type", "application/json")], b"{}");
    assert_eq!(put.result(200)["first_name"], "Danube");
}

#[test]
fn answers_are_indented_when_asked_for_and_hold_the_same() {
    let usherd = Usherd::start();
    let api = usherd.api();
    let answer = api.send("GET", "/accounts/user/", &[("Accept", "application/json; indent=4")], b"");
    assert!(
        answer.text().starts_with("{\n    \"status\": \"SUCCESS\",\n    \"result\": [\n        \"admin\""),
        "{answer:?}"
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let error = api.send("GET", "/accounts/user/x/", &[("Accept", "application/json; indent=2")], b"");
    assert_eq!(error.text(), "{\n  \"detail\": \"User not found\"\n}");
}

#[test]
fn text_is_utf_8_with_line_separators_escaped() {
    let usherd = Usherd::start();
    let api = usherd.api();
    let name = "Ž\u{2028}ü";
    let ldif = format!(
        "dn: uid=odd,ou=people,{base}\nobjectClass: inetOrgPerson\nuid: odd\ncn: odd\n{}{}",
        crate::support::ldap::ldif_line("sn", name.as_bytes()),
        "",
        base = usherd.ldap().base_dn()
    );
    usherd.ldap().add(&ldif);
    let answer = crate::support::eventually(std::time::Duration::from_secs(10), "the user is seen", || {
        Some(api.get("/accounts/user/odd/")).filter(|answer| answer.status == 200)
    });
    assert!(answer.text().contains("Ž\\u2028ü"), "{answer:?}");
    assert_eq!(answer.result(200)["last_name"], name);
}

/// Python's `requests` sends everything at once with odd headers; they make no difference.
#[test]
fn the_headers_of_the_original_clients_are_taken() {
    let usherd = Usherd::start();
    let es = [
        ("User-Agent", "es/1.3.3"),
        ("Accept", "application/json; indent=4"),
        ("Content-Type", "application/json; indent=4"),
        ("ES-STREAM", "es"),
        ("Accept-Encoding", "gzip, deflate"),
    ];
    let api: Api = usherd.api();
    assert_eq!(api.send("GET", "/accounts/user/", &es, b"").result(200), json!(["admin"]));
    let user =
        json!({"first_name": "Bob", "last_name": "B", "email": "bob@example.com", "password": "pw", "dc": "main"});
    let created = api.send("POST", "/accounts/user/bob/", &es, user.to_string().as_bytes());
    assert_eq!(created.result(201)["username"], "bob");
    assert_eq!(created.header("es_stream"), None);
    assert_eq!(api.send("DELETE", "/accounts/user/bob/", &es, b"{}").result(200), Value::Null);
}
