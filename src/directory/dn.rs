//! Distinguished names (RFC 4514): where entries live below the base DN. DNs are built here and nowhere else.

use crate::accounts::secrets::hex;
use crate::name::{DcName, GroupName, UserName};

/// One RDN: its attribute-value assertions, attribute types in lower case, values unescaped.
type Rdn = Vec<(String, String)>;

/// The places below the base DN.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    base: String,
    people: Parent,
    groups: Parent,
    datacenters: Parent,
    sessions: Parent,
    policies: String,
}

/// A container: its text, and the parsed form by which another spelling of it is recognised.
#[derive(Clone, Debug)]
struct Parent {
    text: String,
    parsed: Vec<Rdn>,
}

/// What a DN names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    User(UserName),
    /// An entry below the people whose RDN holds more than the `uid`. It is no user, since writes could not name it, but
    /// it claims the name: beside a user of that name neither may do anything.
    Claim(UserName),
    Group(GroupName),
    Datacenter(DcName),
    Session,
    /// Somewhere else, or a name that can't be ours.
    Other,
}

impl Tree {
    /// The tree below `base`.
    ///
    /// # Errors
    /// `base` is no DN.
    pub(crate) fn new(base: &str) -> Result<Self, String> {
        let base = base.trim();
        if base.is_empty() || parse(base).is_none() {
            return Err(format!("directory.base-dn: {base:?} is not a distinguished name (RFC 4514)"));
        }
        let parent = |ou: &str| {
            let text = format!("ou={ou},{base}");
            parse(&text).map(|parsed| Parent { text, parsed }).ok_or_else(|| format!("{base:?} is no DN"))
        };
        Ok(Self {
            people: parent("people")?,
            groups: parent("groups")?,
            datacenters: parent("datacenters")?,
            sessions: parent("sessions")?,
            policies: format!("ou=policies,{base}"),
            base: base.to_owned(),
        })
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) fn user(&self, name: &UserName) -> String {
        format!("uid={},{}", escape(name.as_str()), self.people.text)
    }

    pub(crate) fn group(&self, name: &GroupName) -> String {
        format!("cn={},{}", escape(name.as_str()), self.groups.text)
    }

    pub(crate) fn datacenter(&self, name: &DcName) -> String {
        format!("cn={},{}", escape(name.as_str()), self.datacenters.text)
    }

    pub(crate) fn session(&self, token_hash: &[u8; 32]) -> String {
        format!("usherTokenHash={},{}", hex(token_hash), self.sessions.text)
    }

    /// The entry with the counters and the key identifier.
    pub(crate) fn state(&self) -> String {
        format!("cn=usher,{}", self.policies)
    }

    /// The entry that unknown users' passwords are tried against.
    pub(crate) fn decoy(&self) -> String {
        format!("cn=decoy,{}", self.policies)
    }

    /// What `dn` names. The spelling of the containers does not matter, their depth does: one level, no deeper.
    pub(crate) fn place(&self, dn: &str) -> Place {
        if let Some(name) = simple(dn, "uid=", &self.people.text) {
            return UserName::parse(name).map_or(Place::Other, Place::User);
        }
        let Some(parsed) = parse(dn) else { return Place::Other };
        let Some((rdn, parent)) = parsed.split_first() else { return Place::Other };
        let value = |kind: &str| rdn.iter().find(|(k, _)| k == kind).map(|(_, v)| v.as_str());
        let single = |kind: &str| value(kind).filter(|_| rdn.len() == 1);
        let below = |container: &Parent| same(parent, &container.parsed);
        if below(&self.people) {
            let place = if rdn.len() == 1 { Place::User } else { Place::Claim };
            value("uid").and_then(|v| UserName::parse(v).ok()).map_or(Place::Other, place)
        } else if below(&self.groups) {
            single("cn").and_then(|v| GroupName::parse(v).ok()).map_or(Place::Other, Place::Group)
        } else if below(&self.datacenters) {
            single("cn").and_then(|v| DcName::parse(v).ok()).map_or(Place::Other, Place::Datacenter)
        } else if below(&self.sessions) {
            Place::Session
        } else {
            Place::Other
        }
    }
}

/// The RDN's value where `dn` is spelt as we spell it and needs no unescaping: the case of nearly all entries.
fn simple<'a>(dn: &'a str, kind: &str, parent: &str) -> Option<&'a str> {
    let value = dn.strip_prefix(kind)?.strip_suffix(parent)?.strip_suffix(',')?;
    let plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'@' | b'.' | b'_' | b'-'));
    (plain && !value.is_empty()).then_some(value)
}

fn same(a: &[Rdn], b: &[Rdn]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(x, y)| {
            x.len() == y.len() && x.iter().all(|(k, v)| y.iter().any(|(l, w)| k == l && folded(v) == folded(w)))
        })
}

