//! What a handler gets: who calls, what for, with which parameters. No decisions.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::Method;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::routes::PlanFn;
use super::unanswered::Adding;
use super::{ApiError, App, Noun, auth};
use crate::accounts::input;
use crate::accounts::secrets::RequestMark;
use crate::accounts::user::PasswordEpoch;
use crate::accounts::{Addition, Datacenter, EntryId, Session, StoreError, Timestamp, User};
use crate::directory::{List, Taken};
use crate::name::UserName;

/// How the caller showed who they are.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    /// `ES-API-KEY`, by its look-up hash. Not good for `/apikeys` (contract 2.4).
    ApiKey([u8; 32]),
    /// `Authorization: Token`.
    Token(Session),
}

/// An authenticated caller.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// As the replica showed it when the request was authenticated.
    pub(crate) user: Arc<User>,
    pub(crate) credential: Credential,
}

impl Caller {
    /// ProfileOwner: the path names the caller, in whatever case (contract 3.0).
    pub(crate) fn is(&self, name: &UserName) -> bool {
        self.user.name == *name
    }

    pub(crate) fn is_super_admin(&self) -> bool {
        self.user.super_admin
    }

    pub(crate) fn uses_api_key(&self) -> bool {
        self.session().is_none()
    }

    /// The session that the token is of.
    pub(crate) fn session(&self) -> Option<EntryId> {
        match &self.credential {
            Credential::Token(session) => Some(session.id),
            Credential::ApiKey(_) => None,
        }
    }
}

/// One authenticated request.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    /// The time of the request: the one clock reading that all its decisions use.
    pub(crate) now: Timestamp,
    /// When it came to this host.
    came: Timestamp,
    pub(crate) caller: Caller,
    pub(crate) method: Method,
    pub(crate) params: Arc<Params>,
    /// The client's address, behind trusted proxies too.
    pub(crate) peer: IpAddr,
    args: Vec<String>,
    main_dc: u64,
    /// The datacenter that answers and task ids name (contract 3.0); `None` is `main`.
    dc: Mutex<Option<Arc<Datacenter>>>,
    /// What this call adds to lists, until it is answered.
    adding: Mutex<Option<Adding>>,
    /// The password that it is about to set.
    password: Mutex<Option<PasswordEpoch>>,
    /// It is the same request once more, of which a part is done.
    pub(super) is_begun: bool,
}

impl Call {
    #[allow(clippy::too_many_arguments, reason = "one caller, which has each of them in a variable of that name")]
    pub(crate) fn new(
        app: Arc<App>,
        now: Timestamp,
        came: Timestamp,
        caller: Caller,
        method: Method,
        args: Vec<String>,
        params: Params,
        peer: IpAddr,
        main_dc: u64,
    ) -> Self {
        let params = Arc::new(params);
        let (dc, adding, password) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { app, now, came, caller, method, params, peer, args, main_dc, dc, adding, password, is_begun: false }
    }

    /// The same request as if it came in at `now`.
    ///
    /// # Errors
    /// What its credentials are refused with by then.
    fn as_of(&self, now: Timestamp) -> Result<Self, ApiError> {
        let caller = auth::renew(&self.app.directory.read(), &self.caller.credential, now)?;
        Ok(self.by(caller, now))
    }

    /// The same request, to plan it as things are by now, whoever its caller is by now.
    pub(super) fn afresh(&self) -> Self {
        self.by(self.caller.clone(), self.now)
    }

    /// The same request by `caller`, at `now`.
    fn by(&self, caller: Caller, now: Timestamp) -> Self {
        Self {
            app: Arc::clone(&self.app),
            now,
            came: self.came,
            caller,
            method: self.method.clone(),
            params: Arc::clone(&self.params),
            peer: self.peer,
            args: self.args.clone(),
            main_dc: self.main_dc,
            dc: Mutex::default(),
            adding: Mutex::default(),
            password: Mutex::default(),
            is_begun: false,
        }
    }

    /// The same request as if it came in now.
    ///
    /// # Errors
    /// What its credentials are refused with by now.
    pub(super) fn again(&self) -> Result<Self, ApiError> {
        self.as_of(super::now())
    }

    /// Whether `plan` comes to the same as when the call began.
    ///
    /// # Errors
    /// Why not. What a SuperAdmin planned is more than others of the same words: for some, fields are left out.
    pub(super) fn still_may(&self, plan: PlanFn) -> Result<(), ApiError> {
        let again = self.again()?;
        plan(&again)?;
        if self.caller.is_super_admin() && !again.caller.is_super_admin() {
            return Err(ApiError::forbidden());
        }
        Ok(())
    }

