//! Entries into the domain's types. Every value is distrusted: what can't be understood is skipped with a warning, and
//! where skipping would give somebody more than before, the entry gives less instead.

use crate::accounts::profile::Profile;
use crate::accounts::secrets::{KeyRing, RequestMark, SealedKey, unhex};
use crate::accounts::user::PasswordEpoch;
use crate::accounts::{Access, Datacenter, EntryId, Group, Permission, Session, Timestamp, User, password};
use crate::name::{DcName, GroupName, UserName};

use super::dn::{Place, Tree, is_packed};
use super::raw::RawEntry;
use super::{keys, schema};

/// Longest text value that is kept, in bytes; the API's own limits are far below.
const LONGEST_TEXT: usize = 4096;
/// Most warnings kept for one entry.
const MOST_WARNINGS: usize = 20;

/// Where a user or group is bound whose binding names no datacenter. No entry of this name counts.
pub(crate) const NOWHERE: &str = "-";

/// How the mark of a request begins that is about to delete the entry; that of one that creates it is hexadecimal.
pub(crate) const LEAVING: &str = "delete-";

/// What decoding needs to know beside the entry.
pub(crate) struct Decoder {
    pub(crate) tree: Tree,
    pub(crate) ring: std::sync::Arc<KeyRing>,
    pub(crate) cost: password::Cost,
}

/// An entry, understood.
#[derive(Debug)]
pub(crate) enum Item {
    User(User, UserFacts),
    Group(Group),
    Datacenter(Datacenter),
    Session(Session),
    /// No user, but something that goes by users' names.
    Claim(Vec<UserName>),
    /// Nothing of ours, or nothing that can be made anything of.
    Skipped,
}

/// What writes need to know of a user's entry and the domain does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UserFacts {
    /// `usherAccount` and `ldapPublicKey` are among the object classes.
    pub(crate) is_account: bool,
    pub(crate) is_key_holder: bool,
    /// The administrator's locks that are set: ppolicy's and 389-DS's.
    pub(crate) locked_time: bool,
    pub(crate) ns_lock: bool,
    /// From when and until when ppolicy lets anybody bind: `pwdStartTime`, `pwdEndTime`.
    pub(crate) binds_from: Option<Timestamp>,
    pub(crate) binds_until: Option<Timestamp>,
    /// A wrong password costs the server a hash of the configured strength wherever it looks at it
    /// ([`UserFacts::costs_a_hash`]): there is such a password, and no lock.
    pub(crate) hashes: bool,
    /// The password can be verified here ([`password::Cost::can_verify`]).
    pub(crate) verifiable: bool,
    /// There are `usherSshKey` values about keys that are not there.
    pub(crate) loose_keys: bool,
    /// A request said that it is about to delete the entry.
    pub(crate) leaving: bool,
}

impl UserFacts {
    /// Whether ppolicy refuses every bind at `now` without looking at the password, and so without counting a failure. A
    /// lock-out by wrong passwords is not among it: how long that lasts, only the server knows.
    pub(crate) fn refused_unseen(&self, now: Timestamp) -> bool {
        self.locked_time
            || self.binds_from.is_some_and(|from| now < from)
            || self.binds_until.is_some_and(|until| now >= until)
    }

    /// Whether a wrong password costs the server a hash of the configured strength at `now`, unless an ACL of its own
    /// keeps it from looking.
    pub(crate) fn costs_a_hash(&self, now: Timestamp) -> bool {
        self.hashes && !self.refused_unseen(now)
    }
}

/// An entry with its identity and version.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) id: EntryId,
    /// `entryCSN`; empty where the server has none.
    pub(crate) csn: Box<str>,
    pub(crate) item: Item,
}

