//! The members and attachments that calls are adding which have not been answered yet. A call that gives a whole list
//! (a group's users, a user's groups, a datacenter's groups) must not take away what it could not know of, so that
//! parallel calls which add different ones all hold (contract section 0, 28). Within one daemon: what another one is adding is
//! not known here, and is taken away by a list without it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::name::{DcName, GroupName, UserName};

/// What a call adds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Addition {
    Member(GroupName, UserName),
    Attachment(GroupName, DcName),
}

/// How many calls are adding each.
type Counts = HashMap<Addition, usize>;

#[derive(Debug, Default)]
pub(super) struct Unanswered(Mutex<Arc<Counts>>);

impl Unanswered {
    /// What `read` reads, and what was being added right before or after that: what is read and is not among it was
    /// answered for.
    pub(super) fn around<T>(&self, read: impl FnOnce() -> T) -> (T, Known) {
        let now = || self.change(|counts| Arc::clone(counts));
        let (before, read) = (now(), read());
        (read, Known([before, now()]))
    }

    /// Notes that these are being added, for as long as the result lives.
    pub(super) fn adding(self: &Arc<Self>, additions: Vec<Addition>) -> Adding {
        self.change(|counts| {
            let counts = Arc::make_mut(counts);
            for addition in &additions {
                *counts.entry(addition.clone()).or_default() += 1;
            }
        });
        Adding { unanswered: Arc::clone(self), additions }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Arc<Counts>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What was being added before and after a moment.
pub(super) struct Known([Arc<Counts>; 2]);

impl Known {
    pub(super) fn is_member(&self, group: &GroupName, user: &UserName) -> bool {
        self.has(|| Addition::Member(group.clone(), user.clone()))
    }

    pub(super) fn is_attachment(&self, group: &GroupName, dc: &DcName) -> bool {
        self.has(|| Addition::Attachment(group.clone(), dc.clone()))
    }

    fn has(&self, addition: impl Fn() -> Addition) -> bool {
        self.0.iter().any(|counts| !counts.is_empty() && counts.contains_key(&addition()))
    }
}

/// One call's additions.
#[derive(Debug)]
pub(super) struct Adding {
    unanswered: Arc<Unanswered>,
    additions: Vec<Addition>,
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

    #[test]
    fn what_is_added_is_known_until_the_last_call_that_adds_it_is_answered() {
        let (group, user) = (GroupName::parse("g").unwrap(), UserName::parse("bob").unwrap());
        let all = Arc::new(Unanswered::default());
        let addition = || vec![Addition::Member(group.clone(), user.clone())];
        let now = || all.around(|| ()).1;
        let (first, second) = (all.adding(addition()), all.adding(addition()));
        let early = now();
        drop(first);
        assert!(now().is_member(&GroupName::parse("G").unwrap(), &user), "names are one whatever their case");
        let ((), ending) = all.around(|| drop(second));
        let (third, beginning) = all.around(|| all.adding(addition()));
        assert!(ending.is_member(&group, &user) && beginning.is_member(&group, &user));
        drop(third);
        assert!(!now().is_member(&group, &user));
        assert!(early.is_member(&group, &user), "what was known then stays known");
        assert!(!early.is_attachment(&group, &DcName::parse("bob").unwrap()));
    }
}
