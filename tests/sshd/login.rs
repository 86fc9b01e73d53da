//! From the API and the directory to a login: a real `usherd dev`, its slapd, the helper, sshd and the client.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::server::{ACCOUNT, ClientKey, Sshd, possible};
use super::support::{TempDir, Usherd, eventually_true};

/// How soon a change by an LDAP tool must show; the push itself takes a millisecond.
const SOON: Duration = Duration::from_secs(5);

/// A daemon with the user `name`, without keys.
fn usherd_with(name: &str) -> Usherd {
    let usherd = Usherd::start();
    create_user(&usherd, name);
    usherd
}

fn create_user(usherd: &Usherd, name: &str) {
    let body = json!({
        "email": format!("{name}@example.org"), "password": "a long password", "first_name": "A", "last_name": "B",
        "dc_bound": false,
    });
    usherd.api().post(&format!("/accounts/user/{name}/"), &body).result(201);
}

fn add_key(usherd: &Usherd, user: &str, title: &str, mut body: Value, key: &ClientKey) -> Value {
    body["key"] = json!(key.public);
    usherd.api().post(&format!("/accounts/user/{user}/sshkey/{title}/"), &body).result(201)
}

fn dn(usherd: &Usherd, user: &str) -> String {
    format!("uid={user},ou=people,{}", usherd.ldap().base_dn())
}

fn modify(usherd: &Usherd, user: &str, change: &str) {
    usherd.ldap().modify(&format!("dn: {}\nchangetype: modify\n{change}\n", dn(usherd, user)));
}

fn generate(directory: &Path, name: &str) -> ClientKey {
    ClientKey::generate(directory, name, &["-t", "ed25519"])
}

/// What the helper prints for `user`; it must know.
#[track_caller]
fn printed(usherd: &Usherd, user: &str, fingerprint: Option<&str>) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_usher-authorized-keys"));
    command.env_clear().arg("--socket").arg(&usherd.admin.keys_socket).arg(user).args(fingerprint);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_registered_key_lets_its_holder_in_until_it_is_deleted_and_no_other_key_does() {
    if !possible() {
        return;
    }
    let usherd = usherd_with(ACCOUNT);
    let sshd = Sshd::with_fingerprints(&usherd.admin.keys_socket);
    let (mine, other) = (generate(sshd.scratch(), "mine"), generate(sshd.scratch(), "other"));
    assert!(!sshd.lets_in(&mine));
    add_key(&usherd, ACCOUNT, "k1", json!({}), &mine);
    assert!(sshd.lets_in(&mine));
    assert!(!sshd.lets_in(&other));
    add_key(&usherd, ACCOUNT, "k2", json!({}), &other);
    assert!(sshd.lets_in(&other));
    usherd.api().delete(&format!("/accounts/user/{ACCOUNT}/sshkey/k1/")).result(200);
    assert!(!sshd.lets_in(&mine));
    assert!(sshd.lets_in(&other));
    usherd.api().delete(&format!("/accounts/user/{ACCOUNT}/")).result(200);
    assert!(!sshd.lets_in(&other));
}

#[test]
fn a_disabled_account_has_no_keys_until_it_is_enabled_again() {
    if !possible() {
        return;
    }
    let usherd = usherd_with(ACCOUNT);
    let sshd = Sshd::with_fingerprints(&usherd.admin.keys_socket);
    let key = generate(sshd.scratch(), "k");
    add_key(&usherd, ACCOUNT, "k", json!({}), &key);
    let path = format!("/accounts/user/{ACCOUNT}/");
    usherd.api().put(&path, &json!({"is_active": false})).result(200);
    assert_eq!(printed(&usherd, ACCOUNT, None), "");
    assert!(!sshd.lets_in(&key));
    usherd.api().put(&path, &json!({"is_active": true})).result(200);
    assert!(sshd.lets_in(&key));
}

