//! Writes: each one LDAP operation on one entry, taken into our own replica before the caller gets his answer.
//!
//! slapd 2.5 dies of transactions (field notes 1.1), so there are none. A call that touches several entries writes
//! first what takes rights away and last what grants them; but before all, on the entry that it is about, what may be
//! refused. Repeated after a failure, it completes.

mod datacenters;
mod endings;
mod groups;
mod sessions;
mod ssh_keys;
mod user_change;
mod users;

pub(crate) use users::Rebinding;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::accounts::error::UniqueField;
use crate::accounts::secrets::{RequestMark, random};
use crate::accounts::{EntryId, StoreError, User};

use super::code::OpError;
use super::connection::{Attribute, Change};
use super::decode::{Item, UserFacts};
use super::dn::Place;
use super::filter::Filter;
use super::raw::RawEntry;
use super::replica::departures::Reference;
use super::replica::sync::ours;
use super::replica::tables::Source;
use super::replica::view::View;
use super::{Directory, Inner, schema};

/// How long a write is tried again because the entry was not as we thought. Each round begins with the entry as the
/// directory has it, so more rounds are needed only while others write it at the same time.
const TRIED_FOR: Duration = Duration::from_secs(8);

/// How long `refint` may take for all that named an entry, and how often that is asked for meanwhile.
const REFINT: Duration = Duration::from_secs(10);
const REFINT_PAUSE: Duration = Duration::from_millis(50);

/// The longest wait before a further round.
const LONGEST_PAUSE: u32 = 32;

/// The rounds of a write.
struct Rounds {
    begin: Instant,
    count: u32,
}

impl Rounds {
    fn new() -> Self {
        Self { begin: Instant::now(), count: 0 }
    }

    /// Whether there is a further one.
    fn next(&mut self) -> bool {
        self.count += 1;
        self.count == 1 || self.begin.elapsed() < TRIED_FOR
    }

    /// Lets others finish who write the same entry: the later the round, the longer, and everybody for another time.
    async fn pause(&self) {
        let [spread] = random::<1>();
        let most = self.count.saturating_sub(1).min(LONGEST_PAUSE);
        tokio::time::sleep(Duration::from_millis(1) * most * u32::from(spread) / 255).await;
    }
}

impl Directory {
    /// What writes need to know of the user's entry as it is now; none where it is gone, or goes by another name.
    fn state_of(&self, user: &User) -> Option<(Arc<User>, UserFacts, Box<str>)> {
        self.read().user_state(user.id).filter(|(now, ..)| now.name == user.name)
    }
}

impl Inner {
    /// Takes the answer to our own write into the replica; which entry that is. Without a post-read answer the entry is read.
    /// The references that `changes` gave it count at once.
    async fn take_in(&self, dn: &str, raw: Option<RawEntry>, changes: &[Change]) -> Result<EntryId, StoreError> {
        let raw = match raw {
            Some(raw) => raw,
            None => self.client.read(dn, schema::REPLICATED).await?.ok_or(StoreError::NotFound)?,
        };
        // post-read does not say the DN in the spelling of the entry on every server
        match self.decoder.decode(&raw, None) {
            Some(decoded) => {
                let (id, given) = (decoded.id, self.given(changes));
                self.replica.change(|tables| {
                    tables.readmit(id, given);
                    tables.put(decoded, Source::OwnWrite);
                });
                Ok(id)
            }
            None => Err(StoreError::Refused(format!("{dn}: the entry that was written can't be read back"))),
        }
    }

    /// The references that an entry has after these changes.
    fn given(&self, changes: &[Change]) -> Vec<Reference> {
        let mut given = Vec::new();
        for change in changes {
            let (Change::Add(name, values) | Change::Replace(name, values)) = change else { continue };
            if ["member", schema::OWNER, schema::DC_BOUND, schema::DATACENTER_LINK].contains(name) {
                given.extend(values.iter().filter_map(|value| {
                    match self.decoder.tree.place(std::str::from_utf8(value).ok()?) {
                        Place::User(name) => Some(Reference::User(name)),
                        Place::Datacenter(name) => Some(Reference::Datacenter(name)),
                        _ => None,
                    }
                }));
            }
        }
        given
    }

    /// Reads an entry that was not as we thought into the replica.
    async fn reread(&self, dn: &str) -> Result<(), StoreError> {
        self.look(dn).await?.map(|_| ()).ok_or(StoreError::NotFound)
    }

