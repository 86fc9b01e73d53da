//! What a real sshd makes of the helper's output: keys of every kind, options in canonical form, many keys.

use std::io::Write;
use std::sync::{Arc, Mutex};

use super::fake::{Fake, KEY, answer, question};
use super::server::{ClientKey, Sshd, possible};
use super::support::TempDir;

/// A daemon that answers every question with the lines it was last given.
struct Answers(Arc<Mutex<String>>);

impl Answers {
    fn start() -> (Self, Fake) {
        let lines = Arc::new(Mutex::new(answer(&[])));
        let shared = Arc::clone(&lines);
        let fake = Fake::start(move |mut stream| {
            question(&mut stream);
            let bytes = shared.lock().unwrap().clone();
            stream.write_all(bytes.as_bytes()).unwrap();
        });
        (Self(lines), fake)
    }

    fn set(&self, lines: &[&str]) {
        *self.0.lock().unwrap() = answer(lines);
    }
}

#[test]
fn keys_of_every_type_that_a_file_can_hold_let_their_holder_in() {
    if !possible() {
        return;
    }
    let (answers, fake) = Answers::start();
    let sshd = Sshd::with_fingerprints(&fake.socket);
    let keys: Vec<ClientKey> = [
        ("ed25519", vec!["-t", "ed25519"]),
        ("p256", vec!["-t", "ecdsa", "-b", "256"]),
        ("p384", vec!["-t", "ecdsa", "-b", "384"]),
        ("p521", vec!["-t", "ecdsa", "-b", "521"]),
        ("rsa", vec!["-t", "rsa", "-b", "2048"]),
    ]
    .iter()
    .map(|(name, arguments)| ClientKey::generate(sshd.scratch(), name, arguments))
    .collect();
    for key in &keys {
        answers.set(&[&key.public]);
        assert!(sshd.lets_in(key), "{}", key.public);
    }
    assert!(!sshd.lets_in(&keys[0]), "only the last one's key is there");
}

#[test]
fn a_key_is_found_first_in_the_middle_and_last_of_thousands() {
    if !possible() {
        return;
    }
    let (answers, fake) = Answers::start();
    let sshd = Sshd::with_fingerprints(&fake.socket);
    let key = ClientKey::generate(sshd.scratch(), "k", &["-t", "ed25519"]);
    for count in [50, 500, 5000] {
        for at in [0, count / 2, count - 1] {
            let mut lines = vec![KEY; count];
            lines[at] = &key.public;
            answers.set(&lines);
            assert!(sshd.lets_in(&key), "{at} of {count}");
        }
    }
    answers.set(&[KEY; 5000]);
    assert!(!sshd.lets_in(&key));
}

/// What sshd's log says about options that it does not understand.
const UNREADABLE: &str = "bad key options";

