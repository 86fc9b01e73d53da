//! `usherd dev`: the private slapd, its directory, its entries, its life and its end.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, Uid, User};

use super::support::{AdminEnv, TempDir, Usherd, alive, eventually, eventually_true, ldap::Entry};

const SOON: Duration = Duration::from_secs(10);

fn one(usherd: &Usherd, dn: &str) -> Entry {
    usherd.ldap().search(dn, "base", "(objectClass=*)", &["*"]).pop().unwrap_or_else(|| panic!("{dn} does not exist"))
}

/// `usherd` with these arguments, to its end.
fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_usherd")).args(args).stdin(Stdio::null()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn add_person(usherd: &Usherd, uid: &str) {
    let base = usherd.ldap().base_dn();
    usherd.ldap().add(&format!(
        "dn: uid={uid},ou=people,{base}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: {uid}\nmail: {uid}@example.org\n"
    ));
}

fn exists(usherd: &Usherd, dn: &str) -> bool {
    !usherd.ldap().search(dn, "base", "(objectClass=*)", &["1.1"]).is_empty()
}

#[test]
fn a_new_directory_holds_the_state_that_the_contract_gives() {
    let usherd = Usherd::start();
    let admin = one(&usherd, "uid=admin,ou=people,dc=example,dc=org");
    for (name, value) in [
        ("givenName", "Danube"),
        ("sn", "Cloud"),
        ("mail", "admin@example.com"),
        ("o", "Danube Cloud"),
        ("usherNumber", "1"),
        ("usherSuperAdmin", "TRUE"),
        ("usherApiAccess", "TRUE"),
        ("usherTosAcceptation", "TRUE"),
        ("usherNewsletterTech", "FALSE"),
        ("usherNewsletterBuss", "FALSE"),
        ("usherUserType", "2"),
        ("usherEmailVerified", "TRUE"),
        ("usherPhoneVerified", "TRUE"),
    ] {
        assert_eq!(admin.all(name), [value], "{name}");
    }
    assert!(admin.first("userPassword").unwrap().starts_with("{ARGON2}$argon2id$v=19$m=19456,t=2,p=1$"));
    // what the directory holds of the key does not show it
    let key = usherd.admin.api_key.as_bytes();
    assert!(!admin.values.iter().any(|(_, value)| value.windows(key.len()).any(|part| part == key)));
    assert_eq!(one(&usherd, "uid=_system,ou=people,dc=example,dc=org").all("usherNumber"), ["7"]);
    let admins = one(&usherd, "cn=admins,ou=groups,dc=example,dc=org");
    assert_eq!(
        (admins.all("usherAlias"), admins.all("usherPermission")),
        (vec!["Admins".into()], vec!["admin".into()])
    );
    assert!(admins.all("member").is_empty());
    for (name, number, alias, site, access) in
        [("main", "1", "main*", "main", "1"), ("admin", "2", "admin", "mgmt01.local", "3")]
    {
        let dc = one(&usherd, &format!("cn={name},ou=datacenters,dc=example,dc=org"));
        let values = ["usherNumber", "usherAlias", "usherSite", "usherAccess"].map(|a| dc.first(a).unwrap());
        assert_eq!(values, [number, alias, site, access]);
        assert_eq!(dc.all("usherOwner"), ["uid=admin,ou=people,dc=example,dc=org"]);
    }
    let state = one(&usherd, "cn=usher,ou=policies,dc=example,dc=org");
    assert_eq!((state.all("usherNextUser"), state.all("usherNextDatacenter")), (vec!["7".into()], vec!["2".into()]));
}

