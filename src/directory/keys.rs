//! SSH keys in a user's entry: `sshPublicKey` holds the plain line, `usherSshKey` what we know beside it.
//!
//! The form of an `usherSshKey` value, documented in schema/README.md: the key's SHA-256 fingerprint, then fields
//! separated by one blank, `options` last because its value may hold blanks:
//!
//! `SHA256:… title=laptop created=20261124T… expires=… options=restrict,from="10.0.0.0/8"`

use std::collections::{HashMap, HashSet};

use crate::accounts::{SshKey, Timestamp};
use crate::name::KeyTitle;
use crate::sshkey::{Options, PublicKey};

use super::decode::Warnings;
use super::raw::RawEntry;

/// Longest `sshPublicKey` value that is looked at, in bytes: what the API takes, with room for the type and blanks.
const LONGEST_KEY: usize = 66_000;
/// Most `sshPublicKey` values of one entry that are looked at.
const MOST_KEYS: usize = 10_000;

/// What one `usherSshKey` value says.
#[derive(Debug, Default)]
struct Meta {
    title: Option<KeyTitle>,
    created: Option<Timestamp>,
    expires: Option<Timestamp>,
    options: Options,
}

/// The keys of an entry, each with its title, sorted by title; titles and fingerprints are unique in the result. And
/// whether there are `usherSshKey` values about keys that are not there, as LDAP tools leave them.
pub(crate) fn decode(raw: &RawEntry, warnings: &mut Warnings) -> (Vec<SshKey>, bool) {
    let values = raw.values("sshpublickey");
    if values.is_empty() {
        return (Vec::new(), !raw.values("ushersshkey").is_empty());
    }
    if values.len() > MOST_KEYS {
        warnings.add("sshPublicKey: too many values; the rest is skipped");
    }
    let mut keys: Vec<PublicKey> = Vec::with_capacity(values.len().min(MOST_KEYS));
    let mut seen = HashSet::new();
    for value in values.iter().take(MOST_KEYS) {
        match parse_line(value) {
            Some(key) => {
                if seen.insert(*key.sha256()) {
                    keys.push(key);
                } else {
                    warnings.add("sshPublicKey: one key stands in two values");
                }
            }
            None => warnings.add("sshPublicKey: a value is no public key"),
        }
    }
    // the smallest fingerprint is served first wherever two keys want one title
    keys.sort_unstable_by(|a, b| a.sha256().cmp(b.sha256()));
    let mut meta = metas(raw, warnings);
    let mut titled: HashSet<KeyTitle> = HashSet::new();
    let mut out = Vec::with_capacity(keys.len());
    let mut untitled = Vec::new();
    for key in keys {
        match meta.remove(&key.fingerprint_sha256()) {
            // What restricts the key can't be read, so the key is not handed out.
            Some(None) => warnings.add("usherSshKey: a value can't be read; its key is skipped"),
            Some(Some(meta)) => match meta.title.clone() {
                Some(title) if titled.insert(title.clone()) => out.push(with_title(title, key, meta)),
                _ => untitled.push((key, meta)),
            },
            None => untitled.push((key, Meta::default())),
        }
    }
    for (key, meta) in untitled {
        let wanted = KeyTitle::parse(key.comment()).ok().filter(|title| !titled.contains(title));
        let title = wanted.or_else(|| KeyTitle::parse(&key.fingerprint_md5().replace(':', "")).ok());
        // two keys of one MD5 fingerprint can be made; the second can't be named and is skipped
        match title {
            Some(title) if titled.insert(title.clone()) => out.push(with_title(title, key, meta)),
            _ => warnings.add("sshPublicKey: two keys would have one title; one is skipped"),
        }
    }
    out.sort_unstable_by(|a, b| a.title.cmp(&b.title));
    (out, !meta.is_empty())
}

fn with_title(title: KeyTitle, public: PublicKey, meta: Meta) -> SshKey {
    SshKey { title, public, created: meta.created, expires: meta.expires, options: meta.options }
}

/// The key in a stored `sshPublicKey` value. Blanks and line ends around it are an LDAP tool's and do not count.
pub(crate) fn parse_line(value: &[u8]) -> Option<PublicKey> {
    if value.len() > LONGEST_KEY {
        return None;
    }
    PublicKey::parse(std::str::from_utf8(value).ok()?.trim_matches([' ', '\t', '\r', '\n'])).ok()
}

/// What the entry's `usherSshKey` values say, by fingerprint; `None` for what can't be read or is said twice.
fn metas(raw: &RawEntry, warnings: &mut Warnings) -> HashMap<String, Option<Meta>> {
    let mut out = HashMap::new();
    for value in raw.values("ushersshkey") {
        let Some((fingerprint, rest)) = std::str::from_utf8(value).ok().and_then(split) else {
            warnings.add("usherSshKey: a value names no key");
            continue;
        };
        let meta = rest.and_then(parse_meta);
        out.entry(fingerprint.to_owned()).and_modify(|m| *m = None).or_insert(meta);
    }
    out
}

/// The length of `SHA256:` and the digits of 32 bytes.
const FINGERPRINT: usize = 50;

/// The fingerprint, and the fields behind it unless they can't be told from it.
fn split(value: &str) -> Option<(&str, Option<&str>)> {
    let (fingerprint, rest) = value.split_at_checked(FINGERPRINT).filter(|(f, _)| f.starts_with("SHA256:"))?;
    Some((fingerprint, if rest.is_empty() { Some(rest) } else { rest.strip_prefix(' ') }))
}

/// Whether a stored `usherSshKey` value is about the key with this fingerprint.
pub(crate) fn is_about(value: &[u8], fingerprint: &str) -> bool {
    std::str::from_utf8(value).ok().and_then(split).is_some_and(|(f, _)| f == fingerprint)
}

fn parse_meta(mut rest: &str) -> Option<Meta> {
    let mut meta = Meta::default();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        if name == "options" {
            meta.options = Options::parse(after).ok()?;
            break;
        }
        let (value, after) = after.split_once(' ').unwrap_or((after, ""));
        match name {
            "title" => meta.title = Some(KeyTitle::parse(value).ok()?),
            "created" => meta.created = Some(Timestamp::parse_generalized(value)?),
            "expires" => meta.expires = Some(Timestamp::parse_generalized(value)?),
            // a field of a later version may restrict the key
            _ => return None,
        }
        rest = after;
    }
    Some(meta)
}

/// The `usherSshKey` value for a key.
pub(crate) fn encode(key: &SshKey) -> String {
    let mut out = format!("{} title={}", key.public.fingerprint_sha256(), key.title);
    for (name, time) in [("created", key.created), ("expires", key.expires)] {
        if let Some(time) = time {
            out.push_str(&format!(" {name}={}", time.generalized()));
        }
    }
    if !key.options.is_empty() {
        out.push_str(&format!(" options={}", key.options));
    }
    out
}