#[test]
fn every_way_to_disable_an_account_in_the_directory_takes_its_keys_away() {
    let usherd = usherd_with("bob");
    let temp = TempDir::new();
    let key = generate(temp.path(), "k");
    add_key(&usherd, "bob", "k", json!({}), &key);
    let line = format!("{}\n", key.public);
    modify(&usherd, "bob", "add: objectClass\nobjectClass: shadowAccount");
    for attribute in
        ["usherActive: FALSE", "pwdAccountLockedTime: 000001010000Z", "pwdEndTime: 20200101000000Z", "shadowExpire: 1"]
    {
        let name = attribute.split_once(':').unwrap().0;
        assert_eq!(printed(&usherd, "bob", None), line);
        modify(&usherd, "bob", &format!("replace: {name}\n{attribute}"));
        eventually_true(SOON, attribute, || printed(&usherd, "bob", None).is_empty());
        // Absent again, as before; a new user has usherActive.
        modify(&usherd, "bob", &format!("delete: {name}"));
        eventually_true(SOON, "the keys are back", || printed(&usherd, "bob", None) == line);
    }
    // Wrong passwords concern passwords.
    modify(
        &usherd,
        "bob",
        "replace: pwdAccountLockedTime\npwdAccountLockedTime: 20200101000000Z\n-\nreplace: sn\nsn: Seen",
    );
    eventually_true(SOON, "the change shows", || {
        usherd.api().get("/accounts/user/bob/").result(200)["last_name"] == "Seen"
    });
    assert_eq!(printed(&usherd, "bob", None), line);
}

#[test]
fn a_key_that_an_ldap_tool_adds_lets_its_holder_in_and_its_removal_shuts_him_out() {
    if !possible() {
        return;
    }
    let usherd = usherd_with(ACCOUNT);
    let sshd = Sshd::with_fingerprints(&usherd.admin.keys_socket);
    let (first, second) = (generate(sshd.scratch(), "first"), generate(sshd.scratch(), "second"));
    add_key(&usherd, ACCOUNT, "k1", json!({}), &first);
    modify(&usherd, ACCOUNT, &format!("add: sshPublicKey\nsshPublicKey: {}", second.public));
    eventually_true(SOON, "the second key is there", || printed(&usherd, ACCOUNT, None).contains(&second.public));
    assert!(sshd.lets_in(&second));
    assert!(sshd.lets_in(&first));
    let titles = usherd.api().get(&format!("/accounts/user/{ACCOUNT}/sshkey/")).result(200);
    assert_eq!(titles, json!(["k1", "second"]));
    modify(&usherd, ACCOUNT, &format!("delete: sshPublicKey\nsshPublicKey: {}", second.public));
    eventually_true(SOON, "the second key is gone", || !printed(&usherd, ACCOUNT, None).contains(&second.public));
    assert!(!sshd.lets_in(&second));
    assert!(sshd.lets_in(&first));
}

#[test]
fn a_key_expires_for_the_helper_and_for_sshd() {
    if !possible() {
        return;
    }
    let usherd = usherd_with(ACCOUNT);
    let sshd = Sshd::with_fingerprints(&usherd.admin.keys_socket);
    let (brief, long) = (generate(sshd.scratch(), "brief"), generate(sshd.scratch(), "long"));
    // Long enough for the login in between on a busy machine.
    let end = std::time::SystemTime::now() + Duration::from_secs(8);
    let seconds = end.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let date = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ", "-d", &format!("@{seconds}")]).output().unwrap();
    let date = String::from_utf8(date.stdout).unwrap().trim().to_owned();
    add_key(&usherd, ACCOUNT, "long", json!({"expires": "2099-01-01T00:00:00Z"}), &long);
    add_key(&usherd, ACCOUNT, "brief", json!({"expires": date}), &brief);
    assert!(printed(&usherd, ACCOUNT, None).contains("expiry-time=\"20990101000000Z\" ssh-ed25519 "));
    assert!(sshd.lets_in(&brief));
    eventually_true(Duration::from_secs(20), "the key expires", || {
        !printed(&usherd, ACCOUNT, None).contains(&brief.public)
    });
    assert!(!sshd.lets_in(&brief));
    assert!(sshd.lets_in(&long));
}

