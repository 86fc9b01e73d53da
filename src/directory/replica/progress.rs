//! How far content sync is: the cookie from which it resumes, and when that counts.

use std::time::{Duration, Instant};

/// How long a change may take on the provider while others overtake it.
const SETTLED: Duration = Duration::from_secs(5);

/// Where the consumer stands, over all its connections.
#[derive(Default)]
pub(super) struct Progress {
    /// Of a state that was taken in whole; `None`: everything is to be asked for.
    pub(super) cookie: Option<Vec<u8>>,
    /// The cookie that follows, and since when it is known.
    next: Option<(Instant, Vec<u8>)>,
    /// The newest CSN that a cookie named.
    pub(super) newest: String,
    /// There is a connection.
    pub(super) connected: bool,
    /// There was nothing here when this connection's refresh began: it tells of all that is here at its end.
    pub(super) first: bool,
    /// A refresh was complete on this connection. Before that no cookie is taken: it would stand for half a state.
    pub(super) refreshed: bool,
}

impl Progress {
    /// A new connection.
    pub(super) fn begin(&mut self) {
        self.next = None;
        self.connected = false;
        self.refreshed = false;
    }

    /// A refresh is complete: its cookie stands for a state of which nothing is missing. False if that is older than what
    /// was known before: the provider was set back, and does not say what is no more.
    pub(super) fn complete(&mut self, cookie: Option<Vec<u8>>) -> bool {
        self.cookie = cookie.filter(|cookie| is_state(cookie)).or(self.cookie.take());
        let newest = self.cookie.as_deref().and_then(|cookie| csns(cookie).max()).unwrap_or_default();
        if newest < self.newest.as_str() {
            return false;
        }
        newest.clone_into(&mut self.newest);
        self.next = None;
        self.refreshed = true;
        true
    }

    /// A change with its cookie, which may come before a change that was made earlier and took longer: it is used once
    /// those must have come. What is sent twice because of that does no harm.
    pub(super) fn advance(&mut self, cookie: Option<Vec<u8>>, now: Instant) {
        let Some(cookie) = cookie.filter(|cookie| self.refreshed && is_state(cookie)) else { return };
        if let Some(newest) = csns(&cookie).max().filter(|csn| *csn > self.newest.as_str()) {
            newest.clone_into(&mut self.newest);
        }
        self.settle(now);
        self.next.get_or_insert((now, cookie));
    }

    pub(super) fn settle(&mut self, now: Instant) {
        if let Some((_, cookie)) = self.next.take_if(|(since, _)| now.saturating_duration_since(*since) >= SETTLED) {
            self.cookie = Some(cookie);
        }
    }
}

/// Whether a cookie stands for a state. OpenLDAP's is `rid=000` alone with a change whose turn was before that of one that
/// it has told of already: a refresh from there sends everything, as without a cookie, and names nothing that is gone.
fn is_state(cookie: &[u8]) -> bool {
    !cookie.is_empty() && (!cookie.starts_with(b"rid=") || csns(cookie).next().is_some())
}

/// The CSNs in an OpenLDAP cookie: `rid=000,sid=001,csn=A;B`.
pub(super) fn csns(cookie: &[u8]) -> impl Iterator<Item = &str> {
    let text = std::str::from_utf8(cookie).unwrap_or_default();
    let list = text.split_once("csn=").and_then(|(_, rest)| rest.split(',').next()).unwrap_or_default();
    list.split(';').filter(|csn| !csn.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "rid=000,csn=20261124160123.123456Z#000000#000#000000";
    const TWO: &str = "rid=000,csn=20261124160124.000000Z#000000#000#000000";
    const THREE: &str = "rid=000,csn=20261124160125.000000Z#000000#000#000000";

    fn bytes(cookie: &str) -> Option<Vec<u8>> {
        Some(cookie.as_bytes().to_vec())
    }

    #[test]
    fn a_cookie_counts_once_those_that_it_overtook_must_have_come() {
        let mut progress = Progress::default();
        let start = Instant::now();
        progress.advance(bytes(ONE), start);
        assert_eq!(progress.cookie, None, "half a state");
        assert!(progress.complete(bytes(ONE)));
        progress.advance(bytes(TWO), start);
        progress.advance(bytes(THREE), start + SETTLED / 2);
        assert_eq!(progress.cookie, bytes(ONE));
        progress.advance(bytes(THREE), start + SETTLED);
        assert_eq!(progress.cookie, bytes(TWO));
        progress.settle(start + SETTLED + SETTLED);
        assert_eq!(progress.cookie, bytes(THREE));
        progress.begin();
        assert!(progress.complete(None));
        assert_eq!(progress.cookie, bytes(THREE), "nothing was new");
    }

    #[test]
    fn a_provider_that_was_set_back_to_what_the_cookie_says_is_noticed() {
        let mut progress = Progress::default();
        assert!(progress.complete(bytes(ONE)));
        progress.advance(bytes(TWO), Instant::now());
        for up_to_date in [None, bytes(ONE)] {
            progress.begin();
            assert_eq!(progress.cookie, bytes(ONE));
            assert!(!progress.complete(up_to_date));
        }
        progress.begin();
        assert!(progress.complete(bytes(TWO)));
    }

    #[test]
    fn a_cookie_without_a_state_is_none() {
        let mut progress = Progress::default();
        assert!(progress.complete(bytes(ONE)));
        for none in ["rid=000", "rid=000,csn=", ""] {
            progress.advance(bytes(none), Instant::now());
            assert!(progress.next.is_none(), "{none}");
            assert!(progress.complete(bytes(none)));
            assert_eq!(progress.cookie, bytes(ONE), "{none}");
        }
        let mut progress = Progress::default();
        assert!(progress.complete(bytes("ldap.example.org:389#cn=x#7")));
        assert_eq!(progress.cookie, bytes("ldap.example.org:389#cn=x#7"), "another server's form");
    }

    #[test]
    fn the_csns_of_a_cookie_are_found() {
        let one = "20261124160123.123456Z#000000#000#000000";
        let two = "20261124160122.000000Z#000000#001#000000";
        let all = |cookie: &str| csns(cookie.as_bytes()).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(all(&format!("rid=000,csn={one}")), [one]);
        assert_eq!(all(&format!("rid=000,csn={one};{two},delcsn={one}")), [one, two]);
        for none in ["", "rid=000", "csn=", "ldap://host#cn=x#7"] {
            assert_eq!(all(none), [""; 0], "{none}");
        }
    }
}