impl Decoder {
    /// Decodes `raw`. The identity comes from the sync state control where there is one, else from `entryUUID`; `None`
    /// without either.
    pub(crate) fn decode(&self, raw: &RawEntry, id: Option<EntryId>) -> Option<Decoded> {
        let id = id.or_else(|| raw.text("entryuuid").and_then(EntryId::parse))?;
        let item = match self.tree.place(&raw.dn) {
            Place::User(name) if raw.is("inetOrgPerson") || raw.is("usherAccount") => self.user(raw, id, name),
            Place::Group(name) if raw.is("usherGroup") => Item::Group(self.group(raw, id, name)),
            Place::Datacenter(name) if raw.is("usherDatacenter") && name.as_str() != NOWHERE => {
                Item::Datacenter(self.datacenter(raw, id, name))
            }
            Place::Claim(names) => Item::Claim(names),
            Place::Session if raw.is("usherSession") => session(raw, id).map_or(Item::Skipped, Item::Session),
            _ => Item::Skipped,
        };
        Some(Decoded { id, csn: raw.text("entrycsn").unwrap_or_default().into(), item })
    }

    fn user(&self, raw: &RawEntry, id: EntryId, name: UserName) -> Item {
        let mut warnings = Warnings::default();
        let name = spelled(name, raw, &mut warnings);
        let (ssh_keys, loose_keys) = keys::decode(raw, &mut warnings);
        let values = PROFILE_VALUES
            .iter()
            .filter_map(|(field, attribute)| Some((*field, text(raw, attribute, &mut warnings)?.into())))
            .collect();
        let locked_time = raw.described("pwdaccountlockedtime").any(is_for_good);
        let ns_lock = raw.described("nsaccountlock").any(is_true);
        let passwords = raw.values("userpassword");
        let mut slices: Vec<&[u8]> = passwords.iter().map(Vec::as_slice).collect();
        let password_weak = passwords.iter().any(|v| self.cost.exceeds(v));
        let facts = UserFacts {
            is_account: raw.is("usherAccount"),
            is_key_holder: raw.is("ldapPublicKey"),
            locked_time,
            ns_lock,
            // what can't be read lets nobody bind
            binds_from: raw.text("pwdstarttime").map(|v| time_or(v, i64::MAX)),
            binds_until: raw.text("pwdendtime").map(|v| time_or(v, i64::MIN)),
            hashes: !passwords.is_empty() && !password_weak && raw.described("pwdaccountlockedtime").next().is_none(),
            verifiable: matches!(passwords, [one] if self.cost.can_verify(one)),
            loose_keys,
            leaving: raw.texts("usherunfinished").any(|mark| mark.starts_with(LEAVING)),
        };
        let user = User {
            id,
            name,
            number: number(raw, "ushernumber", &mut warnings),
            created: created(raw),
            email: smallest(raw, "mail", &mut warnings).unwrap_or_default().into(),
            first_name: text(raw, "givenname", &mut warnings).unwrap_or_default().into(),
            last_name: text(raw, "sn", &mut warnings).unwrap_or_default().into(),
            // absent is TRUE; anything but TRUE is not
            enabled: raw.described("usheractive").all(is_true),
            locked: locked_time || ns_lock,
            expires: expiry(raw, &mut warnings),
            super_admin: flag(raw, "ushersuperadmin"),
            api_access: flag(raw, "usherapiaccess"),
            dc_bound: self.bound(raw, &mut warnings),
            profile: Profile::new(values),
            ssh_keys,
            api_key: raw.text("usherapikey").map(SealedKey::from_stored),
            api_key_hash: raw.text("usherapikeyhash").and_then(hash),
            callback_key: raw.text("ushercallbackkey").map(SealedKey::from_stored),
            password_epoch: PasswordEpoch(self.ring.password_epoch(&mut slices)),
            unfinished: unfinished(raw),
            password_weak,
            warnings: warnings.0,
        };
        Item::User(user, facts)
    }

