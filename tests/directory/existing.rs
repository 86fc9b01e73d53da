//! `usherd serve` on a server that somebody else set up: Debian's default layout, and then what schema/README.md says.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::support::ldap::Ldap;
use super::support::{TempDir, Usherd, eventually_true};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl a@b";

/// What Debian's slapd has when it is new, with a password for cn=config.
const DEBIAN: &str = "dn: cn=config
objectClass: olcGlobal
cn: config

dn: cn=module{0},cn=config
objectClass: olcModuleList
cn: module{0}
olcModulePath: /usr/lib/ldap
olcModuleLoad: back_mdb

dn: cn=schema,cn=config
objectClass: olcSchemaConfig
cn: schema

include: file:///etc/ldap/schema/core.ldif
include: file:///etc/ldap/schema/cosine.ldif
include: file:///etc/ldap/schema/nis.ldif
include: file:///etc/ldap/schema/inetorgperson.ldif

dn: olcDatabase={-1}frontend,cn=config
objectClass: olcDatabaseConfig
objectClass: olcFrontendConfig
olcDatabase: {-1}frontend
olcSizeLimit: 500
olcAccess: {0}to dn.exact=\"\" by * read
olcAccess: {1}to dn.base=\"cn=Subschema\" by * read

dn: olcDatabase={0}config,cn=config
objectClass: olcDatabaseConfig
olcDatabase: {0}config
olcRootPW: secret

dn: olcDatabase={1}mdb,cn=config
objectClass: olcDatabaseConfig
objectClass: olcMdbConfig
olcDatabase: {1}mdb
olcDbDirectory: DIR/db
olcSuffix: dc=example,dc=org
olcRootDN: cn=admin,dc=example,dc=org
olcRootPW: secret
olcDbIndex: objectClass eq
olcDbIndex: cn,uid eq
olcDbIndex: uidNumber,gidNumber eq
olcDbIndex: member,memberUid eq
olcAccess: {0}to attrs=userPassword by self write by anonymous auth by * none
olcAccess: {1}to attrs=shadowLastChange by self write by * read
olcAccess: {2}to * by * read
";

struct Slapd {
    child: Child,
    dir: TempDir,
    url: String,
    password: std::path::PathBuf,
}

impl Slapd {
    fn start() -> Self {
        let dir = TempDir::new();
        let path = dir.path();
        for name in ["slapd.d", "db"] {
            fs::create_dir(path.join(name)).unwrap();
        }
        let (ldif, password) = (path.join("config.ldif"), path.join("password"));
        fs::write(&ldif, DEBIAN.replace("DIR", path.to_str().unwrap())).unwrap();
        fs::write(&password, "secret").unwrap();
        let tool = |name: &str| {
            let mut command = Command::new(name);
            command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
            command.arg("-F").arg(path.join("slapd.d")).stdin(Stdio::null());
            command
        };
        let added = tool("slapadd").args(["-n0", "-l"]).arg(&ldif).output().unwrap();
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let socket = path.join("ldapi");
        let url = format!("ldapi://{}", socket.to_str().unwrap().replace('/', "%2F"));
        let child = tool("slapd").args(["-d", "0", "-h", &url]).stderr(Stdio::null()).spawn().unwrap();
        let slapd = Self { child, dir, url, password };
        eventually_true(Duration::from_secs(20), "slapd listens", || UnixStream::connect(&socket).is_ok());
        slapd
    }