    /// Waits until nothing in the directory names an entry that went lately, or took another name: `refint` still has to
    /// take these references away, or to rename them. Where it does not come, nothing is waited for but its time.
    async fn await_refint(&self, target: &Reference) -> Result<(), StoreError> {
        let tree = &self.decoder.tree;
        let (dn, attributes) = match target {
            Reference::User(name) => (tree.user(name), ["member", schema::OWNER]),
            Reference::Datacenter(name) => (tree.datacenter(name), [schema::DC_BOUND, schema::DATACENTER_LINK]),
        };
        let named = Filter::Any(attributes.map(|attribute| Filter::Equal(attribute, &dn)).to_vec());
        let named = Filter::All(vec![ours(), named]);
        // Where there is another one of the name already, that is what they name.
        let is_there = |view: &View<'_>| match target {
            Reference::User(name) => view.is_claimed(name),
            Reference::Datacenter(name) => view.datacenter(name).is_some(),
        };
        while self.replica.read().went_within(target, REFINT) && !is_there(&self.view()) {
            if self.client.find(tree.base(), &named, &[schema::ENTRY_UUID]).await?.is_empty() {
                break;
            }
            tokio::time::sleep(REFINT_PAUSE).await;
        }
        Ok(())
    }

    /// For what is done about references to a name that seems to have no entry: makes sure, since the entry may be another
    /// daemon's and not yet in the replica.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is one.
    async fn is_absent(&self, dn: &str) -> Result<(), StoreError> {
        self.look(dn).await?.map_or(Ok(()), |_| Err(StoreError::Exists))
    }

    /// Ends the mark of the request that created the entry, which is complete now.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if it is not there: somebody else has ended it.
    async fn finish(&self, dn: &str, mark: RequestMark) -> Result<(), StoreError> {
        let done = Change::Delete(schema::UNFINISHED, vec![mark.as_stored().into_bytes()]);
        match self.client.modify(dn, &[done], None).await {
            Ok(raw) => self.take_in(dn, raw, &[]).await.map(|_| ()),
            Err(OpError::ValueState) => {
                self.reread(dn).await?;
                Err(StoreError::Exists)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Adds an entry and takes it into the replica, where it may be gone by the time that this says what was added. Where
    /// there is one, the replica has it after that.
    async fn add_entry(&self, dn: &str, attributes: &[Attribute]) -> Result<(EntryId, Option<Item>), OpError> {
        match self.client.add(dn, attributes).await.map_err(below_nothing) {
            Ok(raw) => {
                let added = raw.as_ref().and_then(|raw| self.decoder.decode(raw, None)).map(|decoded| decoded.item);
                Ok((self.take_in(dn, raw, &[]).await.map_err(OpError::Store)?, added))
            }
            Err(error @ OpError::Store(StoreError::Exists)) => {
                self.look(dn).await.map_err(OpError::Store)?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Modifies the entry, not another one of its DN, and takes it into the replica.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none or another one; the replica has that one then, and what it had is
    /// looked at again.
    async fn modify_entry(&self, id: EntryId, dn: &str, kind: Filter<'_>, changes: &[Change]) -> Result<(), OpError> {
        let identity = id.to_string();
        let result = match self.client.modify(dn, changes, Some(&is_entry(&identity, kind))).await {
            Ok(raw) => self.take_in(dn, raw, changes).await.map(|_| ()).map_err(OpError::Store),
            Err(OpError::AssertionFailed) => {
                self.look(dn).await.map_err(OpError::Store)?;
                Err(OpError::Store(StoreError::NotFound))
            }
            Err(error) => Err(error),
        };
        if matches!(result, Err(OpError::Store(StoreError::NotFound))) {
            self.replica.change(|tables| tables.suspect(id));
        }
        result
    }

    /// Deletes the entry, not another one of its DN, where it also is as `state` says. slapd tells no consumer of the end
    /// of an entry that was added after it had begun to delete an older one of that DN.
    ///
    /// # Errors
    /// [`StoreError::Contended`] where there is another one or it is otherwise; the replica has it then.
    async fn delete_entry(
        &self,
        id: EntryId,
        dn: &str,
        kind: Filter<'_>,
        references: usize,
        state: Option<Filter<'_>>,
    ) -> Result<(), StoreError> {
        let this = id.to_string();
        let this = is_entry_with(&this, kind, state);
        match self.client.delete(dn, references, Some(&this)).await {
            Ok(()) => {
                self.replica.change(|tables| tables.remove_own(id));
                Ok(())
            }
            Err(OpError::AssertionFailed) => {
                self.look(dn).await?;
                Err(StoreError::Contended)
            }
            Err(error) => self.told(id, Err(error.into())),
        }
    }

    /// What was told about the entry: where that is that there is none, it is looked at again.
    fn told<T>(&self, id: EntryId, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::NotFound) = result {
            self.replica.change(|tables| tables.suspect(id));
        }
        result
    }

    /// Adds or deletes values one by one where the server says that one of them is there, or gone, already: what is
    /// done needs no doing. Without `this`, of whatever entry has the DN.
    async fn change_values(&self, this: Option<This>, dn: &str, changes: Vec<Change>) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        match self.modify_any(this.as_ref(), dn, &changes).await {
            Err(OpError::ValueState) => {}
            other => return Ok(other?),
        }
        for change in changes.iter().cloned().flat_map(singly) {
            match self.modify_any(this.as_ref(), dn, &[change]).await {
                Ok(()) | Err(OpError::ValueState) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.take_in(dn, None, &changes).await.map(|_| ())
    }

    async fn modify_any(&self, this: Option<&This>, dn: &str, changes: &[Change]) -> Result<(), OpError> {
        if let Some((id, kind)) = this {
            return self.modify_entry(*id, dn, kind.clone(), changes).await;
        }
        let raw = self.client.modify(dn, changes, None).await?;
        self.take_in(dn, raw, changes).await.map(|_| ()).map_err(OpError::Store)
    }
}

/// One entry, and its kind.
type This = (EntryId, Filter<'static>);

/// The change, one value at a time.
fn singly(change: Change) -> Vec<Change> {
    match change {
        Change::Add(name, values) => values.into_iter().map(|v| Change::Add(name, vec![v])).collect(),
        Change::Delete(name, values) => values.into_iter().map(|v| Change::Delete(name, vec![v])).collect(),
        other => vec![other],
    }
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn attribute(name: &'static str, value: &str) -> Attribute {
    (name, vec![bytes(value)])
}

const fn boolean(value: bool) -> &'static str {
    if value { "TRUE" } else { "FALSE" }
}

/// That an entry is this one. slapd's overlays use the request's own controls for what they do themselves: `unique` searches
/// for a guarded value from the container on, and finds it taken where the assertion is false of that; `memberof` writes
/// the members, and leaves out those of whom it is false. So it is true of whatever is not of the entry's `kind`.
fn is_entry<'a>(identity: &'a str, kind: Filter<'a>) -> Filter<'a> {
    is_entry_with(identity, kind, [])
}

/// The same, and that it is as `state` says.
fn is_entry_with<'a>(identity: &'a str, kind: Filter<'a>, state: impl IntoIterator<Item = Filter<'a>>) -> Filter<'a> {
    let this = Filter::Equal(schema::ENTRY_UUID, identity);
    let this = Filter::All([this].into_iter().chain(state).collect());
    Filter::Any(vec![this, Filter::Not(Box::new(kind))])
}

/// What is of a kind: as [`is_entry`] tells it from all that the server's overlays touch with it.
const USER: Filter<'static> = Filter::Present("uid");
const GROUP: Filter<'static> = Filter::Equal("objectClass", "usherGroup");
const DATACENTER: Filter<'static> = Filter::Equal("objectClass", "usherDatacenter");

/// An add that finds nothing lacks its parent: one of usher's own base entries.
fn below_nothing(error: OpError) -> OpError {
    match error {
        OpError::Store(StoreError::NotFound) => {
            OpError::Store(StoreError::Refused("a base entry is missing".to_owned()))
        }
        other => other,
    }
}

/// For a change of an entry that needs none once it is gone.
fn gone_is_done(result: Result<(), StoreError>) -> Result<(), StoreError> {
    match result {
        Err(StoreError::NotFound) => Ok(()),
        other => other,
    }
}

/// A uniqueness error in the words of the entry's kind.
fn unique(error: OpError, field: UniqueField) -> StoreError {
    match error {
        OpError::NotUnique(_) => StoreError::NotUnique(field),
        other => other.into(),
    }
}
