//! The one table of what exists: patterns, methods, handlers, who needs credentials, and what OPTIONS says.
//!
//! The router, the `Allow` header, OPTIONS and the OpenAPI document are made from it.

use std::pin::Pin;

use hyper::Method;

use super::{ApiError, Call, OpenCall, Reply, login, task};

/// What an async handler gives.
pub(crate) type Pending<'a> = Pin<Box<dyn Future<Output = Result<Reply, ApiError>> + Send + 'a>>;

/// How a method is served.
#[derive(Clone, Copy)]
pub(crate) enum Handler {
    /// Answered from the replica.
    Read(fn(&Call) -> Result<Reply, ApiError>),
    /// Writes to the directory: runs to its end even if the client goes away, and is in the audit log.
    Write {
        run: for<'a> fn(&'a Call) -> Pending<'a>,
        /// The contract's words for it: `Create user`.
        action: &'static str,
        object: Object,
    },
    /// Needs no credentials.
    Open(for<'a> fn(&'a OpenCall) -> Pending<'a>),
}

/// What a write is about. Its name is the last variable segment of the path, an SSH key's the last two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    User,
    SshKey,
    Group,
    Datacenter,
    Session,
    Task,
}

/// One URL.
pub(crate) struct Route {
    /// Below `/api/`, without slashes at the ends. A segment in braces is variable: `{user}` and `{title}` take
    /// `[A-Za-z0-9@.+_-]+`, `{group}`, `{permission}`, `{dc}` and `{task}` take `[A-Za-z0-9._-]+`. Of two that match
    /// the earlier one counts.
    pub(crate) pattern: &'static str,
    /// OPTIONS shows it as `name`, with blanks and in title case.
    pub(crate) view: &'static str,
    /// OPTIONS' `description`.
    pub(crate) about: &'static str,
    pub(crate) methods: &'static [(Method, Handler)],
}

/// Every URL of the API.
pub(crate) const ROUTES: &[Route] = &[
    Route {
        pattern: "ping",
        view: "ping",
        about: "Answers pong. Needs no credentials.",
        methods: &[(Method::GET, Handler::Open(task::ping))],
    },
    Route {
        pattern: "accounts/login",
        view: "login",
        about: "Starts a session: POST username and password, get a token for the Authorization header and the time \
                when it expires.",
        methods: &[(Method::POST, Handler::Open(login::login))],
    },
    Route {
        pattern: "accounts/logout",
        view: "logout",
        about: "Ends the session whose token the request carries. With an API key there is nothing to end.",
        methods: &[(Method::GET, Handler::Write { run: login::logout, action: "Logout", object: Object::Session })],
    },
    Route {
        pattern: "task",
        view: "task_list",
        about: "Lists the tasks that are running. Every call is done when it is answered, so there are none.",
        methods: &[(Method::GET, Handler::Read(task::list))],
    },
    Route {
        pattern: "task/log",
        view: "task_log",
        about: "Lists the last writes, newest first: a SuperAdmin sees everybody's, others their own. limit (10) says \
                how many.",
        methods: &[(Method::GET, Handler::Read(task::log))],
    },
    Route {
        pattern: "task/{task}",
        view: "task_details",
        about: "Shows the log of one write by its task id.",
        methods: &[(Method::GET, Handler::Read(task::details)), (Method::DELETE, Handler::Read(task::cancel))],
    },
    Route {
        pattern: "task/{task}/status",
        view: "task_status",
        about: "Shows the state of an asynchronous task, of which there are none.",
        methods: &[(Method::GET, Handler::Read(task::status))],
    },
    Route {
        pattern: "task/{task}/state",
        view: "task_status",
        about: "The same as status.",
        methods: &[(Method::GET, Handler::Read(task::status))],
    },
    Route {
        pattern: "task/{task}/done",
        view: "task_done",
        about: "Shows whether an asynchronous task, of which there are none, is done.",
        methods: &[(Method::GET, Handler::Read(task::done))],
    },
    Route {
        pattern: "task/{task}/cancel",
        view: "task_cancel",
        about: "Cancels an asynchronous task, of which there are none.",
        methods: &[(Method::PUT, Handler::Read(task::cancel))],
    },
];
