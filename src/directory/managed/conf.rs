//! The managed slapd's configuration, as text: modules, schema, indexes, overlays, limits, access rules.
//!
//! Everything below DIR is named relative to it, since slapd runs there: no path needs quoting, whatever it holds.

use std::path::{Path, PathBuf};

use crate::accounts::password::Cost;

use super::super::dn::Tree;

/// Our schema files, in the order in which slapd reads them. rfc2307bis takes the place of nis.
pub(crate) const SCHEMA: [(&str, &str); 3] = [
    ("rfc2307bis.schema", include_str!("../../../schema/rfc2307bis.schema")),
    ("openssh-lpk.schema", include_str!("../../../schema/openssh-lpk.schema")),
    ("usher.schema", include_str!("../../../schema/usher.schema")),
];
/// The schema files that come with slapd.
const STANDARD_SCHEMA: [&str; 3] = ["core.schema", "cosine.schema", "inetorgperson.schema"];
const SCHEMA_DIRS: [&str; 3] = ["/etc/ldap/schema", "/etc/openldap/schema", "/usr/local/etc/openldap/schema"];
const MODULE_DIRS: [&str; 5] = [
    "/usr/lib/ldap",
    "/usr/lib64/openldap",
    "/usr/lib/openldap",
    "/usr/libexec/openldap",
    "/usr/local/libexec/openldap",
];
const ARGON2: [&str; 2] = ["argon2", "pw-argon2"];
/// The most that the database can hold, in bytes. The file is as large as its content; this much address space is reserved.
const MAX_SIZE: u64 = 64 << 30;

/// Attributes with an equality index: what is searched by, here and by sssd, and by the overlays.
const INDEXED: &str = "objectClass,uid,cn,mail,uidNumber,gidNumber,member,memberOf,memberUid,entryUUID,entryCSN,\
usherIdentity,usherNumber,usherAlias,usherSite,usherApiKeyHash,usherDcBound,usherDatacenterLink,usherOwner,\
usherTokenHash,usherSessionUser,usherActive";

/// What the host's slapd brings.
#[derive(Debug)]
pub(crate) struct Installed {
    modules: PathBuf,
    argon2: &'static str,
    schema: PathBuf,
}

impl Installed {
    /// Looks for modules and schema files.
    ///
    /// # Errors
    /// One line that says what to install.
    pub(crate) fn find() -> Result<Self, String> {
        let modules = MODULE_DIRS.into_iter().map(Path::new).find(|dir| dir.join("back_mdb.so").exists());
        let modules = modules
            .or_else(|| MODULE_DIRS.into_iter().map(Path::new).find(|dir| dir.join("syncprov.so").exists()))
            .ok_or("slapd's modules are not installed: apt-get install slapd slapd-contrib")?;
        let argon2 = ARGON2
            .into_iter()
            .find(|name| modules.join(format!("{name}.so")).exists())
            .ok_or("slapd's module argon2 is not installed: apt-get install slapd-contrib")?;
        let schema = SCHEMA_DIRS
            .into_iter()
            .map(Path::new)
            .find(|dir| STANDARD_SCHEMA.iter().all(|name| dir.join(name).exists()))
            .ok_or("slapd's standard schema files are not installed: apt-get install slapd")?;
        Ok(Self { modules: modules.to_owned(), argon2, schema: schema.to_owned() })
    }

    fn has(&self, module: &str) -> bool {
        self.modules.join(format!("{module}.so")).exists()
    }
}

/// What the text depends on.
#[derive(Debug)]
pub(crate) struct Settings<'a> {
    pub(crate) installed: &'a Installed,
    /// Must satisfy [`check_base`].
    pub(crate) base: &'a str,
    /// The listener that only usherd reaches, exactly as it is given to slapd.
    pub(crate) private_url: &'a str,
    /// Our own user's number: SASL EXTERNAL maps it to `cn=usherd,ou=policies`.
    pub(crate) uid: u32,
    /// A hash for `rootpw`.
    pub(crate) manager_hash: &'a str,
    /// For passwords that arrive in clear text, from LDAP tools.
    pub(crate) cost: Cost,
}

/// Whether `base` can be the managed directory's base DN: its first part is `dc`, `o` or `ou`, and it needs no quoting.
pub(crate) fn check_base(base: &str) -> Result<(), String> {
    if base.contains(|c: char| c.is_control() || "\"\\<>;#".contains(c)) {
        return Err(format!("--base-dn: {base:?} holds a character that usherd dev does not take"));
    }
    if Tree::new(base).is_err() {
        return Err(format!("--base-dn: {base:?} is not a distinguished name (RFC 4514)"));
    }
    match first_rdn(base) {
        Some(_) => Ok(()),
        None => Err(format!("--base-dn: {base:?} must begin with dc=, o= or ou=")),
    }
}

/// Type (`dc`, `o` or `ou`) and value of the base DN's first part.
pub(crate) fn first_rdn(base: &str) -> Option<(&'static str, &str)> {
    let (kind, value) = base.split(',').next()?.split_once('=')?;
    let kind = ["dc", "o", "ou"].into_iter().find(|k| kind.trim().eq_ignore_ascii_case(k))?;
    let value = value.trim();
    (!value.is_empty() && !value.contains('+')).then_some((kind, value))
}

