//! The one table of what exists: patterns, methods, handlers, who needs credentials, and what OPTIONS says.
//!
//! The router, the `Allow` header, OPTIONS and the OpenAPI document are made from it.

use std::pin::Pin;

use hyper::Method;

use self::Handler::{Open, Read};
use super::{ApiError, Call, OpenCall, Reply};
use super::{apikeys, datacenters, dc_members, groups, login, permissions, profiles, sshkeys, task, users};

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
        /// What it decides before the first change, to be decided again right before that. None: whoever began it may end it.
        plan: Option<PlanFn>,
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
}

/// One URL.
pub(crate) struct Route {
    /// Below `/api/`, without slashes at the ends. A segment in braces is variable: `{user}` and `{title}` take
    /// `[A-Za-z0-9@.+_-]+`, `{group}`, `{permission}` and `{dc}` take `[A-Za-z0-9._-]+`, `{task}` takes
    /// `[A-Za-z0-9-]+`. Of two that match the earlier one counts.
    pub(crate) pattern: &'static str,
    /// OPTIONS shows it as `name`, with blanks and in title case.
    pub(crate) view: &'static str,
    /// OPTIONS' `description`.
    pub(crate) about: &'static str,
    pub(crate) methods: &'static [(Method, Handler)],
}

pub(super) type WriteFn = for<'a> fn(&'a Call) -> Pending<'a>;
pub(super) type PlanFn = fn(&Call) -> Result<(), ApiError>;

const fn write(run: WriteFn, plan: PlanFn, action: &'static str, object: Object) -> Handler {
    Handler::Write { run, plan: Some(plan), action, object }
}

const LOGOUT: Handler = Handler::Write { run: login::logout, plan: None, action: "Logout", object: Object::Session };

