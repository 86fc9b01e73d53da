//! How much each of many parties has under way at a time: a bound on what one of them can take from the others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// The counts of those that have anything under way.
#[derive(Debug)]
pub(super) struct Turns<K>(Mutex<HashMap<K, usize>>);

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Hash + Eq + Copy> Turns<K> {
    /// A turn for `key`; none where it has `limit` already.
    pub(super) fn take(self: &Arc<Self>, key: K, limit: usize) -> Option<Turn<K>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let had = counts.get(&key).copied().unwrap_or(0);
        if had >= limit {
            return None;
        }
        counts.insert(key, had + 1);
        drop(counts);
        Some(Turn { turns: Arc::clone(self), key })
    }
}

/// One turn, given back when dropped.
#[derive(Debug)]
pub(super) struct Turn<K: Hash + Eq> {
    turns: Arc<Turns<K>>,
    key: K,
}

impl<K: Hash + Eq> Drop for Turn<K> {
    fn drop(&mut self) {
        let mut counts = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_party_cannot_take_every_turn() {
        let all = Arc::new(Turns::default());
        let mut turns: Vec<_> = (0..5).map(|_| all.take(7, 5).unwrap()).collect();
        assert!(all.take(7, 5).is_none());
        assert!(all.take(8, 5).is_some());
        turns.pop();
        turns.push(all.take(7, 5).unwrap());
        turns.clear();
        assert!(all.0.lock().unwrap().is_empty());
    }
}