#[test]
fn secrets_are_readable_by_their_owner_alone_and_the_lookup_socket_by_everybody() {
    let usherd = Usherd::start();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    let dir = usherd.data_dir();
    for name in ["admin.env", "usherd.toml", "key", "ldap-password"] {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
    for name in ["db", "private"] {
        assert_eq!(mode(&dir.join(name)), 0o700, "{name}");
    }
    assert_eq!(mode(&usherd.admin.keys_socket), 0o666);
    for parent in usherd.admin.keys_socket.ancestors().skip(1) {
        assert_ne!(mode(parent) & 0o001, 0, "{}", parent.display());
    }
    // no TCP listener for LDAP was asked for, so slapd has none
    let slapd = usherd.slapd_pid().unwrap();
    let sockets =
        fs::read_dir(format!("/proc/{slapd}/fd")).unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    let inodes: Vec<String> = sockets
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    for table in ["tcp", "tcp6"] {
        let table = fs::read_to_string(format!("/proc/{slapd}/net/{table}")).unwrap_or_default();
        let listening = table.lines().filter(|line| line.split_ascii_whitespace().nth(3) == Some("0A"));
        for line in listening {
            let inode = line.split_ascii_whitespace().nth(9).unwrap();
            assert!(!inodes.iter().any(|i| i == inode), "slapd listens on TCP: {line}");
        }
    }
    let owner = fs::metadata(format!("/proc/{slapd}")).unwrap().uid();
    let expected =
        if Uid::effective().is_root() { User::from_name("openldap").unwrap().unwrap().uid } else { Uid::effective() };
    assert_eq!(owner, expected.as_raw());
}

#[test]
fn a_tcp_listener_is_there_when_asked_for() {
    let usherd = Usherd::builder().arg("--ldap-listen").arg("127.0.0.1:0").start();
    let log = usherd.stderr();
    let (_, rest) = log.split_once("\"address\":\"").unwrap_or_else(|| panic!("{log}"));
    let address = rest.split('"').next().unwrap();
    assert_ne!(address, "127.0.0.1:389");
    TcpStream::connect(address).unwrap();
}

#[test]
fn a_second_start_goes_on_with_what_is_there() {
    let mut usherd = Usherd::start();
    add_person(&usherd, "kept");
    usherd.ldap().delete("cn=admins,ou=groups,dc=example,dc=org");
    let before = usherd.admin.clone();
    assert!(usherd.stop().success());
    assert!(!before.keys_socket.exists(), "the lookup socket is left behind");
    usherd.start_again();
    assert_eq!(
        AdminEnv { api_url: String::new(), ..usherd.admin.clone() },
        AdminEnv { api_url: String::new(), ..before }
    );
    assert!(exists(&usherd, "uid=kept,ou=people,dc=example,dc=org"));
    assert!(!exists(&usherd, "cn=admins,ou=groups,dc=example,dc=org"), "what was deleted came back");
    assert_eq!(usherd.api().get("/accounts/user/kept/").status, 200);
}

#[test]
fn a_start_on_a_directory_of_an_earlier_schema_brings_the_present_one() {
    let mut usherd = Usherd::start();
    assert!(usherd.stop().success());
    let file = usherd.data_dir().join("schema/usher.schema");
    let present = fs::read_to_string(&file).unwrap();
    fs::write(&file, present.replace("usherName", "usherOther")).unwrap();
    usherd.start_again();
    crate::both_ways::create(&usherd, &"n".repeat(254), &serde_json::json!({"email": "n@example.com"}));
}

#[test]
fn a_first_start_that_was_cut_short_is_completed() {
    let mut usherd = Usherd::start();
    for dn in ["cn=usher,ou=policies", "cn=admin,ou=datacenters", "cn=admins,ou=groups", "cn=decoy,ou=policies"] {
        usherd.ldap().delete(&format!("{dn},dc=example,dc=org"));
    }
    usherd.kill();
    usherd.start_again();
    for dn in ["cn=usher,ou=policies", "cn=admin,ou=datacenters", "cn=admins,ou=groups", "cn=decoy,ou=policies"] {
        assert!(exists(&usherd, &format!("{dn},dc=example,dc=org")), "{dn}");
    }
    let (name, password) = (usherd.admin.username.clone(), usherd.admin.password.clone());
    usherd.login(&name, &password);
}

#[test]
fn a_lost_admin_env_is_made_anew_with_credentials_that_work() {
    let mut usherd = Usherd::start();
    let before = usherd.admin.clone();
    assert!(usherd.stop().success());
    fs::remove_file(usherd.data_dir().join("admin.env")).unwrap();
    usherd.start_again();
    assert_ne!((&before.password, &before.api_key), (&usherd.admin.password, &usherd.admin.api_key));
    let (name, password) = (usherd.admin.username.clone(), usherd.admin.password.clone());
    usherd.login(&name, &password);
    assert_eq!(usherd.api().get("/accounts/user/admin/").status, 200);
    assert_ne!(usherd.anonymous().with_header("ES-API-KEY", &before.api_key).get("/accounts/user/admin/").status, 200);
}

#[test]
fn killing_usherd_leaves_no_slapd_behind_even_a_frozen_one() {
    for freeze in [false, true] {
        let mut usherd = Usherd::start();
        add_person(&usherd, "kept");
        let slapd = usherd.slapd_pid().unwrap();
        if freeze {
            usherd.signal_slapd(Signal::SIGSTOP);
        }
        usherd.kill();
        eventually_true(SOON, "slapd ends with usherd", || !alive(slapd));
        usherd.start_again();
        assert!(exists(&usherd, "uid=kept,ou=people,dc=example,dc=org"));
    }
}

#[test]
fn a_killed_slapd_is_started_again_and_usherd_lives_on() {
    let mut usherd = Usherd::start();
    for round in 0..3 {
        add_person(&usherd, &format!("kept{round}"));
        let first = usherd.slapd_pid().unwrap();
        usherd.signal_slapd(Signal::SIGKILL);
        let second = eventually(SOON, "another slapd", || usherd.slapd_pid().filter(|pid| *pid != first));
        assert_ne!(first, second);
        eventually_true(SOON, "the directory takes writes again", || {
            let body = serde_json::json!({"first_name": format!("Round{round}")});
            usherd.api().put("/accounts/user/admin/", &body).status == 200
        });
        assert!(exists(&usherd, &format!("uid=kept{round},ou=people,dc=example,dc=org")));
    }
    assert_eq!(usherd.exited(), None);
}

#[test]
fn the_end_takes_slapd_along_without_a_warning() {
    let mut usherd = Usherd::start();
    let slapd = usherd.slapd_pid().unwrap();
    assert!(usherd.stop().success());
    assert!(!alive(slapd));
    eventually_true(Duration::from_secs(5), "the log's last line", || usherd.stderr().contains("ending"));
    assert!(!usherd.stderr().contains("WARN"), "{}", usherd.stderr());
}

#[test]
fn two_on_one_directory_is_refused() {
    let usherd = Usherd::start();
    let dir = usherd.data_dir().to_str().unwrap();
    let second = run(&["dev", "--data-dir", dir, "--listen", "127.0.0.1:0"]);
    assert!(!second.status.success());
    assert!(stderr(&second).contains("another usherd dev runs in"), "{}", stderr(&second));
    assert_eq!(usherd.api().get("/accounts/user/").status, 200);
}

#[test]
fn any_path_will_do() {
    let usherd = Usherd::builder().directory_name("it's a \"dir\" $x \u{e9} %41").start();
    assert_eq!(usherd.api().get("/accounts/user/").status, 200);
    // admin.env can be sourced
    let script = r#". "$1/admin.env" && ldapwhoami -x -H "$USHER_LDAP_URL" -D "$USHER_BIND_DN" -y "$USHER_BIND_PASSWORD_FILE" && test -S "$USHER_KEYS_SOCKET""#;
    let output = Command::new("sh").args(["-ec", script, "sh"]).arg(usherd.data_dir()).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let second = usherd.second("other");
    assert_eq!(second.api().get("/accounts/user/").status, 200);
}

#[test]
fn a_path_too_long_for_sockets_gets_them_elsewhere() {
    let usherd = Usherd::builder().directory_name(&"d".repeat(100)).start();
    assert!(!usherd.admin.keys_socket.starts_with(usherd.data_dir()));
    assert!(usherd.admin.keys_socket.exists());
    assert_eq!(usherd.ldap().base_dn(), "dc=example,dc=org");
}

#[test]
fn a_directory_below_a_closed_one_works_and_its_keys_can_be_asked_for() {
    let temp = TempDir::new();
    let closed = temp.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_usherd"));
    command.args(["dev", "--listen", "127.0.0.1:0", "--data-dir"]).arg(closed.join("d"));
    let mut dev = Dev::start(&mut command);
    let admin = AdminEnv::read(&closed.join("d/admin.env"));
    assert!(!admin.keys_socket.starts_with(&closed));
    for parent in admin.keys_socket.ancestors().skip(1) {
        assert_ne!(fs::metadata(parent).unwrap().mode() & 0o001, 0, "{}", parent.display());
    }
    dev.stop();
}

/// A `usherd dev` that this file starts itself, because it is started in an unusual way.
struct Dev(std::process::Child);

impl Dev {
    fn start(command: &mut Command) -> Self {
        use std::io::{BufRead, BufReader};
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let dev = Self(child);
        assert!(line.starts_with("usherd ready: http://127.0.0.1:"), "{line:?}");
        dev
    }

    fn stop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            self.stop();
        }
    }
}

