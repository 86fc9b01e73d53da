//! Unix sockets to listen at: the lookup socket, where every local user can ask for keys, and the API's.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use tokio::net::{UnixListener, UnixStream};

/// The lookup socket's mode: sshd's command user is anybody, and it gives out public keys only.
pub(crate) const FOR_ALL: u32 = 0o666;
/// The API's: for the daemon's own user and group.
pub(crate) const FOR_GROUP: u32 = 0o660;

/// Binds the socket that the configuration key `key` names. A socket that a dead daemon left is replaced, one that answers
/// is not.
///
/// # Errors
/// A text that names the path.
pub(crate) async fn bind(key: &str, path: &Path, mode: u32) -> Result<UnixListener, String> {
    let fail = |why: &str| format!("{key} {}: {why}", path.display());
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => match UnixStream::connect(path).await {
            Ok(_) => return Err(fail("another daemon answers there")),
            // its queue is full, and this does not wait
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(fail("another daemon is there, and hangs"));
            }
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
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|e| fail(&e.to_string()))?;
    Ok(listener)
}
