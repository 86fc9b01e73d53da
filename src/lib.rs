//! usher: users, groups, datacenters and SSH keys in an LDAP directory, served over HTTP and to sshd.
//!
//! The map, bottom up (who may use whom is held by `tests/layers.rs`):
//!
//! * `name`: user, group, datacenter and key names: parse or refuse. `lookup`: the question and the answer between the
//!   sshd helper and the daemon. `authorized_keys`: **the helper**. These three know the standard library and nothing
//!   else, and are all that is left with `--no-default-features`.
//! * `sshkey`: public keys, key options, the key policy, one `authorized_keys` line.
//! * `accounts`: the domain. What a user, a group, a datacenter, a session is, which input is valid and who may do
//!   what. No HTTP, no LDAP, no I/O.
//! * `directory`: the store. LDAP connections, entries to and from the domain's types, writes, the replica that
//!   answers every read, the managed slapd. Alone in using `ldap3`.
//! * `api`: HTTP. Alone in using hyper's server. `admin`: usherd's other subcommands. `daemon`: puts it all together.
//! * `cli`: the `usher` command; it speaks HTTP and shares no code with the daemon.

#[cfg(feature = "daemon")]
mod accounts;
#[cfg(feature = "daemon")]
mod admin;
#[cfg(feature = "daemon")]
mod api;
#[cfg(feature = "daemon")]
mod audit;
mod authorized_keys;
#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "daemon")]
mod config;
#[cfg(feature = "daemon")]
mod daemon;
#[cfg(feature = "daemon")]
mod directory;
mod lookup;
mod name;
#[cfg(feature = "daemon")]
mod sshkey;
#[cfg(feature = "daemon")]
mod telemetry;

pub use authorized_keys::main as authorized_keys_main;
#[cfg(feature = "cli")]
pub use cli::main as usher_main;
#[cfg(feature = "daemon")]
pub use daemon::main as usherd_main;