#[test]
fn options_reach_sshd() {
    if !possible() {
        return;
    }
    let usherd = usherd_with(ACCOUNT);
    let sshd = Sshd::with_fingerprints(&usherd.admin.keys_socket);
    let (near, far) = (generate(sshd.scratch(), "near"), generate(sshd.scratch(), "far"));
    add_key(&usherd, ACCOUNT, "near", json!({"options": ["Restrict", "from=\"127.0.0.0/8\""]}), &near);
    add_key(&usherd, ACCOUNT, "far", json!({"options": ["command=\"a \\\"b\\\"\"", "from=\"10.0.0.0/8\""]}), &far);
    let lines = printed(&usherd, ACCOUNT, None);
    assert!(lines.contains(&format!("restrict,from=\"127.0.0.0/8\" {}\n", near.public)), "{lines}");
    assert!(lines.contains(&format!("command=\"a \\\"b\\\"\",from=\"10.0.0.0/8\" {}\n", far.public)), "{lines}");
    assert!(sshd.lets_in(&near));
    assert!(!sshd.lets_in(&far));
}

#[test]
fn fifty_keys_are_all_good_and_a_fingerprint_picks_one() {
    if !possible() {
        return;
    }
    let usherd = usherd_with(ACCOUNT);
    let sshd = Sshd::with_fingerprints(&usherd.admin.keys_socket);
    let all = Sshd::start(&usherd.admin.keys_socket, "%u");
    // More than the API's limit, which is not the directory's.
    let keys: Vec<ClientKey> = (0..50).map(|n| generate(sshd.scratch(), &format!("k{n}"))).collect();
    let values: String = keys.iter().map(|key| format!("\nsshPublicKey: {}", key.public)).collect();
    modify(&usherd, ACCOUNT, &format!("add: sshPublicKey{values}"));
    eventually_true(SOON, "fifty keys", || printed(&usherd, ACCOUNT, None).lines().count() == 50);
    for key in [&keys[0], &keys[25], &keys[49]] {
        assert!(sshd.lets_in(key));
        assert!(all.lets_in(key));
    }
    let objects = usherd.api().get(&format!("/accounts/user/{ACCOUNT}/sshkey/?full=true")).result(200);
    let object = objects.as_array().unwrap().iter().find(|object| object["title"] == "k7").unwrap();
    let sha256 = object["fingerprint_sha256"].as_str().unwrap();
    let md5 = format!("MD5:{}", object["fingerprint"].as_str().unwrap());
    for fingerprint in [sha256, &md5] {
        assert_eq!(printed(&usherd, ACCOUNT, Some(fingerprint)), format!("{}\n", keys[7].public));
    }
}

#[test]
fn values_that_are_no_keys_spoil_nobodys_answer() {
    let usherd = usherd_with("bob");
    create_user(&usherd, "eve");
    let temp = TempDir::new();
    let (mine, hers) = (generate(temp.path(), "mine"), generate(temp.path(), "hers"));
    add_key(&usherd, "bob", "k", json!({}), &mine);
    add_key(&usherd, "eve", "k", json!({}), &hers);
    let half = &hers.public[..40];
    for value in [
        b"\x00\xff\xfe binary".to_vec(),
        format!("{} x\r\n{}", half, mine.public).into_bytes(),
        format!("{}\nssh-ed25519 AAAA", mine.public).into_bytes(),
        format!("command=\"x\" {}", mine.public).into_bytes(),
        b"# comment".to_vec(),
        b"ssh-ed25519 AAAA".to_vec(),
        vec![b'a'; 1 << 20],
    ] {
        let line = super::support::ldap::ldif_line("sshPublicKey", &value);
        modify(&usherd, "eve", &format!("add: sshPublicKey\n{line}"));
    }
    // The last change; when it shows, the others were there before it.
    let last = generate(temp.path(), "a-last");
    modify(&usherd, "eve", &format!("add: sshPublicKey\nsshPublicKey: {}", last.public));
    eventually_true(SOON, "the last key", || printed(&usherd, "eve", None).contains(&last.public));
    assert_eq!(printed(&usherd, "eve", None), format!("{}\n{}\n", last.public, hers.public));
    assert_eq!(printed(&usherd, "bob", None), format!("{}\n", mine.public));
    let titles = usherd.api().get("/accounts/user/eve/sshkey/").result(200);
    assert_eq!(titles, json!(["a-last", "k"]));
}

