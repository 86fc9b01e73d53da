//! What each operation takes and gives, beyond what the route table says. Data only; `mod` makes JSON of it.
//!
//! Credentials, negotiation, bodies that are no JSON and the like are the same for all and not listed here.

use hyper::Method;

use super::super::{Noun, datacenters, dc_members, groups, permissions, sshkeys, users};
use super::operation::{BASE, Operation, Query, Refusal, Success};
use Query::{Active, After, CurrentDc, Extended, Full, IsActive, Limit, LogAfter, LogLimit, OrderBy, TaskDc};
use Refusal::{Exists, Login, MainDatacenter, Missing, NoAsyncTask, NoTask, NotCancelable, Relations};
use Success::{Bare, Created, Deleted, List, Objects, One};

const STAFF: &str = "For SuperAdmins.";
const ADMINS: &str = "For SuperAdmins, and for UserAdmins as far as they manage the objects.";
const OWNER_TOO: &str = "For SuperAdmins, for UserAdmins who manage the user, and for the user.";
const OWNER_BY_TOKEN: &str = "For SuperAdmins and for the user, by a token: an API key is refused.";
const DC_ADMIN: &str = "For SuperAdmins, the datacenter's owner and members of its groups with the permission admin.";
const ANY: &str = "For every user of the API.";

const USER: &[Refusal] = &[Missing(Noun::User)];
const GROUP: &[Refusal] = &[Missing(Noun::Group)];
const DATACENTER: &[Refusal] = &[Missing(Noun::Datacenter)];
const ATTACHED: &[Refusal] = &[Missing(Noun::Datacenter), Missing(Noun::Group)];
const KEY: &[Refusal] = &[Missing(Noun::User), Missing(Noun::SshKey)];

