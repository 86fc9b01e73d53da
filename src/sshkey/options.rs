//! Options of an `authorized_keys` line (sshd(8), "AUTHORIZED_KEYS FILE FORMAT"), read by sshd's own grammar.
//!
//! The list keeps its order, since `restrict,pty` is not `pty,restrict`, and is written again in one canonical form. What
//! sshd would take but never act upon as written (a bad address mask, a port's service name) is refused.

use std::fmt;
use std::net::IpAddr;

/// Most options of one key.
const MAX_OPTIONS: usize = 64;
/// The longest canonical form, in bytes.
const MAX_TEXT: usize = 8192;

/// Whether and how sshd switches something by a bare word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A word alone.
    Flag,
    /// A word that `no-` may precede.
    Switch,
    Command,
    Environment,
    ExpiryTime,
    From,
    /// `permitlisten`, where the host may be missing, and `permitopen`.
    Permit {
        bare_port: bool,
    },
    Principals,
    Tunnel,
}

/// Every option that OpenSSH 9.2 knows, in its canonical spelling.
const KNOWN: [(&str, Kind); 17] = [
    ("restrict", Kind::Flag),
    ("cert-authority", Kind::Flag),
    ("agent-forwarding", Kind::Switch),
    ("port-forwarding", Kind::Switch),
    ("pty", Kind::Switch),
    ("touch-required", Kind::Switch),
    ("user-rc", Kind::Switch),
    ("verify-required", Kind::Switch),
    ("X11-forwarding", Kind::Switch),
    ("command", Kind::Command),
    ("environment", Kind::Environment),
    ("expiry-time", Kind::ExpiryTime),
    ("from", Kind::From),
    ("permitlisten", Kind::Permit { bare_port: true }),
    ("permitopen", Kind::Permit { bare_port: false }),
    ("principals", Kind::Principals),
    ("tunnel", Kind::Tunnel),
];

/// What anybody may add to a key: it takes rights away, or gives back what a `restrict` on the same key took. The rest
/// grants something, or says what the host does, and is for administrators.
const FOR_EVERYBODY: [&str; 15] = [
    "restrict",
    "no-agent-forwarding",
    "no-port-forwarding",
    "no-pty",
    "no-user-rc",
    "no-X11-forwarding",
    "agent-forwarding",
    "port-forwarding",
    "pty",
    "user-rc",
    "X11-forwarding",
    "touch-required",
    "verify-required",
    "expiry-time",
    "from",
];

/// One option: a known name in canonical spelling, and the value without quotes and escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// Index into [`KNOWN`].
    known: u8,
    /// Preceded by `no-`.
    negated: bool,
    value: Option<Box<str>>,
}

/// The options of one key; most keys have none, which costs no allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options(Box<[Entry]>);

/// Why a text is no option list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OptionsError {
    /// sshd takes this option only once.
    Duplicate(&'static str),
    /// The option's value is not what it should be; or there is none, or one where none belongs.
    Invalid(String),
    /// The list is empty between two commas, at an end, or badly quoted.
    Syntax,
    TooLong,
    /// sshd knows no such option; the text is what was given, cut short.
    Unknown(String),
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate(name) => write!(f, "The SSH key option {name} can be given only once."),
            Self::Invalid(name) => write!(f, "The value of the SSH key option {name} is invalid."),
            Self::Syntax => f.write_str("Invalid SSH key options."),
            Self::TooLong => f.write_str("Too many or too long SSH key options."),
            Self::Unknown(name) => write!(f, "Unknown SSH key option {name:?}."),
        }
    }
}

impl std::error::Error for OptionsError {}

