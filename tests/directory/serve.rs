//! `usherd serve` beside a directory that is absent, or not ours; the word to systemd; the small subcommands.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::support::{FullSocket, Usherd, eventually_true};

const SOON: Duration = Duration::from_secs(20);

/// `usherd` with the configuration of this directory.
fn usherd(of: &Usherd, subcommand: &str, settings: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_usherd"));
    command.arg(subcommand).arg("--config").arg(of.data_dir().join("usherd.toml")).stdin(Stdio::null());
    for setting in settings {
        command.args(["--set", setting]);
    }
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A child that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn serve_waits_for_a_directory_that_is_not_there_yet() {
    let mut dev = Usherd::start();
    assert!(dev.stop().success());
    let log = dev.scratch().join("serve.log");
    let socket = format!("lookup.socket={}", dev.scratch().join("serve.sock").display());
    let http = dev.scratch().join("http.sock");
    let listens = format!("http.socket={}", http.display());
    let mut serve = usherd(&dev, "serve", &["http.listen=127.0.0.1:0", &listens, &socket]);
    serve.stdout(Stdio::piped()).stderr(fs::File::create(&log).unwrap());
    let mut serve = Running(serve.spawn().unwrap());
    let (sender, lines) = mpsc::channel();
    let stdout = BufReader::new(serve.0.stdout.take().unwrap());
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
    eventually_true(SOON, "it says that it waits", || fs::read_to_string(&log).unwrap().contains("not ready"));
    assert!(lines.try_recv().is_err(), "ready without a directory");
    let get = |path: &str| {
        let mut stream = UnixStream::connect(&http).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(get("/health/live").starts_with("HTTP/1.1 200 "));
    assert!(get("/health/ready").starts_with("HTTP/1.1 503 "));
    for path in ["/api/accounts/user/", "/api/ping/"] {
        let answer = get(path);
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("The directory is unavailable."), "{answer}");
    }
    dev.start_again();
    let ready = lines.recv_timeout(SOON).unwrap();
    assert!(ready.starts_with("usherd ready: http://127.0.0.1:"), "{ready}");
    assert!(get("/health/ready").starts_with("HTTP/1.1 200 "));
    assert!(get("/api/ping/").ends_with("\"pong\""));
}

#[test]
fn a_daemon_with_another_key_file_refuses_to_start_and_says_so() {
    let dev = Usherd::start();
    let key = dev.scratch().join("other-key");
    fs::write(&key, "11".repeat(32)).unwrap();
    let socket = format!("lookup.socket={}", dev.scratch().join("s.sock").display());
    let key = format!("secrets.key-file={}", key.display());
    let serve = || usherd(&dev, "serve", &["http.listen=127.0.0.1:0", &socket, &key]).output().unwrap();
    let open_to_others = serve();
    assert!(!open_to_others.status.success());
    assert!(stderr(&open_to_others).contains("mode 644 lets others read it"), "{}", stderr(&open_to_others));
    let path = key.split_once('=').unwrap().1;
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let other = serve();
    assert!(!other.status.success());
    assert!(stderr(&other).contains("another key file"), "{}", stderr(&other));
}

#[test]
fn a_lookup_socket_that_answers_is_not_taken_away() {
    let dev = Usherd::start();
    let serve = usherd(&dev, "serve", &["http.listen=127.0.0.1:0"]).output().unwrap();
    assert!(!serve.status.success());
    assert!(stderr(&serve).contains("another daemon answers there"), "{}", stderr(&serve));
    assert!(dev.admin.keys_socket.exists());
}

#[test]
fn a_lookup_socket_of_a_daemon_that_hangs_is_not_waited_for() {
    let dev = Usherd::start();
    let path = dev.scratch().join("hangs");
    let _hanging = FullSocket::bind(&path);
    let socket = format!("lookup.socket={}", path.display());
    let serve = usherd(&dev, "serve", &["http.listen=127.0.0.1:0", &socket]).output().unwrap();
    assert!(!serve.status.success());
    assert!(stderr(&serve).contains("another daemon is there, and hangs"), "{}", stderr(&serve));
}

#[test]
fn a_daemon_that_ends_leaves_its_successor_the_socket() {
    let dev = Usherd::start();
    let mut old = dev.second("shared");
    // A request whose body is not there yet keeps it from ending.
    let mut held = TcpStream::connect(old.anonymous().address()).unwrap();
    let head = format!(
        "PUT /api/accounts/user/admin/ HTTP/1.1\r\nHost: x\r\nES-API-KEY: {}\r\nContent-Type: application/json\r\n\
         Expect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        old.admin.api_key
    );
    held.write_all(head.as_bytes()).unwrap();
    held.read_exact(&mut [0; 25]).unwrap();
    old.signal(Signal::SIGTERM);
    let path = old.admin.keys_socket.clone();
    eventually_true(SOON, "the old one answers no more", || UnixStream::connect(&path).is_err());
    let new = dev.second("shared");
    assert!(old.exited().is_none());
    held.write_all(b"{}").unwrap();
    assert!(old.stop().success());
    assert!(UnixStream::connect(&new.admin.keys_socket).is_ok());
}

#[test]
fn systemd_hears_when_it_is_ready_and_when_it_ends() {
    let dir = super::support::TempDir::new();
    let path = dir.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(SOON)).unwrap();
    let hear = || {
        let mut word = [0; 64];
        let length = systemd.recv(&mut word).unwrap();
        String::from_utf8_lossy(&word[..length]).into_owned()
    };
    let mut dev = Usherd::builder().env("NOTIFY_SOCKET", &path).start();
    assert_eq!(hear(), "READY=1");
    assert!(dev.stop().success());
    assert_eq!(hear(), "STOPPING=1");
}

