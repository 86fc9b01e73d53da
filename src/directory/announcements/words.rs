//! What is said of calls in `usherUnanswered`, one value each, and what follows for one who hears it:
//!
//! - `TIME CALL DIGEST…`: the call is about to add these; a digest for each addition.
//! - `TIME CALL closing`: it is done and its answer is about to go out.
//! - `TIME CALL answered`: that went out then.
//!
//! TIME is in microseconds since 1970, of the clock of the host that CALL names; CALL is `HOST-DAEMON-NUMBER`. All daemons
//! of one host have one clock, from which the kernel also takes when requests come: among them it is known which came before
//! which answer went out, once that is said. On another host a call counts as answered from `closing` on: whoever got its
//! answer may have called there since. DAEMON says which process it is: what one that is no more has not said to be answered
//! is kept by nobody.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::process;
use crate::accounts::secrets::{hex, random, unhex};
use crate::accounts::{Addition, Timestamp};

/// How long something that was said counts, by clocks that may differ: a call that was cut short leaves it.
pub(super) const COUNTS_FOR: Duration = Duration::from_secs(30);

/// The first octets of an addition's digest.
pub(super) type Key = [u8; 8];

/// Who speaks.
#[derive(Debug)]
pub(super) struct Speaker {
    /// The start of the kernel, whose clock it is.
    host: String,
    daemon: String,
    calls: AtomicU64,
}

impl Speaker {
    pub(super) fn new() -> Self {
        // Without an identity it is a host of its own.
        let boot = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_else(|_| random::<16>().to_vec());
        let host = hex(&Sha256::digest(&boot)[..size_of::<Key>()]);
        Self { host, daemon: process::name(), calls: AtomicU64::new(0) }
    }

    /// The name of a new call.
    pub(super) fn name_call(&self) -> String {
        format!("{}-{}-{}", self.host, self.daemon, self.calls.fetch_add(1, Ordering::Relaxed))
    }

    /// What all that was said comes to for a call that came then. What this daemon itself said is left out: it knows better.
    /// What counts no longer, or is nothing that is said here, is in the second part.
    pub(super) fn hear<'a>(
        &self,
        said: impl Iterator<Item = &'a [u8]>,
        came: Timestamp,
        now: Timestamp,
    ) -> (Heard, Vec<Vec<u8>>) {
        let (mut adds, mut ends, mut old) = (Vec::new(), HashMap::<&str, End>::new(), Vec::new());
        for value in said {
            match parse(value, now) {
                Some((time, call, Said::Adds(keys))) => adds.push((time, call, keys)),
                Some((time, call, Said::Closing)) => ends.entry(call).or_default().closing = Some(time),
                Some((time, call, Said::Answered)) => ends.entry(call).or_default().answered = Some(time),
                None => old.push(value.to_vec()),
            }
        }
        let (mut heard, mut gone) = (Heard::default(), HashMap::<&str, bool>::new());
        for (said, call, keys) in adds {
            let mut names = call.split('-');
            let is_near = names.next() == Some(&self.host);
            let daemon = names.next().unwrap_or_default();
            if is_near && daemon == self.daemon {
                continue;
            }
            let mut is_gone = || is_near && *gone.entry(daemon).or_insert_with(|| process::is_gone(daemon));
            let additions = match ends.get(call) {
                None if is_gone() => continue,
                None if is_near && came >= said => &mut heard.open,
                Some(_) if !is_near => continue,
                Some(End { answered: Some(answered), .. }) if came >= *answered => continue,
                Some(End { answered: None, closing: Some(closing) }) if came >= *closing => {
                    // Its answer, if there was one, went out a moment after that.
                    if is_gone() {
                        continue;
                    }
                    &mut heard.open
                }
                None | Some(_) => &mut heard.unanswered,
            };
            additions.extend(keys);
        }
        (heard, old)
    }
}

/// What others are adding.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// By calls that were not answered when the hearer's came.
    pub(super) unanswered: HashSet<Key>,
    /// By calls that may have been: it will be said.
    pub(super) open: HashSet<Key>,
}

#[derive(Default)]
struct End {
    closing: Option<Timestamp>,
    answered: Option<Timestamp>,
}

enum Said {
    Adds(Vec<Key>),
    Closing,
    Answered,
}

const CLOSING: &str = "closing";
const ANSWERED: &str = "answered";

pub(super) fn adds(call: &str, additions: &[Addition], now: Timestamp) -> Vec<u8> {
    let mut text = format!("{} {call}", now.micros());
    for addition in additions {
        text.push(' ');
        text.push_str(&hex(&key(addition)));
    }
    text.into_bytes()
}

pub(super) fn closing(call: &str, now: Timestamp) -> Vec<u8> {
    format!("{} {call} {CLOSING}", now.micros()).into_bytes()
}

pub(super) fn answered(call: &str, at: Timestamp) -> Vec<u8> {
    format!("{} {call} {ANSWERED}", at.micros()).into_bytes()
}

