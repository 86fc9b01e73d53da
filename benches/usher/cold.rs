//! A cold start with many users: from the start of the process to its ready line, beside `ldapsearch` of the same
//! attributes from the same server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use serde_json::json;

use crate::Sample;
use crate::support::{Usherd, load};

const RUNS: usize = 5;
/// The attributes that `ldapsearch` is asked for: those that such a user has and the replica reads.
const ATTRIBUTES: [&str; 9] =
    ["uid", "cn", "sn", "givenName", "mail", "sshPublicKey", "usherNumber", "entryUUID", "entryCSN"];

pub(crate) fn run() {
    let users: usize = std::env::var("USHER_BENCH_USERS").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let usherd = load::users(users);
    let (mut ready, mut search) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        let start = Instant::now();
        let second = usherd.second(&format!("cold{run}"));
        ready.push(start.elapsed());
        assert_eq!(second.api().get(&format!("/accounts/user/user{}/", users - 1)).status, 200);
        if run == 0 {
            crate::report("memory", json!({"users": users, "resident_mib": resident_mib(second.pid().as_raw())}));
            lists(&second, users);
        }
        drop(second);
        let start = Instant::now();
        let entries = usherd.ldap().run(
            "ldapsearch",
            &[&["-LLL", "-b", "dc=example,dc=org", "(objectClass=inetOrgPerson)"][..], &ATTRIBUTES[..]].concat(),
            b"",
        );
        search.push(start.elapsed());
        assert!(entries.status.success());
    }
    let (ready, search) = (Sample::new(ready), Sample::new(search));
    crate::report(
        "cold_start",
        json!({"users": users, "ready_ms": ready.percentile_ms(50), "ldapsearch_ms": search.percentile_ms(50),
               "ratio": (ready.percentile_ms(50) / search.percentile_ms(50) * 1e3).round() / 1e3}),
    );
}

/// The full list of all users: its first byte, and the whole of it.
fn lists(usherd: &Usherd, users: usize) {
    let (address, key) = (usherd.anonymous().address().to_owned(), &usherd.admin.api_key);
    let request = format!(
        "GET /api/accounts/user/?full=true HTTP/1.1\r\nHost: x\r\nES-API-KEY: {key}\r\nConnection: close\r\n\r\n"
    );
    let (mut first, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let mut stream = TcpStream::connect(&address).unwrap();
        let start = Instant::now();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = vec![0; 1];
        stream.read_exact(&mut answer).unwrap();
        first.push(start.elapsed());
        stream.read_to_end(&mut answer).unwrap();
        whole.push(start.elapsed());
        assert!(answer.starts_with(b"HTTP/1.1 200 ") && answer.len() > users * 100);
    }
    crate::report(
        "full_list",
        json!({"users": users, "first_byte_ms": Sample::new(first).percentile_ms(50),
               "whole_ms": Sample::new(whole).percentile_ms(50)}),
    );
}

/// Resident memory of a process, in MiB.
fn resident_mib(pid: i32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse().unwrap();
    (kib / 102.4).round() / 10.0
}
