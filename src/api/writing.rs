//! A write from its first plan to its outcome: it waits until what it changes is known, who may make it is asked again
//! before its changes, and what refuses it is looked at again where another daemon may have changed that a moment ago.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use hyper::{Method, StatusCode};

use super::router::Endpoint;
use super::routes::{PlanFn, WriteFn};
use super::{ApiError, Call, Reply, subject};
use crate::directory::{Taken, with_assent};
use crate::name::{DcName, UserName};

/// How long a write waits until it is known what it changes: the call that creates it was cut short if it takes longer.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(2);

const ABOUT_A_USER: &str = "accounts/user/{user}";

/// Runs the call.
pub(super) async fn carry_out(
    call: &Arc<Call>,
    endpoint: &Endpoint,
    run: WriteFn,
    plan: Option<PlanFn>,
) -> Result<Reply, ApiError> {
    let directory = &call.app.directory;
    let newest = directory.newest();
    let (outcome, begun) = once(call, endpoint, run, plan).await;
    let by_state = [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND, StatusCode::NOT_ACCEPTABLE];
    match outcome {
        Err(error) if !begun && by_state.contains(&error.status) && directory.catch_up(&newest).await => {
            call.begin_anew();
            once(call, endpoint, run, plan).await.0
        }
        outcome => outcome,
    }
}

/// Whether what the call is about is under way, and known in a moment.
fn is_unsettled(call: &Call, endpoint: &Endpoint) -> bool {
    let view = call.app.directory.read();
    let (pattern, name) = (endpoint.route.pattern, call.arg(0));
    // An entry of which the groups are not all written: a change would end the mark by which the call that creates it knows
    // that it did, and nobody would be told so.
    let changes = call.method != Method::POST;
    if pattern.starts_with(ABOUT_A_USER) {
        let user = UserName::parse(name).ok().and_then(|name| view.user(&name));
        return changes && user.is_some_and(|user| user.unfinished.is_some());
    }
    let dc =
        DcName::parse(name).ok().filter(|_| pattern.starts_with("dc/{dc}")).and_then(|name| view.datacenter(&name));
    let Some(dc) = dc else { return false };
    // An attachment by another daemon, which may be to an earlier datacenter of the name.
    let group = (pattern == "dc/{dc}/group/{group}").then(|| subject::group(&view, call.arg(1))).flatten();
    (changes && dc.unfinished.is_some()) || group.is_some_and(|group| view.is_away(group, &dc.name))
}

/// Also whether anything was changed.
async fn once(
    call: &Arc<Call>,
    endpoint: &Endpoint,
    run: WriteFn,
    plan: Option<PlanFn>,
) -> (Result<Reply, ApiError>, bool) {
    let begin = Instant::now();
    while is_unsettled(call, endpoint) && begin.elapsed() < PATIENCE {
        tokio::time::sleep(PAUSE).await;
    }
    // What was decided may be over once the first change's turn has come: then this is the answer.
    let refusal = Arc::new(OnceLock::new());
    let assent = {
        let (call, refusal) = (Arc::clone(call), Arc::clone(&refusal));
        let about_himself = endpoint.route.pattern.starts_with(ABOUT_A_USER)
            && UserName::parse(call.arg(0)).is_ok_and(|name| call.caller.is(&name));
        move |taken: Option<Taken>| {
            let Some(plan) = plan else { return true };
            let asked = match taken {
                None => call.still_may(plan),
                Some(taken) if about_himself => call.may_go_on_himself(plan, taken),
                Some(_) => call.may_go_on(plan),
            };
            asked.map_err(|error| refusal.set(error)).is_ok()
        }
    };
    // A panic is a bug, but one request's.
    let result = AssertUnwindSafe(with_assent(assent, run(call))).catch_unwind().await;
    let (outcome, begun) = result.unwrap_or_else(|_| (Err(ApiError::internal()), true));
    (outcome.map_err(|error| refusal.get().cloned().unwrap_or(error)), begun)
}