/// When it was said, of which call, and what; `None` is what is too old, or nothing that is said here.
fn parse(value: &[u8], now: Timestamp) -> Option<(Timestamp, &str, Said)> {
    let mut words = std::str::from_utf8(value).ok()?.split(' ');
    let time = Timestamp::from_micros(words.next()?.parse().ok()?);
    if time.seconds().abs_diff(now.seconds()) > COUNTS_FOR.as_secs() {
        return None;
    }
    let call = words.next()?;
    let said = match words.clone().next()? {
        CLOSING => Said::Closing,
        ANSWERED => Said::Answered,
        _ => Said::Adds(words.map(|word| unhex(word)?.try_into().ok()).collect::<Option<_>>()?),
    };
    Some((time, call, said))
}

pub(super) fn key(addition: &Addition) -> Key {
    let (kind, group, other) = match addition {
        Addition::Member(group, user) => ("member", group, user.canonical()),
        Addition::Attachment(group, dc) => ("attachment", group, dc.canonical()),
    };
    let digest = Sha256::digest(format!("{kind} {} {other}", group.canonical()));
    let mut key = Key::default();
    key.copy_from_slice(&digest[..size_of::<Key>()]);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{DcName, GroupName, UserName};

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(1_000_000_000 + micros)
    }

    fn member(group: &str, user: &str) -> Addition {
        Addition::Member(GroupName::parse(group).unwrap(), UserName::parse(user).unwrap())
    }

    fn speaker(host: &str, daemon: &str) -> Speaker {
        Speaker { host: host.into(), daemon: daemon.into(), calls: AtomicU64::new(0) }
    }

    /// Whether the one addition is unanswered, closing, and nothing, for a call that came then.
    fn heard(said: &[Vec<u8>], came: i64) -> (bool, bool) {
        let (heard, old) = speaker("h", "other").hear(said.iter().map(Vec::as_slice), at(came), at(100));
        assert!(old.is_empty());
        let key = key(&member("G", "Bob"));
        (heard.unanswered.contains(&key), heard.open.contains(&key))
    }

    #[test]
    fn a_call_that_came_before_anothers_answer_went_out_knows_nothing_of_it() {
        let call = speaker("h", "d").name_call();
        let mut said = vec![adds(&call, &[member("g", "bob"), member("g", "carl")], at(10))];
        for (from, next) in [(10, closing(&call, at(20))), (20, answered(&call, at(30)))] {
            for (came, expected) in [(from - 1, (true, false)), (from, (false, true)), (50, (false, true))] {
                assert_eq!(heard(&said, came), expected, "{came}");
            }
            said.push(next);
        }
        for keeps_closing in [true, false] {
            for (came, expected) in [(29, (true, false)), (30, (false, false)), (50, (false, false))] {
                assert_eq!(heard(&said, came), expected, "{came} {keeps_closing}");
            }
            said.remove(1);
        }
    }

    #[test]
    fn what_is_closing_on_another_host_is_answered_and_what_one_says_oneself_is_not_heard() {
        let far = speaker("far", "d").name_call();
        let mut said = vec![adds(&far, &[member("g", "bob")], at(0))];
        assert_eq!(heard(&said, 50), (true, false));
        said.push(closing(&far, at(40)));
        assert_eq!(heard(&said, 10), (false, false));
        let own = speaker("h", "other").name_call();
        assert_eq!(heard(&[adds(&own, &[member("g", "bob")], at(0))], 50), (false, false));
    }

    #[test]
    fn what_is_said_counts_for_a_time() {
        let said = adds("h-d-0", &[member("g", "bob")], at(0));
        let parsed = |seconds: i64| parse(&said, at(seconds * 1_000_000)).is_some();
        assert!(parsed(-30) && parsed(0) && parsed(30));
        assert!(!parsed(-31) && !parsed(31));
    }

    #[test]
    fn additions_differ_by_their_kind_and_not_by_case() {
        let attachment = Addition::Attachment(GroupName::parse("g").unwrap(), DcName::parse("bob").unwrap());
        assert_eq!(key(&member("g", "bob")), key(&member("G", "Bob")));
        assert_ne!(key(&member("g", "bob")), key(&member("h", "bob")));
        assert_ne!(key(&member("g", "bob")), key(&attachment));
    }

    #[test]
    fn what_is_nothing_that_is_said_here_is_old() {
        let bad = ["", "x", "1000000000 0", "1000000000 0 zz", "1000000000 0 0011", "1000000000 0 00112233445566778"];
        for text in bad {
            assert!(parse(text.as_bytes(), at(0)).is_none(), "{text:?}");
            let (_, old) = speaker("h", "d").hear([text.as_bytes()].into_iter(), at(0), at(0));
            assert_eq!(old, [text.as_bytes()]);
        }
        assert!(parse(b"1000000000 0 0011223344556677", at(0)).is_some());
    }
}
