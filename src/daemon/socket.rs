//! The lookup socket: where every local user can ask for keys.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use tokio::net::UnixListener;

/// Binds the lookup socket. A socket that a dead daemon left is replaced, one that answers is not.
///
/// # Errors
/// A text that names the path.
pub(crate) fn bind(path: &Path) -> Result<UnixListener, String> {
    let fail = |why: &str| format!("lookup.socket {}: {why}", path.display());
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => match UnixStream::connect(path) {
            Ok(_) => return Err(fail("another daemon answers there")),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(|e| fail(&e.to_string()))?;
            }
            Err(error) => return Err(fail(&error.to_string())),
        },
        Ok(_) => return Err(fail("something that is no socket is in the way")),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(fail(&error.to_string())),
    }
    let listener = UnixListener::bind(path).map_err(|e| fail(&e.to_string()))?;
    // sshd's command user is anybody; the socket gives out public keys only
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).map_err(|e| fail(&e.to_string()))?;
    Ok(listener)
}
