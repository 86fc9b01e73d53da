//! Who calls: `ES-API-KEY`, then `Authorization: Token` (contract 2.1). What a caller may do is decided elsewhere.
//!
//! Keys and tokens are looked up by a keyed hash, so that neither the time nor the memory layout of a look-up tells
//! anything about stored ones.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName};

use super::{ApiError, App, Caller, Credential};
use crate::accounts::secrets::is_token;
use crate::accounts::{Session, Timestamp, User};
use crate::directory::View;

const API_KEY: HeaderName = HeaderName::from_static("es-api-key");

/// Longer ones are wrong without being hashed. Ours have 32 and 40 characters.
const MAX_CREDENTIAL: usize = 128;

/// What the headers say. `None` inside is a value that can't be right: too long, or a key that is no printable ASCII.
#[derive(Debug, PartialEq, Eq)]
enum Presented<'a> {
    Nothing,
    ApiKey(Option<&'a str>),
    Token(Option<&'a str>),
    /// A `Token` header without a token.
    NoToken,
    /// A `Token` header with several words.
    TokenWithSpaces,
    /// A `Token` header with a word that is no ASCII.
    OddToken,
}

fn presented(headers: &HeaderMap) -> Presented<'_> {
    let mut keys = headers.get_all(API_KEY).into_iter().filter(|value| !value.is_empty());
    if let Some(key) = keys.next() {
        // Two keys are no key: which of them would count is anybody's guess.
        let one = keys.next().is_none() && key.len() <= MAX_CREDENTIAL;
        return Presented::ApiKey(key.to_str().ok().filter(|_| one));
    }
    let Some(value) = headers.get(AUTHORIZATION) else { return Presented::Nothing };
    let mut words = value.as_bytes().split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    if !words.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"token")) {
        return Presented::Nothing;
    }
    match (words.next(), words.next()) {
        (None, _) => Presented::NoToken,
        (Some(_), Some(_)) => Presented::TokenWithSpaces,
        (Some(token), None) if token.is_ascii() => {
            Presented::Token(std::str::from_utf8(token).ok().filter(|token| token.len() <= MAX_CREDENTIAL))
        }
        (Some(_), None) => Presented::OddToken,
    }
}

