//! A cold start with many users: from the start of the process to its ready line, beside `ldapsearch` of the same
//! attributes from the same server.

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Sample;
use crate::support::Usherd;

const RUNS: usize = 5;
/// The attributes that `ldapsearch` is asked for: those that such a user has and the replica reads.
const ATTRIBUTES: [&str; 9] =
    ["uid", "cn", "sn", "givenName", "mail", "sshPublicKey", "usherNumber", "entryUUID", "entryCSN"];

pub(crate) fn run() {
    let users: usize = std::env::var("USHER_BENCH_USERS").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let usherd = load(users);
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

/// A daemon on a directory with `users` users of two keys each, loaded by slapadd.
fn load(users: usize) -> Usherd {
    let mut usherd = Usherd::start();
    usherd.stop();
    let mut ldif = String::new();
    for n in 0..users {
        let _ = write!(
            ldif,
            "dn: uid=user{n},ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nobjectClass: ldapPublicKey\n\
             objectClass: usherAccount\nuid: user{n}\ncn: User {n}\nsn: {n}\ngivenName: User\n\
             mail: user{n}@example.com\nusherNumber: {}\nsshPublicKey: {}\nsshPublicKey: {}\n\n",
            n + 1000,
            key(2 * n),
            key(2 * n + 1),
        );
    }
    let file = usherd.scratch().join("users.ldif");
    std::fs::write(&file, ldif).unwrap();
    let status = Command::new("/usr/sbin/slapadd")
        .args(["-q", "-f", "slapd.conf", "-l"])
        .arg(&file)
        // the configuration's paths are relative to the data directory
        .current_dir(usherd.data_dir())
        .status()
        .unwrap();
    assert!(status.success());
    // slapadd ran as this user; the database belongs to the one that owns its directory
    let status = Command::new("sh")
        .arg("-c")
        .arg("find \"$1\" -name '*.mdb' -exec chown --reference=\"$1/db\" {} +")
        .args(["sh", usherd.data_dir().to_str().unwrap()])
        .status()
        .unwrap();
    assert!(status.success());
    usherd.start_again();
    usherd
}

/// A well-formed key that no other user has.
fn key(n: usize) -> String {
    let mut blob = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20".to_vec();
    blob.extend(n.to_be_bytes());
    blob.extend([7; 24]);
    format!("ssh-ed25519 {} user@host", base64(&blob))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let n = chunk.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = DIGITS[(n >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

/// The full list of all users.
fn lists(usherd: &Usherd, users: usize) {
    let times = (0..RUNS).map(|_| {
        let start = Instant::now();
        let answer = usherd.api().get("/accounts/user/?full=true");
        assert!(answer.status == 200 && answer.body.len() > users * 100);
        start.elapsed()
    });
    let times: Vec<Duration> = times.collect();
    crate::report("full_list", json!({"users": users, "whole_ms": Sample::new(times).percentile_ms(50)}));
}

/// Resident memory of a process, in MiB.
fn resident_mib(pid: i32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse().unwrap();
    (kib / 102.4).round() / 10.0
}
