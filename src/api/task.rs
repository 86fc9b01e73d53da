//! Ping, and the task endpoints (contract 1.3, decision 20): the audit log's writes by their task ids. There are no
//! asynchronous tasks, so there is never one to wait for or to cancel.

use std::cell::Cell;

use hyper::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use super::envelope::{TaskRef, parse_task_id};
use super::{ApiError, Call, OpenCall, Reply, routes::Pending, subject};
use crate::accounts::input::no_object;
use crate::accounts::{User, access};
use crate::audit::Record;
use crate::directory::View;
use crate::name::DcName;

/// How many lines the log shows, and the most that it shows.
pub(super) const LOG_DEFAULT: usize = 10;
pub(super) const LOG_MAX: usize = 1000;

/// 404: no write had this task id.
pub(super) fn missing() -> ApiError {
    ApiError::detail(StatusCode::NOT_FOUND, "Task does not exist")
}

/// 404: no asynchronous task has this id.
pub(super) fn gone() -> ApiError {
    ApiError::detail(StatusCode::NOT_FOUND, "Task does not exist (anymore)")
}

/// 406.
pub(super) fn not_cancelable() -> ApiError {
    ApiError::detail(StatusCode::NOT_ACCEPTABLE, "Task cannot be canceled")
}

/// `GET /ping/`.
pub(super) fn ping(_: &OpenCall) -> Pending<'_> {
    Box::pin(std::future::ready(Ok(Reply::plain("pong"))))
}

/// A line of the task log, as the original shows it.
#[derive(Serialize)]
struct Line<'a> {
    status: &'a str,
    username: &'a str,
    task_type: u8,
    object_type: &'a str,
    detail: &'a str,
    object_alias: &'a str,
    flag: u8,
    task: &'a str,
    object_name: &'a str,
    time: &'a str,
    msg: &'a str,
}

impl<'a> From<&'a Record> for Line<'a> {
    fn from(record: &'a Record) -> Self {
        let head = record.task_id.split('-').next().unwrap_or_default();
        Self {
            status: &record.status,
            username: &record.actor,
            // 100 for calls outside a datacenter.
            task_type: if head.contains('u') { 100 } else { 0 },
            object_type: &record.object_type,
            detail: &record.detail,
            object_alias: &record.object_alias,
            flag: match record.method.as_str() {
                "POST" => 1,
                "DELETE" => 2,
                _ => 3,
            },
            task: &record.task_id,
            object_name: &record.object_name,
            time: &record.time,
            msg: &record.action,
        }
    }
}

/// Which records the caller may see.
struct Sight<'a> {
    user: &'a User,
    /// Numbers of the datacenters that the caller administers, without 0: that is every one's that has none yet.
    administers: Vec<u64>,
}

impl<'a> Sight<'a> {
    fn of(call: &'a Call, view: &View<'_>) -> Self {
        let user = &*call.caller.user;
        let groups = subject::groups_of(view, user);
        let dcs = view.datacenters().filter(|dc| access::administers(user, &groups, dc));
        Self { user, administers: dcs.map(|dc| dc.number).filter(|number| *number != 0).collect() }
    }

    /// A SuperAdmin sees all of them, others what they did themselves, what was done to them, and what was done in
    /// their datacenters. Another's refused request is nobody's business: it holds what they typed. Numbers tell a user
    /// from one before of the same name; 0 is that of all who have none yet.
    fn sees(&self, record: &Record) -> bool {
        let user = self.user;
        let own = record.actor_number == user.number && record.actor == user.name.canonical();
        let concerns =
            |task: TaskRef| (task.owner == user.number && user.number != 0) || self.administers.contains(&task.dc);
        let done = || record.status == "SUCCESS" && parse_task_id(&record.task_id).is_some_and(concerns);
        !record.task_id.is_empty() && (user.super_admin || own || done())
    }
}

/// Makes the datacenter that the parameter `dc` names the current one, and gives its name.
///
/// # Errors
/// 404 where it names none that the caller may see.
fn enter_named(call: &Call, view: &View<'_>) -> Result<Option<DcName>, ApiError> {
    if matches!(call.params.get("dc"), None | Some(Value::Null)) || call.params.get("dc") == Some(&Value::from("")) {
        return Ok(None);
    }
    let dc = subject::named_dc(call, view)?;
    Ok(dc.map(|dc| {
        call.enter(dc);
        dc.name.clone()
    }))
}