/// Every URL of the API.
pub(crate) const ROUTES: &[Route] = &[
    Route {
        pattern: "accounts/user",
        view: "user_list",
        about: "Lists the users that the caller manages. is_active (true) chooses active or inactive ones, \
                full shows objects instead of names, extended adds dcs. order_by sorts by username or \
                created; limit and after page.",
        methods: &[(Method::GET, Read(users::list))],
    },
    Route {
        pattern: "accounts/user/profile",
        view: "userprofile_list",
        about: "Lists the profiles of the users that the caller manages. order_by sorts by username or \
                created; limit and after page.",
        methods: &[(Method::GET, Read(profiles::list))],
    },
    Route {
        pattern: "accounts/user/{user}",
        view: "user_manage",
        about: "Shows, creates, changes or deletes a user.",
        methods: &[
            (Method::GET, Read(users::show)),
            (
                Method::POST,
                write(users::create, |call| users::plan_create(call).map(drop), "Create user", Object::User),
            ),
            (Method::PUT, write(users::update, |call| users::plan_update(call).map(drop), "Update user", Object::User)),
            (
                Method::DELETE,
                write(users::delete, |call| users::plan_delete(call).map(drop), "Delete user", Object::User),
            ),
        ],
    },
    Route {
        pattern: "accounts/user/{user}/apikeys",
        view: "user_apikeys",
        about: "Shows the API key and the callback key, or makes new ones where api_key or callback_key is \
                true. Needs a token: an API key gives no access to keys.",
        methods: &[
            (Method::GET, Read(apikeys::show)),
            (
                Method::PUT,
                write(apikeys::update, |call| apikeys::plan_update(call).map(drop), "Update user", Object::User),
            ),
        ],
    },
    Route {
        pattern: "accounts/user/{user}/profile",
        view: "userprofile_manage",
        about: "Shows or changes a user's profile.",
        methods: &[
            (Method::GET, Read(profiles::show)),
            (
                Method::PUT,
                write(
                    profiles::update,
                    |call| profiles::plan_update(call).map(drop),
                    "Update user profile",
                    Object::User,
                ),
            ),
        ],
    },
    Route {
        pattern: "accounts/user/{user}/sshkey",
        view: "sshkey_list",
        about: "Lists the titles of a user's SSH keys. full shows objects; order_by sorts by title; limit \
                and after page.",
        methods: &[(Method::GET, Read(sshkeys::list))],
    },
    Route {
        pattern: "accounts/user/{user}/sshkey/{title}",
        view: "sshkey_manage",
        about: "Shows, adds or deletes an SSH key. key is a public key in OpenSSH form; expires and options \
                are optional.",
        methods: &[
            (Method::GET, Read(sshkeys::show)),
            (
                Method::POST,
                write(sshkeys::create, |call| sshkeys::plan_create(call).map(drop), "Add user SSH key", Object::SshKey),
            ),
            (
                Method::DELETE,
                write(
                    sshkeys::delete,
                    |call| sshkeys::plan_delete(call).map(drop),
                    "Delete user SSH key",
                    Object::SshKey,
                ),
            ),
        ],
    },
    Route {
        pattern: "accounts/group",
        view: "group_list",
        about: "Lists the groups that the caller manages. full shows objects instead of names, extended adds \
                dcs. order_by sorts by name or created; limit and after page.",
        methods: &[(Method::GET, Read(groups::list))],
    },
    Route {
        pattern: "accounts/group/{group}",
        view: "group_manage",
        about: "Shows, creates, changes or deletes a group.",
        methods: &[
            (Method::GET, Read(groups::show)),
            (
                Method::POST,
                write(groups::create, |call| groups::plan_create(call).map(drop), "Create user group", Object::Group),
            ),
            (
                Method::PUT,
                write(groups::update, |call| groups::plan_update(call).map(drop), "Update user group", Object::Group),
            ),
            (
                Method::DELETE,
                write(groups::delete, |call| groups::plan_delete(call).map(drop), "Delete user group", Object::Group),
            ),
        ],
    },
    Route {
        pattern: "accounts/permission",
        view: "permission_list",
        about: "Lists the permissions that groups can carry. full shows objects instead of names.",
        methods: &[(Method::GET, Read(permissions::list))],
    },
    Route {
        pattern: "accounts/permission/{permission}",
        view: "permission_manage",
        about: "Shows a permission.",
        methods: &[(Method::GET, Read(permissions::show))],
    },
    Route {
        pattern: "dc",
        view: "dc_list",
        about: "Lists the datacenters that the caller can see. full shows objects instead of names, extended \
                adds sizes. order_by sorts by name or created; limit and after page.",
        methods: &[(Method::GET, Read(datacenters::list))],
    },
    Route {
        pattern: "dc/{dc}",
        view: "dc_manage",
        about: "Shows, creates, changes or deletes a datacenter.",
        methods: &[
            (Method::GET, Read(datacenters::show)),
            (
                Method::POST,
                write(
                    datacenters::create,
                    |call| datacenters::plan_create(call).map(drop),
                    "Create datacenter",
                    Object::Datacenter,
                ),
            ),
            (
                Method::PUT,
                write(
                    datacenters::update,
                    |call| datacenters::plan_update(call).map(drop),
                    "Update datacenter",
                    Object::Datacenter,
                ),
            ),
            (
                Method::DELETE,
                write(
                    datacenters::delete,
                    |call| datacenters::plan_delete(call).map(drop),
                    "Delete datacenter",
                    Object::Datacenter,
                ),
            ),
        ],
    },
    Route {
        pattern: "dc/{dc}/user",
        view: "dc_user_list",
        about: "Lists the users of a datacenter. is_active (true) chooses active or inactive ones, full \
                shows objects instead of names. order_by sorts by username; limit and after page.",
        methods: &[(Method::GET, Read(dc_members::list_users))],
    },
    Route {
        pattern: "dc/{dc}/user/{user}",
        view: "dc_user",
        about: "Shows a user of a datacenter.",
        methods: &[(Method::GET, Read(dc_members::show_user))],
    },
    Route {
        pattern: "dc/{dc}/group",
        view: "dc_group_list",
        about: "Lists the groups attached to a datacenter. full shows objects instead of names. order_by \
                sorts by name or created; limit and after page.",
        methods: &[(Method::GET, Read(dc_members::list_groups))],
    },
    Route {
        pattern: "dc/{dc}/group/{group}",
        view: "dc_group",
        about: "Shows an attached group, attaches one or detaches one.",
        methods: &[
            (Method::GET, Read(dc_members::show_group)),
            (
                Method::POST,
                write(
                    dc_members::attach_group,
                    |call| dc_members::plan_attach(call).map(drop),
                    "Add user group to datacenter",
                    Object::Group,
                ),
            ),
            (
                Method::DELETE,
                write(
                    dc_members::detach_group,
                    |call| dc_members::plan_detach(call).map(drop),
                    "Remove user group from datacenter",
                    Object::Group,
                ),
            ),
        ],
    },
    Route {
        pattern: "accounts/login",
        view: "api_login",
        about: "Starts a session: POST username and password, get a token for the Authorization header and \
                the time when it expires.",
        methods: &[(Method::POST, Open(login::login))],
    },
    Route {
        pattern: "accounts/logout",
        view: "api_logout",
        about: "Ends the session whose token the request carries. With an API key there is nothing to end.",
        methods: &[(Method::GET, LOGOUT)],
    },
    Route {
        pattern: "ping",
        view: "api_ping",
        about: "Answers pong. Needs no credentials.",
        methods: &[(Method::GET, Open(task::ping))],
    },
    Route {
        pattern: "task",
        view: "task_list",
        about: "Lists the tasks that are running. Every call is done when it is answered, so there are none.",
        methods: &[(Method::GET, Read(task::list))],
    },
    Route {
        pattern: "task/log",
        view: "task_log",
        about: "Lists the last writes, newest first: a SuperAdmin sees all of them, others their own, and what was \
                done to them and in datacenters that they administer. dc names a datacenter whose writes alone \
                are listed; limit (10) says how many, after is the task id of the last one of the page before.",
        methods: &[(Method::GET, Read(task::log))],
    },
    Route {
        pattern: "task/{task}",
        view: "task_details",
        about: "Shows the log of one write by its task id.",
        methods: &[(Method::GET, Read(task::details)), (Method::DELETE, Read(task::delete))],
    },
    Route {
        pattern: "task/{task}/status",
        view: "task_status",
        about: "Shows the state of an asynchronous task, of which there are none.",
        methods: &[(Method::GET, Read(task::status))],
    },
    Route {
        pattern: "task/{task}/state",
        view: "task_status",
        about: "The same as status.",
        methods: &[(Method::GET, Read(task::status))],
    },
    Route {
        pattern: "task/{task}/done",
        view: "task_done",
        about: "Shows whether an asynchronous task, of which there are none, is done.",
        methods: &[(Method::GET, Read(task::done))],
    },
    Route {
        pattern: "task/{task}/cancel",
        view: "task_cancel",
        about: "Cancels an asynchronous task, of which there are none.",
        methods: &[(Method::PUT, Read(task::cancel))],
    },
];
