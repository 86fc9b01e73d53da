//! The managed directory's access rules, password policy and uniqueness guards, asked for by ldap-utils.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use super::support::{Ldap, Usherd};

const BASE: &str = "dc=example,dc=org";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5GqLzrJpQBVJ1z3oXqgGQFbM0oVQb1HnJ8ZV0y9S3k x";

struct World {
    usherd: Usherd,
}

impl World {
    /// `ann`, `bob` (disabled) and `reader` (in cn=readers), each with the own name as password.
    fn new() -> Self {
        let usherd = Usherd::start();
        for (name, more) in [("ann", ""), ("bob", "usherActive: FALSE\n"), ("reader", "")] {
            usherd.ldap().add(&format!(
                "dn: uid={name},ou=people,{BASE}\nobjectClass: inetOrgPerson\nobjectClass: usherAccount\n\
                 objectClass: ldapPublicKey\nuid: {name}\ncn: {name}\nsn: {name}\nuserPassword: {name}\n\
                 sshPublicKey: {KEY}\nusherApiKey: 00\nusherApiKeyHash: {name}\nusherCallbackKey: 00\n{more}"
            ));
        }
        usherd.ldap().modify(&format!(
            "dn: cn=readers,ou=policies,{BASE}\nchangetype: modify\nadd: member\nmember: uid=reader,ou=people,{BASE}\n"
        ));
        usherd
            .ldap()
            .add(&format!("dn: usherTokenHash=00,ou=sessions,{BASE}\nobjectClass: usherSession\nusherTokenHash: 00\n"));
        Self { usherd }
    }

    fn password_file(&self, password: &str) -> PathBuf {
        let file = self.usherd.scratch().join(format!("pw-{password}"));
        fs::write(&file, password).unwrap();
        file
    }

    fn person(&self, name: &str) -> String {
        format!("uid={name},ou=people,{BASE}")
    }

    /// The local listener as `name`.
    fn bound(&self, name: &str, password: &str) -> Ldap {
        self.usherd.ldap().bound_as(&self.person(name), &self.password_file(password))
    }

    /// The exit code of a bind (the LDAP result code) at the local listener or usherd's own.
    fn bind(&self, url: &str, name: &str, password: &str) -> i32 {
        let output = Command::new("ldapwhoami")
            .args(["-x", "-H", url, "-D", &self.person(name), "-y"])
            .arg(self.password_file(password))
            .env("LDAPNOINIT", "1")
            .output()
            .unwrap();
        output.status.code().unwrap()
    }

    fn local_url(&self) -> &str {
        &self.usherd.admin.ldap_url
    }

    fn private_url(&self) -> String {
        self.local_url().replace("%2Fldap%2F", "%2Fprivate%2F")
    }

    /// usherd's own identity, which the kernel vouches for.
    fn as_usherd(&self, tool: &str, args: &[&str], input: &str) -> Output {
        let file = self.usherd.scratch().join("input.ldif");
        fs::write(&file, input).unwrap();
        let mut command = Command::new(tool);
        command.args(["-Q", "-Y", "EXTERNAL", "-H", &self.private_url()]).args(args).env("LDAPNOINIT", "1");
        if tool == "ldapmodify" {
            command.arg("-f").arg(&file);
        }
        command.output().unwrap()
    }
}

/// The attribute names that a search as `ldap` gives for `dn`; `None` where it gives no entry.
fn visible(ldap: &Ldap, dn: &str) -> Option<Vec<String>> {
    let entry = ldap.search(dn, "base", "(objectClass=*)", &["*"]).pop()?;
    let mut names: Vec<String> = entry.values.into_iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort();
    names.dedup();
    Some(names)
}

const SECRET: [&str; 4] = ["userpassword", "usherapikey", "usherapikeyhash", "ushercallbackkey"];

#[test]
fn a_disabled_user_binds_nowhere_and_only_usherds_listener_tells_right_from_wrong() {
    let world = World::new();
    let (local, private) = (world.local_url().to_owned(), world.private_url());
    assert_eq!(world.bind(&local, "ann", "ann"), 0);
    assert_eq!(world.bind(&local, "bob", "bob"), 49);
    assert_eq!(world.bind(&private, "bob", "bob"), 0);
    assert_eq!(world.bind(&private, "bob", "wrong"), 49);
    let bob = world.person("bob");
    // TRUE, and absence, restore everything at once
    for change in ["replace: usherActive\nusherActive: TRUE\n", "delete: usherActive\n"] {
        world.usherd.ldap().modify(&format!("dn: {bob}\nchangetype: modify\n{change}"));
        assert_eq!(world.bind(&local, "bob", "bob"), 0);
    }
    world.usherd.ldap().modify(&format!("dn: {bob}\nchangetype: modify\nadd: usherActive\nusherActive: FALSE\n"));
    assert_eq!(world.bind(&local, "bob", "bob"), 49);
}

