//! TLS and the Unix socket, with curl as the client.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{TempDir, Usherd, eventually_true};

const SOON: Duration = Duration::from_secs(10);

/// A self-signed certificate for 127.0.0.1 whose common name is `name`, and its key.
fn certificate(dir: &Path, name: &str) -> [PathBuf; 2] {
    let [certificate, key] = ["crt", "key"].map(|end| dir.join(format!("{name}.{end}")));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .args([&key, Path::new("-out"), &certificate])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    [certificate, key]
}

fn curl(args: &[&str]) -> Output {
    Command::new("curl").args(["--silent", "--show-error", "--max-time", "10"]).args(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn admin_env_names_the_api_by_the_scheme_that_it_speaks() {
    let dir = TempDir::new();
    let [certificate, key] = certificate(dir.path(), "dev");
    let dev = Usherd::builder()
        .env("USHER__HTTP__TLS_CERTIFICATE_FILE", &certificate)
        .env("USHER__HTTP__TLS_KEY_FILE", &key)
        .start();
    assert!(dev.url().starts_with("https://"), "{}", dev.url());
    assert_eq!(dev.admin.api_url, dev.url());
}

#[test]
fn with_a_certificate_the_api_speaks_tls_and_takes_a_new_one_without_a_restart() {
    let dev = Usherd::start();
    let [first, second] = ["first", "second"].map(|name| certificate(dev.scratch(), name));
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| dev.scratch().join(name));
    let install = |from: &[PathBuf; 2]| {
        for (from, to) in from.iter().zip([&certificate, &key]) {
            std::fs::copy(from, to).unwrap();
        }
    };
    install(&first);
    let settings =
        [("certificate", &certificate), ("key", &key)].map(|(n, file)| format!("http.tls-{n}-file={}", file.display()));
    let tls = dev.second_with("tls", &settings.each_ref().map(String::as_str));
    assert!(tls.url().starts_with("https://127.0.0.1:"), "{}", tls.url());
    let user = format!("{}/accounts/user/admin/", tls.url());
    let credentials = format!("ES-API-KEY: {}", dev.admin.api_key);
    let get = |trusted: &PathBuf, more: &[&str]| {
        let trusted = trusted.to_str().unwrap();
        curl(&[&["--cacert", trusted, "--header", &credentials], more, &[&user]].concat())
    };
    for (version, expected) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let answer = stdout(&get(&first[0], &[version, "--write-out", "%{http_version}"]));
        assert!(answer.contains("\"username\":\"admin\"") && answer.ends_with(&format!("}}{expected}")), "{answer}");
    }
    // usher checks the certificate too.
    let usher = |trusted: &Path| {
        let mut usher = Command::new(env!("CARGO_BIN_EXE_usher"));
        usher.args(["get", "/accounts/user/admin"]).env("ES_API_URL", tls.url()).env("ES_API_KEY", &dev.admin.api_key);
        usher.env("SSL_CERT_FILE", trusted).env("HOME", dev.scratch()).output().unwrap()
    };
    assert!(stdout(&usher(&first[0])).contains("\"url\": \"https://127.0.0.1:"));
    let distrusted = usher(&second[0]);
    assert_eq!(distrusted.status.code(), Some(3), "{distrusted:?}");
    assert!(String::from_utf8_lossy(&distrusted.stderr).contains("certificate"), "{distrusted:?}");

    // Who speaks plain HTTP to it is not answered, and disturbs nobody.
    assert!(!curl(&[&user.replace("https", "http")]).status.success());

    install(&second);
    assert!(!get(&second[0], &[]).status.success(), "not read yet");
    tls.signal(Signal::SIGHUP);
    eventually_true(SOON, "the new certificate", || get(&second[0], &[]).status.success());
    assert!(!get(&first[0], &[]).status.success(), "the old one is gone");

    // Files that do not go together change nothing.
    std::fs::copy(&first[1], &key).unwrap();
    tls.signal(Signal::SIGHUP);
    eventually_true(SOON, "it says so", || tls.stderr().contains("the certificate stays as it was"));
    stdout(&get(&second[0], &[]));
}

#[test]
fn a_certificate_that_cannot_be_used_keeps_the_daemon_from_starting_and_check_config_says_why() {
    let dev = Usherd::start();
    let [first, second] = ["first", "second"].map(|name| certificate(dev.scratch(), name));
    let open = dev.scratch().join("open.key");
    std::fs::copy(&first[1], &open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    let nothing = dev.scratch().join("nothing");
    for (certificate, key, says) in [
        (Some(&first[0]), Some(&second[1]), "http.tls-key-file"),
        (Some(&first[0]), Some(&open), "mode 644 lets everybody have it"),
        (Some(&first[0]), None, "http.tls-key-file: needed with http.tls-certificate-file"),
        (None, Some(&first[1]), "http.tls-certificate-file: needed with http.tls-key-file"),
        (Some(&nothing), Some(&first[1]), "http.tls-certificate-file"),
        (Some(&first[1]), Some(&first[1]), "holds no certificate"),
    ] {
        for subcommand in ["check-config", "serve"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_usherd"));
            command.arg(subcommand).arg("--config").arg(dev.data_dir().join("usherd.toml"));
            command.args(["--set", "http.listen=127.0.0.1:0", "--set"]);
            command.arg(format!("lookup.socket={}", dev.scratch().join("s").display()));
            for (name, file) in [("certificate", certificate), ("key", key)] {
                if let Some(file) = file {
                    command.args(["--set", &format!("http.tls-{name}-file={}", file.display())]);
                }
            }
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && said.contains(says), "{subcommand}: {said}");
            assert!(!said.contains("PRIVATE"), "{said}");
        }
    }
}

#[test]
fn the_api_listens_on_a_unix_socket_too_and_removes_it_at_the_end() {
    let dev = Usherd::start();
    let socket = dev.scratch().join("http.sock");
    let mut local = dev.second_with("local", &[&format!("http.socket={}", socket.display())]);
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    let credentials = format!("ES-API-KEY: {}", dev.admin.api_key);
    let path = socket.to_str().unwrap();
    let over_socket = curl(&["--unix-socket", path, "--header", &credentials, "http://usher/api/accounts/user/admin/"]);
    assert!(stdout(&over_socket).contains("\"username\":\"admin\""));
    assert_eq!(local.api().get("/ping/").status, 200);
    assert!(local.stop().success());
    assert!(!socket.exists());
    assert!(!dev.stderr().contains(&dev.admin.api_key));
}