#[test]
fn an_ordinary_user_needs_no_rights() {
    if !Uid::effective().is_root() {
        // then every other test here is this one
        return;
    }
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let temp = TempDir::new();
    let (binary, home) = (temp.path().join("usherd"), temp.path().join("home"));
    // the build's own directory may be closed to others
    fs::copy(env!("CARGO_BIN_EXE_usherd"), &binary).unwrap();
    fs::create_dir(&home).unwrap();
    chown(&home, Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw())).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--no-new-privs"]);
    command.arg(&binary).args(["dev", "--listen", "127.0.0.1:0"]).env("HOME", &home).env_remove("XDG_DATA_HOME");
    let mut dev = Dev::start(&mut command);
    let data = home.join(".local/share/usher");
    let admin = AdminEnv::read(&data.join("admin.env"));
    assert!(admin.keys_socket.exists());
    assert_eq!(fs::metadata(data.join("db/data.mdb")).unwrap().uid(), nobody.uid.as_raw());
    dev.stop();
}

#[test]
fn without_slapd_one_line_says_what_to_install() {
    let temp = TempDir::new();
    // a mount namespace in which slapd's place is empty; an ordinary user gets one by being root in a user namespace
    let namespace = if Uid::effective().is_root() { "-m" } else { "-rm" };
    if !Command::new("unshare").args([namespace, "true"]).status().is_ok_and(|status| status.success()) {
        // a container without the right to mount
        return eprintln!("SKIPPED: no mount namespace can be made here");
    }
    let hide = |what: &str, with: &str| {
        let script = format!("mount --bind {with} {what}; exec \"$0\" dev --listen 127.0.0.1:0 --data-dir \"$1\"");
        let output = Command::new("unshare")
            .args([namespace, "sh", "-ec", &script, env!("CARGO_BIN_EXE_usherd")])
            .arg(temp.path().join("d"))
            .output()
            .unwrap();
        assert!(!output.status.success());
        assert!(output.stdout.is_empty());
        stderr(&output)
    };
    let line = hide("/usr/sbin/slapd", "/dev/null");
    assert_eq!(line, "usherd: slapd is not installed: apt-get install slapd slapd-contrib\n");
    let empty = temp.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let line = hide("/usr/lib/ldap", empty.to_str().unwrap());
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains("apt-get install slapd slapd-contrib"), "{line}");
}

