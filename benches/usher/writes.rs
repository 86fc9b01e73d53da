//! Writes by the API beside a bare LDAP client that sends the same operations to the same server.

use std::time::Instant;

use ldap3::Mod;
use serde_json::json;

use crate::ldap::{Bare, one};
use crate::support::Usherd;

const WRITERS: usize = 4;
const WRITES: usize = 100;
const ROUNDS: usize = 5;

pub(crate) fn run() {
    let usherd = Usherd::start();
    let api = usherd.api();
    for w in 0..WRITERS {
        crate::create_user(&api, &format!("api{w}"), crate::KEY);
        crate::create_user(&api, &format!("ldap{w}"), crate::KEY);
    }
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(in_parallel(|w| {
            let api = api.clone();
            move |n| {
                api.put(&format!("/accounts/user/api{w}/profile/"), &json!({"city": format!("c{n}")})).result(200);
            }
        }));
        bare.push(in_parallel(|w| {
            let mut ldap = Bare::connect(&usherd);
            let dn = format!("uid=ldap{w},ou=people,dc=example,dc=org");
            move |n| {
                let city = format!("c{n}");
                ldap.modify(&dn, Mod::Replace("l", one(&city)));
            }
        }));
    }
    let (ours, bare) = (crate::median(ours), crate::median(bare));
    crate::report(
        "writes",
        json!({"api_per_s": ours.round(), "bare_client_per_s": bare.round(), "ratio": (ours / bare * 1e3).round() / 1e3,
               "writers": WRITERS}),
    );
}

/// Writes a second of all writers together.
fn in_parallel<W: FnMut(usize) + Send>(writer: impl Fn(usize) -> W) -> f64 {
    let writers: Vec<W> = (0..WRITERS).map(writer).collect();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for mut write in writers {
            scope.spawn(move || (0..WRITES).for_each(&mut write));
        }
    });
    (WRITERS * WRITES) as f64 / start.elapsed().as_secs_f64()
}