/// Why credentials are refused.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// Nobody has them: guessing.
    Wrong(&'static str),
    /// They are malformed, or somebody's who may not use them.
    Text(&'static str),
    /// The key of an inactive user, which the original refuses as it refuses calls.
    Forbidden,
}

impl Refusal {
    /// The answer; the 429 of decision 14 where there was too much guessing.
    fn answer(&self, app: &App, peer: IpAddr) -> ApiError {
        if matches!(self, Self::Wrong(_)) {
            app.metrics.wrong_credentials();
            if let Err(throttled) = app.throttle.bad_credentials.take(peer.into(), Instant::now()) {
                return throttled;
            }
        }
        self.uncounted()
    }

    /// The answer where it does not count as guessing.
    fn uncounted(&self) -> ApiError {
        match self {
            Self::Wrong(text) | Self::Text(text) => refused(text),
            Self::Forbidden => ApiError::forbidden(),
        }
    }
}

/// The caller.
///
/// # Errors
/// The 403 that contract 2.1 names, or the 429 of decision 14 for a wrong key or token.
pub(super) fn authenticate(
    app: &App,
    view: &View<'_>,
    headers: &HeaderMap,
    now: Timestamp,
    peer: IpAddr,
) -> Result<Caller, ApiError> {
    identify(app, view, &presented(headers), now).map_err(|refusal| refusal.answer(app, peer))
}

/// Refuses wrong credentials where none are needed: the original looks at them for every URL. Those that count as none
/// are not refused, and no token that may have been good before its session was over: who logs in again may still send it.
/// Whether it `counts` as guessing is the endpoint's to say (decision 14).
///
/// # Errors
/// As [`authenticate`].
pub(super) fn refuse_wrong(
    app: &App,
    view: &View<'_>,
    headers: &HeaderMap,
    now: Timestamp,
    peer: IpAddr,
    counts: bool,
) -> Result<(), ApiError> {
    let presented = presented(headers);
    let was_ours = matches!(presented, Presented::Token(Some(token)) if is_token(token));
    match identify(app, view, &presented, now) {
        Ok(_) | Err(Refusal::Forbidden | Refusal::Text(NOT_PROVIDED)) => Ok(()),
        Err(Refusal::Wrong(_) | Refusal::Text(INVALID_TOKEN)) if was_ours => Ok(()),
        Err(refusal) => Err(if counts { refusal.answer(app, peer) } else { refusal.uncounted() }),
    }
}

fn identify(app: &App, view: &View<'_>, presented: &Presented<'_>, now: Timestamp) -> Result<Caller, Refusal> {
    match presented {
        Presented::Nothing => Err(Refusal::Text(NOT_PROVIDED)),
        Presented::NoToken => Err(Refusal::Text(NO_TOKEN)),
        Presented::TokenWithSpaces => Err(Refusal::Text(SPACES)),
        Presented::OddToken => Err(Refusal::Text(ODD_TOKEN)),
        Presented::ApiKey(key) => by_api_key(view, &app.ring.lookup_hash(key.ok_or(Refusal::Wrong(INVALID_KEY))?), now),
        Presented::Token(token) => {
            by_token(view, &app.ring.lookup_hash(token.ok_or(Refusal::Wrong(INVALID_TOKEN))?), now)
        }
    }
}

/// The caller who had these credentials when the call began, as of now.
///
/// # Errors
/// As [`authenticate`]; nothing counts as guessing.
pub(super) fn renew(view: &View<'_>, credential: &Credential, now: Timestamp) -> Result<Caller, ApiError> {
    let renewed = match credential {
        Credential::ApiKey(hash) => by_api_key(view, hash, now),
        Credential::Token(session) => by_token(view, &session.token_hash, now),
    };
    renewed.map_err(|refusal| refusal.uncounted())
}

/// The same, of a caller who is to be taken for `user`. Where the call itself `has_new_password` for him, his session may
/// be cleared away already.
///
/// # Errors
/// As [`renew`].
pub(super) fn renew_as(
    view: &View<'_>,
    user: User,
    credential: &Credential,
    has_new_password: bool,
    now: Timestamp,
) -> Result<Caller, ApiError> {
    let checked = match credential {
        Credential::ApiKey(hash) if user.api_key_hash != Some(*hash) => Err(Refusal::Wrong(INVALID_KEY)),
        Credential::ApiKey(_) => check_api_key(&user, now),
        Credential::Token(session) => match view.session(&session.token_hash) {
            None if !has_new_password => Err(Refusal::Wrong(INVALID_TOKEN)),
            // By now it may be of the same password under another hash too, or shorter.
            known => check_session(known.unwrap_or(session), &user, now),
        },
    };
    checked.map_err(|refusal| refusal.uncounted())?;
    Ok(Caller { user: Arc::new(user), credential: credential.clone() })
}

fn by_api_key(view: &View<'_>, hash: &[u8; 32], now: Timestamp) -> Result<Caller, Refusal> {
    let user = view.user_by_api_key(hash).ok_or(Refusal::Wrong(INVALID_KEY))?;
    check_api_key(user, now)?;
    Ok(Caller { user: Arc::clone(user), credential: Credential::ApiKey(*hash) })
}

fn by_token(view: &View<'_>, hash: &[u8; 32], now: Timestamp) -> Result<Caller, Refusal> {
    let session = view.session(hash);
    let user = session.and_then(|session| view.unambiguous(session.user));
    let (Some(session), Some(user)) = (session, user) else { return Err(Refusal::Wrong(INVALID_TOKEN)) };
    check_session(session, user, now)?;
    Ok(Caller { user: Arc::clone(user), credential: Credential::Token(session.clone()) })
}

const NOT_PROVIDED: &str = "Authentication credentials were not provided.";
const INVALID_TOKEN: &str = "Invalid token.";
const NO_API_ACCESS: &str = "User account is not allowed to access API";
const INVALID_KEY: &str = "Invalid API key";
const NO_TOKEN: &str = "Invalid token header. No credentials provided.";
const SPACES: &str = "Invalid token header. Token string should not contain spaces.";
const ODD_TOKEN: &str = "Invalid token header. Token string should not contain invalid characters.";
const INACTIVE: &str = "User inactive or deleted.";

/// All that can be wrong with credentials.
pub(super) fn refusals() -> impl Iterator<Item = ApiError> {
    [NOT_PROVIDED, INVALID_KEY, INVALID_TOKEN, NO_TOKEN, SPACES, ODD_TOKEN, NO_API_ACCESS, INACTIVE]
        .into_iter()
        .map(refused)
}

fn refused(text: &'static str) -> ApiError {
    ApiError::detail(StatusCode::FORBIDDEN, text)
}

/// The owner of a key: API access is asked for before activity.
fn check_api_key(user: &User, now: Timestamp) -> Result<(), Refusal> {
    if !user.api_access {
        return Err(Refusal::Text(NO_API_ACCESS));
    }
    if !user.usable_at(now) {
        return Err(Refusal::Forbidden);
    }
    Ok(())
}

/// The owner of a token: activity is asked for first, API access last. An expired session is like none; one of another
/// password was ended by the change (decision 13). Neither is guessing, so neither counts as a wrong token.
fn check_session(session: &Session, user: &User, now: Timestamp) -> Result<(), Refusal> {
    if !session.is_of(user) {
        return Err(Refusal::Text(INVALID_TOKEN));
    }
    if !user.usable_at(now) {
        return Err(Refusal::Text(INACTIVE));
    }
    if session.expires <= now {
        return Err(Refusal::Text(NOT_PROVIDED));
    }
    if !user.api_access {
        return Err(Refusal::Text(NO_API_ACCESS));
    }
    Ok(())
}

/// The client's address: the peer's, or where that is a trusted proxy, the last address in `X-Forwarded-For` that is
/// not one. Text that is no address ends the search.
pub(super) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpAddr]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|proxy| proxy.to_canonical() == *address);
    let mut client = peer.to_canonical();
    if !is_trusted(&client) {
        return client;
    }
    // A line with odd bytes must not fall out: the one before it is the client's own.
    let lines: Vec<_> =
        headers.get_all("x-forwarded-for").iter().map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let Some(address) = hop_address(hop.trim()) else { break };
        client = address.to_canonical();
        if !is_trusted(&client) {
            break;
        }
    }
    client
}

