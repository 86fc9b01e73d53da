//! The names of daemons by which others on the same host see whether they still run.
//!
//! A name is `NAMESPACES.PID.START.RANDOM`: the PID namespace (pid_namespaces(7)) in which the PID is one, with the time
//! namespace by whose clock the process started then, in clock ticks (proc_pid_stat(5)), since PIDs come again. Where `/proc`
//! does not say so much, or is another namespace's, the name says nothing of the process.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::accounts::secrets::{hex, random};

/// A new name for this process.
pub(super) fn name() -> String {
    let random = hex(&random::<8>());
    let pid = std::process::id();
    match namespaces().zip(started(pid)) {
        Some((namespaces, start)) => format!("{namespaces}.{pid}.{start}.{random}"),
        None => random,
    }
}

/// Whether the process of this name is known to have ended, of those whose kernel is the same.
pub(super) fn is_gone(name: &str) -> bool {
    let mut parts = name.split('.');
    let of = parts.next();
    let mut numbers = parts.map(str::parse::<u64>);
    let (Some(Ok(pid)), Some(Ok(start))) = (numbers.next(), numbers.next()) else { return false };
    let Ok(raw) = i32::try_from(pid) else { return false };
    // `/proc` may hide the processes of others, and then says of them what it says of those that are gone.
    let ended = || kill(Pid::from_raw(raw), None) == Err(Errno::ESRCH);
    namespaces().as_deref() == of && started(raw.unsigned_abs()).map_or_else(ended, |now| now != start)
}

fn namespaces() -> Option<String> {
    let own = fs::read_link("/proc/self").ok()?;
    if own.to_str() != Some(&std::process::id().to_string()) {
        return None;
    }
    let inode = |kind: &str| fs::metadata(format!("/proc/self/ns/{kind}")).map_or(0, |namespace| namespace.ino());
    Some(format!("{}+{}", inode("pid"), inode("time")))
}

/// When the process started; that is 0 for one that has ended and was not waited for.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program is in parentheses, and may have any characters.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if matches!(fields.next()?, "Z" | "X") {
        return Some(0);
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_gone_once_it_was_killed_or_another_one_has_its_pid() {
        let own = name();
        assert!(!is_gone(&own));
        let parts: Vec<&str> = own.split('.').collect();
        let [namespaces, pid, start, random] = parts[..] else { panic!("{own}") };
        assert!(is_gone(&format!("{namespaces}.{pid}.{start}1.{random}")));
        assert!(!is_gone(&format!("{namespaces}1.{pid}.{start}1.{random}")));
        let mut other = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let name = format!("{namespaces}.{}.{}.{random}", other.id(), started(other.id()).unwrap());
        assert!(!is_gone(&name));
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(is_gone(&name));
    }

    #[test]
    fn nothing_is_known_of_a_name_that_says_nothing() {
        for name in ["", "0011223344556677", "1.2", "1.2.3", "1.-2.3.4", "1.99999999999.3.4"] {
            assert!(!is_gone(name), "{name:?}");
        }
    }
}
