//! The question and the answer between sshd's helper and the daemon.
