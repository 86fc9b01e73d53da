//! The LDAP command-line tools, run as an administrator would run them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// One entry of an `ldapsearch` answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) dn: String,
    /// Attribute names in lower case; values as bytes.
    pub(crate) values: Vec<(String, Vec<u8>)>,
}

impl Entry {
    /// The values of `attribute` that are text.
    pub(crate) fn all(&self, attribute: &str) -> Vec<String> {
        self.values
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(attribute))
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    pub(crate) fn first(&self, attribute: &str) -> Option<String> {
        self.all(attribute).into_iter().next()
    }
}

/// A server and the identity to use there.
#[derive(Clone, Debug)]
pub(crate) struct Ldap {
    url: String,
    bind_dn: String,
    password_file: PathBuf,
}

impl Ldap {
    pub(crate) fn new(url: &str, bind_dn: &str, password_file: &Path) -> Self {
        Self { url: url.to_owned(), bind_dn: bind_dn.to_owned(), password_file: password_file.to_owned() }
    }

    /// The same server with another identity.
    pub(crate) fn bound_as(&self, bind_dn: &str, password_file: &Path) -> Self {
        Self::new(&self.url, bind_dn, password_file)
    }

    /// The base DN: the first naming context of the server.
    #[track_caller]
    pub(crate) fn base_dn(&self) -> String {
        let root = self.search("", "base", "(objectClass=*)", &["namingContexts"]);
        root.first().and_then(|entry| entry.first("namingContexts")).expect("a naming context")
    }

    /// Changes in LDIF with `changetype:` lines; all must be taken.
    #[track_caller]
    pub(crate) fn modify(&self, ldif: &str) {
        succeeded("ldapmodify", &self.try_modify(ldif.as_bytes()));
    }

    pub(crate) fn try_modify(&self, ldif: &[u8]) -> Output {
        self.run("ldapmodify", &[], ldif)
    }

    /// Entries in LDIF; all must be taken.
    #[track_caller]
    pub(crate) fn add(&self, ldif: &str) {
        succeeded("ldapadd", &self.try_add(ldif.as_bytes()));
    }

    pub(crate) fn try_add(&self, ldif: &[u8]) -> Output {
        self.run("ldapadd", &[], ldif)
    }

    #[track_caller]
    pub(crate) fn delete(&self, dn: &str) {
        succeeded("ldapdelete", &self.run("ldapdelete", &[dn], b""));
    }

    /// `scope`: base, one or sub. Operational attributes must be named. A base that does not exist is no entry.
    #[track_caller]
    pub(crate) fn search(&self, base: &str, scope: &str, filter: &str, attributes: &[&str]) -> Vec<Entry> {
        let mut args = vec!["-LLL", "-o", "ldif-wrap=no", "-b", base, "-s", scope, filter];
        args.extend(attributes);
        let output = self.run("ldapsearch", &args, b"");
        if output.status.code() == Some(32) {
            return Vec::new();
        }
        parse(&succeeded("ldapsearch", &output))
    }

    /// Any of the tools with this server's `-H`, `-x`, `-D` and `-y`, then `args`, with `input` on stdin.
    pub(crate) fn run(&self, tool: &str, args: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new(tool)
            .args(["-x", "-H", &self.url, "-D", &self.bind_dn, "-y"])
            .arg(&self.password_file)
            .args(args)
            // The host's or the caller's ldap.conf must not decide where this goes.
            .env("LDAPNOINIT", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{tool} (package ldap-utils): {error}"));
        // The tool may end before it has read everything; its status says why.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }
}

#[track_caller]
fn succeeded(tool: &str, output: &Output) -> String {
    assert!(output.status.success(), "{tool}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn parse(ldif: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for block in ldif.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let mut entry = Entry::default();
        for line in block.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.split_once(':') else { panic!("LDIF: {line:?}") };
            let value = match value.strip_prefix(':') {
                Some(encoded) => unbase64(encoded.trim()).unwrap_or_else(|| panic!("LDIF: {line:?}")),
                None => value.strip_prefix(' ').unwrap_or(value).as_bytes().to_vec(),
            };
            if name.eq_ignore_ascii_case("dn") {
                entry.dn = String::from_utf8_lossy(&value).into_owned();
            } else {
                entry.values.push((name.to_ascii_lowercase(), value));
            }
        }
        entries.push(entry);
    }
    entries
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xff_ffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    Some(out)
}

/// One LDIF line of `attribute`, base64 where the value needs it (or simply always: the tools take both).
pub(crate) fn ldif_line(attribute: &str, value: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = format!("{attribute}:: ");
    for chunk in value.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for position in 0..4 {
            if position <= chunk.len() {
                out.push(char::from(ALPHABET[(bits >> (18 - 6 * position) & 63) as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out.push('\n');
    out
}