#[test]
fn names_of_every_kind_are_answered_and_find_only_themselves() {
    let usherd = usherd_with("bob");
    let temp = TempDir::new();
    let key = generate(temp.path(), "k");
    add_key(&usherd, "bob", "k", json!({}), &key);
    for name in ["nobody-here", "*", ")(uid=*", "bob)(uid=*", "../bob", "bob\n", "b\u{1d0f}b", "_system"] {
        assert_eq!(printed(&usherd, name, None), "", "{name:?}");
    }
    assert_eq!(printed(&usherd, "BOB", None), format!("{}\n", key.public));
}

/// A signal is under way for a while, and threads stop one by one.
fn is_stopped(process: Pid) -> bool {
    fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('T'))
    })
}

#[test]
fn a_daemon_that_is_stopped_or_gone_is_no_answer_and_a_frozen_directory_does_not_matter() {
    let mut usherd = usherd_with("bob");
    let temp = TempDir::new();
    let key = generate(temp.path(), "k");
    add_key(&usherd, "bob", "k", json!({}), &key);
    let ask = |usherd: &Usherd, deadline: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_usher-authorized-keys"));
        command.arg("--socket").arg(&usherd.admin.keys_socket).args(["--deadline", deadline, "bob"]);
        let start = Instant::now();
        let output = command.output().unwrap();
        (output.status.code(), output.stdout.len(), start.elapsed())
    };
    usherd.signal_slapd(Signal::SIGSTOP);
    eventually_true(SOON, "every thread has stopped", || is_stopped(usherd.slapd_pid().unwrap()));
    let frozen_directory = ask(&usherd, "2000");
    usherd.signal_slapd(Signal::SIGCONT);
    assert_eq!((frozen_directory.0, frozen_directory.1), (Some(0), key.public.len() + 1));

    usherd.signal(Signal::SIGSTOP);
    eventually_true(SOON, "every thread has stopped", || is_stopped(usherd.pid()));
    let answers: Vec<_> = (0..10).map(|_| ask(&usherd, "100")).collect();
    usherd.signal(Signal::SIGCONT);
    for (status, printed, elapsed) in answers {
        assert_eq!((status, printed), (Some(75), 0));
        assert!(elapsed < Duration::from_millis(1600), "{elapsed:?}");
    }
    assert_eq!(ask(&usherd, "10000").0, Some(0));

    usherd.kill();
    assert_eq!(ask(&usherd, "2000").0, Some(75));
    usherd.start_again();
    assert_eq!(printed(&usherd, "bob", None), format!("{}\n", key.public));
}

#[test]
fn the_socket_answers_lookups_and_nothing_else() {
    use std::io::{Read, Write};

    let usherd = usherd_with("bob");
    for question in [
        "GET /api/ping HTTP/1.1\r\n\r\n",
        "keys/1 bob\nkeys/1 bob\n",
        "keys/2 bob\n",
        "keys/1 \n",
        "keys/1 bob SHA256:x\n",
        "keys/1 bob",
        &"k".repeat(100_000),
    ] {
        let mut stream = UnixStream::connect(&usherd.admin.keys_socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // It may close before it has read all of this.
        let _ = stream.write_all(question.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(String::from_utf8_lossy(&answer), "", "{:?}", &question[..question.len().min(40)]);
    }
    // Whoever connects and says nothing is sent away, and keeps nobody from an answer meanwhile.
    let mut silent: Vec<_> = (0..100).map(|_| UnixStream::connect(&usherd.admin.keys_socket).unwrap()).collect();
    assert_eq!(printed(&usherd, "bob", None), "");
    silent[0].set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // Unlike `read`, this goes on after a signal.
    assert_eq!(silent[0].read_to_end(&mut Vec::new()).unwrap(), 0);
}

#[test]
fn two_hundred_lookups_at_once_are_all_answered() {
    let usherd = usherd_with("bob");
    let temp = TempDir::new();
    let key = generate(temp.path(), "k");
    add_key(&usherd, "bob", "k", json!({}), &key);
    let children: Vec<_> = (0..200)
        .map(|_| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_usher-authorized-keys"));
            command.arg("--socket").arg(&usherd.admin.keys_socket).args(["--deadline", "60000", "bob"]);
            command.stdout(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{}\n", key.public));
    }
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", usherd.pid())).unwrap().count();
    let before = descriptors();
    for _ in 0..100 {
        printed(&usherd, "bob", None);
    }
    eventually_true(SOON, "no descriptor is left open", || descriptors() <= before);
}
