//! Clients that send too much, too slowly or nothing at all: bounded, answered where that is possible, and no harm to
//! others.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::http::exchange;
use crate::support::{Api, Usherd, eventually_true};
use crate::world::World;

const TOO_LARGE: &str = "Request body too large.";

fn connect(usherd: &Usherd) -> TcpStream {
    let stream = TcpStream::connect(usherd.anonymous().address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Resident memory of the daemon, in KiB.
pub(crate) fn memory(usherd: &Usherd) -> u64 {
    status(usherd, "VmRSS:")
}

/// The most that it ever was.
fn peak(usherd: &Usherd) -> u64 {
    status(usherd, "VmHWM:")
}

fn status(usherd: &Usherd, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", usherd.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn bodies_over_the_limit_are_refused_and_smaller_ones_are_not() {
    let usherd = Usherd::start();
    let api = usherd.api();
    let json = [("Content-Type", "application/json")];
    let body = |size: usize| format!("{{\"unknown\":\"{}\"}}", "x".repeat(size - 14)).into_bytes();
    assert_eq!(api.send("PUT", "/accounts/user/admin/", &json, &body(1 << 20)).status, 200);
    for size in [(1 << 20) + 1, 10 << 20] {
        assert_eq!(api.send("PUT", "/accounts/user/admin/", &json, &body(size)).detail(413), TOO_LARGE);
    }
    let login = usherd.anonymous().send("POST", "/accounts/login/", &json, &body(2 << 20));
    assert_eq!(login.detail(413), TOO_LARGE);
    // Who is not known is refused for that, and gets to read it.
    let anonymous = usherd.anonymous().send("PUT", "/accounts/user/admin/", &json, &body(10 << 20));
    assert_eq!(anonymous.status, 403);
}

#[test]
fn a_chunked_body_without_end_is_cut_off() {
    let usherd = Usherd::start();
    let before = memory(&usherd);
    let mut stream = connect(&usherd);
    let key = &usherd.admin.api_key;
    let head = format!(
        "PUT /api/accounts/user/admin/ HTTP/1.1\r\nHost: x\r\nES-API-KEY: {key}\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    let mut sent = 0_usize;
    while sent < 1 << 30 && stream.write_all(&chunk).is_ok() {
        sent += 0x10000;
    }
    assert!(sent < 256 << 20, "{sent} bytes were taken");
    let grown = memory(&usherd).saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB");
    assert_eq!(usherd.api().get("/accounts/user/").status, 200);
}

#[test]
fn bodies_that_grow_when_they_are_read_share_what_there_is_for_all() {
    let usherd = Usherd::start();
    let before = peak(&usherd);
    let body = format!("{{\"username\":\"a\",\"password\":\"b\",\"x\":[{}1]}}", "1,".repeat(520_000));
    let json = [("Content-Type", "application/json")];
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let logins: Vec<_> = (0..24)
            .map(|_| scope.spawn(|| usherd.anonymous().send("POST", "/accounts/login/", &json, body.as_bytes()).status))
            .collect();
        logins.into_iter().map(|login| login.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| matches!(status, 400 | 503)) && statuses.contains(&503), "{statuses:?}");
    let grown = peak(&usherd) - before;
    assert!(grown < 400 << 10, "{grown} KiB");
    assert_eq!(usherd.anonymous().send("POST", "/accounts/login/", &json, body.as_bytes()).status, 400);
}

#[test]
fn a_chunked_body_that_is_too_large_is_answered() {
    let usherd = Usherd::start();
    let key = &usherd.admin.api_key;
    let mut request = format!(
        "PUT /api/accounts/user/admin/ HTTP/1.1\r\nHost: x\r\nES-API-KEY: {key}\r\nContent-Type: application/json\r\n\
         Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for _ in 0..32 {
        request.extend_from_slice(b"10000\r\n");
        request.resize(request.len() + 0x10000, b' ');
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(exchange(usherd.anonymous().address(), &request).unwrap().detail(413), TOO_LARGE);
}

#[test]
fn a_client_that_asks_first_is_told_before_it_sends() {
    let usherd = Usherd::start();
    let mut stream = connect(&usherd);
    let key = &usherd.admin.api_key;
    let head = format!(
        "PUT /api/accounts/user/admin/ HTTP/1.1\r\nHost: x\r\nES-API-KEY: {key}\r\nContent-Type: application/json\r\n\
         Expect: 100-continue\r\nContent-Length: 104857600\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[test]
fn heads_that_are_too_large_get_a_bare_431() {
    let usherd = Usherd::start();
    let api = usherd.anonymous();
    let value = "x".repeat(100_000);
    let many: Vec<String> = (0..100_000).map(|n| format!("h{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "x")).collect();
    let some: Vec<(&str, &str)> = many[..200].to_vec();
    for headers in [vec![("X-Long", value.as_str())], many, some] {
        assert_eq!(api.send("GET", "/ping/", &headers, b"").status, 431, "{} headers", headers.len());
    }
    for garbage in
        [&b"GARBAGE\r\n\r\n"[..], b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"]
    {
        let answer = exchange(api.address(), garbage);
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 400), "{garbage:?}");
    }
    assert_eq!(api.get("/ping/").status, 200);
}

#[test]
fn connections_that_do_nothing_or_little_end() {
    let usherd = Usherd::builder().env("USHER__HTTP__IDLE_SECONDS", "1").start();
    let silent: Vec<TcpStream> = (0..50).map(|_| connect(&usherd)).collect();
    let mut dripping: Vec<TcpStream> = (0..50).map(|_| connect(&usherd)).collect();
    let mut preface = connect(&usherd);
    preface.write_all(b"PRI * HT").unwrap();
    let mut kept = connect(&usherd);
    kept.write_all(b"GET /api/ping HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let start = Instant::now();
    let mut letters = b"GET /api/ping HTTP/1.1\r\nX-Slow: ".iter().copied().chain(std::iter::repeat(b'a'));
    while start.elapsed() < Duration::from_secs(15) && !dripping.is_empty() {
        let letter = [letters.next().unwrap()];
        dripping.retain_mut(|stream| stream.write_all(&letter).is_ok());
        let others = Instant::now();
        assert_eq!(usherd.anonymous().get("/ping/").status, 200);
        assert!(others.elapsed() < Duration::from_secs(1), "others wait");
        // the client that is tried is a slow one
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(dripping.is_empty(), "{} slow connections live on", dripping.len());
    for mut stream in silent.into_iter().chain([preface, kept]) {
        let mut rest = Vec::new();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        if let Err(error) = stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        }
    }
}

#[test]
fn more_connections_than_the_limit_wait_and_are_served() {
    let usherd =
        Usherd::builder().env("USHER__HTTP__MAX_CONNECTIONS", "8").env("USHER__HTTP__IDLE_SECONDS", "1").start();
    let _silent: Vec<TcpStream> = (0..32).map(|_| connect(&usherd)).collect();
    eventually_true(Duration::from_secs(20), "a waiting connection is served", || {
        usherd.anonymous().try_send("GET", "/ping/", &[], b"").is_ok_and(|answer| answer.status == 200)
    });
}

/// The answer of the lookup socket to a question for the keys of `user`.
fn lookup(usherd: &Usherd, user: &str) -> String {
    let mut stream = UnixStream::connect(&usherd.admin.keys_socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(format!("keys/1 {user}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn idle_connections_leave_open_files_for_lookups() {
    let usherd = Usherd::builder().open_files(128).start();
    let answer = lookup(&usherd, "admin");
    assert_eq!(answer, "keys 0 0\nend\n");
    // More than the limit leaves room for, and no more than wait to be accepted.
    let _idle: Vec<TcpStream> = (0..120).map(|_| connect(&usherd)).collect();
    for _ in 0..20 {
        assert_eq!(lookup(&usherd, "admin"), answer);
    }
}

#[test]
fn one_address_cannot_have_every_connection() {
    let usherd = Usherd::builder().env("USHER__HTTP__MAX_CONNECTIONS", "100").start();
    let mut idle: Vec<TcpStream> = (0..64).map(|_| connect(&usherd)).collect();
    for stream in &mut idle {
        stream.write_all(b"GET /api/ping HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 12]).unwrap();
    }
    assert!(usherd.anonymous().try_send("GET", "/ping/", &[], b"").is_err());
    drop(idle);
    eventually_true(Duration::from_secs(10), "there is room again", || {
        usherd.anonymous().try_send("GET", "/ping/", &[], b"").is_ok_and(|answer| answer.status == 200)
    });
}

#[test]
fn one_user_cannot_have_every_write() {
    let world = World::on(Usherd::builder().env("USHER__DIRECTORY__OPERATION_TIMEOUT_MS", "2000").start());
    let (plain, other) = (world.login("u1"), world.login("u2"));
    // Without an answer of the directory's, every write takes its time.
    world.usherd.signal_slapd(Signal::SIGSTOP);
    let put =
        |api: &Api, name: &str| api.put(&format!("/accounts/user/{name}/"), &json!({"callback_key": true})).detail(503);
    let texts: Vec<String> = std::thread::scope(|scope| {
        let writes: Vec<_> = (0..200).map(|_| scope.spawn(|| put(&plain, "u1"))).collect();
        writes.into_iter().map(|write| write.join().unwrap()).collect()
    });
    let refused = texts.iter().filter(|text| text.starts_with("Too many changes")).count();
    assert!((1..=200 - 128).contains(&refused), "{refused}");
    assert!(put(&other, "u2").starts_with("The directory is unavailable."));
    world.usherd.signal_slapd(Signal::SIGCONT);
}

#[test]
fn a_write_is_done_even_if_the_client_goes_away() {
    let usherd = Usherd::start();
    let body = json!({"first_name": "Bob", "last_name": "B", "email": "bob@example.com", "password": "pw",
        "dc_bound": false})
    .to_string();
    let key = &usherd.admin.api_key;
    let request = format!(
        "POST /api/accounts/user/bob/ HTTP/1.1\r\nHost: x\r\nES-API-KEY: {key}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = connect(&usherd);
    stream.write_all(request.as_bytes()).unwrap();
    // The request is there before the end of the connection is.
    drop(stream);
    eventually_true(Duration::from_secs(10), "the user is there", || {
        usherd.api().get("/accounts/user/bob/").status == 200
    });
    eventually_true(Duration::from_secs(10), "the write is in the log", || {
        usherd.api().get("/task/log/").json()["results"][0]["msg"] == "Create user"
    });
}

#[test]
fn http_2_is_spoken_without_asking() {
    let usherd = Usherd::start();
    let mut stream = connect(&usherd);
    // The client's preface and an empty SETTINGS frame (RFC 9113, 3.4); a SETTINGS frame must come back.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!((frame[3], &frame[5..]), (4, &[0; 4][..]));
}
