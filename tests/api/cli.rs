//! The `usher` command against the daemon: grammar, files, sessions, output formats, exit statuses.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::{TempDir, Usherd};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl alice@laptop";

struct Cli {
    program: PathBuf,
    url: String,
    api_key: String,
    session: PathBuf,
}

impl Cli {
    fn of(usherd: &Usherd) -> Self {
        Self {
            program: env!("CARGO_BIN_EXE_usher").into(),
            url: usherd.url().to_owned(),
            api_key: usherd.admin.api_key.clone(),
            session: usherd.scratch().join("session"),
        }
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(&self.program)
            .args(args)
            .env("ES_API_URL", &self.url)
            .env("ES_API_KEY", &self.api_key)
            .env("USHER_SESSION_FILE", &self.session)
            .output()
            .unwrap()
    }

    /// stdout of a run that must end with `status`.
    #[track_caller]
    fn ends(&self, status: i32, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn json(&self, status: i32, args: &[&str]) -> Value {
        serde_json::from_str(&self.ends(status, args)).unwrap()
    }
}

fn write(path: &Path, text: &str) -> String {
    fs::write(path, text).unwrap();
    format!("file::{}", path.display())
}

#[test]
fn people_and_scripts_reach_every_method_of_the_api() {
    let usherd = Usherd::start();
    let cli = Cli::of(&usherd);
    let alice = "/accounts/user/alice";

    let created = cli.json(
        0,
        &[
            "create",
            alice,
            "-first_name",
            "Alice",
            "-last_name",
            "Ådams",
            "-email",
            "alice@example.com",
            "-password",
            &write(&usherd.scratch().join("password"), "from a file\n"),
            "-dc_bound",
            "false",
            "-api_access",
        ],
    );
    assert_eq!(created["method"], "POST");
    assert_eq!(created["status"], 201);
    assert_eq!(created["url"], format!("{}{alice}/", usherd.url()));
    assert_eq!(created["text"]["result"]["api_access"], true);

    // The file's line end is no part of the password.
    usherd.login("alice", "from a file");

    let key = write(&usherd.scratch().join("key.pub"), &format!("{KEY}\n"));
    let stored = cli.json(0, &["post", "/accounts/user/alice/sshkey/laptop", "-key", &key]);
    assert_eq!(stored["text"]["result"]["key"], KEY);

    let changed = cli.json(0, &["set", alice, "-groups", "json::[\"admins\"]", "-last_name", "Adams"]);
    assert_eq!(changed["text"]["result"]["groups"], json!(["admins"]));
    assert_eq!(cli.json(0, &["put", alice, "-groups", "json::[]"])["text"]["result"]["groups"], json!([]));

    let described = cli.ends(0, &["options", alice]);
    assert!(!described.trim().is_empty() && !described.starts_with('{'), "{described}");
    assert_eq!(cli.ends(0, &["help", alice]), described);

    assert_eq!(cli.json(0, &["delete", "/accounts/user/alice/sshkey/laptop"])["text"]["result"], Value::Null);
    assert_eq!(cli.json(0, &["delete", alice])["text"]["status"], "SUCCESS");
    assert_eq!(cli.json(1, &["get", alice])["text"], json!({"detail": "User not found"}));
}

#[test]
fn lists_are_shown_as_json_lines_and_tables() {
    let usherd = Usherd::start();
    let cli = Cli::of(&usherd);
    assert_eq!(cli.json(0, &["get", "/accounts/user"])["text"]["result"], json!(["admin"]));
    assert_eq!(cli.ends(0, &["get", "/accounts/user", "--csv"]), "admin\r\n");
    assert_eq!(cli.ends(0, &["get", "/accounts/user", "--tabulate"]), "-----\nadmin\n-----\n");
    let csv = cli.ends(0, &["get", "/accounts/user", "-full", "-order_by", "username", "--csv"]);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 2, "{csv}");
    assert!(lines[0].starts_with("api_key;callback_key;dc_bound;username;"), "{csv}");
    assert!(lines[1].starts_with("***;***;False;admin;"), "{csv}");
    let table = cli.ends(0, &["get", "/accounts/user", "-full", "--tabulate"]);
    assert!(table.starts_with("api_key    callback_key    dc_bound    username"), "{table}");
    assert!(table.lines().count() == 3 && table.lines().nth(1).unwrap().starts_with("---------  ---"), "{table}");

    // One object is a table of its keys, and what has none is shown as Python spells it.
    assert_eq!(cli.ends(0, &["get", "/accounts/permission/admin", "--csv"]), "name;admin\r\nalias;Admin\r\n");
    let group = "/accounts/group/g1";
    let created = cli.ends(0, &["create", group, "-dc_bound", "false", "-permissions", "admin,dns_admin", "--csv"]);
    assert!(
        created.starts_with("dc_bound;False\r\nname;g1\r\nalias;g1\r\npermissions;admin,dns_admin\r\n"),
        "{created}"
    );
    assert_eq!(cli.ends(0, &["delete", group, "--tabulate"]), "None\n");
    assert_eq!(cli.ends(0, &["get", "/ping", "--csv"]), "pong\n");
    assert_eq!(cli.ends(0, &["get", "/task", "--tabulate"]), "\n");
    assert!(cli.ends(0, &["help", "/ping", "--csv"]).starts_with("name;Api Ping\r\ndescription;"));