/// The base DN inside an LDAP URL (RFC 4516).
fn in_url(base: &str) -> String {
    base.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'=' | b',' | b'-' | b'.' | b'_' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

/// slapd.conf.
pub(crate) fn text(settings: &Settings<'_>) -> String {
    let Settings { installed, base, private_url, uid, manager_hash, cost } = settings;
    let url_base = in_url(base);
    let schema_dir = installed.schema.display();
    let modules = installed.modules.display();
    let argon2 = installed.argon2;
    let Cost { memory, passes, lanes } = cost;
    let back_mdb = if installed.has("back_mdb") { "moduleload back_mdb\n" } else { "" };
    let usherd = format!("dn.exact=\"cn=usherd,ou=policies,{base}\"");
    let readers = format!("group/groupOfMembers/member.exact=\"cn=readers,ou=policies,{base}\"");
    let standard: String = STANDARD_SCHEMA.iter().map(|name| format!("include {schema_dir}/{name}\n")).collect();
    let ours: String = SCHEMA.iter().map(|(name, _)| format!("include schema/{name}\n")).collect();
    format!(
        r#"# Written by usherd dev at every start: changes here are lost. Paths are relative to this directory.

{standard}{ours}
modulepath {modules}
{back_mdb}moduleload syncprov
moduleload memberof
moduleload refint
moduleload unique
moduleload ppolicy
moduleload {argon2} m={memory} t={passes} p={lanes}

loglevel 0
sasl-host localhost
password-hash {{ARGON2}}
# whoever runs usherd is usherd: no password lies on disk for it
authz-regexp "^gidNumber=[[:digit:]]+\\+uidNumber={uid},cn=peercred,cn=external,cn=auth$" "cn=usherd,ou=policies,{base}"

access to dn.base="" by * read
access to dn.base="cn=subschema" by * read

# slapd's own statistics
database monitor
access to *
  by {usherd} read
  by dn.exact="cn=admin,{base}" read
  by * none

database mdb
suffix "{base}"
rootdn "cn=admin,{base}"
rootpw {manager_hash}
directory db
maxsize {MAX_SIZE}
index {INDEXED} eq
index usherExpires eq

sizelimit 500
limits {usherd} size=unlimited time=unlimited
limits group/groupOfMembers/member="cn=readers,ou=policies,{base}" size.soft=1000 size.hard=unlimited size.prtotal=unlimited

# Disabled is disabled for everybody: usherActive FALSE alone takes the password and the keys away. usherd itself can
# still tell a right password from a wrong one, over the listener that nobody else reaches.
access to filter="(usherActive=FALSE)" attrs=userPassword
  by {usherd} manage
  by sockurl.exact="{private_url}" auth
  by * none
access to filter="(usherActive=FALSE)" attrs=sshPublicKey
  by {usherd} manage
  by * none
# an open connection must not lift a lock: ppolicy deletes it with the old password
access to filter="(pwdAccountLockedTime=000001010000Z)" attrs=userPassword
  by {usherd} manage
  by anonymous auth
  by * none
access to attrs=userPassword
  by {usherd} manage
  by self =xw
  by anonymous auth
  by * none
# secrets are usherd's and the manager's
access to attrs=usherApiKey,usherApiKeyHash,usherCallbackKey,usherUnfinished,pwdHistory
  by {usherd} manage
  by * none
access to dn.subtree="ou=people,{base}"
  by {usherd} manage
  by {readers} read
  by self read
  by anonymous auth
  by * none
access to dn.subtree="ou=groups,{base}"
  by {usherd} manage
  by {readers} read
  by * none
access to dn.base="{base}"
  by {usherd} manage
  by {readers} read
  by * none
access to *
  by {usherd} manage
  by * none

# usherd's replica follows by content sync; checkpoints keep contextCSN from going far back in a crash
overlay syncprov
syncprov-checkpoint 100 1
syncprov-sessionlog 10000

overlay memberof
memberof-group-oc usherGroup
memberof-member-ad member
memberof-dangling ignore

overlay refint
refint_attributes member usherOwner usherDcBound usherDatacenterLink

# without "serialize" parallel writers break it
overlay unique
unique_uri "serialize ldap:///ou=people,{url_base}?mail,usherIdentity,usherApiKeyHash,usherNumber?sub"
unique_uri "serialize ldap:///ou=groups,{url_base}?usherAlias?sub"
unique_uri "serialize ldap:///ou=datacenters,{url_base}?usherAlias,usherSite,usherNumber?sub"

overlay ppolicy
ppolicy_default "cn=default,ou=policies,{base}"
ppolicy_hash_cleartext
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_dn_begins_with_dc_o_or_ou_and_needs_no_quoting() {
        assert_eq!(first_rdn("dc=example,dc=org"), Some(("dc", "example")));
        assert_eq!(first_rdn("O=Some Firm"), Some(("o", "Some Firm")));
        for good in ["dc=example,dc=org", "o=Some Firm,c=SK", "ou=x,dc=y"] {
            assert_eq!(check_base(good), Ok(()), "{good}");
        }
        for bad in ["", "cn=x", "dc=", "dc=a\"b", "dc=a\nrootpw x", "dc=a\\,b", "dc=a+o=b,dc=c", "dc=a,,dc=b", "dc=a,"]
        {
            assert!(check_base(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_base_dn_with_blanks_is_encoded_in_urls() {
        assert_eq!(in_url("o=Some Firm?"), "o=Some%20Firm%3F");
    }
}