#[test]
fn check_config_is_the_daemons_own_loader() {
    let dev = Usherd::start();
    let good = usherd(&dev, "check-config", &[]).output().unwrap();
    assert!(good.status.success(), "{}", stderr(&good));
    for (setting, fault) in [
        ("http.lissten=x", "did you mean http.listen?"),
        ("keys.types=[\"ssh-nonsense\"]", "ssh-nonsense"),
        ("passwords.memory-kib=1", "passwords"),
        ("secrets.key-file=/nonexistent", "/nonexistent"),
        ("profile.default-timezone=Mars", "profile.default-timezone"),
        ("profile.default-country=XX", "profile.default-country"),
    ] {
        let bad = usherd(&dev, "check-config", &[setting]).output().unwrap();
        assert_eq!(bad.status.code(), Some(78), "{setting}");
        assert!(stderr(&bad).contains(fault), "{setting}: {}", stderr(&bad));
    }
    let variable = usherd(&dev, "check-config", &[]).env("USHER__HTTP__MAX_BODDY", "1").output().unwrap();
    assert!(stderr(&variable).contains("USHER__HTTP__MAX_BODDY"), "{}", stderr(&variable));
}

#[test]
fn schema_prints_the_files_and_every_subcommand_has_help() {
    let run = |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_usherd")).args(args).output().unwrap();
    for (format, extension) in [("schema", "schema"), ("ldif", "ldif")] {
        for name in ["usher", "openssh-lpk", "rfc2307bis"] {
            let printed = run(&["schema", "--format", format, "--name", name]).stdout;
            let file = format!("{}/schema/{name}.{extension}", env!("CARGO_MANIFEST_DIR"));
            assert_eq!(String::from_utf8(printed).unwrap(), fs::read_to_string(file).unwrap());
        }
    }
    for subcommand in ["serve", "dev", "check-config", "schema", "version"] {
        let help = run(&[subcommand, "--help"]);
        assert!(help.status.success(), "{subcommand}");
        assert!(String::from_utf8_lossy(&help.stdout).contains("Usage: usherd"), "{subcommand}");
    }
    assert_eq!(run(&["nonsense"]).status.code(), Some(64));
    // the child's first program is for no one else
    let by_hand = run(&["__become-slapd", "1", "-", "-", "/bin/true"]);
    assert!(!by_hand.status.success());
}