#[test]
fn sshd_reads_options_in_the_form_in_which_they_are_written() {
    if !possible() {
        return;
    }
    let (answers, fake) = Answers::start();
    let sshd = Sshd::with_fingerprints(&fake.socket);
    let key = ClientKey::generate(sshd.scratch(), "k", &["-t", "ed25519"]);
    // In the canonical form of src/sshkey/options.rs, whose tests hold that this is what it writes.
    for (options, lets_in) in [
        ("restrict,pty,no-X11-forwarding,no-agent-forwarding,no-port-forwarding,no-user-rc", true),
        ("X11-forwarding,agent-forwarding,port-forwarding,user-rc,touch-required,no-verify-required", true),
        ("no-touch-required,verify-required", true),
        (r#"command="say \"a, b\" \ c",no-pty"#, true),
        (r#"environment="A=b=c",environment="A=d",environment="B=""#, true),
        (r#"permitopen="[::1]:22",permitopen="a.b:*",permitlisten="8080",permitlisten="*:1",permitlisten="*""#, true),
        (r#"tunnel="0""#, true),
        (r#"tunnel="any""#, true),
        (r#"tunnel="2147483645""#, true),
        // Only a certificate has principals.
        (r#"principals="a,b""#, false),
        (r#"cert-authority,principals="a,b""#, false),
        (r#"from="127.0.0.1""#, true),
        (r#"from="127.0.0.0/8,!10.0.0.0/8,2001:db8::/32""#, true),
        (r#"from="*,!127.0.0.1""#, false),
        (r#"from="10.0.0.0/8""#, false),
        (r#"expiry-time="20991231Z""#, true),
        (r#"expiry-time="209912312359""#, true),
        (r#"expiry-time="20991231235959Z",expiry-time="20990101""#, true),
        (r#"expiry-time="20010909014640Z""#, false),
        (r#"expiry-time="20991231Z",expiry-time="20010101000000Z""#, false),
        ("cert-authority", false),
    ] {
        answers.set(&[&format!("{options} {}", key.public)]);
        assert_eq!(sshd.lets_in(&key), lets_in, "{options}");
        // A line that sshd can't read is refused too, but that is not what is meant here.
        assert!(!sshd.log().contains(UNREADABLE), "{options}");
    }
    answers.set(&[&format!("pty,nonsense {}", key.public)]);
    assert!(!sshd.lets_in(&key));
    assert!(sshd.log().contains(UNREADABLE), "the test does not see what it looks for");
}

#[test]
fn a_helper_that_does_not_know_lets_nobody_in() {
    if !possible() {
        return;
    }
    let temp = TempDir::new();
    let key = ClientKey::generate(temp.path(), "k", &["-t", "ed25519"]);
    let whole = answer(&[&key.public]);
    let line = key.public.clone();
    // Right up to the end mark, which is missing.
    let cut = Fake::sending(&whole.as_bytes()[..whole.len() - 4]);
    assert!(!Sshd::with_fingerprints(&cut.socket).lets_in(&key));
    let spoilt = Fake::sending(answer(&[&line, "ssh-ed25519 AAAA"]));
    assert!(!Sshd::with_fingerprints(&spoilt.socket).lets_in(&key));
    let (silent, _listener) = Fake::bind();
    assert!(!Sshd::start(&silent.socket, "--deadline 300 %u %f").lets_in(&key));
    let good = Fake::sending(whole);
    assert!(Sshd::start(&good.socket, "--deadline 60000 -- %u").lets_in(&key));
}

#[test]
fn the_helper_runs_without_privileges_or_groups_of_its_caller() {
    if !possible() {
        return;
    }
    let (sender, seen) = std::sync::mpsc::channel();
    let fake = Fake::start(move |mut stream| {
        question(&mut stream);
        // The helper waits for us now, so what /proc says about it is settled.
        let peer = nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials).unwrap();
        let pid = peer.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        sender.send((status, descriptors, environment)).unwrap();
        stream.write_all(answer(&[]).as_bytes()).unwrap();
    });
    let sshd = Sshd::with_fingerprints(&fake.socket);
    let key = ClientKey::generate(sshd.scratch(), "k", &["-t", "ed25519"]);
    assert!(!sshd.lets_in(&key));
    let (status, descriptors, environment) = seen.recv().unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_once(':').unwrap().1.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(!field("Uid").contains(&"0".to_owned()), "{status}");
    assert!(field("Groups").iter().all(|group| *group != "0"), "{status}");
    assert_eq!(field("CapEff"), ["0000000000000000"]);
    // stdin, stdout, stderr and the socket.
    assert_eq!(descriptors, 4);
    let mut names: Vec<_> = environment
        .split(|byte| *byte == 0)
        .filter_map(|variable| String::from_utf8_lossy(variable).split_once('=').map(|(name, _)| name.to_owned()))
        .collect();
    names.retain(|name| !["PATH", "USER", "LOGNAME", "HOME", "LANG"].contains(&name.as_str()));
    assert_eq!(names, Vec::<String>::new());
}
