//! What can be said of an operation. Which say what is in `operations`.

use hyper::Method;

use super::super::Noun;

/// One method of one URL.
pub(super) struct Operation {
    pub(super) pattern: &'static str,
    pub(super) method: Method,
    /// `operationId`.
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    /// Who may call it, and what else the route's own text does not say.
    pub(super) about: &'static str,
    pub(super) query: &'static [Query],
    /// The schema of the body, by its component's name.
    pub(super) body: Option<&'static str>,
    pub(super) success: Success,
    pub(super) refusals: &'static [Refusal],
}

/// A parameter of the query string.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Query {
    Full,
    Extended,
    /// The documented name of the filter.
    IsActive,
    /// The original's name of it.
    Active,
    /// The fields that the list can be sorted by, its default first.
    OrderBy(&'static [&'static str]),
    Limit,
    After,
    /// How many lines of the log.
    LogLimit,
    /// The last line of the log's page before.
    LogAfter,
    /// The datacenter whose tasks are asked for.
    TaskDc,
    /// The request's current datacenter.
    CurrentDc,
}

/// What is answered when it works; schemas by their components' names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Success {
    /// Names, or objects where `full` or `extended` is set.
    List(&'static str),
    Objects(&'static str),
    One(&'static str),
    Created(&'static str),
    Deleted,
    /// Without an envelope.
    Bare(&'static str),
    /// It never works: there are no asynchronous tasks.
    Never,
}

/// A refusal that not every operation has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Missing(Noun),
    Exists(Noun),
    /// 400 with what the user is still needed for.
    Relations,
    /// 428.
    MainDatacenter,
    /// 404 of a task that is not in the log.
    NoTask,
    /// 404 of an asynchronous task.
    NoAsyncTask,
    /// 406 of an asynchronous task.
    NotCancelable,
    /// 400 of the login.
    Login,
}

/// What most rows leave out.
pub(super) const BASE: Operation = Operation {
    pattern: "",
    method: Method::GET,
    id: "",
    summary: "",
    about: "",
    query: &[],
    body: None,
    success: Success::Never,
    refusals: &[],
};
