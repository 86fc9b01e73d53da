//! A directory with many users, for what only shows with many.

use std::fmt::Write as _;
use std::process::Command;

use super::Usherd;

/// A daemon on a directory with `count` users of two keys each besides its own: `user0` and so on, loaded by slapadd,
/// which is faster by far than adding them.
pub(crate) fn users(count: usize) -> Usherd {
    users_and(count, "")
}

/// The same with the entries of `more` (LDIF) after the users.
pub(crate) fn users_and(count: usize, more: &str) -> Usherd {
    let mut usherd = Usherd::start();
    usherd.stop();
    let mut ldif = String::new();
    for n in 0..count {
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
    ldif.push_str(more);
    let file = usherd.scratch().join("users.ldif");
    std::fs::write(&file, ldif).unwrap();
    let status = Command::new("/usr/sbin/slapadd")
        // paths in slapd.conf are relative to where the daemon starts slapd
        .current_dir(usherd.data_dir())
        .args(["-q", "-f", "slapd.conf", "-l"])
        .arg(&file)
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
