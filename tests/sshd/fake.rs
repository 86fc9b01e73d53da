//! A stand-in for the daemon's end of the lookup socket, to answer as no daemon should.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;

use super::support::TempDir;

/// An `ssh-ed25519` key that nobody holds the other half of.
pub(crate) const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEhmfOJ+3jJf8JgGSkHJg1W6+oVvCZ8vQ2dIjZlLVc4x bob";

/// Listens until the test process ends; what each connection gets is the handler's business.
pub(crate) struct Fake {
    pub(crate) socket: PathBuf,
    _temp: TempDir,
}

impl Fake {
    pub(crate) fn start(handler: impl Fn(UnixStream) + Send + Sync + 'static) -> Self {
        let (fake, listener) = Self::bind();
        let handler = Arc::new(handler);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let handler = Arc::clone(&handler);
                std::thread::spawn(move || handler(stream));
            }
        });
        fake
    }

    /// Reads the question and sends `answer`.
    pub(crate) fn sending(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |mut stream| {
            question(&mut stream);
            // The helper may have seen enough before the end.
            let _ = stream.write_all(&answer);
        })
    }

    /// A socket that somebody listens on who never accepts.
    pub(crate) fn bind() -> (Self, UnixListener) {
        let temp = TempDir::new();
        let socket = temp.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
        (Self { socket, _temp: temp }, listener)
    }
}

/// The question up to its newline.
pub(crate) fn question(stream: &mut UnixStream) -> String {
    let mut question = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).is_ok_and(|read| read == 1) {
        question.push(byte[0]);
        if byte[0] == b'\n' {
            break;
        }
    }
    String::from_utf8(question).unwrap()
}

/// A whole answer with these lines.
pub(crate) fn answer(lines: &[&str]) -> String {
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    format!("keys {} {}\n{body}end\n", lines.len(), body.len())
}