/// `GET /task/`.
pub(super) fn list(call: &Call) -> Result<Reply, ApiError> {
    enter_named(call, &call.app.directory.read())?;
    Ok(Reply::plain(&[(); 0]))
}

/// `GET /task/log/`.
pub(super) fn log(call: &Call) -> Result<Reply, ApiError> {
    let view = call.app.directory.read();
    let dc = enter_named(call, &view)?.map(|dc| dc.canonical());
    let sight = Sight::of(call, &view);
    drop(view);
    let limit = match call.params.get("limit").and_then(Value::as_str) {
        None | Some("") => LOG_DEFAULT,
        Some(text) => match text.parse::<usize>() {
            Ok(limit @ 1..=LOG_MAX) => limit,
            _ => return Err(ApiError::invalid("limit", &format!("Enter a whole number from 1 to {LOG_MAX}."))),
        },
    };
    let after = call.params.get("after").and_then(Value::as_str).filter(|after| !after.is_empty());
    let reached = Cell::new(after.is_none());
    let in_dc = |record: &Record| dc.as_ref().is_none_or(|dc| record.dc == *dc);
    let records = call.app.audit.newest(limit, |record| {
        let shown = in_dc(record) && sight.sees(record);
        let asked = shown && reached.get();
        reached.set(reached.get() || (shown && after == Some(&record.task_id)));
        asked
    });
    if let (Some(after), false) = (after, reached.get()) {
        return Err(ApiError::invalid("after", &no_object("task", after)));
    }
    let lines: Vec<Line<'_>> = records.iter().map(|record| Line::from(&**record)).collect();
    Ok(Reply::plain(&json!({ "results": lines })))
}

/// Whose task the path must name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// The caller's, or one about the caller.
    Own,
    /// The caller's.
    Created,
}

/// The path's task id, and what the caller may see of it. An admin of the datacenter that it names has all of that
/// datacenter's.
///
/// # Errors
/// 403 where it is none, or another's.
fn task_id(call: &Call, whose: Whose) -> Result<(&str, Sight<'_>), ApiError> {
    let view = call.app.directory.read();
    enter_named(call, &view)?;
    let id = call.arg(0);
    let task = parse_task_id(id).ok_or_else(ApiError::denied)?;
    let caller = &call.caller.user;
    let own = task.user == caller.number || (whose == Whose::Own && task.owner == caller.number);
    let sight = Sight::of(call, &view);
    if own || caller.super_admin || sight.administers.contains(&task.dc) {
        Ok((id, sight))
    } else {
        Err(ApiError::denied())
    }
}

/// `GET /task/(id)/`.
pub(super) fn details(call: &Call) -> Result<Reply, ApiError> {
    let (id, sight) = task_id(call, Whose::Own)?;
    let found = call.app.audit.newest(1, |record| record.task_id == id && sight.sees(record));
    match found.first() {
        Some(record) => Ok(Reply::plain(&Line::from(&**record))),
        None => Err(missing()),
    }
}

/// `DELETE /task/(id)/`: a SuperAdmin's, and there is never a task to delete.
pub(super) fn delete(call: &Call) -> Result<Reply, ApiError> {
    enter_named(call, &call.app.directory.read())?;
    if !call.caller.is_super_admin() {
        return Err(ApiError::denied());
    }
    task_id(call, Whose::Own)?;
    Err(missing())
}

/// `GET /task/(id)/status/` and `/state/`.
pub(super) fn status(call: &Call) -> Result<Reply, ApiError> {
    task_id(call, Whose::Own)?;
    Err(gone().about_a_task())
}

/// `GET /task/(id)/done/`.
pub(super) fn done(call: &Call) -> Result<Reply, ApiError> {
    task_id(call, Whose::Own)?;
    Err(gone())
}

/// `PUT /task/(id)/cancel/`.
pub(super) fn cancel(call: &Call) -> Result<Reply, ApiError> {
    task_id(call, Whose::Created)?;
    Err(not_cancelable())
}
