//! The bodies of answers: a text that is there as a whole, or a long list, written a piece at a time as its reader takes
//! it. What the objects of a list look like is the handlers' business, the envelope around them `envelope`'s.
//!
//! Nothing runs ahead of the reader and no view outlives a piece: a slow one costs the list's handles and two pieces or
//! so in buffers, one that goes away ends the work, since hyper drops the body.

use std::convert::Infallible;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::App;
use super::envelope::Layout;
use crate::directory::View;

/// A piece ends with the first object that makes it this long, in bytes: well under a millisecond's work.
const PIECE: usize = 96 << 10;

/// Most objects in one view, so that the replica never waits long to follow the directory.
const RUN: usize = 128;

/// What of a list is not written yet.
pub(super) struct Rest(Box<dyn Pieces>);

impl Rest {
    /// The JSON of `items`, each written by `object`.
    pub(super) fn new<T, F>(app: Arc<App>, items: Vec<T>, object: F) -> Self
    where
        T: Send + 'static,
        F: Fn(&View<'_>, &T, &mut Vec<u8>) -> serde_json::Result<()> + Send + 'static,
    {
        Self(Box::new(Objects { app, items: items.into_iter(), separator: None, object }))
    }

    /// Appends the next piece, whole objects and the commas between them; says whether there is more to come.
    pub(super) fn write(&mut self, out: &mut Vec<u8>) -> serde_json::Result<bool> {
        self.0.write(out)
    }
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rest")
    }
}

trait Pieces: Send {
    fn write(&mut self, out: &mut Vec<u8>) -> serde_json::Result<bool>;
}

struct Objects<T, F> {
    app: Arc<App>,
    /// Dropped one by one, so that an entry that has changed since is not kept for longer than it takes.
    items: std::vec::IntoIter<T>,
    /// None before the first object.
    separator: Option<u8>,
    object: F,
}

impl<T, F> Pieces for Objects<T, F>
where
    T: Send,
    F: Fn(&View<'_>, &T, &mut Vec<u8>) -> serde_json::Result<()> + Send,
{
    fn write(&mut self, out: &mut Vec<u8>) -> serde_json::Result<bool> {
        let full = out.len() + PIECE;
        while out.len() < full && self.items.len() > 0 {
            let view = self.app.directory.read();
            for item in self.items.by_ref().take(RUN) {
                out.extend(self.separator.replace(b','));
                (self.object)(&view, &item, out)?;
                if out.len() >= full {
                    break;
                }
            }
        }
        Ok(self.items.len() > 0)
    }
}

/// A long list on its way.
pub(super) struct List {
    /// The first piece, until it is asked for.
    start: Option<Bytes>,
    /// Until the last piece.
    rest: Option<Rest>,
    /// What follows the last object.
    end: Vec<u8>,
    layout: Layout,
    /// Whether others had their turn since the last piece.
    rested: bool,
}

impl List {
    /// `start`, the pieces of `rest`, and `end`.
    pub(super) fn new(start: Vec<u8>, rest: Rest, end: Vec<u8>, indent: usize) -> Self {
        let mut layout = Layout::new(indent);
        Self { start: Some(layout.lay(start)), rest: Some(rest), end, layout, rested: false }
    }

    fn poll_piece(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        if let Some(start) = self.start.take() {
            return Poll::Ready(Some(Ok(start)));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        // To a client that keeps up hyper would send all of the list in one go, while others wait for this thread.
        self.rested = !self.rested;
        if self.rested {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut text = Vec::with_capacity(PIECE + PIECE / 16);
        // A panic is a bug, but one answer's, not that of all on the connection.
        match std::panic::catch_unwind(AssertUnwindSafe(|| rest.write(&mut text))) {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => {
                self.rest = None;
                text.append(&mut self.end);
            }
            Ok(Err(_)) | Err(_) => {
                self.rest = None;
                tracing::error!("a list ended early by our own fault");
                return Poll::Ready(Some(Err(Broken)));
            }
        }
        Poll::Ready(Some(Ok(self.layout.lay(text))))
    }
}

/// The body of an answer.
pub(super) enum AnswerBody {
    Whole(Full<Bytes>),
    List(Box<List>),
}

impl AnswerBody {
    pub(super) fn whole(text: impl Into<Bytes>) -> Self {
        Self::Whole(Full::new(text.into()))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole(full) => {
                Pin::new(full).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(|e: Infallible| match e {})))
            }
            Self::List(list) => list.poll_piece(cx).map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(full) => full.is_end_stream(),
            Self::List(list) => list.start.is_none() && list.rest.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(full) => full.size_hint(),
            Self::List(_) => SizeHint::default(),
        }
    }
}

/// A list could not be written to its end. The client sees that: the connection or the stream ends before the body does.
#[derive(Debug)]
pub(super) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list ended early")
    }
}

impl std::error::Error for Broken {}
