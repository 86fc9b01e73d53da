//! One request from its first line to its answer, in the order of contract 1.5: URL, negotiation (406), authentication
//! (403), throttle (429), method (405), body (400, 413, 415), authentication again, then the handler. The handlers' own
//! order starts there.

use std::borrow::Cow;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, EXPECT, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::arrival::Arrival;
use super::envelope::{Content, TaskRef, detail, enclose, enclose_list, finish};
use super::error::ErrorBody;
use super::router::{Endpoint, find};
use super::routes::Handler;
use super::stream::{AnswerBody, List};
use super::writing::carry_out;
use super::{
    ApiError, App, BODY_UNIT, Call, OpenCall, Params, Reply, WRITES_OF_ONE, auth, health, negotiate, now, trail,
};
use crate::accounts::secrets::{hex, random};
use crate::accounts::{MAIN_DC, Timestamp, User};
use crate::directory::View;
use crate::name::DcName;

/// The version of the API that is spoken, for `es_version`.
pub(super) const VERSION: &str = "4.6";
const ES_VERSION: HeaderName = HeaderName::from_static("es_version");
const ES_USERNAME: HeaderName = HeaderName::from_static("es_username");
const ES_DC: HeaderName = HeaderName::from_static("es_dc");
const ES_TASK_ID: HeaderName = HeaderName::from_static("es_task_id");
const ES_TASK_RESPONSE: HeaderName = HeaderName::from_static("es_task_response");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CONTENT_TYPE_OPTIONS: HeaderName = HeaderName::from_static("x-content-type-options");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Longest time for a whole body.
const BODY_TIME: Duration = Duration::from_secs(30);

/// What is read and thrown away of a body that nobody wants, so that the client gets to read the answer: bytes, time.
const DRAIN: (usize, Duration) = (32 << 20, Duration::from_secs(2));

pub(super) type Answer = Response<AnswerBody>;

/// Answers `request`. Where the answer has an [`Adding`](super::unanswered::Adding) among its extensions, the call is answered
/// when that is dropped.
pub(super) async fn handle<B>(app: &Arc<App>, arrival: Arrival, request: Request<B>) -> Answer
where
    B: Body<Data = Bytes> + Unpin,
{
    let (head, mut body) = request.into_parts();
    let start = tracing::enabled!(tracing::Level::DEBUG).then(Instant::now);
    let answer = answer(app, arrival, &head, &mut body).await;
    app.metrics.response(answer.status());
    if let Some(start) = start {
        let (status, micros) = (answer.status().as_u16(), start.elapsed().as_micros());
        tracing::debug!(method = %head.method, path = head.uri.path(), status, micros, peer = %arrival.peer, "answered");
    }
    // With `Expect` the client waits for leave to send: the answer takes its place.
    if !body.is_end_stream() && !head.headers.contains_key(EXPECT) {
        drain(&mut body).await;
    }
    answer
}

async fn answer<B>(app: &Arc<App>, arrival: Arrival, head: &hyper::http::request::Parts, body: &mut B) -> Answer
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut form = Form { allow: None, view: "", indent: 0 };
    let Some(path) = decode(head.uri.path()) else { return form.error(&ApiError::no_resource(), None) };
    let Some((endpoint, args)) = path.strip_prefix("/api/").and_then(find) else {
        let Some(page) = health::find(&path) else { return form.error(&ApiError::no_resource(), None) };
        form.allow = Some(&health::ALLOW);
        return match page.answer(app, &head.method) {
            Ok((status, text)) => form.bytes(status, HeaderValue::from_static(page.content_type), text),
            Err(error) => form.error(&error, None),
        };
    };
    (form.allow, form.view) = (Some(&endpoint.allow), endpoint.route.view);
    if !app.directory.is_started() {
        return form.error(&ApiError::no_directory(), None);
    }
    match serve(app, arrival, head, body, endpoint, args, &mut form).await {
        Ok(answer) => answer,
        Err((error, who)) => form.error(&error, (!endpoint.open).then_some(who)),
    }
}