/// Every operation, in the order of the route table.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        pattern: "accounts/user",
        id: "list_users",
        summary: "List users",
        about: ADMINS,
        query: &[Full, Extended, IsActive, Active, OrderBy(users::ORDER), Limit, After],
        success: List("User"),
        ..BASE
    },
    Operation {
        pattern: "accounts/user/profile",
        id: "list_profiles",
        summary: "List user profiles",
        about: ADMINS,
        query: &[OrderBy(users::ORDER), Limit, After],
        success: Objects("Profile"),
        ..BASE
    },
    Operation {
        pattern: "accounts/user/{user}",
        id: "show_user",
        summary: "Show user",
        about: OWNER_TOO,
        query: &[Extended],
        success: One("User"),
        refusals: USER,
        ..BASE
    },
    Operation {
        pattern: "accounts/user/{user}",
        method: Method::POST,
        id: "create_user",
        about: "For SuperAdmins, and for UserAdmins in the datacenters that they manage. A user is bound to the \
                datacenter dc unless a SuperAdmin sends dc_bound=false.",
        body: Some("UserCreate"),
        success: Created("User"),
        refusals: &[Exists(Noun::User), Missing(Noun::Datacenter), Missing(Noun::User)],
        ..BASE
    },
    Operation {
        pattern: "accounts/user/{user}",
        method: Method::PUT,
        id: "update_user",
        about: "For SuperAdmins, for UserAdmins who manage the user, and for the user, whose own is_active, \
                api_access and groups are not his to change. A new password ends the user's sessions.",
        body: Some("UserUpdate"),
        success: One("User"),
        refusals: &[Missing(Noun::User), Missing(Noun::Datacenter)],
        ..BASE
    },
    Operation {
        pattern: "accounts/user/{user}",
        method: Method::DELETE,
        id: "delete_user",
        about: "For SuperAdmins, and for UserAdmins who manage the user; nobody deletes himself. Who owns a \
                datacenter can't be deleted.",
        success: Deleted,
        refusals: &[Missing(Noun::User), Relations],
        ..BASE
    },
    Operation {
        pattern: "accounts/user/{user}/apikeys",
        id: "show_apikeys",
        summary: "Show API keys",
        about: OWNER_BY_TOKEN,
        success: One("ApiKeys"),
        refusals: USER,
        ..BASE
    },
    Operation {
        pattern: "accounts/user/{user}/apikeys",
        method: Method::PUT,
        id: "update_apikeys",
        about: OWNER_BY_TOKEN,
        body: Some("ApiKeysUpdate"),
        success: One("ApiKeys"),
        refusals: USER,
        ..BASE
    },
    Operation {
        pattern: "accounts/user/{user}/profile",
        id: "show_profile",
        summary: "Show user profile",
        about: OWNER_TOO,
        success: One("Profile"),
        refusals: USER,
        ..BASE
    },
    Operation {
        pattern: "accounts/user/{user}/profile",
        method: Method::PUT,
        id: "update_profile",
        about: OWNER_TOO,
        body: Some("ProfileUpdate"),
        success: One("Profile"),
        refusals: USER,
        ..BASE
    },
    Operation {
        pattern: "accounts/user/{user}/sshkey",
        id: "list_sshkeys",
        summary: "List user SSH keys",
        about: OWNER_TOO,
        query: &[Full, Extended, OrderBy(sshkeys::ORDER), Limit, After],
        success: List("SshKey"),
        refusals: USER,
        ..BASE
    },
    Operation {
        pattern: "accounts/user/{user}/sshkey/{title}",
        id: "show_sshkey",
        summary: "Show user SSH key",
        about: OWNER_TOO,
        success: One("SshKey"),
        refusals: KEY,
        ..BASE
    },
    Operation {
        pattern: "accounts/user/{user}/sshkey/{title}",
        method: Method::POST,
        id: "create_sshkey",
        about: "For SuperAdmins, for UserAdmins who manage the user, and for the user, who may restrict what a key \
                can do but not set options that grant something.",
        body: Some("SshKeyCreate"),
        success: Created("SshKey"),
        refusals: &[Missing(Noun::User), Missing(Noun::SshKey), Exists(Noun::SshKey), Exists(Noun::User)],
        ..BASE
    },
    Operation {
        pattern: "accounts/user/{user}/sshkey/{title}",
        method: Method::DELETE,
        id: "delete_sshkey",
        about: OWNER_TOO,
        success: Deleted,
        refusals: KEY,
        ..BASE
    },
    Operation {
        pattern: "accounts/group",
        id: "list_groups",
        summary: "List user groups",
        about: ADMINS,
        query: &[Full, Extended, OrderBy(groups::ORDER), Limit, After],
        success: List("Group"),
        ..BASE
    },
    Operation {
        pattern: "accounts/group/{group}",
        id: "show_group",
        summary: "Show user group",
        about: ADMINS,
        query: &[Extended],
        success: One("Group"),
        refusals: GROUP,
        ..BASE
    },
    Operation {
        pattern: "accounts/group/{group}",
        method: Method::POST,
        id: "create_group",
        about: "For SuperAdmins. A group is bound and attached to the datacenter dc unless dc_bound is false.",
        body: Some("GroupCreate"),
        success: Created("Group"),
        refusals: &[Exists(Noun::Group), Missing(Noun::Datacenter), Missing(Noun::Group)],
        ..BASE
    },
    Operation {
        pattern: "accounts/group/{group}",
        method: Method::PUT,
        id: "update_group",
        about: STAFF,
        body: Some("GroupUpdate"),
        success: One("Group"),
        refusals: GROUP,
        ..BASE
    },
    Operation {
        pattern: "accounts/group/{group}",
        method: Method::DELETE,
        id: "delete_group",
        about: STAFF,
        success: Deleted,
        refusals: GROUP,
        ..BASE
    },
    Operation {
        pattern: "accounts/permission",
        id: "list_permissions",
        summary: "List permissions",
        about: STAFF,
        query: &[Full, Extended, OrderBy(permissions::ORDER), Limit, After],
        success: List("Permission"),
        ..BASE
    },
    Operation {
        pattern: "accounts/permission/{permission}",
        id: "show_permission",
        summary: "Show permission",
        about: STAFF,
        success: One("Permission"),
        refusals: &[Missing(Noun::Permission)],
        ..BASE
    },
    Operation {
        pattern: "dc",
        id: "list_datacenters",
        summary: "List datacenters",
        about: ANY,
        query: &[Full, Extended, OrderBy(datacenters::ORDER), Limit, After],
        success: List("Datacenter"),
        ..BASE
    },
    Operation {
        pattern: "dc/{dc}",
        id: "show_datacenter",
        summary: "Show datacenter",
        about: "For everybody who can see it.",
        query: &[Extended],
        success: One("Datacenter"),
        refusals: DATACENTER,
        ..BASE
    },
    Operation {
        pattern: "dc/{dc}",
        method: Method::POST,
        id: "create_datacenter",
        about: STAFF,
        body: Some("DatacenterCreate"),
        success: Created("Datacenter"),
        refusals: &[Exists(Noun::Datacenter), Missing(Noun::Datacenter), Missing(Noun::Group)],
        ..BASE
    },
    Operation {
        pattern: "dc/{dc}",
        method: Method::PUT,
        id: "update_datacenter",
        about: STAFF,
        body: Some("DatacenterUpdate"),
        success: One("Datacenter"),
        refusals: ATTACHED,
        ..BASE
    },
    Operation {
        pattern: "dc/{dc}",
        method: Method::DELETE,
        id: "delete_datacenter",
        about: "For SuperAdmins. Its users and groups are unbound, its groups detached; nothing else is deleted.",
        success: Deleted,
        refusals: &[Missing(Noun::Datacenter), MainDatacenter],
        ..BASE
    },
    Operation {
        pattern: "dc/{dc}/user",
        id: "list_datacenter_users",
        summary: "List users of datacenter",
        about: DC_ADMIN,
        query: &[Full, Extended, IsActive, Active, OrderBy(dc_members::USER_ORDER), Limit, After],
        success: List("User"),
        refusals: DATACENTER,
        ..BASE
    },
    Operation {
        pattern: "dc/{dc}/user/{user}",
        id: "show_datacenter_user",
        summary: "Show user of datacenter",
        about: DC_ADMIN,
        success: One("User"),
        refusals: &[Missing(Noun::Datacenter), Missing(Noun::User)],
        ..BASE
    },
    Operation {
        pattern: "dc/{dc}/group",
        id: "list_datacenter_groups",
        summary: "List user groups of datacenter",
        about: DC_ADMIN,
        query: &[Full, Extended, OrderBy(groups::ORDER), Limit, After],
        success: List("Group"),
        refusals: DATACENTER,
        ..BASE
    },
    Operation {
        pattern: "dc/{dc}/group/{group}",
        id: "show_datacenter_group",
        summary: "Show user group of datacenter",
        about: DC_ADMIN,
        success: One("Group"),
        refusals: ATTACHED,
        ..BASE
    },
    Operation {
        pattern: "dc/{dc}/group/{group}",
        method: Method::POST,
        id: "attach_group",
        about: "For SuperAdmins. The group and its members who are bound to another datacenter are unbound. The \
                answer shows the group as it was before.",
        success: Created("Group"),
        refusals: &[Missing(Noun::Datacenter), Missing(Noun::Group), Exists(Noun::Group)],
        ..BASE
    },
    Operation {
        pattern: "dc/{dc}/group/{group}",
        method: Method::DELETE,
        id: "detach_group",
        about: "For SuperAdmins. The group is unbound.",
        success: Deleted,
        refusals: ATTACHED,
        ..BASE
    },
    Operation {
        pattern: "accounts/login",
        method: Method::POST,
        id: "login",
        summary: "Login",
        about: "Needs no credentials.",
        body: Some("Login"),
        success: Bare("Session"),
        refusals: &[Login],
        ..BASE
    },
    Operation { pattern: "accounts/logout", id: "logout", summary: "Logout", about: ANY, success: Bare("Bye"), ..BASE },
    Operation { pattern: "ping", id: "ping", summary: "Ping", success: Bare("Pong"), ..BASE },
    Operation {
        pattern: "task",
        id: "list_tasks",
        summary: "List running tasks",
        about: ANY,
        query: &[TaskDc],
        success: Bare("Tasks"),
        refusals: &[Missing(Noun::Datacenter)],
        ..BASE
    },
    Operation {
        pattern: "task/log",
        id: "list_task_log",
        summary: "Show task log",
        about: ANY,
        query: &[TaskDc, LogLimit, LogAfter],
        success: Bare("TaskLog"),
        refusals: &[Missing(Noun::Datacenter)],
        ..BASE
    },
    Operation {
        pattern: "task/{task}",
        id: "show_task",
        summary: "Show task",
        about: "For SuperAdmins, for the user who made the change, and where it was made for the user whom it concerns \
                and for admins of its datacenter.",
        query: &[CurrentDc],
        success: Bare("TaskLogEntry"),
        refusals: &[NoTask, Missing(Noun::Datacenter)],
        ..BASE
    },
    Operation {
        pattern: "task/{task}",
        method: Method::DELETE,
        id: "delete_task",
        summary: "Delete task",
        about: "For SuperAdmins. There is never a task to delete.",
        body: Some("CurrentDatacenter"),
        refusals: &[NoTask, Missing(Noun::Datacenter)],
        ..BASE
    },
    Operation {
        pattern: "task/{task}/status",
        id: "show_task_status",
        summary: "Show task status",
        about: ANY,
        query: &[CurrentDc],
        refusals: &[NoAsyncTask, Missing(Noun::Datacenter)],
        ..BASE
    },
    Operation {
        pattern: "task/{task}/state",
        id: "show_task_state",
        summary: "Show task state",
        about: ANY,
        query: &[CurrentDc],
        refusals: &[NoAsyncTask, Missing(Noun::Datacenter)],
        ..BASE
    },
    Operation {
        pattern: "task/{task}/done",
        id: "show_task_done",
        summary: "Show whether task is done",
        about: ANY,
        query: &[CurrentDc],
        refusals: &[NoAsyncTask, Missing(Noun::Datacenter)],
        ..BASE
    },
    Operation {
        pattern: "task/{task}/cancel",
        method: Method::PUT,
        id: "cancel_task",
        summary: "Cancel task",
        about: ANY,
        body: Some("CurrentDatacenter"),
        refusals: &[NotCancelable, Missing(Noun::Datacenter)],
        ..BASE
    },
];