    fn bound_as(&self, dn: &str) -> Ldap {
        Ldap::new(&self.url, dn, &self.password)
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// A server set up as schema/README.md says, with the entries and the key file of a managed directory.
struct Existing {
    server: Slapd,
    manager: Ldap,
    dev: Usherd,
}

impl Existing {
    fn new() -> Self {
        Self::with_schema(&file("schema/usher.ldif"))
    }

    /// With this form of `usher.ldif`.
    fn with_schema(usher: &str) -> Self {
        let server = Slapd::start();
        let (config, manager) = (server.bound_as("cn=config"), server.bound_as("cn=admin,dc=example,dc=org"));
        config.add(&file("schema/openssh-lpk.ldif"));
        config.add(usher);
        config.modify(&file("contrib/openldap.ldif"));
        let dev = Usherd::start();
        let entries = dev.ldap().run("ldapsearch", &["-LLL", "-b", "dc=example,dc=org"], b"").stdout;
        let refused = manager.run("ldapadd", &["-c"], &entries);
        let refusals = String::from_utf8_lossy(&refused.stderr).matches("ldap_add:").count();
        assert_eq!(refusals, 1, "cn=readers alone: {}", String::from_utf8_lossy(&refused.stderr));
        manager.modify(
            "dn: cn=usherd,ou=policies,dc=example,dc=org\nchangetype: modify\nadd: objectClass\n\
             objectClass: simpleSecurityObject\n-\nadd: userPassword\nuserPassword: secret\n",
        );
        Self { server, manager, dev }
    }

    fn serve(&self, name: &str) -> Usherd {
        let urls = format!("directory.urls=[\"{}\"]", self.server.url);
        let password = format!("directory.bind-password-file={}", self.server.password.display());
        let identity = "directory.bind-dn=cn=usherd,ou=policies,dc=example,dc=org";
        self.dev.second_with(name, &[&urls, identity, &password])
    }
}

#[test]
fn a_server_with_an_older_schema_refuses_users_with_long_names_until_it_has_the_present_one() {
    let schema = file("schema/usher.ldif");
    let begin = schema.find("olcAttributeTypes: ( 2.25.119104626834933733037287642780634805980.1.11 ").unwrap();
    let end = begin + schema[begin + 1..].find("olcAttributeTypes").unwrap() + 1;
    let unknown = format!("{}{}", &schema[..begin], &schema[end..]).replace(" $ usherName", "");
    let not_in_the_class = schema.replace(" $ usherName", "");
    for schema in [unknown, not_in_the_class] {
        let existing = Existing::with_schema(&schema);
        let serve = existing.serve("existing");
        let post = |length: usize| {
            let (name, email) = ("n".repeat(length), format!("{length}@example.com"));
            let body = json!({"first_name": "A", "last_name": "B", "email": email, "password": "wonderland",
                "dc_bound": false});
            serve.api().post(&format!("/accounts/user/{name}/"), &body)
        };
        for length in [242, 254] {
            let said = json!({"username": ["The directory can't hold a name of this length."]});
            assert_eq!(post(length).result(400), said);
        }
        post(241).result(201);
        assert!(serve.stderr().contains("usherName"), "the operator is not told why: {}", serve.stderr());
        existing.server.bound_as("cn=config").modify(&newer_schema());
        post(254).result(201);
    }
}

#[test]
fn a_server_with_an_older_schema_has_no_place_for_what_is_not_answered_yet_and_serves_lists_all_the_same() {
    let older = file("schema/usher.ldif").replace(" $ usherUnanswered", "");
    let existing = Existing::with_schema(&older);
    let serve = existing.serve("existing");
    let api = serve.api();
    api.post("/accounts/group/g/", &json!({"dc_bound": false})).result(201);
    for list in [json!(["admin"]), json!([])] {
        let changed = api.put("/accounts/group/g/", &json!({ "users": list })).result(200);
        assert_eq!(changed["users"], list);
    }
    assert!(serve.stderr().contains("usherUnanswered"), "the operator is not told: {}", serve.stderr());
}

/// The change that puts the present usher.ldif in the place of an older one, as schema/README.md says.
fn newer_schema() -> String {
    let mut change = "dn: cn={5}usher,cn=schema,cn=config\nchangetype: modify\n".to_owned();
    let schema = file("schema/usher.ldif").replace("\n ", "\0");
    for kind in ["olcAttributeTypes", "olcObjectClasses"] {
        change.push_str(&format!("replace: {kind}\n"));
        for definition in schema.lines().filter(|line| line.starts_with(kind)) {
            change.push_str(&definition.replace('\0', "\n "));
            change.push('\n');
        }
        change.push_str("-\n");
    }
    change
}

#[test]
fn a_server_set_up_as_the_readme_says_serves_users_keys_and_logins() {
    let existing = Existing::new();
    let Existing { server, manager, dev } = &existing;
    let serve = existing.serve("existing");
    let api = serve.api();
    let alice = json!({"first_name": "A", "last_name": "B", "email": "a@example.com", "password": "wonderland",
        "dc_bound": false, "api_access": true});
    assert_eq!(api.post("/accounts/user/alice/", &alice).status, 201);
    assert_eq!(api.post("/accounts/user/alice/sshkey/k/", &json!({ "key": KEY })).status, 201);
    let group = json!({"alias": "g", "dc_bound": false, "users": ["alice"]});
    assert_eq!(api.post("/accounts/group/g/", &group).status, 201);
    let own = serve.login("alice", "wonderland");
    assert_eq!(own.get("/accounts/user/alice/").json()["result"]["groups"], json!(["g"]));
    assert_eq!(dev.api().get("/accounts/user/alice/").status, 404, "it went to the wrong server");
    // more than the server's own size limit
    let many: String = (0..600)
        .map(|i| {
            format!("dn: uid=u{i},ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: u{i}\ncn: u\nsn: u\n\n")
        })
        .collect();
    manager.add(&many);
    let again = existing.serve("again");
    assert_eq!(again.api().get("/accounts/user/").json()["result"].as_array().unwrap().len(), 602);

    // secrets are nobody's, whatever the rules that were there say; a disabled account is disabled for LDAP clients too
    let dn = "uid=alice,ou=people,dc=example,dc=org";
    let wonderland = server.dir.path().join("wonderland");
    fs::write(&wonderland, "wonderland").unwrap();
    let alice = manager.bound_as(dn, &wonderland);
    let seen = alice.search(dn, "base", "(objectClass=*)", &["*"]).pop().unwrap();
    assert_eq!(seen.first("sshPublicKey").as_deref(), Some(KEY));
    for secret in ["usherApiKey", "usherApiKeyHash", "usherCallbackKey"] {
        assert_eq!(seen.first(secret), None, "{secret}");
    }
    assert!(alice.search("ou=sessions,dc=example,dc=org", "sub", "(objectClass=*)", &["*"]).is_empty());
    manager.modify(&format!("dn: {dn}\nchangetype: modify\nreplace: usherActive\nusherActive: FALSE\n"));
    assert_eq!(alice.run("ldapwhoami", &[], b"").status.code(), Some(49));
    eventually_true(Duration::from_secs(5), "the session is refused", || {
        own.get("/accounts/user/alice/").status == 403
    });
    for (password, text) in
        [("wonderland", "User account is disabled."), ("wrong", "Unable to log in with provided credentials.")]
    {
        let body = json!({"username": "alice", "password": password});
        assert_eq!(serve.anonymous().post("/accounts/login/", &body).detail(400), text);
    }
    // the server's policy counts what it refuses
    manager.modify(
        "dn: cn=default,ou=policies,dc=example,dc=org\nchangetype: modify\nreplace: pwdMaxFailure\npwdMaxFailure: 3\n",
    );
    for password in ["wrong", "wrong", "wrong", "wonderland"] {
        let body = json!({"username": "alice", "password": password});
        let text = "Unable to log in with provided credentials.";
        assert_eq!(serve.anonymous().post("/accounts/login/", &body).detail(400), text);
    }
    assert!(!manager.search(dn, "base", "(pwdAccountLockedTime=*)", &["cn"]).is_empty());
}

#[test]
fn a_password_that_the_servers_policy_refuses_changes_nothing() {
    let existing = Existing::new();
    let serve = existing.serve("existing");
    let api = serve.api();
    let bob = json!({"first_name": "B", "last_name": "B", "email": "b@example.com", "password": "right",
        "dc_bound": false, "api_access": true});
    assert_eq!(api.post("/accounts/user/bob/", &bob).status, 201);
    assert_eq!(api.post("/accounts/group/g/", &json!({"dc_bound": false, "users": ["bob"]})).status, 201);
    let own = serve.login("bob", "right");
    let keys = own.get("/accounts/user/bob/apikeys/").json()["result"].clone();
    // the policy does not bind who may `manage` passwords
    existing.server.bound_as("cn=config").modify(
        "dn: olcDatabase={1}mdb,cn=config\nchangetype: modify\nadd: olcAccess\n\
         olcAccess: {0}to attrs=userPassword by dn.exact=cn=usherd,ou=policies,dc=example,dc=org write by * auth\n",
    );
    // such a policy takes no hash, since it can't look into it
    existing.manager.modify(
        "dn: cn=default,ou=policies,dc=example,dc=org\nchangetype: modify\nreplace: pwdCheckQuality\npwdCheckQuality: 2\n-\n\
         replace: pwdMinLength\npwdMinLength: 3\n",
    );
    let before = api.get("/accounts/user/bob/").json()["result"].clone();
    let change = json!({"email": "c@example.com", "first_name": "C", "password": "other", "api_key": true,
        "groups": []});
    let refused = api.put("/accounts/user/bob/", &change).result(400);
    assert!(refused["password"][0].is_string() && refused.as_object().unwrap().len() == 1, "{refused}");
    assert_eq!(api.get("/accounts/user/bob/").json()["result"], before);
    assert_eq!(own.get("/accounts/user/bob/apikeys/").json()["result"], keys);
    let entry = existing.manager.search("uid=bob,ou=people,dc=example,dc=org", "base", "(objectClass=*)", &["*"]).pop();
    let entry = entry.unwrap();
    assert_eq!((entry.all("mail"), entry.first("cn")), (vec!["b@example.com".to_owned()], Some("B B".to_owned())));
    let mut identities = entry.all("usherIdentity");
    identities.sort_unstable();
    assert_eq!(identities, ["b@example.com", "bob"]);
    let carl =
        json!({"first_name": "C", "last_name": "C", "email": "d@example.com", "password": "x", "dc_bound": false});
    assert!(api.post("/accounts/user/carl/", &carl).result(400)["password"][0].is_string());
    assert_eq!(api.get("/accounts/user/carl/").status, 404);
}