impl Options {
    /// Parses one comma-joined list; the empty text is the empty list.
    pub(crate) fn parse(text: &str) -> Result<Self, OptionsError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        // Quotes and escapes at most double what the canonical form holds.
        if text.len() > 2 * MAX_TEXT {
            return Err(OptionsError::TooLong);
        }
        let mut entries = Vec::new();
        let mut rest = text;
        loop {
            let (entry, after) = Entry::parse(rest)?;
            entries.push(entry);
            if after.is_empty() {
                return Self::new(entries);
            }
            rest = after.strip_prefix(',').ok_or(OptionsError::Syntax)?;
        }
    }

    /// Parses a list with one option in each element, in the order given.
    pub(crate) fn from_list(list: &[String]) -> Result<Self, OptionsError> {
        if list.len() > MAX_OPTIONS {
            return Err(OptionsError::TooLong);
        }
        let mut entries = Vec::with_capacity(list.len());
        for text in list {
            if text.len() > 2 * MAX_TEXT {
                return Err(OptionsError::TooLong);
            }
            match Entry::parse(text)? {
                (entry, "") => entries.push(entry),
                _ => return Err(OptionsError::Syntax),
            }
        }
        Self::new(entries)
    }

    fn new(entries: Vec<Entry>) -> Result<Self, OptionsError> {
        for (i, entry) in entries.iter().enumerate() {
            let once = matches!(entry.kind(), Kind::Command | Kind::From | Kind::Principals);
            if once && entries[..i].iter().any(|earlier| earlier.known == entry.known) {
                return Err(OptionsError::Duplicate(entry.keyword()));
            }
        }
        let options = Self(entries.into());
        if options.0.len() > MAX_OPTIONS || options.to_string().len() > MAX_TEXT {
            return Err(OptionsError::TooLong);
        }
        Ok(options)
    }

    /// The options in canonical form, one in each element: the inverse of [`Self::from_list`].
    pub(crate) fn to_list(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the key signs users' certificates instead of being used by itself.
    pub(crate) fn is_cert_authority(&self) -> bool {
        self.0.iter().any(|entry| entry.keyword() == "cert-authority")
    }

    /// The name of the first option that only an administrator may store.
    pub(crate) fn admin_only(&self) -> Option<String> {
        self.0.iter().map(Entry::name).find(|name| !FOR_EVERYBODY.contains(&name.as_str()))
    }

    /// The times after which the key is not to be used, as `YYYYMMDDHHMMSSZ`, and whether each is in UTC indeed: the others
    /// are in the host's time zone.
    pub(crate) fn expiry_times(&self) -> impl Iterator<Item = (String, bool)> {
        let times = self.0.iter().filter(|entry| entry.kind() == Kind::ExpiryTime).filter_map(|e| e.value.as_deref());
        times.map(|time| match utc_seconds(time) {
            Some(utc) => (utc, true),
            None => (format!("{time:0<14}Z"), false),
        })
    }

    /// These options with the end at `expires` (UTC, `YYYYMMDDHHMMSSZ`) added; one later in UTC gives way to it.
    pub(super) fn with_expiry(&self, expires: &str) -> Self {
        let mut earliest = expires.to_owned();
        let mut entries = Vec::with_capacity(self.0.len() + 1);
        for entry in &self.0 {
            match (entry.kind(), entry.value.as_deref().and_then(utc_seconds)) {
                (Kind::ExpiryTime, Some(own)) => earliest = earliest.min(own),
                _ => entries.push(entry.clone()),
            }
        }
        if let Some(known) = known_index("expiry-time") {
            entries.push(Entry { known, negated: false, value: Some(earliest.into()) });
        }
        Self(entries.into())
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, entry) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            entry.fmt(f)?;
        }
        Ok(())
    }
}

impl Entry {
    /// Reads one option from the beginning of `text`; returns it and what follows.
    fn parse(text: &str) -> Result<(Self, &str), OptionsError> {
        let end = text.find([',', '=']).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        let has_value = rest.starts_with('=');
        let (known, negated) = find(word).ok_or_else(|| match word {
            "" => OptionsError::Syntax,
            _ => OptionsError::Unknown(word.chars().take(40).collect()),
        })?;
        let (_, kind) = KNOWN[usize::from(known)];
        let entry = |value| Self { known, negated, value };
        let is_word = matches!(kind, Kind::Flag | Kind::Switch);
        if is_word == has_value {
            return Err(OptionsError::Invalid(entry(None).name()));
        }
        if is_word {
            return Ok((entry(None), rest));
        }
        let (value, rest) = dequote(&rest[1..]).ok_or(OptionsError::Syntax)?;
        if value.contains(char::is_control) || !is_valid(kind, &value) {
            return Err(OptionsError::Invalid(entry(None).name()));
        }
        Ok((entry(Some(value.into())), rest))
    }

    fn keyword(&self) -> &'static str {
        KNOWN[usize::from(self.known)].0
    }

    fn kind(&self) -> Kind {
        KNOWN[usize::from(self.known)].1
    }

    fn name(&self) -> String {
        format!("{}{}", if self.negated { "no-" } else { "" }, self.keyword())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        match &self.value {
            Some(value) => write!(f, "=\"{}\"", value.replace('"', "\\\"")),
            None => Ok(()),
        }
    }
}

/// The option called `word`, without regard to case, and whether it is negated.
fn find(word: &str) -> Option<(u8, bool)> {
    if let Some(known) = known_index(word) {
        return Some((known, false));
    }
    let prefix = word.get(..3).filter(|prefix| prefix.eq_ignore_ascii_case("no-"))?;
    let known = known_index(&word[prefix.len()..])?;
    (KNOWN[usize::from(known)].1 == Kind::Switch).then_some((known, true))
}