/// Who a request is known to come from: the values of `es_username` and `es_dc`; `None` is nobody.
#[derive(Clone, Default)]
struct Who(Option<(HeaderValue, HeaderValue)>);

impl Who {
    fn new(user: &User, dc: &str) -> Self {
        let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
        Self(Some((value(user.name.as_str()), value(dc))))
    }

    fn identify(self, headers: &mut HeaderMap) {
        headers.insert(ES_VERSION, HeaderValue::from_static(VERSION));
        match self.0 {
            Some((username, dc)) => {
                headers.insert(ES_USERNAME, username);
                headers.insert(ES_DC, dc);
            }
            None => {
                headers.insert(ES_USERNAME, HeaderValue::from_static(""));
            }
        }
    }
}

async fn serve<B>(
    app: &Arc<App>,
    arrival: Arrival,
    head: &hyper::http::request::Parts,
    body: &mut B,
    endpoint: &'static Endpoint,
    args: Vec<String>,
    form: &mut Form,
) -> Result<Answer, (ApiError, Who)>
where
    B: Body<Data = Bytes> + Unpin,
{
    let anonymous = |error| (error, Who::default());
    form.indent = negotiate::indent(&head.headers).map_err(anonymous)?;
    let peer = auth::client_address(arrival.peer, &head.headers, &app.config.http.trusted_proxies);
    let now = now();
    if endpoint.open {
        return serve_open(app, peer, head, body, endpoint, now, form).await.map_err(anonymous);
    }

    let (caller, main) = {
        let view = app.directory.read();
        let caller = auth::authenticate(app, &view, &head.headers, now, peer).map_err(anonymous)?;
        (caller, main_number(&view))
    };
    let user = Arc::clone(&caller.user);
    let known = |error| (error, Who::new(&user, MAIN_DC));
    if app.throttle.requests.is_on() {
        app.throttle.requests.take(user.name.canonical(), Instant::now()).map_err(known)?;
    }
    if head.method == Method::OPTIONS {
        return Ok(form.page(StatusCode::OK, JSON, endpoint.options.bytes().to_vec()));
    }
    let handler = endpoint.handler(&head.method).map_err(known)?;
    let (params, room) = params(app, head, body).await.map_err(known)?;
    // A body takes as long as its sender likes, who may have lost by now what he could do when it began.
    let (caller, now) = if head.method == Method::GET {
        (caller, now)
    } else {
        let (view, now) = (app.directory.read(), super::now());
        (auth::authenticate(app, &view, &head.headers, now, peer).map_err(anonymous)?, now)
    };
    let call = Call::new(Arc::clone(app), now, arrival.came, caller, head.method.clone(), args, params, peer, main);
    match handler {
        Handler::Read(run) => {
            // A panic is a bug, but one request's: the handlers change nothing that others see.
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| run(&call)));
            Ok(form.outcome(&call, endpoint, outcome.unwrap_or_else(|_| Err(ApiError::internal()))).0)
        }
        Handler::Write { run, plan, action, object } => {
            let share = if user.super_admin { usize::MAX } else { WRITES_OF_ONE };
            let turn = app.writers.take(user.id, share);
            let (Some(turn), Ok(permit)) = (turn, Arc::clone(&app.writes).try_acquire_owned()) else {
                return Err(known(ApiError::unavailable("Too many changes at a time. Please try again.")));
            };
            app.metrics.write();
            let is_newer = app.directory.look_at_caller(&user, call.caller.session()).await;
            let call = if is_newer { call.again().map_err(anonymous)? } else { call };
            let form = *form;
            // Runs to its end even if the client goes away meanwhile.
            let task = tokio::spawn(async move {
                let _held = (permit, turn, room);
                let before = trail::alias(&call, object);
                let call = Arc::new(call);
                let outcome = carry_out(&call, endpoint, run, plan).await;
                let (mut answer, task_id) = form.outcome(&call, endpoint, outcome);
                trail::record(&call, action, object, before, &task_id, answer.status());
                if let Some(added) = call.added().await {
                    answer.extensions_mut().insert(Arc::new(added));
                }
                answer
            });
            Ok(task.await.unwrap_or_else(|_| form.error(&ApiError::internal(), None)))
        }
        Handler::Open(_) => Err(known(ApiError::internal())),
    }
}

