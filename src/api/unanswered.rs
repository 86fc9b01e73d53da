//! The members and attachments that calls are adding which have not been answered yet. A call that gives a whole list
//! (a group's users, a user's groups, a datacenter's groups) must not take away what it could not know of, so that
//! parallel calls which add different ones all hold (contract section 0, 28). The daemons of one directory tell each other
//! what they are adding; what is known here of this one's own calls is exact.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::accounts::{Addition, StoreError};
use crate::directory::{Announcement, Directory, List};

/// How many calls are adding each.
type Counts = HashMap<Addition, usize>;

#[derive(Debug, Default)]
pub(super) struct Unanswered(Mutex<Arc<Counts>>);

impl Unanswered {
    /// What a list holds that no call is adding: it was answered for before this began.
    pub(super) async fn settled(&self, directory: &Directory, list: &List) -> Result<Settled, StoreError> {
        let before = self.now();
        let settled = directory.settled(list).await?;
        Ok(Settled { settled, unanswered: [before, self.now()] })
    }

    fn now(&self) -> Arc<Counts> {
        self.change(|counts| Arc::clone(counts))
    }

    /// Notes that these are being added, for as long as the result lives.
    pub(super) fn adding(self: &Arc<Self>, additions: Vec<Addition>) -> Adding {
        self.change(|counts| {
            let counts = Arc::make_mut(counts);
            for addition in &additions {
                *counts.entry(addition.clone()).or_default() += 1;
            }
        });
        Adding { unanswered: Arc::clone(self), additions, announcement: None }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Arc<Counts>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a call may take away that replaces a list.
#[derive(Default)]
pub(super) struct Settled {
    /// By what the daemons tell each other.
    settled: HashSet<Addition>,
    /// What this daemon was adding before and after that was read.
    unanswered: [Arc<Counts>; 2],
}

impl Settled {
    pub(super) fn has(&self, addition: &Addition) -> bool {
        self.settled.contains(addition) && self.is_answered(addition)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Addition> {
        self.settled.iter().filter(|addition| self.is_answered(addition))
    }

    fn is_answered(&self, addition: &Addition) -> bool {
        !self.unanswered.iter().any(|counts| counts.contains_key(addition))
    }
}

/// One call's additions.
#[derive(Debug)]
pub(super) struct Adding {
    unanswered: Arc<Unanswered>,
    additions: Vec<Addition>,
    /// What the other daemons were told.
    announcement: Option<Announcement>,
}

impl Adding {
    /// Tells the other daemons.
    pub(super) async fn announce(&mut self, directory: &Directory) -> Result<(), StoreError> {
        self.announcement = directory.announce(&self.additions).await?;
        Ok(())
    }

    /// Tells them that it is over.
    pub(super) async fn withdraw(&mut self, directory: &Directory) {
        if let Some(announcement) = self.announcement.take() {
            directory.withdraw(announcement).await;
        }
    }
}

impl Drop for Adding {
    fn drop(&mut self) {
        self.unanswered.change(|counts| {
            let counts = Arc::make_mut(counts);
            for addition in &self.additions {
                if let Some(count) = counts.get_mut(addition) {
                    *count -= 1;
                    if *count == 0 {
                        counts.remove(addition);
                    }
                }
            }
        });
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
        let now =
            || Settled { settled: [member("g"), attachment.clone()].into(), unanswered: [Arc::default(), all.now()] };
        let (first, second) = (all.adding(vec![member("g")]), all.adding(vec![member("g")]));
        let early = now();
        drop(first);
        assert!(!now().has(&member("G")), "names are one whatever their case");
        drop(second);
        assert!(now().has(&member("g")) && !now().has(&member("h")));
        assert!(!early.has(&member("g")), "what was known then stays known");
        assert!(early.has(&attachment));
    }
}
