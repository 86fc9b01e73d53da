//! The login's token between two runs: one private file, first line the token, second line the server that gave it. A
//! token goes to no other server.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

/// The place of the token for one server.
pub(super) struct Session {
    file: Option<PathBuf>,
    url: String,
}

impl Session {
    /// The session with the server at `url`, in this user's own place.
    pub(super) fn of(url: String) -> Self {
        let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let file = variable("USHER_SESSION_FILE")
            .or_else(|| variable("XDG_RUNTIME_DIR").map(|dir| dir.join("usher.session")))
            .or_else(|| variable("XDG_STATE_HOME").map(|dir| dir.join("usher/session")))
            .or_else(|| variable("HOME").map(|dir| dir.join(".local/state/usher/session")));
        Self { file, url }
    }

    /// The file's name, for messages.
    pub(super) fn place(&self) -> String {
        self.file
            .as_ref()
            .map_or_else(|| "USHER_SESSION_FILE and HOME are not set".to_owned(), |file| file.display().to_string())
    }

    /// The token that this server gave, if there is one.
    pub(super) fn token(&self) -> Option<String> {
        let text = fs::read_to_string(self.file.as_ref()?).ok()?;
        let (token, url) = text.trim_end().split_once('\n')?;
        (url == self.url && !token.is_empty()).then(|| token.to_owned())
    }

    /// Keeps `token`: written beside the old file, readable by its owner alone, then put in its place. A device, such
    /// as `/dev/null`, is written to.
    pub(super) fn keep(&self, token: &str) -> io::Result<()> {
        let named = self.file.as_deref().ok_or(io::ErrorKind::NotFound)?;
        let text = format!("{token}\n{}\n", self.url);
        let target = target(named);
        let file = target.as_deref().unwrap_or(named);
        if is_device(file) {
            return OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes());
        }
        if fs::symlink_metadata(file).is_ok_and(|there| !(there.is_file() || there.is_symlink())) {
            return Err(io::Error::other("it is no file"));
        }
        if let Some(parent) = file.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        let fresh = beside(file);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)
            .and_then(|mut open| open.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&fresh, file));
        if written.is_err() {
            let _ = fs::remove_file(&fresh);
        }
        written
    }

    /// Removes the file, also where a link leads to it; that there is none is as good.
    pub(super) fn forget(&self) {
        if let Some(file) = self.file.as_deref().and_then(target).filter(|file| !is_device(file)) {
            let _ = fs::remove_file(file);
        }
    }
}

/// The file that there is under this name: where the user's own link leads, but not where anybody else's does.
fn target(named: &Path) -> Option<PathBuf> {
    let there = fs::symlink_metadata(named).ok()?;
    let is_own_link = there.is_symlink() && there.uid() == geteuid().as_raw();
    if is_own_link { named.canonicalize().ok() } else { Some(named.to_owned()) }
}

/// Such as `/dev/null`.
fn is_device(file: &Path) -> bool {
    fs::symlink_metadata(file).is_ok_and(|there| there.file_type().is_char_device())
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};

    use super::*;

    #[test]
    fn a_token_is_private_and_goes_to_its_server_alone() {
        let dir = env::temp_dir().join(format!("usher-session-{}", std::process::id()));
        let file = dir.join("a/session");
        let session = |url: &str| Session { file: Some(file.clone()), url: url.to_owned() };
        assert_eq!(session("http://a").token(), None);
        session("http://a").keep("first").unwrap();
        session("http://a").keep("second").unwrap();
        assert_eq!(session("http://a").token().as_deref(), Some("second"));
        assert_eq!(session("http://b").token(), None);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(dir.join("a")).unwrap().permissions().mode() & 0o777, 0o700);
        let link = Session { file: Some(dir.join("link")), url: "http://a".to_owned() };
        symlink(&file, dir.join("link")).unwrap();
        link.keep("third").unwrap();
        assert_eq!(session("http://a").token().as_deref(), Some("third"));
        assert!(dir.join("link").is_symlink());
        link.forget();
        assert_eq!(session("http://a").token(), None);
        assert!(dir.join("link").is_symlink());
        // As tests run as root: somebody else's link leads nowhere.
        if geteuid().is_root() {
            fs::write(&file, "his").unwrap();
            lchown(dir.join("link"), Some(1), None).unwrap();
            link.forget();
            assert!(!dir.join("link").exists());
            symlink(&file, dir.join("link")).unwrap();
            lchown(dir.join("link"), Some(1), None).unwrap();
            link.keep("fourth").unwrap();
            assert_eq!(link.token().as_deref(), Some("fourth"));
            assert_eq!(fs::read_to_string(&file).unwrap(), "his");
        }
        let nowhere = Session { file: Some("/dev/null".into()), url: "http://a".to_owned() };
        nowhere.keep("fifth").unwrap();
        assert_eq!(nowhere.token(), None);
        fs::remove_dir_all(&dir).unwrap();
    }
}