/// Login and ping. Nobody needs credentials for them, but wrong ones are refused.
async fn serve_open<B>(
    app: &Arc<App>,
    peer: IpAddr,
    head: &hyper::http::request::Parts,
    body: &mut B,
    endpoint: &Endpoint,
    now: Timestamp,
    form: &Form,
) -> Result<Answer, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let counts = endpoint.route.pattern != "ping";
    auth::refuse_wrong(app, &app.directory.read(), &head.headers, now, peer, counts)?;
    if head.method == Method::OPTIONS {
        return Ok(form.page(StatusCode::OK, JSON, endpoint.options.bytes().to_vec()));
    }
    // A POST is a login: of the others none takes one.
    let Handler::Open(run) = endpoint.handler(&head.method)? else { return Err(ApiError::internal()) };
    if head.method == Method::POST {
        app.throttle.logins.take(peer.into(), Instant::now())?;
    }
    let (params, room) = params(app, head, body).await?;
    let call = OpenCall { app: Arc::clone(app), now, params, peer };
    let form = *form;
    let task = tokio::spawn(async move {
        let _held = room;
        match run(&call).await {
            Ok(Reply { status, content: Content::Plain(json), signed_in, .. }) if !json.is_broken() => {
                let mut answer = form.page(status, JSON, json.bytes().to_vec());
                if let Some(user) = &signed_in {
                    Who::new(user, MAIN_DC).identify(answer.headers_mut());
                }
                answer
            }
            // These have no envelope: there is no task.
            Ok(_) => form.error(&ApiError::internal(), None),
            Err(ApiError { body: ErrorBody::Failure(json), .. }) => {
                let task_id = TaskRef { user: 0, owner: 0, in_dc: false, dc: 1 }.fresh_id();
                form.page(StatusCode::BAD_REQUEST, JSON, enclose("FAILURE", json.bytes(), &task_id))
            }
            Err(error) => form.error(&error, None),
        }
    });
    task.await.map_err(|_| ApiError::internal())
}

/// The number of `main`, which task ids name where no other datacenter was entered.
fn main_number(view: &View<'_>) -> u64 {
    static MAIN: std::sync::LazyLock<Option<DcName>> = std::sync::LazyLock::new(|| DcName::parse(MAIN_DC).ok());
    MAIN.as_ref().and_then(|name| view.datacenter(name)).map_or(1, |dc| dc.number)
}

/// The path, percent-decoded; `None` where that is no UTF-8.
fn decode(path: &str) -> Option<Cow<'_, str>> {
    percent_encoding::percent_decode_str(path).decode_utf8().ok()
}

/// The memory that a body takes of what there is for all of them; held for as long as its parameters are.
type Room = Option<OwnedSemaphorePermit>;

/// The parameters of a request.
async fn params<B>(app: &App, head: &hyper::http::request::Parts, body: &mut B) -> Result<(Params, Room), ApiError>
where
    B: Body<Data = Bytes> + Unpin,
{
    if head.method == Method::GET {
        return Ok((Params::from_query(head.uri.query()), None));
    }
    let late = |_| ApiError::too_slow();
    let read = read(body, app.config.http.max_body, &app.bodies);
    let (bytes, mut room) = tokio::time::timeout(BODY_TIME, read).await.map_err(late)??;
    if !bytes.is_empty() {
        negotiate::check_body_type(&head.headers)?;
    }
    claim(&mut room, parsed_size(&bytes), &app.bodies)?;
    let params = Params::from_body(&bytes).map_err(|what| ApiError::malformed(&what))?;
    Ok((params, room))
}

