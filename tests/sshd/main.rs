//! The lookup socket, the helper and a real sshd.

#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;