fn known_index(word: &str) -> Option<u8> {
    KNOWN.iter().position(|(name, _)| name.eq_ignore_ascii_case(word)).and_then(|index| u8::try_from(index).ok())
}

/// Reads a quoted value, in which `\"` stands for a quote and any other backslash for itself; returns what follows too.
fn dequote(text: &str) -> Option<(String, &str)> {
    let text = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((i, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[i + 1..])),
            '\\' if text[i + 1..].starts_with('"') => {
                value.push('"');
                chars.next();
            }
            char => value.push(char),
        }
    }
    None
}

fn is_valid(kind: Kind, value: &str) -> bool {
    match kind {
        Kind::Flag | Kind::Switch => false,
        Kind::Command => !value.is_empty(),
        Kind::Environment => value.split_once('=').is_some_and(|(name, _)| is_variable(name)),
        Kind::ExpiryTime => is_time(value),
        Kind::From => value.split(',').all(is_host_pattern),
        Kind::Permit { bare_port } => is_permit(value, bare_port),
        Kind::Principals => value.split(',').all(|name| !name.is_empty()),
        Kind::Tunnel => value.eq_ignore_ascii_case("any") || is_decimal(value, 0, 0x7fff_fffd),
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A date or a time, in UTC with `Z`, else in the host's time zone.
fn is_time(value: &str) -> bool {
    let digits = value.strip_suffix(['Z', 'z']).unwrap_or(value);
    if !digits.is_ascii() || !digits.bytes().all(|byte| byte.is_ascii_digit()) || !matches!(digits.len(), 8 | 12 | 14) {
        return false;
    }
    let field = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |field| field.parse::<u32>().ok());
    let (Some(year), Some(month), Some(day)) = (field(0, 4), field(4, 6), field(6, 8)) else {
        return false;
    };
    let (Some(hour), Some(minute), Some(second)) = (field(8, 10), field(10, 12), field(12, 14)) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    // sshd takes a time before 1970, or at its beginning, for none or for an error.
    year > 1970 && (1..=days).contains(&day) && hour < 24 && minute < 60 && second < 60
}

/// A time in UTC as 14 digits and `Z`; none for one in local time.
fn utc_seconds(value: &str) -> Option<String> {
    let digits = value.strip_suffix(['Z', 'z'])?;
    Some(format!("{digits:0<14}Z"))
}

/// A host name pattern, an address pattern or an address with a mask, which sshd wants without host bits: one bad mask
/// makes it refuse every host.
fn is_host_pattern(pattern: &str) -> bool {
    let pattern = pattern.strip_prefix('!').unwrap_or(pattern);
    if let Some((address, mask)) = pattern.split_once('/') {
        return match address.parse() {
            Ok(IpAddr::V4(address)) => is_network(u128::from(address.to_bits()) << 96, mask, 32),
            Ok(IpAddr::V6(address)) => is_network(address.to_bits(), mask, 128),
            Err(_) => false,
        };
    }
    !pattern.is_empty() && pattern.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:*?_-%".contains(&byte))
}

/// Whether `mask` is a length of at most `max` bits behind which `address` (left-aligned) has no bits.
fn is_network(address: u128, mask: &str, max: u32) -> bool {
    is_decimal(mask, 0, max) && mask.parse().is_ok_and(|length: u32| address.checked_shl(length).unwrap_or(0) == 0)
}

/// `host:port`, `[address]:port`, and where allowed `port` alone; a port of `*` is any.
fn is_permit(value: &str, bare_port: bool) -> bool {
    let is_port = |port: &str| port == "*" || is_decimal(port, 1, 65_535);
    let is_host = |host: &str| {
        host.len() < 1025 && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".*?_-:%".contains(&byte))
    };
    if let Some(rest) = value.strip_prefix('[') {
        return rest.split_once("]:").is_some_and(|(host, port)| is_host(host) && !host.is_empty() && is_port(port));
    }
    match value.split_once(':') {
        Some((host, port)) => !host.is_empty() && is_host(host) && is_port(port),
        None => bare_port && is_port(value),
    }
}

/// A number in plain digits without leading zeros.
fn is_decimal(text: &str, min: u32, max: u32) -> bool {
    (text == "0" || !text.starts_with('0'))
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse().is_ok_and(|number: u32| (min..=max).contains(&number))
}

#[cfg(test)]
mod tests;
