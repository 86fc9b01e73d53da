//! The helper's promise: a whole, checked answer and exit 0, or nothing on stdout, another exit code, and in time.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::fake::{Fake, KEY, answer, question};
use super::support::{FullSocket, TempDir};

/// How much later than its deadline the helper may end on a busy machine.
const SLACK: Duration = Duration::from_millis(1500);

fn helper(socket: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_usher-authorized-keys"));
    // As under sshd: hardly any environment, nothing to read.
    command.env_clear().stdin(Stdio::null()).arg("--socket").arg(socket);
    command
}

fn ask(socket: &Path) -> Output {
    helper(socket).arg("bob").output().unwrap()
}

#[track_caller]
fn assert_complete(output: &Output, stdout: &str) {
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

/// The helper doesn't know, says so, and has printed nothing.
#[track_caller]
fn assert_unknown(output: &Output) {
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(output.status.code(), Some(75), "{output:?}");
}

#[test]
fn a_whole_answer_is_printed_as_it_came() {
    let options = format!("restrict,command=\"say \\\"a b\\\"\" {KEY}");
    for lines in [vec![], vec![KEY], vec![KEY, &options, KEY]] {
        let fake = Fake::sending(answer(&lines));
        assert_complete(&ask(&fake.socket), &lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    }
}

#[test]
fn the_question_names_the_user_and_the_key() {
    let (sender, questions) = mpsc::channel();
    let fake = Fake::start(move |mut stream| {
        sender.send(question(&mut stream)).unwrap();
        stream.write_all(answer(&[]).as_bytes()).unwrap();
    });
    let fingerprint = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    for (arguments, asked) in [
        (vec!["bob"], "keys/1 bob\n".to_owned()),
        (vec!["--", "-x", fingerprint], format!("keys/1 -x {fingerprint}\n")),
    ] {
        assert_complete(&helper(&fake.socket).args(&arguments).output().unwrap(), "");
        assert_eq!(questions.recv().unwrap(), asked);
    }
}

#[test]
fn thousands_of_keys_are_printed_whole() {
    let lines = vec![KEY; 5000];
    let fake = Fake::sending(answer(&lines));
    assert_complete(&ask(&fake.socket), &format!("{KEY}\n").repeat(5000));
}

#[test]
fn an_answer_that_is_cut_short_anywhere_prints_nothing() {
    let whole = answer(&[KEY, KEY]);
    for cut in (0..whole.len()).step_by(7).chain(whole.len() - 5..whole.len()) {
        let fake = Fake::sending(&whole.as_bytes()[..cut]);
        assert_unknown(&ask(&fake.socket));
    }
}

#[test]
fn a_daemon_that_does_not_know_or_talks_nonsense_prints_nothing() {
    let endless = format!("keys 16384 4190000\n{}", format!("{KEY}\n").repeat(60_000));
    for bytes in [
        b"unknown\n".as_slice(),
        b"",
        b"\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"\x00\xff\xfe\x80".repeat(100_000).as_slice(),
        b"keys 99999999999999999999 0\nend\n",
        b"keys -1 0\nend\n",
        b"keys 0 0\nend\nssh-ed25519 AAAA\n",
        b"keys 1 3\n\xff\xff\nend\n",
        endless.as_bytes(),
    ] {
        let fake = Fake::sending(bytes);
        assert_unknown(&ask(&fake.socket));
    }
}

#[test]
fn one_bad_line_spoils_the_answer() {
    for bad in [
        "ssh-ed25519 AAAA",
        "# ssh-ed25519",
        "ssh-ed448 AAAAC3NzaC1lZDI1NTE5AAAAIEhmfOJ+3jJf8JgGSkHJg1W6+oVvCZ8vQ2dIjZlLVc4x",
        &KEY.replace(" bob", "\tbob"),
        &KEY.replace(" bob", " bob\r"),
        &KEY.replace(" bob", "= bob"),
        &format!("command=\"x {KEY}"),
    ] {
        let fake = Fake::sending(answer(&[KEY, bad, KEY]));
        assert_unknown(&ask(&fake.socket));
    }
}

/// Runs the helper with this deadline and asserts that it keeps it.
#[track_caller]
fn assert_gives_up(socket: &Path, deadline: Duration) {
    let start = Instant::now();
    let milliseconds = deadline.as_millis().to_string();
    let output = helper(socket).args(["--deadline", &milliseconds, "bob"]).output().unwrap();
    let elapsed = start.elapsed();
    assert_unknown(&output);
    assert!((deadline..deadline + SLACK).contains(&elapsed), "{elapsed:?}");
}

#[test]
fn the_deadline_holds_when_nobody_accepts() {
    let (fake, _listener) = Fake::bind();
    assert_gives_up(&fake.socket, Duration::from_millis(300));
}

#[test]
fn the_deadline_holds_when_the_backlog_is_full() {
    let temp = TempDir::new();
    let path = temp.path().join("s");
    let _full = FullSocket::bind(&path);
    assert_gives_up(&path, Duration::from_millis(300));
}

#[test]
fn the_deadline_holds_when_the_daemon_accepts_and_is_silent() {
    let (sender, kept) = mpsc::channel();
    let fake = Fake::start(move |stream| sender.send(stream).unwrap());
    assert_gives_up(&fake.socket, Duration::from_millis(300));
    drop(kept);
}

#[test]
fn the_deadline_is_for_the_whole_answer_and_not_for_each_byte() {
    let fake = Fake::start(|mut stream| {
        question(&mut stream);
        for byte in answer(&[KEY]).as_bytes() {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            // the fault that is tried: a server that sends one byte now and then
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert_gives_up(&fake.socket, Duration::from_millis(500));
}

#[test]
fn the_default_deadline_is_two_seconds() {
    let (fake, _listener) = Fake::bind();
    let start = Instant::now();
    assert_unknown(&ask(&fake.socket));
    let two = Duration::from_secs(2);
    assert!((two..two + SLACK).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[test]
fn an_answer_that_never_ends_is_given_up_in_bounded_memory() {
    let chunk = format!("{KEY}\n").repeat(1000);
    for header in ["keys 16384 4194000\n", "keys 1 4\n", ""] {
        let chunk = chunk.clone();
        let fake = Fake::start(move |mut stream| {
            question(&mut stream);
            let _ = stream.write_all(header.as_bytes());
            while stream.write_all(chunk.as_bytes()).is_ok() {}
        });
        // 64 MiB of address space: the program and its libraries, a thread's stack, 4 MiB of answer; never a gibibyte.
        let output = Command::new("prlimit")
            .args(["--as=67108864", "--", env!("CARGO_BIN_EXE_usher-authorized-keys"), "--socket"])
            .arg(&fake.socket)
            .arg("bob")
            .output()
            .unwrap();
        assert_unknown(&output);
    }
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    // More than a pipe holds, so that the write can't succeed unseen.
    let whole = answer(&vec![KEY; 5000]);
    let fake = Fake::start(move |mut stream| {
        question(&mut stream);
        wait.lock().unwrap().recv().unwrap();
        stream.write_all(whole.as_bytes()).unwrap();
    });
    let mut child = helper(&fake.socket).arg("bob").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    go.send(()).unwrap();
    assert_complete(&child.wait_with_output().unwrap(), "");
}

#[test]
fn a_reader_that_takes_its_time_gets_everything() {
    let fake = Fake::sending(answer(&vec![KEY; 5000]));
    let mut command = helper(&fake.socket);
    let mut child = command.args(["--deadline", "1000", "bob"]).stdout(Stdio::piped()).spawn().unwrap();
    // Longer than the deadline, which ends with the answer's arrival and does not cut what goes out.
    std::thread::sleep(Duration::from_millis(1200));
    let mut printed = String::new();
    child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(printed, format!("{KEY}\n").repeat(5000));
}

#[test]
fn two_hundred_at_once_all_get_their_answer() {
    let fake = Fake::sending(answer(&[KEY]));
    let children: Vec<_> = (0..200)
        .map(|_| {
            let mut command = helper(&fake.socket);
            command.args(["--deadline", "60000", "bob"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        assert_complete(&child.wait_with_output().unwrap(), &format!("{KEY}\n"));
    }
}

#[test]
fn without_a_daemon_the_answer_is_unknown_and_comes_at_once() {
    let temp = TempDir::new();
    let start = Instant::now();
    assert_unknown(&ask(&temp.path().join("absent")));
    assert_unknown(&ask(Path::new("relative")));
    assert_unknown(&ask(Path::new(&format!("/{}", "x".repeat(200)))));
    assert!(start.elapsed() < SLACK);
}

#[test]
fn a_name_that_nobody_can_have_is_answered_without_asking() {
    let names = ["a b", "../../etc/passwd", "$(id)", ";id", "%u", "*", ")(uid=*", "a\nb", "\u{212a}", "ｒｏｏｔ", ""];
    let long = "a".repeat(256);
    for name in names.into_iter().chain([long.as_str()]) {
        assert_complete(&helper(Path::new("/nowhere")).arg(name).output().unwrap(), "");
    }
    let invalid = OsStr::from_bytes(b"b\xff");
    assert_complete(&helper(Path::new("/nowhere")).arg(invalid).output().unwrap(), "");
}

#[test]
fn wrong_usage_is_64_and_prints_nothing() {
    let program = env!("CARGO_BIN_EXE_usher-authorized-keys");
    let cases: [&[&str]; 9] = [
        &[],
        &["-x"],
        &["--nonsense", "bob"],
        &["--help", "SHA256:x"],
        &["--socket"],
        &["--deadline", "soon", "bob"],
        &["bob", "no fingerprint"],
        &["bob", "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", "more"],
        &["--socket", "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"],
    ];
    for arguments in cases {
        let output = Command::new(program).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
        assert!(output.stderr.starts_with(b"usher-authorized-keys: usage: "), "{arguments:?}");
    }
}

#[test]
fn help_and_version_are_printed_and_hold_no_key() {
    let program = env!("CARGO_BIN_EXE_usher-authorized-keys");
    for option in ["--help", "--version"] {
        let output = Command::new(program).arg(option).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("usher-authorized-keys") && !text.contains("AAAA"), "{text}");
    }
}
