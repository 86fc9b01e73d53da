//! Whether whoever a change is made for may still make it.
//!
//! A call decides by the replica and then waits: for a hash, for its turn. What it was decided by may be over meanwhile. So
//! it is asked again right before each change is sent, until one was made: from then on the call is carried through, since
//! half a call is worse than a late one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is asked, and whether a change was made.
struct Assent {
    ask: Box<dyn Fn() -> bool + Send + Sync>,
    given: AtomicBool,
}

tokio::task_local! {
    static ASSENT: Arc<Assent>;
}

/// Runs `work`, whose changes need `ask` to say yes. Those of tasks that it spawns do not.
pub(crate) async fn with_assent<T>(ask: impl Fn() -> bool + Send + Sync + 'static, work: impl Future<Output = T>) -> T {
    ASSENT.scope(Arc::new(Assent { ask: Box::new(ask), given: AtomicBool::new(false) }), work).await
}

/// Whether the change may be sent.
pub(super) fn is_given() -> bool {
    ASSENT.try_with(|assent| assent.given.load(Ordering::Relaxed) || (assent.ask)()).unwrap_or(true)
}

/// A change was made.
pub(super) fn begun() {
    let _ = ASSENT.try_with(|assent| assent.given.store(true, Ordering::Relaxed));
}