/// How LDAP compares directory strings, as far as container names need it: no case, blanks do not count.
fn folded(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Parses a DN; `None` for what is none and for values in `#hex` form, which our places never use.
fn parse(text: &str) -> Option<Vec<Rdn>> {
    let mut rdns = Vec::new();
    let mut rdn = Vec::new();
    let mut rest = text;
    loop {
        let (kind, after) = rest.split_once('=')?;
        let kind = kind.trim();
        if kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.')) {
            return None;
        }
        let (value, end, after) = value(after)?;
        rdn.push((kind.to_ascii_lowercase(), value));
        match end {
            Some('+') => {}
            Some(_) => rdns.push(std::mem::take(&mut rdn)),
            None => {
                rdns.push(rdn);
                return Some(rdns);
            }
        }
        rest = after;
    }
}

/// One value up to an unescaped separator: the value, the separator, what follows it.
fn value(text: &str) -> Option<(String, Option<char>, &str)> {
    let text = text.trim_start_matches(' ');
    if text.starts_with('#') {
        return None;
    }
    let mut bytes = Vec::new();
    // how many of the bytes stay when unescaped blanks at the end are dropped
    let mut kept = 0;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            ',' | ';' | '+' => {
                bytes.truncate(kept);
                return Some((String::from_utf8(bytes).ok()?, Some(c), &text[at + 1..]));
            }
            '\\' => {
                let (_, next) = chars.next()?;
                if let Some(high) = next.to_digit(16) {
                    let low = chars.next()?.1.to_digit(16)?;
                    bytes.push(u8::try_from(high * 16 + low).ok()?);
                } else {
                    bytes.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes());
                }
                kept = bytes.len();
            }
            '"' | '<' | '>' | '\0' => return None,
            c => {
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                if c != ' ' {
                    kept = bytes.len();
                }
            }
        }
    }
    bytes.truncate(kept);
    Some((String::from_utf8(bytes).ok()?, None, ""))
}

/// Escapes a value for a DN (RFC 4514, 2.4): here for names, whose only special character is `+`; the rest of the
/// special characters are covered all the same.
fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in value.chars().enumerate() {
        let special = matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=')
            || (i == 0 && matches!(c, ' ' | '#'))
            || (i == last && c == ' ');
        if special {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        Tree::new("dc=example,dc=org").unwrap()
    }

    fn user(name: &str) -> Place {
        Place::User(UserName::parse(name).unwrap())
    }

    #[test]
    fn a_built_dn_is_found_again_whatever_the_name() {
        for name in ["bob", "a+b", "+", "x@example.org", "-x", "a.b_c-d"] {
            let parsed = UserName::parse(name).unwrap();
            assert_eq!(tree().place(&tree().user(&parsed)), Place::User(parsed), "{name}");
        }
    }

    #[test]
    fn another_spelling_of_the_same_place_is_recognised() {
        for dn in [
            "uid=bob,ou=people,dc=example,dc=org",
            "UID=bob, OU=People, DC=Example, DC=ORG",
            "uid=bob;ou=people;dc=example;dc=org",
            "uid= bob ,ou=people,dc=example,dc=org",
            "uid=\\62ob,ou=people,dc=example,dc=org",
        ] {
            assert_eq!(tree().place(dn), user("bob"), "{dn}");
        }
        for dn in ["uid=bob+cn=Bob B,ou=people,dc=example,dc=org", "cn=Bob\\2c B+uid=bob,ou=people,dc=example,dc=org"] {
            assert_eq!(tree().place(dn), Place::Claim(UserName::parse("bob").unwrap()), "{dn}");
        }
    }

    #[test]
    fn other_places_and_other_texts_are_no_users() {
        for dn in [
            "",
            "bob",
            "uid=bob",
            "uid=bob,ou=people",
            "uid=bob,dc=example,dc=org",
            "uid=bob,ou=x,ou=people,dc=example,dc=org",
            "cn=bob,ou=people,dc=example,dc=org",
            "uid=a b,ou=people,dc=example,dc=org",
            "uid=#626f62,ou=people,dc=example,dc=org",
            "uid=bob\\,ou=people,dc=example,dc=org",
            "uid=bob\\",
            "uid=bob\\4",
            "uid=,ou=people,dc=example,dc=org",
            "uid=x\\ff,ou=people,dc=example,dc=org",
        ] {
            assert_eq!(tree().place(dn), Place::Other, "{dn}");
        }
    }

    #[test]
    fn a_base_that_is_no_dn_is_refused() {
        for bad in ["", "example", "=x", "dc=a,", "dc=a\\"] {
            assert!(Tree::new(bad).is_err(), "{bad}");
        }
    }
}
