//! Whether whoever a change is made for may still make it.
//!
//! A call decides by the replica and then waits: for a hash, for its turn. What it was decided by may be over meanwhile. So
//! it is asked again right before its first change is sent, and then before each further one that gives somebody more than he
//! had. All else of a call that was begun is carried through: it takes away, undoes or completes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::schema;

/// What a call has taken from somebody.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    pub(crate) activity: bool,
    pub(crate) api_access: bool,
    pub(crate) super_admin: bool,
}

/// What is asked, and what the changes that were made have taken; `None`: there were none.
struct Assent {
    ask: Box<dyn Fn(Option<Taken>) -> bool + Send + Sync>,
    begun: Mutex<Option<Taken>>,
}

impl Assent {
    fn begun(&self) -> MutexGuard<'_, Option<Taken>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

tokio::task_local! {
    static ASSENT: Arc<Assent>;
}

/// Runs `work`, whose changes need `ask` to say yes; it is told what those that were made before have taken, if any were. Those
/// of tasks that it spawns do not. Gives also whether a change was made.
pub(crate) async fn with_assent<T>(
    ask: impl Fn(Option<Taken>) -> bool + Send + Sync + 'static,
    work: impl Future<Output = T>,
) -> (T, bool) {
    let assent = Arc::new(Assent { ask: Box::new(ask), begun: Mutex::default() });
    let result = ASSENT.scope(Arc::clone(&assent), work).await;
    let begun = assent.begun().is_some();
    (result, begun)
}

/// Runs `work`, which undoes what a call did: whoever lost his rights amid it is no reason to leave it half done.
pub(crate) async fn undoing<T>(work: impl Future<Output = T>) -> T {
    let assent = Assent { ask: Box::new(|_| true), begun: Mutex::default() };
    ASSENT.scope(Arc::new(assent), work).await
}

/// Whether the change may be sent, which `grants` something or does not.
pub(super) fn is_given(grants: bool) -> bool {
    let is_given = |assent: &Arc<Assent>| {
        let begun = *assent.begun();
        (begun.is_some() && !grants) || (assent.ask)(begun)
    };
    ASSENT.try_with(is_given).unwrap_or(true)
}

/// A change was made that sets these values.
pub(super) fn begun<'a>(set: impl Iterator<Item = (&'a str, &'a [Vec<u8>])>) {
    let _ = ASSENT.try_with(|assent| {
        let mut begun = assent.begun();
        let taken = begun.get_or_insert_default();
        for (attribute, _) in set.filter(|(_, values)| values.iter().any(|value| *value == b"FALSE")) {
            match attribute {
                schema::ACTIVE => taken.activity = true,
                schema::API_ACCESS => taken.api_access = true,
                schema::SUPER_ADMIN => taken.super_admin = true,
                _ => {}
            }
        }
    });
}

/// Whether these values of the attribute make somebody a member, an owner or an administrator, hand something to those of
/// a datacenter, or let him in, by what somebody else may have set meanwhile.
pub(super) fn grants(attribute: &str, values: &[Vec<u8>]) -> bool {
    match attribute {
        "member"
        | schema::DATACENTER_LINK
        | schema::PERMISSION
        | schema::DC_BOUND
        | schema::OWNER
        | schema::PASSWORD
        | schema::API_KEY
        | schema::SSH_PUBLIC_KEY => !values.is_empty(),
        schema::ACCESS => values.iter().any(|value| *value == b"1"),
        schema::SUPER_ADMIN | schema::API_ACCESS | schema::ACTIVE => values.iter().any(|value| *value == b"TRUE"),
        _ => false,
    }
}