    // So is a refusal, whole.
    let missing = ["get", "/accounts/user/nobody", "--tabulate"];
    assert_eq!(cli.ends(1, &missing), "------  --------------\ndetail  User not found\n------  --------------\n");
    let failed = cli.ends(1, &["create", "/dc/dc2", "--csv"]);
    assert!(failed.starts_with("status;FAILURE\r\nresult;site: ['This field is required.']\r\ntask_id;"), "{failed}");

    let json = cli.ends(1, &["get", "/accounts/user/é"]);
    assert!(json.starts_with("{\n    \"method\": \"GET\",\n    \"url\": \"http://"), "{json}");
    assert!(json.contains("/accounts/user/%C3%A9/\"") && json.is_ascii(), "{json}");
}

#[test]
fn a_login_is_kept_private_sent_to_its_server_alone_and_ended() {
    let usherd = Usherd::start();
    let cli = Cli { api_key: String::new(), ..Cli::of(&usherd) };
    let password = write(&usherd.scratch().join("password"), &usherd.admin.password);
    assert_eq!(cli.json(1, &["get", "/accounts/user"])["status"], 403);

    let wrong = cli.json(4, &["login", "-username", "admin", "-password", "wrong"]);
    assert_eq!(wrong["text"]["detail"], "Unable to log in with provided credentials.");
    assert!(!cli.session.exists());

    cli.ends(0, &["login", "-username", "admin", "-password", &password]);
    assert_eq!(fs::metadata(&cli.session).unwrap().permissions().mode() & 0o777, 0o600);
    let keys = cli.json(0, &["get", "/accounts/user/admin/apikeys"]);
    assert_eq!(keys["text"]["result"]["api_key"], usherd.admin.api_key);

    let other = usherd.second("other");
    let elsewhere = Cli { url: other.url().to_owned(), api_key: String::new(), ..Cli::of(&usherd) };
    assert_eq!(elsewhere.json(1, &["get", "/accounts/user"])["status"], 403);

    let shown = cli.ends(0, &["-d", "get", "/accounts/user"]);
    let token = fs::read_to_string(&cli.session).unwrap();
    assert!(shown.contains("\"authorization\": \"***\"") && !shown.contains(token.lines().next().unwrap()), "{shown}");

    assert_eq!(cli.json(0, &["logout"])["text"]["detail"], "Bye.");
    assert!(!cli.session.exists());
    assert_eq!(cli.json(1, &["get", "/accounts/user"])["status"], 403);
}

#[test]
fn an_api_key_on_the_command_line_or_in_a_file_goes_before_the_environment() {
    let usherd = Usherd::start();
    let cli = Cli { api_key: "0".repeat(32), ..Cli::of(&usherd) };
    assert_eq!(cli.json(1, &["get", "/accounts/user"])["text"]["detail"], "Invalid API key");
    cli.ends(0, &["get", "/accounts/user", "-api-key", &usherd.admin.api_key]);
    let file = write(&usherd.scratch().join("key"), &format!("{}\n", usherd.admin.api_key));
    cli.ends(0, &["get", "/accounts/user", "-api-key", &file]);
    let none = cli.json(1, &["get", "/accounts/user", "-api-key", "null"]);
    assert_eq!(none["text"]["detail"], "Authentication credentials were not provided.");
    let shown = cli.ends(0, &["-d", "get", "/accounts/user", "-api-key", &file]);
    assert!(!shown.contains(&usherd.admin.api_key), "{shown}");
    let shown = cli.json(0, &["-d", "get", "/accounts/user", "-api-key", &usherd.admin.api_key, "-full"]);
    assert_eq!(shown["command"], "get /accounts/user -api-key *** -full");
    assert!(!shown.to_string().contains(&usherd.admin.api_key), "{shown}");
}

#[test]
fn what_needs_no_server_ends_with_the_statuses_of_es() {
    let temp = TempDir::new();
    let nobody = Cli {
        program: env!("CARGO_BIN_EXE_usher").into(),
        // Nobody listens on the discard port.
        url: "http://127.0.0.1:9/api".to_owned(),
        api_key: String::new(),
        session: temp.path().join("session"),
    };
    for (status, args) in [
        (3, &["get", "/x"][..]),
        (3, &["create", "/x", "-key", "file::/does/not/exist"]),
        (11, &[]),
        (11, &["fly", "/x"]),
        (12, &["get"]),
        (13, &["get", "/x", "--xml"]),
    ] {
        let output = nobody.run(args);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("usher: ") && said.lines().count() == 1, "{said}");
    }
    let other = Cli { url: "ldap://127.0.0.1/api".to_owned(), ..nobody };
    let output = other.run(&["get", "/x"]);
    assert_eq!(output.status.code(), Some(11), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("not an http:// or https:// URL"), "{output:?}");
}

#[test]
fn called_as_es_it_is_the_same_command() {
    let temp = TempDir::new();
    let link = temp.path().join("es");
    symlink(env!("CARGO_BIN_EXE_usher"), &link).unwrap();
    let help = Command::new(&link).arg("--help").output().unwrap();
    assert!(help.status.success());
    assert!(String::from_utf8(help.stdout).unwrap().starts_with("Usage: es "));
    let wrong = Command::new(&link).arg("fly").output().unwrap();
    assert_eq!(wrong.status.code(), Some(11));
    assert!(String::from_utf8(wrong.stderr).unwrap().starts_with("es: "));
}