#[test]
fn anonymous_sees_the_root_and_the_schema_and_nothing_else() {
    let world = World::new();
    let anonymous = |base: &str, scope: &str| {
        let output = Command::new("ldapsearch")
            .args(["-LLL", "-x", "-H", world.local_url(), "-b", base, "-s", scope, "(objectClass=*)"])
            .env("LDAPNOINIT", "1")
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(anonymous("", "base").contains("dn:"));
    assert!(anonymous("cn=subschema", "base").contains("dn: cn=Subschema"));
    for base in [BASE, "ou=people,dc=example,dc=org", "uid=ann,ou=people,dc=example,dc=org", "cn=Monitor"] {
        assert_eq!(anonymous(base, "sub"), "", "{base}");
    }
}

#[test]
fn a_user_reads_the_own_entry_without_secrets_and_no_other() {
    let world = World::new();
    let ann = world.bound("ann", "ann");
    let own = visible(&ann, &world.person("ann")).expect("the own entry");
    assert!(own.contains(&"sshpublickey".to_owned()) && own.contains(&"cn".to_owned()), "{own:?}");
    assert!(!own.iter().any(|name| SECRET.contains(&name.as_str())), "{own:?}");
    for other in [
        world.person("bob"),
        world.person("admin"),
        format!("cn=admins,ou=groups,{BASE}"),
        format!("cn=main,ou=datacenters,{BASE}"),
        format!("cn=usher,ou=policies,{BASE}"),
        format!("usherTokenHash=00,ou=sessions,{BASE}"),
        BASE.to_owned(),
    ] {
        assert_eq!(visible(&ann, &other), None, "{other}");
    }
}

#[test]
fn a_user_changes_the_own_password_and_nothing_else() {
    let world = World::new();
    let dn = world.person("ann");
    let change = |attribute: &str, value: &str| {
        let ldif = format!("dn: {dn}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n");
        world.bound("ann", "ann").try_modify(ldif.as_bytes()).status.code()
    };
    for (attribute, value) in
        [("usherSuperAdmin", "TRUE"), ("sshPublicKey", KEY), ("cn", "x"), ("usherActive", "TRUE"), ("mail", "x@y.z")]
    {
        assert_eq!(change(attribute, value), Some(50), "{attribute}");
    }
    assert_eq!(change("userPassword", "new"), Some(0));
    assert_eq!(world.bind(world.local_url(), "ann", "new"), 0);
    assert_eq!(world.bind(world.local_url(), "ann", "ann"), 49);
    // clear text that arrives is hashed at our cost; slapd's module makes argon2i of it, which the next login renews
    let stored = world.usherd.ldap().search(&dn, "base", "(objectClass=*)", &["userPassword"]);
    let stored = stored[0].first("userPassword").unwrap();
    assert!(stored.starts_with("{ARGON2}$argon2i") && stored.contains("$v=19$m=19456,t=2,p=1$"), "{stored}");
}

#[test]
fn readers_read_people_and_groups_without_secrets_and_no_keys_of_the_disabled() {
    let world = World::new();
    let reader = world.bound("reader", "reader");
    let ann = visible(&reader, &world.person("ann")).expect("ann");
    assert!(ann.contains(&"sshpublickey".to_owned()), "{ann:?}");
    assert!(!ann.iter().any(|name| SECRET.contains(&name.as_str())), "{ann:?}");
    let bob = visible(&reader, &world.person("bob")).expect("bob");
    assert!(bob.contains(&"usheractive".to_owned()) && !bob.contains(&"sshpublickey".to_owned()), "{bob:?}");
    assert!(visible(&reader, &format!("cn=admins,ou=groups,{BASE}")).is_some());
    assert_eq!(visible(&reader, &format!("usherTokenHash=00,ou=sessions,{BASE}")), None);
    assert_eq!(visible(&reader, &format!("cn=usher,ou=policies,{BASE}")), None);
    // a filter tells nothing about secrets either
    assert!(reader.search(BASE, "sub", "(usherApiKeyHash=ann)", &["1.1"]).is_empty());
    let ldif = format!("dn: {}\nchangetype: modify\nreplace: cn\ncn: x\n", world.person("ann"));
    assert_eq!(reader.try_modify(ldif.as_bytes()).status.code(), Some(50));
}

#[test]
fn usherd_may_do_everything_and_sets_a_lock_in_the_modify_that_replaces_the_password() {
    let world = World::new();
    let dn = world.person("ann");
    let output = world.as_usherd("ldapwhoami", &[], "");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), format!("dn:cn=usherd,ou=policies,{BASE}"));
    let ldif = format!(
        "dn: {dn}\nchangetype: modify\nreplace: userPassword\nuserPassword: new\n-\n\
         replace: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n"
    );
    let output = world.as_usherd("ldapmodify", &[], &ldif);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(world.bind(world.local_url(), "ann", "new"), 49);
    // Where the lock is there already, ppolicy deletes it after a mere replace: the modify has to delete and add it.
    let ldif = format!(
        "dn: {dn}\nchangetype: modify\nreplace: userPassword\nuserPassword: new\n-\n\
         delete: pwdAccountLockedTime\n-\nadd: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n"
    );
    let output = world.as_usherd("ldapmodify", &[], &ldif);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(world.bind(world.local_url(), "ann", "new"), 49);
    world.usherd.ldap().modify(&format!("dn: {dn}\nchangetype: modify\ndelete: pwdAccountLockedTime\n"));
    assert_eq!(world.bind(world.local_url(), "ann", "new"), 0);
}

