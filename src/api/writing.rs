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

/// How long a write waits until it is known what it changes. The call that creates that was cut short, as a rule, if it takes
/// longer. Less than daemons tell each other of what was answered, which a list that is replaced goes by.
const PATIENCE: Duration = Duration::from_millis(1800);
/// How often it looks, at first and later.
const PAUSE: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(20));

const USER: &str = "accounts/user/{user}";
/// What changes that end the mark of the call that creates the user.
const ENDS_A_USERS_MARK: [&str; 3] = [USER, "accounts/user/{user}/profile", "accounts/user/{user}/apikeys"];

/// Runs the call.
pub(super) async fn carry_out(
    call: &Arc<Call>,
    endpoint: &Endpoint,
    run: WriteFn,
    plan: Option<PlanFn>,
) -> Result<Reply, ApiError> {
    let directory = &call.app.directory;
    let begin = Instant::now();
    wait_until_settled(call, endpoint, plan, begin).await;
    let newest = directory.newest();
    let (outcome, begun) = once(call, endpoint, run, plan).await;
    let by_state = [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND, StatusCode::NOT_ACCEPTABLE];
    match outcome {
        Err(error) if !begun && by_state.contains(&error.status) && directory.catch_up(&newest).await => {
            call.begin_anew();
            wait_until_settled(call, endpoint, plan, begin).await;
            once(call, endpoint, run, plan).await.0
        }
        outcome => outcome,
    }
}

/// Waits until what the call is about is no longer under way, unless it is refused whatever comes of that.
async fn wait_until_settled(call: &Call, endpoint: &Endpoint, plan: Option<PlanFn>, begin: Instant) {
    let is_unsettled = || match endpoint.route.pattern {
        pattern if pattern.starts_with("dc/") && !call.caller.is_super_admin() => false,
        "dc/{dc}/group/{group}" => is_attachment_away(call),
        _ if call.method == Method::POST => false,
        "dc/{dc}" => is_datacenter_begun(call),
        pattern => ENDS_A_USERS_MARK.contains(&pattern) && (is_user_begun(call) || is_binding_unsettled(call)),
    };
    let is_refused =
        || plan.is_some_and(|plan| plan(&call.afresh()).is_err_and(|error| error.status != StatusCode::NOT_FOUND));
    if is_unsettled() && !is_refused() {
        wait_while(is_unsettled, begin).await;
    }
}

/// Whether the groups of the user that the path names are not all written yet: a change would end the mark by which the call
/// that creates him knows that it did, and nobody would be told so.
pub(super) fn is_user_begun(call: &Call) -> bool {
    let view = call.app.directory.read();
    let user = UserName::parse(call.arg(0)).ok().and_then(|name| view.user(&name));
    user.is_some_and(|user| user.unfinished.is_some())
}

/// The same of a datacenter.
pub(super) fn is_datacenter_begun(call: &Call) -> bool {
    let view = call.app.directory.read();
    let dc = DcName::parse(call.arg(0)).ok().and_then(|name| view.datacenter(&name));
    dc.is_some_and(|dc| dc.unfinished.is_some())
}

/// Whether the group may be attached to the datacenter by another daemon, or was to an earlier one of the name.
fn is_attachment_away(call: &Call) -> bool {
    let view = call.app.directory.read();
    let dc = DcName::parse(call.arg(0)).ok().and_then(|name| view.datacenter(&name));
    let group = subject::group(&view, call.arg(1));
    dc.zip(group).is_some_and(|(dc, group)| view.is_away(group, &dc.name))
}

/// Whether the call is about the binding of a user of whose groups it is not known where they are attached.
fn is_binding_unsettled(call: &Call) -> bool {
    let view = call.app.directory.read();
    let user = UserName::parse(call.arg(0)).ok().and_then(|name| view.user(&name));
    // Nobody else binds users.
    call.caller.is_super_admin()
        && call.params.get("dc_bound").is_some()
        && user.is_some_and(|user| view.groups_of(&user.name).into_iter().any(|group| view.is_attached_again(group)))
}

/// Waits until it is no longer so, for a moment after `begin`.
pub(super) async fn wait_while(is_so: impl Fn() -> bool, begin: Instant) {
    let mut pause = PAUSE.0;
    while is_so() && begin.elapsed() < PATIENCE {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Also whether anything was changed.
async fn once(
    call: &Arc<Call>,
    endpoint: &Endpoint,
    run: WriteFn,
    plan: Option<PlanFn>,
) -> (Result<Reply, ApiError>, bool) {
    // What was decided may be over once the first change's turn has come: then this is the answer.
    let refusal = Arc::new(OnceLock::new());
    let assent = {
        let (call, refusal) = (Arc::clone(call), Arc::clone(&refusal));
        let about_himself = endpoint.route.pattern.starts_with(USER)
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