/// What a body takes when it is parsed, in bytes, by and large: a short value many times its text. There is one behind
/// each of these signs at most.
fn parsed_size(body: &[u8]) -> usize {
    let values = body.iter().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{')).count();
    body.len() + values * size_of::<(String, serde_json::Value)>()
}

/// Makes `room` what `size` bytes need.
///
/// # Errors
/// 503 where there is not so much.
fn claim(room: &mut Room, size: usize, bodies: &Arc<Semaphore>) -> Result<(), ApiError> {
    let units = size.saturating_sub(1) / BODY_UNIT;
    let missing = units.saturating_sub(room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
    if missing == 0 {
        return Ok(());
    }
    let more = Arc::clone(bodies).try_acquire_many_owned(u32::try_from(missing).unwrap_or(u32::MAX));
    let more = more.map_err(|_| ApiError::unavailable("Too many large requests at a time. Please try again."))?;
    match room {
        Some(room) => room.merge(more),
        None => *room = Some(more),
    }
    Ok(())
}

async fn read<B>(body: &mut B, limit: usize, bodies: &Arc<Semaphore>) -> Result<(Bytes, Room), ApiError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let announced = body.size_hint().lower();
    if announced > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(ApiError::too_large());
    }
    let mut whole: Option<Vec<u8>> = None;
    let mut first = Bytes::new();
    let mut room: Room = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::malformed("the body ends early"))?;
        let Ok(data) = frame.into_data() else { continue };
        let have = whole.as_ref().map_or(first.len(), Vec::len);
        if have + data.len() > limit {
            return Err(ApiError::too_large());
        }
        claim(&mut room, have + data.len(), bodies)?;
        // Most bodies come in one piece and are not copied.
        match &mut whole {
            Some(whole) => whole.extend_from_slice(&data),
            None if first.is_empty() => first = data,
            None => whole = Some([&first[..], &data[..]].concat()),
        }
    }
    Ok((whole.map_or(first, Bytes::from), room))
}

/// Reads and forgets the rest of a body, within bounds.
async fn drain<B>(body: &mut B)
where
    B: Body<Data = Bytes> + Unpin,
{
    let read = async {
        let mut left = DRAIN.0;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN.1, read).await;
}

/// How answers to this request are written.
#[derive(Clone, Copy)]
struct Form {
    allow: Option<&'static HeaderValue>,
    view: &'static str,
    indent: usize,
}

impl Form {
    fn page(self, status: StatusCode, content_type: HeaderValue, text: Vec<u8>) -> Answer {
        let text = if content_type == JSON { finish(text, self.indent) } else { text.into() };
        self.bytes(status, content_type, text)
    }

    /// An answer whose text is ready to be sent.
    fn bytes(self, status: StatusCode, content_type: HeaderValue, text: Bytes) -> Answer {
        self.answer(status, content_type, AnswerBody::whole(text))
    }

