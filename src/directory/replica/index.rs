//! From values to the entries that have them: the containers of the tables' indexes.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use crate::accounts::EntryId;

/// Entries ordered by the bytes of their stored name.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByName(pub(crate) Box<str>, pub(crate) EntryId);

/// The entries that claim one value: nearly always one.
pub(crate) struct Claims(Vec<EntryId>);

impl Claims {
    /// The entry, if exactly one claims the value.
    pub(crate) fn only(&self) -> Option<EntryId> {
        match self.0[..] {
            [id] => Some(id),
            _ => None,
        }
    }

    pub(crate) fn all(&self) -> &[EntryId] {
        &self.0
    }
}

/// From a value to the entries that claim it.
pub(crate) struct Index<K>(HashMap<K, Claims>);

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Index<K> {
    pub(super) fn insert(&mut self, key: K, id: EntryId) {
        let claims = &mut self.0.entry(key).or_insert_with(|| Claims(Vec::with_capacity(1))).0;
        if !claims.contains(&id) {
            claims.push(id);
        }
    }

    pub(super) fn remove(&mut self, key: &K, id: EntryId) {
        if let Some(claims) = self.0.get_mut(key) {
            claims.0.retain(|c| *c != id);
            if claims.0.is_empty() {
                self.0.remove(key);
            }
        }
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> &[EntryId]
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.0.get(key).map_or(&[], Claims::all)
    }

    pub(crate) fn only<Q>(&self, key: &Q) -> Option<EntryId>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.0.get(key).and_then(Claims::only)
    }
}

/// Takes the entry out of the set under `key`; an empty set goes.
pub(super) fn forget<K: Eq + Hash>(map: &mut HashMap<K, HashSet<EntryId>>, key: &K, id: EntryId) {
    if let Some(set) = map.get_mut(key) {
        set.remove(&id);
        if set.is_empty() {
            map.remove(key);
        }
    }
}
