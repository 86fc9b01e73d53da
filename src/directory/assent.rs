//! Whether whoever a change is made for may still make it.
//!
//! A call decides by the replica and then waits: for a hash, for its turn. What it was decided by may be over meanwhile. So
//! it is asked again right before its first change is sent, and then before each further one that gives somebody more than he
//! had. All else of a call that was begun is carried through: it takes away, undoes or completes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::schema;

/// What is asked, and whether a change was made.
struct Assent {
    ask: Box<dyn Fn(bool) -> bool + Send + Sync>,
    begun: AtomicBool,
}

tokio::task_local! {
    static ASSENT: Arc<Assent>;
}

/// Runs `work`, whose changes need `ask` to say yes; it is told whether one was made before. Those of tasks that it spawns do
/// not. Gives also whether a change was made.
pub(crate) async fn with_assent<T>(
    ask: impl Fn(bool) -> bool + Send + Sync + 'static,
    work: impl Future<Output = T>,
) -> (T, bool) {
    let assent = Arc::new(Assent { ask: Box::new(ask), begun: AtomicBool::new(false) });
    let result = ASSENT.scope(Arc::clone(&assent), work).await;
    (result, assent.begun.load(Ordering::Relaxed))
}

/// Whether the change may be sent, which `grants` something or does not.
pub(super) fn is_given(grants: bool) -> bool {
    let is_given = |assent: &Arc<Assent>| {
        let begun = assent.begun.load(Ordering::Relaxed);
        (begun && !grants) || (assent.ask)(begun)
    };
    ASSENT.try_with(is_given).unwrap_or(true)
}

/// A change was made.
pub(super) fn begun() {
    let _ = ASSENT.try_with(|assent| assent.begun.store(true, Ordering::Relaxed));
}

/// Whether these values of the attribute make somebody a member, an owner or an administrator, hand something to those of
/// a datacenter, or let him in.
pub(super) fn grants(attribute: &str, values: &[Vec<u8>]) -> bool {
    match attribute {
        "member"
        | schema::DATACENTER_LINK
        | schema::PERMISSION
        | schema::DC_BOUND
        | schema::OWNER
        | schema::PASSWORD
        | schema::SSH_PUBLIC_KEY => !values.is_empty(),
        schema::ACCESS => values.iter().any(|value| *value == b"1"),
        schema::SUPER_ADMIN | schema::API_ACCESS | schema::ACTIVE => values.iter().any(|value| *value == b"TRUE"),
        _ => false,
    }
}