    fn answer(self, status: StatusCode, content_type: HeaderValue, body: AnswerBody) -> Answer {
        let mut headers = HeaderMap::with_capacity(12);
        headers.insert(CONTENT_TYPE, content_type);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, allow.clone());
        }
        let mut answer = Response::new(body);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        answer
    }

    /// A refusal without an envelope.
    fn error(self, error: &ApiError, who: Option<Who>) -> Answer {
        let text = match &error.body {
            ErrorBody::Detail(text) => detail(text),
            ErrorBody::Plain(json) | ErrorBody::Failure(json) => json.bytes().to_vec(),
        };
        let mut answer = self.page(error.status, JSON, text);
        let headers = answer.headers_mut();
        if let Some(who) = who {
            who.identify(headers);
        }
        if let Some(seconds) = error.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if error.about_a_task {
            headers.insert(ES_TASK_RESPONSE, HeaderValue::from_static("true"));
        }
        if error.status == StatusCode::INTERNAL_SERVER_ERROR {
            let id = hex(&random::<8>());
            tracing::error!(request_id = %id, view = self.view, "a request failed by our own fault");
            headers.insert(REQUEST_ID, HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("")));
        }
        answer
    }

    /// The answer to what a handler gave, and the task id, which a refusal without an envelope has only in the log.
    fn outcome(self, call: &Call, endpoint: &Endpoint, outcome: Result<Reply, ApiError>) -> (Answer, String) {
        let dc = call.current_dc();
        let (dc_number, dc_name) = dc.as_ref().map_or((call.main_dc(), MAIN_DC), |dc| (dc.number, dc.name.as_str()));
        // A datacenter that is not there, not yet or no more, has no number.
        let is_absent = endpoint.route.pattern == "dc/{dc}"
            && matches!((&call.method, &outcome), (&Method::POST, Err(_)) | (&Method::DELETE, Ok(_)));
        let dc_number = if is_absent { 0 } else { dc_number };
        let who = Who::new(&call.caller.user, dc_name);
        let user = call.caller.user.number;
        let task = TaskRef { user, owner: user, in_dc: endpoint.in_dc, dc: dc_number };
        let fresh = |owner: Option<u64>| TaskRef { owner: owner.unwrap_or(user), ..task }.fresh_id();
        let (mut answer, task_id) = match outcome {
            Ok(Reply { content: Content::Plain(json) | Content::Result(json), .. }) if json.is_broken() => {
                return (self.error(&ApiError::internal(), Some(who)), task.fresh_id());
            }
            Ok(Reply { status, content: Content::Plain(json), .. }) => {
                let mut answer = self.page(status, JSON, json.bytes().to_vec());
                who.identify(answer.headers_mut());
                return (answer, String::new());
            }
            Ok(Reply { status, content: Content::Result(json), owner, .. }) => {
                let task_id = fresh(owner);
                (self.page(status, JSON, enclose("SUCCESS", json.bytes(), &task_id)), task_id)
            }
            Ok(Reply { status, content: Content::List(start, rest), owner, .. }) => {
                let task_id = fresh(owner);
                let (start, end) = enclose_list(&start, &task_id);
                let list = List::new(start, rest, end, self.indent);
                (self.answer(status, JSON, AnswerBody::List(Box::new(list))), task_id)
            }
            Err(ApiError { status, body: ErrorBody::Failure(json), .. }) => {
                let task_id = fresh(None);
                (self.page(status, JSON, enclose("FAILURE", json.bytes(), &task_id)), task_id)
            }
            Err(error) => return (self.error(&error, Some(who)), task.fresh_id()),
        };
        let headers = answer.headers_mut();
        who.identify(headers);
        headers.insert(ES_TASK_ID, HeaderValue::from_str(&task_id).unwrap_or(HeaderValue::from_static("")));
        (answer, task_id)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn large_bodies_share_their_memory_and_small_ones_need_none() {
        let bodies = Arc::new(Semaphore::new(3));
        let body = |size: usize| Full::new(Bytes::from(vec![b' '; size]));
        let (bytes, room) = read(&mut body(3 * BODY_UNIT), 1 << 20, &bodies).await.unwrap();
        assert_eq!((bytes.len(), bodies.available_permits()), (3 * BODY_UNIT, 1));
        assert!(read(&mut body(BODY_UNIT), 1 << 20, &bodies).await.unwrap().1.is_none());
        let refused = read(&mut body(3 * BODY_UNIT), 1 << 20, &bodies).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        drop(room);
        assert!(read(&mut body(3 * BODY_UNIT), 1 << 20, &bodies).await.is_ok());
        assert_eq!(bodies.available_permits(), 3);
    }

    #[test]
    fn many_short_values_are_large_and_one_long_text_is_not() {
        let text = format!(r#"{{"a":"{}"}}"#, "x".repeat(60_000));
        assert!((60_000..61_000).contains(&parsed_size(text.as_bytes())));
        for short in ["1,", "[],", "{},", r#"{"":0},"#] {
            let many = short.repeat(60_000 / short.len());
            assert!(parsed_size(many.as_bytes()) > 20 * 60_000, "{short}");
        }
    }
}