#[test]
fn a_base_dn_is_chosen_once() {
    let usherd = Usherd::builder().arg("--base-dn").arg("o=Some Firm").start();
    assert_eq!(usherd.ldap().base_dn(), "o=Some Firm");
    assert_eq!(usherd.api().get("/accounts/user/admin/").status, 200);
    let dir = usherd.data_dir().to_str().unwrap().to_owned();
    let mut usherd = usherd;
    assert!(usherd.stop().success());
    let other = run(&["dev", "--data-dir", &dir, "--listen", "127.0.0.1:0", "--base-dn", "dc=other"]);
    assert!(stderr(&other).contains("has the base DN o=Some Firm"), "{}", stderr(&other));
    let bad = run(&["dev", "--data-dir", &dir, "--base-dn", "cn=x\nrootpw y"]);
    assert!(!bad.status.success());
}

#[test]
fn a_first_start_with_a_base_dn_that_slapd_refuses_decides_nothing() {
    let temp = TempDir::new();
    for base in ["dc=a,nonsense=b", "dc=c,nonsense=d"] {
        let dir = temp.path().to_str().unwrap();
        let output = run(&["dev", "--data-dir", dir, "--listen", "127.0.0.1:0", "--base-dn", base]);
        let line = stderr(&output);
        assert!(line.contains("slapd does not start") && line.contains(base), "{line}");
    }
}

#[test]
fn a_decoy_that_is_cheaper_than_configured_is_renewed() {
    let mut usherd = Usherd::start();
    let dn = "cn=decoy,ou=policies,dc=example,dc=org";
    let cheap = "{ARGON2}$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA";
    usherd.ldap().modify(&format!("dn: {dn}\nchangetype: modify\nreplace: userPassword\nuserPassword: {cheap}\n"));
    assert_eq!(one(&usherd, dn).first("userPassword").unwrap(), cheap);
    assert!(usherd.stop().success());
    usherd.start_again();
    let hash = one(&usherd, dn).first("userPassword").unwrap();
    assert!(hash.starts_with("{ARGON2}$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
}

#[test]
fn a_predecessor_that_still_answers_is_not_taken_for_our_own_slapd() {
    let mut usherd = Usherd::start();
    assert!(usherd.stop().success());
    // What a slapd that is being killed has for a moment longer: its lock and its socket.
    let lock = fs::File::options().write(true).open(usherd.data_dir().join("slapd.lock")).unwrap();
    let lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).unwrap();
    let socket = usherd.data_dir().join("private/ldapi");
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    let predecessor = std::thread::spawn(move || {
        // whoever looks whether it answers, and whoever takes that for an answer
        let first = listener.accept().unwrap();
        let second = listener.accept().unwrap();
        drop((first, second, listener, lock));
    });
    usherd.start_again();
    predecessor.join().unwrap();
    assert_eq!(usherd.api().get("/accounts/user/").status, 200);
}
