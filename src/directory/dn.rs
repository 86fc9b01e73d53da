//! Distinguished names (RFC 4514): where entries live below the base DN. DNs are built here and nowhere else.
//!
//! A user is `uid=NAME,ou=people`. slapd's mdb backend keeps an entry's own part of the DN twice in a value of at most 511
//! bytes, so that it has room for 245, in which a `+` is `\2B`; a name may have 254 characters. One that does not fit is
//! packed and stands in the DN as `usherName=PACKED`; `uid` holds it as for everybody.

use crate::accounts::secrets::hex;
use crate::name::{DcName, GroupName, UserName};

/// The longest name that stands in the DN as it is, in bytes, as slapd escapes it.
const LONGEST_UID: usize = 241;

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
    /// An entry below the people whose RDN holds these names otherwise than [`Tree::user`] writes it. It is no user, since
    /// writes could not name it, but it claims the names: beside a user of such a name neither may do anything.
    Claim(Vec<UserName>),
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
        if is_packed(name) {
            return format!("usherName={},{}", pack(name), self.people.text);
        }
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
            let plain = value("uid").and_then(|v| UserName::parse(v).ok());
            let packed = value("ushername").and_then(unpack);
            match (plain, packed, rdn.len()) {
                (None, None, _) => Place::Other,
                (Some(name), None, 1) if !is_packed(&name) => Place::User(name),
                (None, Some(name), 1) => Place::User(name),
                (plain, packed, _) => Place::Claim(plain.into_iter().chain(packed).collect()),
            }
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
    (plain && !value.is_empty() && value.len() <= LONGEST_UID).then_some(value)
}

fn same(a: &[Rdn], b: &[Rdn]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(x, y)| {
            x.len() == y.len() && x.iter().all(|(k, v)| y.iter().any(|(l, w)| k == l && folded(v) == folded(w)))
        })
}

/// A text as LDAP compares directory strings (`caseIgnoreMatch`, RFC 4518), as far as most need it: in lower case, blanks
/// at its ends do not count, and many are as one.
pub(crate) fn folded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
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

/// Whether the name is too long to stand in the DN as it is. There it is in lower case.
pub(crate) fn is_packed(name: &UserName) -> bool {
    name.as_str().bytes().map(|b| if b == b'+' { r"\2B".len() } else { 1 }).sum::<usize>() > LONGEST_UID
}

/// What a canonical name consists of; the first fills up what is behind its end.
const SYMBOLS: &[u8] = b"\0abcdefghijklmnopqrstuvwxyz0123456789@.+_-";
/// What a packed name consists of: nothing that a DN would escape.
const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Ten symbols are a number below 42^10, and so nine digits, 64^9: 254 characters become 234.
const GROUP: usize = 10;
const PACKED_GROUP: usize = 9;

/// The canonical name, shortened. Entries go by it, so that its form must never change.
fn pack(name: &UserName) -> String {
    // A name holds nothing but symbols.
    let packed = recode::<GROUP, PACKED_GROUP>(name.canonical().as_bytes(), SYMBOLS, DIGITS).unwrap_or_default();
    packed.into_iter().map(char::from).collect()
}

/// The name, in lower case, of which [`pack`] makes `packed`; `None` where it makes that of no name that is packed.
fn unpack(packed: &str) -> Option<UserName> {
    if packed.len() > UserName::MAX {
        return None;
    }
    let name = recode::<PACKED_GROUP, GROUP>(packed.as_bytes(), DIGITS, SYMBOLS)?;
    let name = UserName::parse(std::str::from_utf8(&name).ok()?.trim_end_matches('\0')).ok()?;
    (is_packed(&name) && pack(&name) == packed).then_some(name)
}

