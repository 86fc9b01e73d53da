//! The members and attachments that calls are adding which have not been answered yet. A call that gives a whole list
//! (a group's users, a user's groups, a datacenter's groups) must not take away what it could not know of, so that
//! parallel calls which add different ones all hold (contract section 0, 28). It knows of what was answered for before it
//! came. The daemons of one directory tell each other what they are adding; what is known here of this one's own calls is
//! exact.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::now;
use crate::accounts::{Addition, StoreError, Timestamp};
use crate::directory::{Announcement, Directory, List};

/// How long it counts that something was answered for: longer than a call takes from when it came to its look.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// From so many additions on, those that nobody asks for any more are forgotten.
const MANY: usize = 1024;

#[derive(Default)]
pub(super) struct Unanswered(Mutex<Additions>);

#[derive(Default)]
struct Additions {
    all: HashMap<Addition, Calls>,
    /// At how many they are cleared up.
    full: usize,
}

/// The calls that add one.
#[derive(Default)]
struct Calls {
    /// How many are not answered.
    unanswered: usize,
    /// When the last one was, by the clock of [`Call::came`](super::Call) and by one that nobody sets.
    answered: Option<(Timestamp, Instant)>,
}

impl Calls {
    fn is_unanswered(&self, came: Timestamp) -> bool {
        self.counts() && (self.unanswered > 0 || self.answered.is_some_and(|(at, _)| at > came))
    }

    fn counts(&self) -> bool {
        self.unanswered > 0 || self.answered.is_some_and(|(_, since)| since.elapsed() < KNOWN_FOR)
    }
}

impl Additions {
    fn is_unanswered(&self, addition: &Addition, came: Timestamp) -> bool {
        self.all.get(addition).is_some_and(|calls| calls.is_unanswered(came))
    }

    fn forget_old(&mut self) {
        if self.all.len() >= self.full.max(MANY) {
            self.all.retain(|_, calls| calls.counts());
            self.full = self.all.len() * 2;
        }
    }
}

impl Unanswered {
    /// What a list holds that no call is adding: it was answered for when the one that asks `came`. That one keeps what goes
    /// by the canonical names in `kept`, whatever is said of it here. `waits` is as for [`Directory::settled`].
    pub(super) async fn settled(
        &self,
        directory: &Directory,
        list: &List,
        kept: &HashSet<String>,
        came: Timestamp,
        waits: bool,
    ) -> Result<HashSet<Addition>, StoreError> {
        let mut settled = directory.settled(list, kept, came, waits).await?;
        self.change(|additions| settled.retain(|one| !additions.is_unanswered(one, came)));
        Ok(settled)
    }

    /// Notes that these are being added, for as long as the result lives.
    pub(super) fn adding(self: &Arc<Self>, additions: Vec<Addition>) -> Adding {
        self.change(|all| {
            for addition in &additions {
                all.all.entry(addition.clone()).or_default().unanswered += 1;
            }
        });
        Adding { unanswered: Arc::clone(self), additions, announcement: None }
    }

    fn answered(&self, additions: &[Addition]) {
        self.change(|all| {
            let now = (now(), Instant::now());
            for addition in additions {
                if let Some(calls) = all.all.get_mut(addition) {
                    calls.unanswered -= 1;
                    calls.answered = Some(now);
                }
            }
            all.forget_old();
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut Additions) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One call's additions. It is answered when this is dropped.
pub(super) struct Adding {
    unanswered: Arc<Unanswered>,
    additions: Vec<Addition>,
    /// What the other daemons were told.
    announcement: Option<Announcement>,
}

impl Adding {
    pub(super) fn is_announced(&self) -> bool {
        self.announcement.is_some()
    }

    /// Tells the other daemons.
    pub(super) async fn announce(&mut self, directory: &Directory) -> Result<(), StoreError> {
        self.announcement = directory.announce(&self.additions).await?;
        Ok(())
    }

    /// Tells them that it is about to be answered.
    pub(super) async fn close(&mut self) {
        if let Some(announcement) = &mut self.announcement {
            announcement.close().await;
        }
    }
}

impl Drop for Adding {
    fn drop(&mut self) {
        self.unanswered.answered(&self.additions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{DcName, GroupName, UserName};

    #[test]
    fn what_is_added_is_known_until_the_last_call_that_adds_it_is_answered() {
        let group = |name: &str| GroupName::parse(name).unwrap();
        let member = |name: &str| Addition::Member(group(name), UserName::parse("bob").unwrap());
        let attachment = Addition::Attachment(group("g"), DcName::parse("bob").unwrap());
        let all = Arc::new(Unanswered::default());
        let has = |addition: &Addition, came| all.change(|additions| additions.is_unanswered(addition, came));
        let (first, second) = (all.adding(vec![member("g")]), all.adding(vec![member("g")]));
        let later = now().plus_seconds(1);
        drop(first);
        assert!(has(&member("G"), later), "names are one whatever their case");
        let early = now();
        std::thread::sleep(Duration::from_millis(1));
        drop(second);
        assert!(!has(&member("g"), later) && !has(&member("h"), early) && !has(&attachment, early));
        assert!(has(&member("g"), early), "it came before the answer");
    }

    #[test]
    fn what_was_answered_counts_for_a_time_whatever_the_clock_does() {
        let mut additions = Additions::default();
        let ago = |time: Duration| Some((now().plus_seconds(3600), Instant::now().checked_sub(time).unwrap()));
        let member =
            |n: usize| Addition::Member(GroupName::parse("g").unwrap(), UserName::parse(&format!("u{n}")).unwrap());
        for n in 0..MANY {
            let answered = ago(if n == 1 { KNOWN_FOR / 2 } else { KNOWN_FOR });
            additions.all.insert(member(n), Calls { unanswered: usize::from(n == 0), answered });
        }
        let counts = [0, 1, 2].map(|n| additions.is_unanswered(&member(n), now()));
        assert_eq!(counts, [true, true, false]);
        additions.forget_old();
        assert_eq!(additions.all.len(), 2);
    }
}