/// The address of one hop. Some proxies write the port too.
fn hop_address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    text.parse().ok().or_else(with_port).or_else(bracketed)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;
    use crate::accounts::user::PasswordEpoch;
    use crate::accounts::{EntryId, samples};

    fn headers(list: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        map
    }

    #[test]
    fn the_api_key_decides_and_an_empty_one_is_absent() {
        let both = headers(&[("es-api-key", b"k"), ("authorization", b"Token t")]);
        assert_eq!(presented(&both), Presented::ApiKey(Some("k")));
        let empty = headers(&[("es-api-key", b""), ("authorization", b"token t")]);
        assert_eq!(presented(&empty), Presented::Token(Some("t")));
        assert_eq!(presented(&headers(&[("es-api-key", b"")])), Presented::Nothing);
    }

    #[test]
    fn other_schemes_are_ignored_and_malformed_token_headers_are_told_apart() {
        assert_eq!(presented(&headers(&[("authorization", b"Basic YWRtaW46eA==")])), Presented::Nothing);
        assert_eq!(presented(&headers(&[("authorization", b"")])), Presented::Nothing);
        assert_eq!(presented(&headers(&[("authorization", b"TOKEN  ")])), Presented::NoToken);
        assert_eq!(presented(&headers(&[("authorization", b"Token a b")])), Presented::TokenWithSpaces);
        assert_eq!(presented(&headers(&[("authorization", b"Token \xff")])), Presented::OddToken);
        assert_eq!(presented(&headers(&[("authorization", b"Token   a")])), Presented::Token(Some("a")));
    }

    #[test]
    fn odd_bytes_long_values_and_repeated_keys_are_wrong_and_nothing_else() {
        let long = vec![b'a'; 8192];
        assert_eq!(presented(&headers(&[("es-api-key", "\u{e9}".as_bytes())])), Presented::ApiKey(None));
        assert_eq!(presented(&headers(&[("es-api-key", b"\xff\xfe")])), Presented::ApiKey(None));
        assert_eq!(presented(&headers(&[("es-api-key", &long)])), Presented::ApiKey(None));
        assert_eq!(presented(&headers(&[("es-api-key", b"a"), ("es-api-key", b"a")])), Presented::ApiKey(None));
        let long = [b"Token ", &long[..]].concat();
        assert_eq!(presented(&headers(&[("authorization", &long)])), Presented::Token(None));
    }

    fn user() -> User {
        User { password_epoch: PasswordEpoch([1; 16]), ..samples::user("bob") }
    }

    fn text(result: Result<(), Refusal>) -> &'static str {
        match result {
            Ok(()) => "fine",
            Err(Refusal::Forbidden) => "forbidden",
            Err(Refusal::Wrong(text) | Refusal::Text(text)) => text,
        }
    }

    #[test]
    fn refusals_of_right_credentials_have_their_texts_and_their_order() {
        let now = Timestamp::from_seconds(1000);
        let session = Session {
            id: EntryId([2; 16]),
            token_hash: [0; 32],
            user: EntryId([1; 16]),
            epochs: [PasswordEpoch([1; 16])].into(),
            expires: Timestamp::from_seconds(1001),
        };
        let fine = user();
        let disabled = User { enabled: false, ..user() };
        let locked = User { locked: true, ..user() };
        let over = User { expires: Some(now), ..user() };
        let no_api = User { api_access: false, ..user() };
        let neither = User { enabled: false, api_access: false, ..user() };
        let other_password = User { password_epoch: PasswordEpoch([2; 16]), ..user() };
        let forbidden = "forbidden";
        let inactive = "User inactive or deleted.";
        let no_access = "User account is not allowed to access API";
        for (who, by_key, by_token) in [
            (&fine, "fine", "fine"),
            (&disabled, forbidden, inactive),
            (&locked, forbidden, inactive),
            (&over, forbidden, inactive),
            (&no_api, no_access, no_access),
            (&neither, no_access, inactive),
            (&other_password, "fine", "Invalid token."),
        ] {
            assert_eq!(text(check_api_key(who, now)), by_key);
            assert_eq!(text(check_session(&session, who, now)), by_token);
        }
        let ended = Session { expires: now, ..session };
        assert_eq!(text(check_session(&ended, &fine, now)), "Authentication credentials were not provided.");
        assert_eq!(text(check_session(&ended, &no_api, now)), "Authentication credentials were not provided.");
        assert_eq!(text(check_session(&ended, &disabled, now)), inactive);
    }

    #[test]
    fn forwarded_addresses_count_from_trusted_proxies_only() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let (proxy, client, inner) = (ip("10.0.0.1"), ip("198.51.100.7"), ip("10.0.0.2"));
        let map = headers(&[("x-forwarded-for", b"203.0.113.9, 198.51.100.7"), ("x-forwarded-for", b"10.0.0.2")]);
        assert_eq!(client_address(client, &map, &[]), client);
        assert_eq!(client_address(proxy, &map, &[proxy, inner]), client);
        assert_eq!(client_address(proxy, &map, &[proxy]), inner);
        assert_eq!(client_address(ip("::ffff:10.0.0.1"), &map, &[proxy]), inner);
        let forged = headers(&[("x-forwarded-for", b"1.2.3.4, unknown")]);
        assert_eq!(client_address(proxy, &forged, &[proxy]), proxy);
        for with_port in ["198.51.100.7:1234", "[2001:db8::7]:1234", "[2001:db8::7]"] {
            let shown = client_address(proxy, &headers(&[("x-forwarded-for", with_port.as_bytes())]), &[proxy]);
            assert!(shown == client || shown == ip("2001:db8::7"), "{with_port}: {shown}");
        }
        let odd = headers(&[("x-forwarded-for", b"1.2.3.4"), ("x-forwarded-for", b"\xff, 198.51.100.7")]);
        assert_eq!(client_address(proxy, &odd, &[proxy]), client);
        let odd = headers(&[("x-forwarded-for", b"1.2.3.4"), ("x-forwarded-for", b"\xff")]);
        assert_eq!(client_address(proxy, &odd, &[proxy]), proxy);
        assert_eq!(client_address(proxy, &HeaderMap::new(), &[proxy]), proxy);
    }
}
