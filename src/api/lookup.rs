//! The lookup socket: sshd's helper asks for a user's keys and gets an answer from the replica.
//!
//! One question and one answer on a connection (`lookup` has the form). Every local user may connect, so this listener
//! can look keys up and nothing else, and what one of them does must not keep the others from their answers. The decision
//! whether an account or a key may be used is not made here: `accounts` and `sshkey` make it, here it is asked for.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::now;
use super::turns::Turns;
use crate::accounts::{Timestamp, User};
use crate::directory::Directory;
use crate::lookup::{Answer, Fingerprint, MAX_QUESTION, Question};
use crate::name::UserName;
use crate::sshkey::{self, Policy, PublicKey};

/// Most connections at a time; further ones wait in the backlog.
pub(crate) const MAX_CONNECTIONS: usize = 1024;
/// Most connections of one local user who is not root; further ones are closed. sshd's helpers all run as one user, and
/// each is done in a millisecond.
const MAX_PER_PEER: usize = 128;
/// Longest time for a question to arrive, and for an answer to be taken. A helper waits no longer than two seconds by
/// default; who is slower keeps a connection from others.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause after an accept that failed, for want of file descriptors for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers questions until `shutdown`, then lets those under way end.
pub(crate) async fn serve(
    listener: UnixListener,
    directory: Directory,
    policy: Arc<Policy>,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let peers = Arc::new(Turns::default());
    loop {
        let next = async {
            // The semaphore is never closed, so there is a permit.
            let permit = Arc::clone(&permits).acquire_owned().await.ok();
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            () = &mut shutdown => break,
            next = next => next,
        };
        match accepted {
            Ok((stream, _)) => {
                let (directory, policy, peers) = (directory.clone(), Arc::clone(&policy), Arc::clone(&peers));
                tokio::spawn(async move {
                    converse(stream, &directory, &policy, &peers).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the lookup socket can't accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Each conversation is limited by PATIENCE, and has ended when its permit is back.
    let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
    drop(permits.acquire_many(all).await);
}

/// One connection: question, answer, close.
async fn converse(mut stream: UnixStream, directory: &Directory, policy: &Policy, peers: &Arc<Turns<u32>>) {
    let (uid, pid) = match stream.peer_cred() {
        Ok(peer) => (peer.uid(), peer.pid().unwrap_or(0)),
        Err(error) => return tracing::debug!(%error, "a lookup from an unknown peer"),
    };
    let Some(_turn) = peers.take(uid, most(uid)) else {
        // A few bytes into an empty buffer; if they don't fit, the close says the same.
        let _ = stream.try_write(&Answer::Unknown.encode());
        return tracing::warn!(uid, pid, "too many lookups at once from one local user");
    };
    let question = match timeout(PATIENCE, read_question(&mut stream)).await {
        Ok(Ok(Some(question))) => question,
        Ok(Ok(None)) => return tracing::debug!(uid, pid, "no question on the lookup socket"),
        Ok(Err(error)) => return tracing::debug!(uid, pid, %error, "a lookup was cut off"),
        Err(_) => return tracing::debug!(uid, pid, "a lookup took too long to ask"),
    };
    let answer = answer(directory, policy, &question, now());
    let count = if let Answer::Keys(lines) = &answer { lines.len() } else { 0 };
    tracing::debug!(uid, pid, user = %question.user, count, "lookup");
    match timeout(PATIENCE, stream.write_all(&answer.encode())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(uid, pid, %error, "a lookup's answer was not taken"),
        Err(_) => tracing::debug!(uid, pid, "a lookup's answer was taken too slowly"),
    }
}

/// Most connections of the local user `uid`. Nothing keeps root from doing harm.
fn most(uid: u32) -> usize {
    if uid == 0 { MAX_CONNECTIONS } else { MAX_PER_PEER }
}

/// The question; none where something else came, or nothing.
async fn read_question(stream: &mut UnixStream) -> io::Result<Option<Question>> {
    let mut buffer = [0_u8; MAX_QUESTION + 1];
    let mut filled = 0;
    loop {
        let received = stream.read(&mut buffer[filled..]).await?;
        filled += received;
        match Question::parse(&buffer[..filled]) {
            Ok(Some(question)) => return Ok(Some(question)),
            Ok(None) if received > 0 => {}
            Ok(None) | Err(_) => return Ok(None),
        }
    }
}

/// What the replica knows now. A user that is not there has no keys: the daemon serves only once the replica is filled.
/// What is no user's name is no question that can be answered.
fn answer(directory: &Directory, policy: &Policy, question: &Question, now: Timestamp) -> Answer {
    let Ok(user) = UserName::parse(&question.user) else { return Answer::Unknown };
    let view = directory.read();
    let lines = view.user(&user).map(|user| lines(user, policy, question.fingerprint.as_ref(), now));
    Answer::Keys(lines.unwrap_or_default())
}

/// The lines for the keys of `user` that may be used at `now` and concern who offers the key `fingerprint`.
fn lines(user: &User, policy: &Policy, fingerprint: Option<&Fingerprint>, now: Timestamp) -> Vec<String> {
    if !user.usable_at(now) {
        return Vec::new();
    }
    user.ssh_keys
        .iter()
        .filter(|key| key.expires.is_none_or(|end| now < end))
        .filter(|key| policy.check(&key.public).is_ok())
        .filter(|key| match fingerprint {
            // With a certificate, sshd's %f names the certified key and never the authority that signed it.
            Some(fingerprint) => key.options.is_cert_authority() || is_of(fingerprint, &key.public),
            None => true,
        })
        .map(|key| sshkey::authorized_line(&key.public, &key.options, key.expires.map(expiry_time).as_deref()))
        .collect()
}

fn is_of(fingerprint: &Fingerprint, key: &PublicKey) -> bool {
    match fingerprint.as_str().strip_prefix("MD5:") {
        Some(md5) => md5 == key.fingerprint_md5(),
        None => fingerprint.as_str() == key.fingerprint_sha256(),
    }
}

/// The point in time in the form of sshd's `expiry-time`, in UTC and whole seconds.
fn expiry_time(end: Timestamp) -> String {
    format!("{}Z", end.generalized().chars().take(14).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{SshKey, samples};
    use crate::name::KeyTitle;
    use crate::sshkey::{KeyType, Options};

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEhmfOJ+3jJf8JgGSkHJg1W6+oVvCZ8vQ2dIjZlLVc4x";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEhmfOJ+3jJf8JgGSkHJg1W6+oVvCZ8vQ2dIjZlLVc4y two";

    fn key(title: &str, line: &str, options: &str) -> SshKey {
        SshKey {
            title: KeyTitle::parse(title).unwrap(),
            public: PublicKey::parse(line).unwrap(),
            created: None,
            expires: None,
            options: Options::parse(options).unwrap(),
        }
    }

    fn user(ssh_keys: Vec<SshKey>) -> User {
        User { ssh_keys, ..samples::user("bob") }
    }

    fn policy() -> Policy {
        Policy { min_rsa_bits: 2048, types: vec![KeyType::Ed25519] }
    }

    const NOW: Timestamp = Timestamp::from_seconds(1_000_000_000);

    #[test]
    fn a_usable_account_gets_its_keys_and_no_other_account_any() {
        let usable = user(vec![key("a", ED25519, ""), key("b", OTHER, "restrict")]);
        assert_eq!(lines(&usable, &policy(), None, NOW), [ED25519.to_owned(), format!("restrict {OTHER}")]);
        for change in [
            |user: &mut User| user.enabled = false,
            |user: &mut User| user.locked = true,
            |user: &mut User| user.expires = Some(NOW),
        ] {
            let mut unusable = usable.clone();
            change(&mut unusable);
            assert!(lines(&unusable, &policy(), None, NOW).is_empty());
        }
    }

    #[test]
    fn a_key_ends_at_its_expiry_and_says_so_before() {
        let mut expiring = key("a", ED25519, "");
        expiring.expires = Some(NOW.plus_seconds(1));
        let user = user(vec![expiring]);
        let line = format!("expiry-time=\"20010909014641Z\" {ED25519}");
        assert_eq!(lines(&user, &policy(), None, NOW), [line]);
        assert!(lines(&user, &policy(), None, NOW.plus_seconds(1)).is_empty());
    }

    #[test]
    fn a_key_that_the_policy_refuses_is_not_handed_out() {
        let user = user(vec![key("a", ED25519, "")]);
        let none = Policy { min_rsa_bits: 2048, types: Vec::new() };
        assert!(lines(&user, &none, None, NOW).is_empty());
    }

    #[test]
    fn a_fingerprint_picks_its_key_and_leaves_authorities() {
        let user = user(vec![key("a", ED25519, ""), key("b", OTHER, "")]);
        let public = &user.ssh_keys[1].public;
        for text in [public.fingerprint_sha256(), format!("MD5:{}", public.fingerprint_md5())] {
            let fingerprint = Fingerprint::parse(&text).unwrap();
            assert_eq!(lines(&user, &policy(), Some(&fingerprint), NOW), [OTHER], "{text}");
        }
        let mut user = user;
        user.ssh_keys[0].options = Options::parse("cert-authority").unwrap();
        let fingerprint = Fingerprint::parse(&user.ssh_keys[1].public.fingerprint_sha256()).unwrap();
        assert_eq!(lines(&user, &policy(), Some(&fingerprint), NOW).len(), 2);
    }

    #[test]
    fn one_local_user_cannot_take_every_connection_and_root_can() {
        assert!(most(1000) * 4 <= MAX_CONNECTIONS && most(0) >= MAX_CONNECTIONS);
    }
}
