//! Long lists: sent in pieces that together are what the pages are, at the pace of their reader, who holds up nobody.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBuf;
use serde_json::{Value, json};

use crate::bounds::memory;
use crate::support::http::encode;
use crate::support::{Api, Response, Usherd, eventually_true, load};

/// Whether the answer came in pieces, its length unknown before its end.
#[track_caller]
fn is_chunked(answer: &Response) -> bool {
    let chunked = answer.header("transfer-encoding") == Some("chunked");
    assert_ne!(chunked, answer.header("content-length").is_some(), "{:?}", answer.headers);
    chunked
}

/// The list at `path` page by page, `key` being what its objects are called by.
fn paged(api: &Api, path: &str, key: &str) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let last = all.last().map(|object| encode(object[key].as_str().unwrap()));
        let after = last.map(|name| format!("&after={name}")).unwrap_or_default();
        let answer = api.get(&format!("{path}&limit=97{after}"));
        assert!(!is_chunked(&answer), "a page is one piece");
        match answer.result(200).as_array().unwrap().as_slice() {
            [] => return all,
            page => all.extend_from_slice(page),
        }
    }
}

#[test]
fn long_lists_come_in_pieces_and_are_what_the_pages_are() {
    let mut groups = String::new();
    for n in 0..10 {
        let _ = write!(groups, "dn: cn=group{n},ou=groups,dc=example,dc=org\nobjectClass: usherGroup\ncn: group{n}\n");
        for user in 0..1200 {
            let _ = writeln!(groups, "member: uid=user{user},ou=people,dc=example,dc=org");
        }
        groups.push('\n');
    }
    let usherd = load::users_and(2000, &groups);
    let api = usherd.api();
    for (path, key, count) in [
        ("/accounts/user/?full=true", "username", 2001),
        ("/accounts/user/?extended=true&order_by=-created", "username", 2001),
        ("/accounts/user/profile/?", "username", 2001),
        ("/dc/main/user/?full=true", "username", 2001),
        ("/accounts/group/?full=true", "name", 10),
    ] {
        let answer = api.get(path);
        assert!(is_chunked(&answer), "{path}");
        let list = answer.result(200);
        assert!(list.as_array().unwrap().len() >= count, "{path}");
        if key == "username" {
            assert!(list == Value::Array(paged(&api, path, key)), "{path}");
        }
        let task_id = answer.header("es_task_id").unwrap();
        assert_eq!(answer.header("es_username"), Some("admin"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let whole = json!({"status": "SUCCESS", "result": list, "task_id": task_id});
        assert!(answer.body == whole.to_string().as_bytes(), "{path}: the bytes of the envelope");

        let answer = api.send("GET", path, &[("Accept", "application/json; indent=4")], b"");
        assert!(is_chunked(&answer), "{path}");
        let whole = json!({"status": "SUCCESS", "result": list, "task_id": answer.header("es_task_id").unwrap()});
        let expected = serde_json::to_string_pretty(&whole).unwrap().replace("  ", "    ");
        assert!(answer.body == expected.as_bytes(), "{path}: indented");
    }
    let names = api.get("/accounts/user/");
    let full = api.get("/accounts/user/?full=true").result(200);
    let expected: Vec<&Value> = full.as_array().unwrap().iter().map(|user| &user["username"]).collect();
    assert_eq!(names.result(200), json!(expected));
    assert!(!is_chunked(&names), "a list that fits in one piece is one");
    assert!(over_http_2(&usherd, "/api/accounts/user/?full=true") == full, "HTTP/2");
}

/// `result` of the answer to a GET over HTTP/2.
fn over_http_2(usherd: &Usherd, path: &str) -> Value {
    let uri = format!("http://{}{path}", usherd.anonymous().address());
    let request = hyper::Request::get(uri).header("ES-API-KEY", &usherd.admin.api_key).body(Empty::<Bytes>::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(usherd.anonymous().address()).await.unwrap();
        let client = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut client, connection) = client.unwrap();
        tokio::spawn(connection);
        let answer = client.send_request(request.unwrap()).await.unwrap();
        assert_eq!(answer.headers().get("content-length"), None);
        answer.into_body().collect().await.unwrap().to_bytes()
    });
    serde_json::from_slice::<Value>(&body).unwrap()["result"].clone()
}

/// A client that asked for the profiles of all and has read the first bytes of the answer.
fn stalled(usherd: &Usherd) -> TcpStream {
    let mut stream = TcpStream::connect(usherd.anonymous().address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // Else the kernel reads on for the client: some megabytes of it.
    setsockopt(&stream, RcvBuf, &(32 << 10)).unwrap();
    let key = &usherd.admin.api_key;
    write!(
        stream,
        "GET /api/accounts/user/profile/ HTTP/1.1\r\nHost: x\r\nES-API-KEY: {key}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    stream
}

/// Open connections as the daemon counts them, that of the question among them.
fn connections(usherd: &Usherd) -> u64 {
    let metrics = usherd.api().root().get("/metrics").text();
    let line = metrics.lines().find_map(|line| line.strip_prefix("usher_http_connections ")).expect("it is counted");
    line.trim().parse().unwrap()
}

#[test]
fn clients_that_stop_reading_or_go_away_cost_the_others_nothing() {
    const STALLED: usize = 16;
    // Some 5 MB of profiles each: more than the sockets' buffers take.
    let usherd = load::users(8000);
    let api = usherd.api();
    let whole = api.get("/accounts/user/profile/");
    assert!(whole.body.len() > 5 << 20);
    let before = memory(&usherd);
    let mut clients: Vec<TcpStream> = (0..STALLED).map(|_| stalled(&usherd)).collect();
    for n in 0..10 {
        let start = Instant::now();
        let user = format!("/accounts/user/user{}/", 100 + n);
        let name = format!("Changed{n}");
        assert_eq!(api.put(&user, &json!({"first_name": name})).result(200)["first_name"], json!(name));
        assert_eq!(api.get(&user).result(200)["first_name"], json!(name));
        assert_eq!(api.get("/accounts/user/?full=true&limit=50").result(200).as_array().unwrap().len(), 50);
        assert!(start.elapsed() < Duration::from_secs(5), "others wait: {:?}", start.elapsed());
    }
    let grown = memory(&usherd).saturating_sub(before);
    assert!(grown < 24 << 10, "{grown} KiB for {STALLED} lists that nobody reads");
    assert!(connections(&usherd) > u64::try_from(STALLED).unwrap(), "all of them are still there");

    // One goes on after all: its list is complete.
    let mut rest = Vec::new();
    clients.pop().unwrap().read_to_end(&mut rest).unwrap();
    assert!(rest.len() > whole.body.len());
    assert!(rest.ends_with(b"\"}\r\n0\r\n\r\n"), "the last chunk has come");
    // The others go away.
    drop(clients);
    eventually_true(Duration::from_secs(10), "their connections end", || connections(&usherd) == 1);
    let again = api.get("/accounts/user/profile/");
    assert_eq!(again.result(200).as_array().unwrap().len(), whole.result(200).as_array().unwrap().len());
}
