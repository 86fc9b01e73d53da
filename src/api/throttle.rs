//! Throttles: sliding windows of one minute (contract 2.5, decision 14). Who is counted for what is decided by the
//! callers; the limits are configuration, and a limit of 0 is none.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ApiError;
use crate::config;

const WINDOW: Duration = Duration::from_secs(60);

/// Most keys that one counter remembers, so that made-up addresses and names can't fill the memory.
const MAX_KEYS: usize = 65_536;

/// The counters.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// Login attempts, by address.
    pub(super) logins: Counter<Source>,
    /// Wrong keys and wrong tokens, by address.
    pub(super) bad_credentials: Counter<Source>,
    /// Wrong passwords, by the name's canonical form.
    pub(super) bad_passwords: Counter<String>,
    /// Requests of one user, by the name's canonical form.
    pub(super) requests: Counter<String>,
}

impl Throttle {
    pub(super) fn new(limits: &config::Throttle) -> Self {
        Self {
            logins: Counter::new(limits.logins_per_minute),
            bad_credentials: Counter::new(limits.bad_credentials_per_minute),
            bad_passwords: Counter::new(limits.bad_passwords_per_minute),
            requests: Counter::new(limits.requests_per_minute),
        }
    }
}

/// An address as throttles see it: IPv6 by its /64, which is what one host can have to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source(u64, bool);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(u32::from(v4).into(), false),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self([a, b, c, d].into_iter().fold(0, |bits, part| bits << 16 | u64::from(part)), true)
            }
        }
    }
}

/// One form for all spellings of what somebody typed as a user name: trimmed, lower case, full-width letters as plain
/// ones. Only for counting; it finds nobody.
pub(super) fn typed_name(text: &str) -> String {
    let plain = |c: char| match u32::from(c) {
        wide @ 0xff01..=0xff5e => char::from_u32(wide - 0xfee0).unwrap_or(c),
        _ => c,
    };
    text.trim().chars().take(254).map(plain).flat_map(char::to_lowercase).collect()
}

/// How many events each key had within the last minute.
#[derive(Debug)]
pub(super) struct Counter<K> {
    limit: usize,
    windows: Mutex<HashMap<K, VecDeque<Instant>>>,
}

impl<K: Hash + Eq> Counter<K> {
    fn new(limit: u32) -> Self {
        Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), windows: Mutex::new(HashMap::new()) }
    }

    /// Whether anything is counted at all.
    pub(super) fn is_on(&self) -> bool {
        self.limit > 0
    }

    /// Counts an event of `key` at `now`.
    ///
    /// # Errors
    /// 429 where the limit is reached; that event is not counted.
    pub(super) fn take(&self, key: K, now: Instant) -> Result<(), ApiError> {
        if !self.is_on() {
            return Ok(());
        }
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= MAX_KEYS && !windows.contains_key(&key) {
            make_room(&mut windows, now);
        }
        let window = windows.entry(key).or_default();
        while window.front().is_some_and(|first| now.saturating_duration_since(*first) >= WINDOW) {
            window.pop_front();
        }
        if window.len() < self.limit {
            window.push_back(now);
            return Ok(());
        }
        let passed = window.front().map_or(WINDOW, |first| now.saturating_duration_since(*first));
        let wait = WINDOW.saturating_sub(passed);
        Err(ApiError::throttled(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)))
    }

    /// Takes back the event that was counted for `key` at `at`: it turned out to be none.
    pub(super) fn give_back(&self, key: &K, at: Instant) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = windows.get_mut(key)
            && let Some(index) = window.iter().rposition(|event| *event == at)
        {
            window.remove(index);
        }
    }
}

/// Forgets what is over, and where that is not enough a quarter of the rest.
fn make_room<K: Hash + Eq>(windows: &mut HashMap<K, VecDeque<Instant>>, now: Instant) {
    windows.retain(|_, window| window.back().is_some_and(|last| now.saturating_duration_since(*last) < WINDOW));
    if windows.len() > MAX_KEYS / 4 * 3 {
        let mut surplus = windows.len() - MAX_KEYS / 4 * 3;
        windows.retain(|_, _| {
            let drop = surplus > 0;
            surplus = surplus.saturating_sub(1);
            !drop
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<T>(result: Result<T, ApiError>) -> Option<String> {
        result.err().map(|error| error.text().into_owned())
    }

    #[test]
    fn the_window_slides_and_refused_events_do_not_count() {
        let counter = Counter::new(2);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(counter.take("a", at(0)).is_ok());
        assert!(counter.take("a", at(10)).is_ok());
        let refused = text(counter.take("a", at(13))).unwrap();
        assert_eq!(refused, "Request was throttled. Expected available in 47 seconds.");
        assert!(counter.take("b", at(13)).is_ok());
        assert!(counter.take("a", at(60)).is_ok());
        assert!(text(counter.take("a", at(60))).unwrap().contains(" 10 seconds"));
        assert!(counter.take("a", at(70)).is_ok());
    }

    #[test]
    fn a_limit_of_zero_is_no_limit() {
        let counter = Counter::new(0);
        assert!((0..1000).all(|_| counter.take((), Instant::now()).is_ok()));
    }

    #[test]
    fn what_is_given_back_was_never_counted() {
        let counter = Counter::new(1);
        let now = Instant::now();
        for _ in 0..5 {
            assert!(counter.take("a", now).is_ok());
            assert!(counter.take("a", now).is_err());
            counter.give_back(&"a", now);
        }
    }

    #[test]
    fn many_keys_do_not_fill_the_memory() {
        let counter = Counter::new(3);
        let now = Instant::now();
        for key in 0..MAX_KEYS * 2 {
            assert!(counter.take(key, now).is_ok());
        }
        assert!(counter.windows.lock().unwrap().len() <= MAX_KEYS);
    }

    #[test]
    fn addresses_count_by_what_one_host_can_choose_from() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::2"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_ne!(source("0.0.0.1"), source("0:0:0:1::"));
    }

    #[test]
    fn spellings_of_one_name_share_a_counter() {
        for spelling in ["john", "John", "JOHN", " john ", "ｊｏｈｎ", "joHn"] {
            assert_eq!(typed_name(spelling), "john");
        }
        assert_eq!(typed_name("\u{212a}"), "k");
        assert!(typed_name(&"x".repeat(1 << 20)).len() <= 254);
    }
}