    /// `usherDcBound`. A value that names no datacenter binds to one that can't exist: bound, and nobody's to manage.
    fn bound(&self, raw: &RawEntry, warnings: &mut Warnings) -> Option<DcName> {
        let value = raw.values("usherdcbound").first()?;
        let place = std::str::from_utf8(value).map_or(Place::Other, |dn| self.tree.place(dn));
        if let Place::Datacenter(name) = place {
            return Some(name);
        }
        warnings.add("usherDcBound: names no datacenter");
        DcName::parse(NOWHERE).ok()
    }

    fn group(&self, raw: &RawEntry, id: EntryId, name: GroupName) -> Group {
        let mut warnings = Warnings::default();
        let mut permissions: Vec<_> = raw.texts("usherpermission").filter_map(Permission::parse).collect();
        permissions.sort_unstable();
        permissions.dedup();
        let mut members = Vec::with_capacity(raw.values("member").len());
        for dn in raw.texts("member") {
            if let Place::User(member) = self.tree.place(dn) {
                members.push(member);
            }
        }
        let mut datacenters: Vec<DcName> = Vec::new();
        for dn in raw.texts("usherdatacenterlink") {
            if let Place::Datacenter(dc) = self.tree.place(dn)
                && dc.as_str() != NOWHERE
                && !datacenters.contains(&dc)
            {
                datacenters.push(dc);
            }
        }
        Group {
            id,
            alias: text(raw, "usheralias", &mut warnings).unwrap_or(name.as_str()).into(),
            name,
            permissions,
            members,
            dc_bound: self.bound(raw, &mut warnings),
            datacenters,
            created: created(raw),
        }
    }

    fn datacenter(&self, raw: &RawEntry, id: EntryId, name: DcName) -> Datacenter {
        let mut warnings = Warnings::default();
        let owner = raw.text("usherowner").and_then(|dn| match self.tree.place(dn) {
            Place::User(owner) => Some(owner),
            _ => None,
        });
        Datacenter {
            id,
            number: number(raw, "ushernumber", &mut warnings),
            alias: text(raw, "usheralias", &mut warnings).unwrap_or(name.as_str()).into(),
            site: text(raw, "ushersite", &mut warnings).unwrap_or_default().into(),
            owner,
            // what is neither public nor private is the narrower of the two
            access: raw
                .text("usheraccess")
                .and_then(|n| n.parse().ok())
                .and_then(Access::from_number)
                .unwrap_or(Access::Private),
            desc: text(raw, "description", &mut warnings).unwrap_or_default().into(),
            created: created(raw),
            unfinished: unfinished(raw),
            name,
        }
    }
}

/// [`schema::PROFILE`] with attribute names as [`RawEntry`] keys them.
static PROFILE_VALUES: std::sync::LazyLock<Vec<(crate::accounts::profile::Field, String)>> =
    std::sync::LazyLock::new(|| schema::PROFILE.iter().map(|(f, a)| (*f, a.to_ascii_lowercase())).collect());

/// What was skipped, in words.
#[derive(Debug, Default)]
pub(crate) struct Warnings(pub(crate) Vec<Box<str>>);

impl Warnings {
    pub(crate) fn add(&mut self, text: &str) {
        if self.0.len() < MOST_WARNINGS {
            self.0.push(text.into());
        }
    }
}

/// The name as it is shown. A packed one is in lower case in the DN: `uid` has its spelling.
fn spelled(name: UserName, raw: &RawEntry, warnings: &mut Warnings) -> UserName {
    if raw.values("uid").len() > 1 {
        warnings.add("uid: only the name in the DN counts");
    }
    if !is_packed(&name) {
        return name;
    }
    let spelling = raw.texts("uid").filter_map(|uid| UserName::parse(uid).ok()).find(|uid| *uid == name);
    spelling.unwrap_or_else(|| {
        warnings.add("uid: does not hold the name in the DN");
        name
    })
}