    /// Whether the call may give somebody something when a part of it is done: a SuperAdmin, as long as he is one; others,
    /// if `plan` comes to the same still. What ends by the clock alone ends for later calls.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn may_go_on(&self, plan: PlanFn) -> Result<(), ApiError> {
        self.goes_on(plan, self.as_of(self.now)?)
    }

    /// The same of a call about the caller himself: what it has `taken` from him is no reason against it.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn may_go_on_himself(&self, plan: PlanFn, taken: Taken) -> Result<(), ApiError> {
        let caller = {
            let view = self.app.directory.read();
            let user = view.unambiguous(self.caller.user.id).ok_or_else(ApiError::forbidden)?;
            let is_own_password = *self.password() == Some(user.password_epoch);
            let before = &self.caller.user;
            let mut user = User::clone(user);
            user.enabled |= taken.activity && before.enabled;
            user.api_access |= taken.api_access && before.api_access;
            user.super_admin |= taken.super_admin && before.super_admin;
            if is_own_password {
                user.password_epoch = before.password_epoch;
            }
            auth::renew_as(&view, user, &self.caller.credential, is_own_password, self.now)?
        };
        self.goes_on(plan, self.by(caller, self.now))
    }

    /// As `again` comes to, which is the same request by now.
    fn goes_on(&self, plan: PlanFn, again: Self) -> Result<(), ApiError> {
        match (self.caller.is_super_admin(), again.caller.is_super_admin()) {
            (true, true) => Ok(()),
            (true, false) => Err(ApiError::forbidden()),
            (false, _) => plan(&Self { is_begun: true, ..again }),
        }
    }

    /// The password that the call is about to set, by what sessions know it by.
    pub(super) fn password(&self) -> MutexGuard<'_, Option<PasswordEpoch>> {
        self.password.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For another run of the call, which changed nothing.
    pub(super) fn begin_anew(&self) {
        drop(self.adding().take());
        *self.dc.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The `index`th variable segment of the path, decoded; the route's pattern says how many there are and of which
    /// characters. Its length is not checked: [`UserName::parse`] and the like do that.
    pub(crate) fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", String::as_str)
    }

    pub(crate) fn args(&self) -> &[String] {
        &self.args
    }

    /// The number of `main`.
    pub(super) fn main_dc(&self) -> u64 {
        self.main_dc
    }

    /// Makes `dc` the request's current datacenter, as loading an object bound to it does (contract 3.0): `es_dc` and
    /// the task id name it from here on.
    pub(crate) fn enter(&self, dc: &Arc<Datacenter>) {
        *self.dc.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(dc));
    }

    /// What the list that the body has under `key` holds and no call is adding, which alone may be taken away: this one's
    /// caller can't know of the rest. Nothing where the body has none. `list` says which it is, unless the call is refused.
    pub(super) async fn settled(
        &self,
        key: &str,
        list: impl FnOnce() -> Result<List, ApiError>,
    ) -> Result<HashSet<Addition>, ApiError> {
        let Some(given) = self.params.get(key) else { return Ok(HashSet::new()) };
        let kept = input::list(given).unwrap_or_default().into_iter().map(|name| name.to_ascii_lowercase()).collect();
        // By then others may wait for it.
        let waits = !self.adding().as_ref().is_some_and(Adding::is_announced);
        let settled = self.app.unanswered.settled(&self.app.directory, &list()?, &kept, self.came, waits).await;
        settled.map_err(|error| ApiError::store(&error, Noun::Group))
    }

    fn adding(&self) -> MutexGuard<'_, Option<Adding>> {
        self.adding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what this call is about to add, before it does.
    pub(super) fn adds(&self, additions: impl Iterator<Item = Addition>) {
        let additions: Vec<Addition> = additions.collect();
        if !additions.is_empty() {
            *self.adding() = Some(self.app.unanswered.adding(additions));
        }
    }

    /// Says it to the other daemons too.
    pub(super) async fn announce(&self) -> Result<(), StoreError> {
        let adding = self.adding().take();
        let Some(mut adding) = adding else { return Ok(()) };
        let announced = adding.announce(&self.app.directory).await;
        *self.adding() = Some(adding);
        announced
    }

    /// What this call added, once the other daemons are told that it is about to be answered: to be dropped when it is.
    pub(super) async fn added(&self) -> Option<Adding> {
        let mut adding = self.adding().take()?;
        adding.close().await;
        Some(adding)
    }

    /// By which this request is known again if the same caller makes it a second time.
    pub(crate) fn mark(&self) -> RequestMark {
        let body = match &*self.params {
            // the text of a map of JSON values can always be written
            Params::Object(map) => Zeroizing::new(serde_json::to_vec(map).unwrap_or_default()),
            Params::Null | Params::Array | Params::Scalar => Zeroizing::default(),
        };
        let mut parts: Vec<&[u8]> = vec![&self.caller.user.id.0, self.method.as_str().as_bytes()];
        parts.extend(self.args.iter().map(String::as_bytes));
        parts.push(&body);
        self.app.ring.request_mark(&parts)
    }

    /// The datacenter that was entered, if one was.
    pub(crate) fn current_dc(&self) -> Option<Arc<Datacenter>> {
        self.dc.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A request to an endpoint that needs no credentials (login, ping).
pub(crate) struct OpenCall {
    pub(crate) app: Arc<App>,
    pub(crate) now: Timestamp,
    pub(crate) params: Params,
    /// The client's address, behind trusted proxies too.
    pub(crate) peer: IpAddr,
}

/// Parameters: the query string of a GET (every value a string, the last of a repeated key), else the JSON body, where
/// an empty body is an empty object. Numbers keep the text in which they were sent.
#[derive(Clone, PartialEq)]
pub(crate) enum Params {
    Object(Map<String, Value>),
    /// The body was `null`.
    Null,
    /// The body was an array.
    Array,
    /// The body was a string, a number or a boolean.
    Scalar,
}

/// Shows no values: a password may be among them.
impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object(_) => "Params(object)",
            Self::Null => "Params(null)",
            Self::Array => "Params(array)",
            Self::Scalar => "Params(scalar)",
        })
    }
}

