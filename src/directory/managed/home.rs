//! The data directory of `usherd dev`: who owns what in it, and where the sockets go. Creates and checks; never deletes.
//!
//! DIR itself lets everybody pass, so that sshd's command user reaches the lookup socket; what is secret is readable by
//! its owner alone. A Unix socket's path holds 107 bytes and every directory above it must let the others pass: where
//! DIR can't give that, the sockets go to a runtime directory made for it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{Gid, Uid, User, chown};
use sha2::{Digest, Sha256};

use crate::accounts::secrets::hex;

/// The longest path of a Unix socket, in bytes: `sun_path` of Linux without the final NUL.
const SOCKET_PATH: usize = 107;
/// How long to wait for a predecessor that is being killed.
const PREDECESSOR_LIMIT: Duration = Duration::from_secs(2);
/// The users that distributions run slapd as.
const SLAPD_USERS: [&str; 2] = ["openldap", "ldap"];

/// An account other than ours that slapd is run as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
}

/// A locked data directory.
#[derive(Debug)]
pub(crate) struct Home {
    dir: PathBuf,
    /// `None`: slapd runs as we do.
    account: Option<Account>,
    _lock: Flock<File>,
}

impl Home {
    /// Creates what is missing, checks what is there, and takes the lock that keeps a second `usherd dev` out.
    ///
    /// # Errors
    /// A text for the operator.
    pub(crate) fn open(dir: &Path) -> Result<Self, String> {
        let fail = |error: std::io::Error| format!("{}: {error}", dir.display());
        let is_new = !dir.exists();
        fs::create_dir_all(dir).map_err(fail)?;
        let dir = dir.canonicalize().map_err(fail)?;
        let metadata = fs::metadata(&dir).map_err(fail)?;
        if metadata.uid() != Uid::effective().as_raw() {
            return Err(format!("{} belongs to another user: choose a directory of your own", dir.display()));
        }
        if !is_new && metadata.mode() & 0o002 != 0 {
            // /tmp, say: taking the others' rights away would hurt them
            return Err(format!("{} is open to everybody: choose a directory of your own", dir.display()));
        }
        // others may pass, nobody else may write
        let mode = (metadata.mode() | 0o711) & 0o7755;
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).map_err(fail)?;
        let lock = lock(&dir, PREDECESSOR_LIMIT)?;
        let account = if Uid::effective().is_root() { Some(slapd_account()?) } else { None };
        let home = Self { dir, account, _lock: lock };
        home.folder("schema", None, 0o755)?;
        home.folder("db", account, 0o700)?;
        Ok(home)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether slapd has ever made its database here.
    pub(crate) fn has_database(&self) -> bool {
        self.dir.join("db/data.mdb").exists()
    }

    pub(crate) fn account(&self) -> Option<Account> {
        self.account
    }

    /// A directory below DIR with its owner and mode.
    fn folder(&self, name: &str, owner: Option<Account>, mode: u32) -> Result<PathBuf, String> {
        folder(&self.dir.join(name), owner, mode)
    }

    /// The socket `ldapi` in a directory of its own, and the name by which slapd, running in DIR, binds it: relative where
    /// it is below DIR, so that slapd needs no rights above DIR.
    pub(crate) fn ldap_socket(&self, name: &str, mode: u32) -> Result<(PathBuf, PathBuf), String> {
        let path = self.dir.join(name).join("ldapi");
        if path.as_os_str().len() <= SOCKET_PATH {
            self.folder(name, self.account, mode)?;
            return Ok((path, Path::new(name).join("ldapi")));
        }
        let path = folder(&self.runtime_dir()?.join(name), self.account, mode)?.join("ldapi");
        Ok((path.clone(), path))
    }

    /// Where the lookup socket goes: a place that every local user reaches.
    pub(crate) fn lookup_socket(&self) -> Result<PathBuf, String> {
        let path = self.dir.join("keys.sock");
        let open = self.dir.ancestors().all(|dir| fs::metadata(dir).is_ok_and(|m| m.mode() & 0o001 != 0));
        if open && path.as_os_str().len() <= SOCKET_PATH {
            return Ok(path);
        }
        Ok(self.runtime_dir()?.join("keys.sock"))
    }

    /// A directory for this DIR's sockets that everybody reaches: below `/run/usher` for root, `/tmp/usher-UID` for others.
    fn runtime_dir(&self) -> Result<PathBuf, String> {
        let dir = self.runtime_path();
        if let Some(base) = dir.parent() {
            folder(base, None, 0o755)?;
        }
        folder(&dir, None, 0o755)
    }

    fn runtime_path(&self) -> PathBuf {
        let uid = Uid::effective();
        let base = if uid.is_root() { "/run/usher".to_owned() } else { format!("/tmp/usher-{uid}") };
        let name = hex(&Sha256::digest(self.dir.as_os_str().as_bytes())[..8]);
        Path::new(&base).join(format!("dev-{name}"))
    }

