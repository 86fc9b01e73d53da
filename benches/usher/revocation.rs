//! From the acknowledgement of a key's removal to the first answer without it, asked over the lookup socket without a
//! pause: by the API, where no answer may be too late, and by an LDAP client.

use std::time::{Duration, Instant};

use ldap3::Mod;
use serde_json::json;

use crate::Sample;
use crate::ldap::{Bare, one};
use crate::support::{Usherd, eventually_true};

const RUNS: usize = 200;

pub(crate) fn run() {
    let usherd = Usherd::start();
    let api = usherd.api();
    crate::create_user(&api, "bench", crate::KEY);
    let socket = usherd.admin.keys_socket.clone();
    let shown = || lookup(&socket, "bench").contains("AAAAC3");

    let (mut late, mut whole) = (0, Vec::new());
    for _ in 0..RUNS {
        eventually_true(Duration::from_secs(5), "the key is handed out", shown);
        let start = Instant::now();
        api.delete("/accounts/user/bench/sshkey/k/").result(200);
        late += usize::from(shown());
        whole.push(start.elapsed());
        api.post("/accounts/user/bench/sshkey/k/", &json!({"key": crate::KEY})).result(201);
    }
    crate::report(
        "revocation_by_api",
        json!({"still_handed_out_after_the_answer": late, "request_to_refusal": Sample::new(whole).median_and_p99()}),
    );

    let mut ldap = Bare::connect(&usherd);
    let dn = "uid=bench,ou=people,dc=example,dc=org";
    let mut delays = Vec::new();
    for _ in 0..RUNS {
        eventually_true(Duration::from_secs(5), "the key is handed out", shown);
        ldap.modify(dn, Mod::Delete("sshPublicKey", one(crate::KEY)));
        let acknowledged = Instant::now();
        while shown() {
            assert!(acknowledged.elapsed() < Duration::from_secs(5), "never revoked");
        }
        delays.push(acknowledged.elapsed());
        ldap.modify(dn, Mod::Add("sshPublicKey", one(crate::KEY)));
    }
    crate::report("revocation_by_ldapmodify", Sample::new(delays).median_and_p99());
}

/// The keys that the helper would print, by the helper itself: its run is part of the delay that a login sees.
fn lookup(socket: &std::path::Path, user: &str) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_usher-authorized-keys"))
        .arg("--socket")
        .arg(socket)
        .arg(user)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