impl Params {
    /// The value under `key`; none where the body is no object.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Self::Object(map) => map.get(key),
            Self::Null | Self::Array | Self::Scalar => None,
        }
    }

    /// The object, for validation.
    ///
    /// # Errors
    /// The 400 of decision 2 where the body is no object. It is reported at validation, after the look-up of the object
    /// and the permission checks, not before.
    pub(crate) fn object(&self) -> Result<&Map<String, Value>, ApiError> {
        match self {
            Self::Object(map) => Ok(map),
            Self::Null => Err(ApiError::invalid("non_field_errors", "No input provided")),
            Self::Array | Self::Scalar => Err(ApiError::invalid("non_field_errors", "Invalid data")),
        }
    }

    /// For a DELETE, which has no parameters: whatever the body is, it is ignored, but for what decision 2 refuses.
    ///
    /// # Errors
    /// The 400 of decision 2 where the body is `null` or an array.
    pub(crate) fn ignored(&self) -> Result<(), ApiError> {
        match self {
            Self::Object(_) | Self::Scalar => Ok(()),
            Self::Null | Self::Array => self.object().map(|_| ()),
        }
    }

    /// The parameters of a query string.
    pub(crate) fn from_query(query: Option<&str>) -> Self {
        let mut map = Map::new();
        if let Some(query) = query {
            for (key, value) in form_urlencoded::parse(query.as_bytes()) {
                map.insert(key.into_owned(), Value::String(value.into_owned()));
            }
        }
        Self::Object(map)
    }

    /// The parameters of a JSON body.
    ///
    /// # Errors
    /// What is wrong with the JSON, in the parser's words.
    pub(crate) fn from_body(body: &[u8]) -> Result<Self, String> {
        if body.is_empty() {
            return Ok(Self::Object(Map::new()));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Self::Object(map)),
            Ok(Value::Null) => Ok(Self::Null),
            Ok(Value::Array(_)) => Ok(Self::Array),
            Ok(Value::String(_) | Value::Number(_) | Value::Bool(_)) => Ok(Self::Scalar),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_gives_strings_and_the_last_of_a_repeated_key() {
        let params = Params::from_query(Some("full&order_by=-created&order_by=%2Busername&x=a+b"));
        assert_eq!(params.get("full"), Some(&Value::from("")));
        assert_eq!(params.get("order_by"), Some(&Value::from("+username")));
        assert_eq!(params.get("x"), Some(&Value::from("a b")));
        assert_eq!(Params::from_query(None), Params::Object(Map::new()));
    }

    #[test]
    fn bodies_keep_numbers_as_they_were_written() {
        let params = Params::from_body(br#"{"first_name": 1.10, "big": 123456789012345678901234567890}"#).unwrap();
        assert_eq!(params.get("first_name").unwrap().to_string(), "1.10");
        assert_eq!(params.get("big").unwrap().to_string(), "123456789012345678901234567890");
    }

    #[test]
    fn bodies_that_are_no_object_fail_at_validation_only() {
        for (body, message, is_ignored) in
            [("null", "No input provided", false), ("[1]", "Invalid data", false), ("7", "Invalid data", true)]
        {
            let params = Params::from_body(body.as_bytes()).unwrap();
            assert_eq!(params.get("x"), None);
            assert_eq!(params.ignored().is_ok(), is_ignored);
            let error = params.object().unwrap_err();
            assert_eq!(error.text(), format!("{{\"non_field_errors\":[\"{message}\"]}}"));
        }
        assert_eq!(Params::from_body(b"").unwrap(), Params::Object(Map::new()));
        for bad in ["{bad", " ", "{\"a\":NaN}", "\u{feff}{}", "{}x"] {
            assert!(Params::from_body(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let deep = "[".repeat(100_000);
        assert!(Params::from_body(deep.as_bytes()).is_err());
    }
}