    /// Removes the runtime directory, if there is one and its sockets are gone.
    pub(crate) fn tidy(&self) {
        let dir = self.runtime_path();
        for dir in [dir.join("private"), dir.join("ldap"), dir] {
            // not there, or still in use: both are fine
            let _ = fs::remove_dir(dir);
        }
    }

    /// Writes a file of DIR whole: a reader, or a start after a crash, sees the old text or the new one.
    pub(crate) fn write(&self, name: &str, text: &str, mode: u32) -> Result<PathBuf, String> {
        self.write_for(name, text, mode, None)
    }

    /// As [`Self::write`], readable by slapd's group too where slapd is another user.
    pub(crate) fn write_for_slapd(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        self.write_for(name, text, if self.account.is_some() { 0o640 } else { 0o600 }, self.account)
    }

    fn write_for(&self, name: &str, text: &str, mode: u32, group: Option<Account>) -> Result<PathBuf, String> {
        let path = self.dir.join(name);
        let temporary = self.dir.join(format!("{name}.new"));
        let fail = |error: std::io::Error| format!("{}: {error}", path.display());
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary).map_err(fail)?;
        // the umask does not decide
        file.set_permissions(fs::Permissions::from_mode(mode)).map_err(fail)?;
        if let Some(account) = group {
            chown(&temporary, None, Some(account.gid)).map_err(|e| fail(e.into()))?;
        }
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
        fs::rename(&temporary, &path).map_err(fail)?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(fail)?;
        Ok(path)
    }

    /// The text of a file of DIR, if there is one.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, String> {
        let path = self.dir.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }
}

/// Takes the lock of DIR. One that was killed a moment ago may still hold it: the kernel takes its time to end a process.
fn lock(dir: &Path, patience: Duration) -> Result<Flock<File>, String> {
    let path = dir.join("lock");
    let fail = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(fail)?;
    let start = Instant::now();
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, nix::Error::EWOULDBLOCK)) if start.elapsed() >= patience => {
                return Err(format!("another usherd dev runs in {}", dir.display()));
            }
            Err((back, nix::Error::EWOULDBLOCK)) => file = back,
            Err((_, error)) => return Err(fail(error.into())),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A directory with exactly this owner and mode. One that is there must be a directory of that owner already: a
/// runtime directory lies where others may write.
fn folder(path: &Path, owner: Option<Account>, mode: u32) -> Result<PathBuf, String> {
    let fail = |error: std::io::Error| format!("{}: {error}", path.display());
    let own = Uid::effective();
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {
            if let Some(account) = owner {
                chown(path, Some(account.uid), Some(account.gid)).map_err(|e| fail(e.into()))?;
            }
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let metadata = fs::symlink_metadata(path).map_err(fail)?;
            let expected = owner.map_or(own, |account| account.uid);
            if !metadata.is_dir() || (metadata.uid() != expected.as_raw() && metadata.uid() != own.as_raw()) {
                return Err(format!("{} is not a directory of uid {expected}: move it away", path.display()));
            }
            if let Some(account) = owner.filter(|account| metadata.uid() != account.uid.as_raw()) {
                // a crash between its making and the change of owner
                chown(path, Some(account.uid), Some(account.gid)).map_err(|e| fail(e.into()))?;
            }
        }
        Err(error) => return Err(fail(error)),
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(fail)?;
    Ok(path.to_owned())
}

fn slapd_account() -> Result<Account, String> {
    for name in SLAPD_USERS {
        if let Ok(Some(user)) = User::from_name(name) {
            return Ok(Account { uid: user.uid, gid: user.gid });
        }
    }
    Err("slapd is not installed (there is no user openldap): apt-get install slapd slapd-contrib".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("usher-home-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn a_folder_of_somebody_else_or_a_link_is_refused() {
        let dir = scratch("link");
        fs::create_dir(&dir).unwrap();
        std::os::unix::fs::symlink("/tmp", dir.join("link")).unwrap();
        assert!(folder(&dir.join("link"), None, 0o755).is_err());
        fs::write(dir.join("file"), "").unwrap();
        assert!(folder(&dir.join("file"), None, 0o755).is_err());
        assert!(folder(&dir.join("new"), None, 0o711).is_ok());
        assert_eq!(fs::metadata(dir.join("new")).unwrap().mode() & 0o7777, 0o711);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_directory_that_everybody_writes_to_is_refused_and_stays_as_it_is() {
        let dir = scratch("open");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(Home::open(&dir).unwrap_err().contains("open to everybody"));
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o7777, 0o1777);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn only_one_holds_the_lock() {
        let dir = scratch("lock");
        fs::create_dir(&dir).unwrap();
        let first = lock(&dir, Duration::ZERO).unwrap();
        assert!(lock(&dir, Duration::ZERO).unwrap_err().contains("another usherd dev"));
        let waiting = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| lock(&dir, Duration::from_secs(60)));
            drop(first);
            waiting.join().unwrap()
        });
        assert!(waiting.is_ok());
        fs::remove_dir_all(&dir).unwrap();
    }
}