#[test]
fn wrong_passwords_lock_nobody() {
    let world = World::new();
    for _ in 0..20 {
        assert_eq!(world.bind(world.local_url(), "ann", "wrong"), 49);
    }
    assert_eq!(world.bind(world.local_url(), "ann", "ann"), 0);
}

#[test]
fn what_must_be_unique_is_guarded_by_the_directory() {
    let world = World::new();
    let ldap = world.usherd.ldap();
    let person = |uid: &str, more: &str| {
        format!(
            "dn: uid={uid},ou=people,{BASE}\nobjectClass: inetOrgPerson\nobjectClass: usherAccount\nuid: {uid}\ncn: x\n\
             sn: x\n{more}\n"
        )
    };
    let taken = |ldif: String| ldap.try_add(ldif.as_bytes()).status.code();
    assert_eq!(
        taken(person("p1", "mail: P@example.org\nusherIdentity: p1\nusherNumber: 500\nusherApiKeyHash: aa")),
        Some(0)
    );
    for more in ["mail: p@EXAMPLE.org", "usherIdentity: P1", "usherNumber: 500", "usherApiKeyHash: aa"] {
        assert_eq!(taken(person("p2", more)), Some(19), "{more}");
    }
    let dc = |name: &str, more: &str| {
        format!("dn: cn={name},ou=datacenters,{BASE}\nobjectClass: usherDatacenter\ncn: {name}\n{more}\n")
    };
    for more in ["usherAlias: MAIN*", "usherSite: mgmt01.LOCAL", "usherNumber: 1"] {
        assert_eq!(taken(dc("d", more)), Some(19), "{more}");
    }
    // a number of a user may be a datacenter's
    assert_eq!(taken(dc("d", "usherNumber: 500")), Some(0));
    let group = format!("dn: cn=g,ou=groups,{BASE}\nobjectClass: usherGroup\ncn: g\nusherAlias: admins\n");
    assert_eq!(taken(group), Some(19));
}

#[test]
fn posix_attributes_can_be_added_to_users_and_groups() {
    let world = World::new();
    world.usherd.ldap().modify(&format!(
        "dn: {}\nchangetype: modify\nadd: objectClass\nobjectClass: posixAccount\nobjectClass: shadowAccount\n-\n\
         add: uidNumber\nuidNumber: 5000\n-\nadd: gidNumber\ngidNumber: 5000\n-\nadd: homeDirectory\nhomeDirectory: /home/ann\n-\n\
         add: shadowExpire\nshadowExpire: 1\n\n\
         dn: cn=admins,ou=groups,{BASE}\nchangetype: modify\nadd: objectClass\nobjectClass: posixGroup\n-\n\
         add: gidNumber\ngidNumber: 5001\n",
        world.person("ann")
    ));
}