fn session(raw: &RawEntry, id: EntryId) -> Option<Session> {
    Some(Session {
        id,
        token_hash: hash(raw.text("ushertokenhash")?)?,
        user: EntryId::parse(raw.text("ushersessionuser")?)?,
        epochs: raw.texts("ushersessionepoch").filter_map(PasswordEpoch::from_stored).collect(),
        expires: Timestamp::parse_generalized(raw.text("usherexpires")?)?,
    })
}

fn unfinished(raw: &RawEntry) -> Option<Box<RequestMark>> {
    raw.text("usherunfinished").and_then(RequestMark::from_stored).map(Box::new)
}

fn hash(text: &str) -> Option<[u8; 32]> {
    unhex(text)?.try_into().ok()
}

fn is_true(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"TRUE")
}

/// A boolean that is FALSE where absent: every value must be TRUE.
fn flag(raw: &RawEntry, name: &str) -> bool {
    let values = raw.values(name);
    !values.is_empty() && values.iter().all(|v| is_true(v))
}

fn number(raw: &RawEntry, name: &str, warnings: &mut Warnings) -> u64 {
    match raw.text(name).map(str::parse) {
        Some(Ok(number)) => number,
        Some(Err(_)) => {
            warnings.add(&format!("{name}: not a number of ours"));
            0
        }
        None => 0,
    }
}

fn created(raw: &RawEntry) -> Timestamp {
    raw.text("createtimestamp").and_then(Timestamp::parse_generalized).unwrap_or(Timestamp::from_micros(0))
}

/// The first value, if it is text of a sane size without control characters.
fn text<'a>(raw: &'a RawEntry, name: &str, warnings: &mut Warnings) -> Option<&'a str> {
    let first = raw.values(name).first()?;
    let text = sane(first);
    if text.is_none() {
        warnings.add(&format!("{name}: the value is no plain text"));
    }
    text
}

/// The smallest of the values that are text.
fn smallest<'a>(raw: &'a RawEntry, name: &str, warnings: &mut Warnings) -> Option<&'a str> {
    let values = raw.values(name);
    if values.iter().any(|v| sane(v).is_none()) {
        warnings.add(&format!("{name}: a value is no plain text"));
    }
    values.iter().filter_map(|v| sane(v)).min()
}

fn sane(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    (text.len() <= LONGEST_TEXT && !text.chars().any(char::is_control)).then_some(text)
}

/// Whether a value of `pwdAccountLockedTime` is LOCKED_FOR_GOOD in any of its spellings.
fn is_for_good(value: &[u8]) -> bool {
    value.starts_with(b"0000")
}

/// Whether wrong passwords have locked the user out, or had: for how long, only the server knows.
pub(crate) fn is_locked_out(raw: &RawEntry) -> bool {
    raw.described("pwdaccountlockedtime").any(|value| !is_for_good(value))
}

fn time_or(value: &str, otherwise: i64) -> Timestamp {
    Timestamp::parse_generalized(value).unwrap_or(Timestamp::from_micros(otherwise))
}

/// The earlier of `shadowExpire` (days since 1970; negative means never) and `pwdEndTime`. A value that can't be
/// read ends the account: an administrator meant to end it.
fn expiry(raw: &RawEntry, warnings: &mut Warnings) -> Option<Timestamp> {
    let shadow = raw.values("shadowexpire").first().and_then(|v| {
        let days = std::str::from_utf8(v).ok().and_then(|t| t.trim().parse::<i64>().ok());
        match days {
            Some(days) if days < 0 => None,
            Some(days) => Some(Timestamp::from_seconds(days.saturating_mul(86_400))),
            None => {
                warnings.add("shadowExpire: not a number; the account counts as expired");
                Some(Timestamp::from_micros(0))
            }
        }
    });
    let policy = raw.text("pwdendtime").map(|v| {
        Timestamp::parse_generalized(v).unwrap_or_else(|| {
            warnings.add("pwdEndTime: not a time; the account counts as expired");
            Timestamp::from_micros(0)
        })
    });
    match (shadow, policy) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests;
