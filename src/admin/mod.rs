//! usherd's subcommands that are not the daemon, and how a subcommand speaks: answers to stdout, complaints to stderr.

pub(crate) mod schema;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

/// Prints a line to stdout. Who closed the pipe has read enough.
pub(crate) fn say(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Prints a line to stderr, with the program's name before it.
pub(crate) fn complain(text: &str) {
    // There is nobody left to tell if this fails.
    let _ = writeln!(std::io::stderr(), "usherd: {text}");
}
