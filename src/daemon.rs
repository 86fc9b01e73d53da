//! usherd's main: start order and composition.
use std::process::ExitCode;

pub fn main() -> ExitCode {
    ExitCode::FAILURE
}
