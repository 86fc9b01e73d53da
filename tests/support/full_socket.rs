//! A Unix socket of a server that hangs.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};

/// A socket whose queue is full, for as long as this lives: who connects to it waits.
pub(crate) struct FullSocket {
    _listener: OwnedFd,
    /// A backlog of 0 holds one connection; the next one to connect waits.
    _first: UnixStream,
}

impl FullSocket {
    pub(crate) fn bind(path: &Path) -> Self {
        let listener = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(listener.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        Self { _listener: listener, _first: UnixStream::connect(path).unwrap() }
    }
}
