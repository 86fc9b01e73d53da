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

#[test]
fn a_server_set_up_as_the_readme_says_serves_users_keys_and_logins() {
    let server = Slapd::start();
    let (config, manager) = (server.bound_as("cn=config"), server.bound_as("cn=admin,dc=example,dc=org"));
    for name in ["openssh-lpk", "usher"] {
        config.add(&file(&format!("schema/{name}.ldif")));
    }
    config.modify(&file("contrib/openldap.ldif"));
    // the entries and the key file of a managed directory
    let dev = Usherd::start();
    let entries = dev.ldap().run("ldapsearch", &["-LLL", "-b", "dc=example,dc=org"], b"").stdout;
    let refused = manager.run("ldapadd", &["-c"], &entries);
    let refusals = String::from_utf8_lossy(&refused.stderr).matches("ldap_add:").count();
    assert_eq!(refusals, 1, "cn=readers alone: {}", String::from_utf8_lossy(&refused.stderr));
    manager.modify(
        "dn: cn=usherd,ou=policies,dc=example,dc=org\nchangetype: modify\nadd: objectClass\n\
         objectClass: simpleSecurityObject\n-\nadd: userPassword\nuserPassword: secret\n",
    );

    let urls = format!("directory.urls=[\"{}\"]", server.url);
    let password = format!("directory.bind-password-file={}", server.password.display());
    let identity = "directory.bind-dn=cn=usherd,ou=policies,dc=example,dc=org";
    let serve = dev.second_with("existing", &[&urls, identity, &password]);
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
    let again = dev.second_with("again", &[&urls, identity, &password]);
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
}
