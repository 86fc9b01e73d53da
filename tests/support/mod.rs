//! What every integration crate starts from: a real `usherd dev` on a directory of its own, its credentials, an HTTP
//! client, the LDAP tools, and polling with a deadline. Nothing here knows what the answers should be.
//!
//! Every `Usherd` has its own data directory, slapd and ports, so tests run side by side and beside a running
//! `usherd dev`. Dropping one ends exactly the processes it started.
#![allow(dead_code, unused_imports, reason = "each integration crate uses its part of it")]

mod daemon;
mod full_socket;
pub(crate) mod http;
pub(crate) mod ldap;
pub(crate) mod load;
mod sync_proxy;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(crate) use daemon::{AdminEnv, Builder, Usherd, alive};
pub(crate) use full_socket::FullSocket;
pub(crate) use http::{Api, Response};
pub(crate) use ldap::Ldap;
pub(crate) use sync_proxy::{Request, SyncProxy};

/// Calls `probe` until it gives a value, at most for `limit`; `what` is said when it never did.
#[track_caller]
pub(crate) fn eventually<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `eventually` for a condition.
#[track_caller]
pub(crate) fn eventually_true(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    eventually(limit, what, || condition().then_some(()));
}

/// A directory of one test, removed with all it holds when dropped.
///
/// Short, because a Unix socket's path holds 107 bytes, and open for passing through, because slapd and sshd's command
/// user are other users when the tests run as root.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let pid = std::process::id();
        loop {
            let path = PathBuf::from(format!("/tmp/ut{pid}-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
            match fs::create_dir(&path) {
                Ok(()) => {
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
                    return Self(path);
                }
                // An earlier process with this id left it behind.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if std::env::var_os("USHER_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