/// Each group of `FROM` characters as the number that they are, written with `TO` characters of the other alphabet.
fn recode<const FROM: usize, const TO: usize>(text: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let (from_base, to_base) = (from.len() as u64, to.len() as u64);
    let mut out = Vec::new();
    for group in text.chunks(FROM) {
        let mut number = 0;
        for i in 0..FROM {
            let character = group.get(i).unwrap_or(&from[0]);
            number = number * from_base + from.iter().position(|c| c == character)? as u64;
        }
        let mut written = [0; TO];
        for character in written.iter_mut().rev() {
            *character = to[usize::try_from(number % to_base).ok()?];
            number /= to_base;
        }
        out.extend(written);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        Tree::new("dc=example,dc=org").unwrap()
    }

    fn name(text: &str) -> UserName {
        UserName::parse(text).unwrap()
    }

    fn user(text: &str) -> Place {
        Place::User(name(text))
    }

    /// A name of this length, of all symbols, the one with this number first.
    fn long(length: usize, first: usize) -> String {
        SYMBOLS[1..].iter().cycle().skip(first).take(length).map(|symbol| char::from(*symbol)).collect()
    }

    /// A name's own part of its DN.
    fn rdn(name: &UserName) -> String {
        tree().user(name).split_once(",ou=people,").unwrap().0.to_owned()
    }

    #[test]
    fn a_built_dn_is_found_again_whatever_the_name() {
        for text in ["bob", "a+b", "+", "x@example.org", "-x", "a.b_c-d", "Bob"] {
            assert_eq!(tree().place(&tree().user(&name(text))), user(text), "{text}");
        }
        for (length, first) in (1..=254).flat_map(|length| (0..41).step_by(5).map(move |first| (length, first))) {
            let name = name(&long(length, first));
            let rdn = rdn(&name);
            // the + as slapd writes it
            assert!(rdn.replace("\\+", "\\2B").len() <= 245, "{rdn}");
            assert_eq!(tree().place(&format!("{rdn}, OU=People,dc=example,dc=org")), Place::User(name), "{rdn}");
        }
    }

    #[test]
    fn only_a_name_that_does_not_fit_is_packed_and_its_case_does_not_matter() {
        for (text, packed) in [
            ("x".repeat(241), false),
            ("x".repeat(242), true),
            ("+".repeat(80), false),
            ("+".repeat(81), true),
            (format!("+{}", "x".repeat(238)), false),
            (format!("+{}", "x".repeat(239)), true),
        ] {
            assert_eq!(rdn(&name(&text)).starts_with("usherName="), packed, "{text}");
        }
        assert_eq!(rdn(&name(&"X".repeat(254))), rdn(&name(&"x".repeat(254))));
        assert_eq!(rdn(&name(&"X".repeat(241))), format!("uid={}", "X".repeat(241)));
        // Entries go by it: this never changes.
        assert_eq!(pack(&name(&long(41, 0))), "BhCCx3bh8QUP5Vm0eCfHdv5WNaIt6rmdFmWO7PHv2XHoA");
    }

    #[test]
    fn nothing_else_unpacks() {
        let packed = pack(&name(&long(251, 0)));
        assert_eq!(unpack(&packed), Some(name(&long(251, 0))));
        // One group of other characters, which might stand for ten symbols.
        let with = |group: &str| packed.replacen(&packed[9..18], group, 1);
        let number = |symbols: &[u8]| {
            let written = recode::<GROUP, PACKED_GROUP>(symbols, SYMBOLS, DIGITS).unwrap();
            String::from_utf8(written).unwrap()
        };
        assert!(unpack(&with(&number(b"aaaaaaaaaa"))).is_some());
        let short = |text: &str| pack(&name(text));
        for bad in [
            String::new(),
            long(251, 0),
            with(&number(b"aaaa\0aaaaa")),
            with("AAAAAAAAA"),
            with("_________"),
            with("9HyZg3kA="),
            with("AAAA+AAAA"),
            with("AAAA AAAA"),
            format!("{packed}A"),
            format!("{packed}AAAAAAAAA"),
            format!(" {packed}"),
            packed[1..].to_owned(),
            packed[..packed.len() - 1].to_owned(),
            packed.to_lowercase(),
            packed.repeat(2),
            "A".repeat(234),
            short(&"x".repeat(241)),
            short(&"+".repeat(80)),
            short("bob"),
        ] {
            assert_eq!(unpack(&bad), None, "{bad}");
        }
    }

    #[test]
    fn whatever_unpacks_is_what_the_name_packs_to() {
        let mut state = 1_u64;
        let mut below = |limit: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % limit
        };
        let mut names = 0;
        for round in 0..4000 {
            let mut text = pack(&name(&long(242 + below(13), below(41)))).into_bytes();
            let before = text.clone();
            if round % 2 == 0 {
                text.fill_with(|| DIGITS[below(64)]);
            } else {
                let at = below(text.len());
                text[at] = DIGITS[below(64)];
            }
            let text = String::from_utf8(text).unwrap();
            let Some(name) = unpack(&text) else { continue };
            names += usize::from(text.as_bytes() != before);
            assert_eq!(rdn(&name), format!("usherName={text}"));
            assert_eq!(name.as_str(), name.canonical());
        }
        assert!(names > 200, "{names} other names: too few");
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
    }

    #[test]
    fn a_name_that_is_not_alone_or_not_where_it_belongs_is_only_claimed() {
        let (short, long) = ("bob", long(254, 0));
        let packed = pack(&name(&long));
        for (rdn, names) in [
            ("uid=bob+cn=Bob B".to_owned(), vec![short]),
            ("cn=Bob\\2c B+uid=bob".to_owned(), vec![short]),
            (format!("uid={}", escape(&long)), vec![&*long]),
            (format!("uid={}", "x".repeat(242)), vec![&*"x".repeat(242)]),
            (format!("usherName={packed}+cn=Bob"), vec![&*long]),
            (format!("usherName={packed}+uid=bob"), vec![short, &*long]),
            (format!("uid={}+usherName={packed}", escape(&long)), vec![&*long, &*long]),
            ("uid=bob+usherName=x".to_owned(), vec![short]),
        ] {
            let names = names.into_iter().map(name).collect();
            assert_eq!(tree().place(&format!("{rdn},ou=people,dc=example,dc=org")), Place::Claim(names), "{rdn}");
        }
        assert_eq!(tree().place(&format!("USHERNAME= {packed} ,ou=people,dc=example,dc=org")), user(&long));
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
            "usherName=bob,ou=people,dc=example,dc=org",
            "usherName=bob+cn=x,ou=people,dc=example,dc=org",
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
