//! The lookup socket, the helper and a real sshd.
//!
//! `helper`: the helper against daemons that answer well, badly, slowly or not at all. `options`: what sshd makes of the
//! lines. `login`: registered keys let in, by a real `usherd dev`. `fake` and `server` are what the tests stand on.

#[cfg(test)]
mod fake;
#[cfg(test)]
mod helper;
#[cfg(test)]
mod login;
#[cfg(test)]
mod options;
#[cfg(test)]
mod server;
#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;
