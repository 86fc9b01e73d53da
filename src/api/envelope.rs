//! The success envelope, task ids and the bytes of an answer (contract 1.3). What the answer says is the handlers'
//! business, which headers go with it `request`'s.

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::sync::Arc;

use hyper::StatusCode;
use hyper::body::Bytes;
use md5::{Digest, Md5};
use serde::Serialize;

use super::Call;
use super::stream::Rest;
use crate::accounts::User;
use crate::accounts::secrets::random;
use crate::directory::View;

/// Compact JSON text, written once.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Json(Option<Vec<u8>>);

impl Json {
    /// The JSON of `value`. A value that can't be JSON becomes a 500 where the answer is written.
    pub(crate) fn of(value: &(impl Serialize + ?Sized)) -> Self {
        // One object fits; lists grow.
        let mut text = Vec::with_capacity(512);
        Self(serde_json::to_writer(&mut text, value).ok().map(|()| text))
    }

    /// The text; `null` where there is none.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or(b"null")
    }

    /// Whether the value was no JSON.
    pub(super) fn is_broken(&self) -> bool {
        self.0.is_none()
    }
}

/// Shows the length only: API keys may be in it.
impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({} bytes)", self.bytes().len())
    }
}

/// What an answer says.
#[derive(Debug)]
pub(super) enum Content {
    /// To be sent as it is.
    Plain(Json),
    /// To be sent in the envelope.
    Result(Json),
    /// A list that is too long to be written at once: its start, and what comes after that. In the envelope.
    List(Vec<u8>, Rest),
}

/// A success. Borrow from a view while making it: the JSON is written at once.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(super) status: StatusCode,
    pub(super) content: Content,
    /// The owner's number for the task id; `None` is the caller's (contract 1.3).
    pub(super) owner: Option<u64>,
    /// The user whom a login made known.
    pub(super) signed_in: Option<Arc<User>>,
}

impl Reply {
    fn new(status: StatusCode, content: Content) -> Self {
        Self { status, content, owner: None, signed_in: None }
    }

    /// 200 in the envelope: lists, details, updates.
    pub(crate) fn ok(result: &(impl Serialize + ?Sized)) -> Self {
        Self::new(StatusCode::OK, Content::Result(Json::of(result)))
    }

    /// 200 in the envelope: a list of any length, each of whose items `object` writes. A long one is written while it is
    /// sent, in views of its own; hold none here.
    pub(crate) fn list<T, F>(call: &Call, items: Vec<T>, object: F) -> Self
    where
        T: Send + 'static,
        F: Fn(&View<'_>, &T, &mut Vec<u8>) -> serde_json::Result<()> + Send + 'static,
    {
        let mut rest = Rest::new(Arc::clone(&call.app), items, object);
        let mut text = Vec::with_capacity(512);
        text.push(b'[');
        let content = match rest.write(&mut text) {
            Ok(true) => Content::List(text, rest),
            Ok(false) => {
                text.push(b']');
                Content::Result(Json(Some(text)))
            }
            Err(_) => Content::Result(Json(None)),
        };
        Self::new(StatusCode::OK, content)
    }

    /// 201 in the envelope.
    pub(crate) fn created(result: &(impl Serialize + ?Sized)) -> Self {
        Self::new(StatusCode::CREATED, Content::Result(Json::of(result)))
    }

    /// 200 in the envelope with `null`: something was deleted.
    pub(crate) fn deleted() -> Self {
        Self::ok(&())
    }

    /// 200 without an envelope.
    pub(crate) fn plain(body: &(impl Serialize + ?Sized)) -> Self {
        Self::new(StatusCode::OK, Content::Plain(Json::of(body)))
    }

    /// The same with the number of the object's owner in its task id: the target of a user's create or update, of a
    /// profile's update, of an SSH key's create or delete; a datacenter's owner under `/dc`.
    pub(crate) fn owned_by(self, number: u64) -> Self {
        Self { owner: Some(number), ..self }
    }

    /// The same as the answer to a login of `user`.
    pub(super) fn signed_in(self, user: Arc<User>) -> Self {
        Self { signed_in: Some(user), ..self }
    }
}

/// What a task id says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskRef {
    /// The caller's number.
    pub(super) user: u64,
    pub(super) owner: u64,
    /// Under `/dc`: `d`, elsewhere `u`.
    pub(super) in_dc: bool,
    pub(super) dc: u64,
}

impl TaskRef {
    /// A fresh task id. Its last three groups are those of a random UUID.
    pub(super) fn fresh_id(self) -> String {
        let Self { user, owner, in_dc, dc } = self;
        let kind = if in_dc { 'd' } else { 'u' };
        let digest = Md5::digest(user.to_string());
        let digest = u32::from_be_bytes([digest[12], digest[13], digest[14], digest[15]]);
        let [low, mid, high] = random_words();
        let (mid, high) = (mid & 0x0fff | 0x4000, high & 0x3fff | 0x8000);
        let mut id = String::with_capacity(48);
        // Writing to a String can't fail.
        let _ = write!(id, "{user}d{owner}{kind}{dc}-{digest:08x}-{low:04x}-{mid:04x}-{high:04x}");
        id
    }
}

/// Random numbers for a task id. Ids are no secrets, every answer has one: the operating system is asked for many at a
/// time.
fn random_words() -> [u16; 3] {
    const STOCK: usize = 1024;
    thread_local! {
        static WORDS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    WORDS.with_borrow_mut(|stock| {
        if stock.len() < 6 {
            stock.extend_from_slice(&random::<STOCK>());
        }
        let mut word = || u16::from_be_bytes([stock.pop().unwrap_or_default(), stock.pop().unwrap_or_default()]);
        [word(), word(), word()]
    })
}

/// What a task id says, if `text` is one (`^\d+[deamif]\d+[du]\d+-[0-9a-f]{8}(-[0-9a-f]{4}){3}$`).
pub(super) fn parse_task_id(text: &str) -> Option<TaskRef> {
    let mut groups = text.split('-');
    let head = groups.next()?;
    for width in [8, 4, 4, 4] {
        let group = groups.next()?;
        if group.len() != width || !group.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
    }
    if groups.next().is_some() {
        return None;
    }
    let number = |text: &str| if text.bytes().all(|b| b.is_ascii_digit()) { text.parse::<u64>().ok() } else { None };
    let (user, rest) = head.split_once(['d', 'e', 'a', 'm', 'i', 'f'])?;
    let (owner, dc) = rest.split_once(['d', 'u'])?;
    let in_dc = rest.contains('d');
    Some(TaskRef { user: number(user)?, owner: number(owner)?, in_dc, dc: number(dc)? })
}

/// The envelope around `result`.
pub(super) fn enclose(status: &str, result: &[u8], task_id: &str) -> Vec<u8> {
    let ([a, b, c], [x, y, z]) = (before(status), after(task_id));
    [a, b, c, result, x, y, z].concat()
}

/// The envelope around a long list: what is sent first, with `start` of the list, and what is sent last.
pub(super) fn enclose_list(start: &[u8], task_id: &str) -> (Vec<u8>, Vec<u8>) {
    let ([a, b, c], [x, y, z]) = (before("SUCCESS"), after(task_id));
    ([a, b, c, start].concat(), [b"]", x, y, z].concat())
}

fn before(status: &str) -> [&[u8]; 3] {
    [b"{\"status\":\"", status.as_bytes(), b"\",\"result\":"]
}

fn after(task_id: &str) -> [&[u8]; 3] {
    [b",\"task_id\":\"", task_id.as_bytes(), b"\"}"]
}

/// `{"detail": text}`.
pub(super) fn detail(text: &str) -> Vec<u8> {
    let mut out = b"{\"detail\":".to_vec();
    out.extend_from_slice(Json::of(text).bytes());
    out.push(b'}');
    out
}

/// The bytes to send for compact JSON.
pub(super) fn finish(compact: Vec<u8>, indent: usize) -> Bytes {
    Layout::new(indent).lay(compact)
}

/// How compact JSON is sent: indented if asked for, with U+2028 and U+2029 escaped (they end a line in JavaScript).
pub(super) struct Layout {
    /// Blanks a level; 0 is no layout at all.
    indent: usize,
    depth: usize,
    /// Whether a bracket was the last that came.
    opened: bool,
}

impl Layout {
    pub(super) fn new(indent: usize) -> Self {
        Self { indent, depth: 0, opened: false }
    }

    /// The bytes to send for the next piece of a text. A piece cuts no string.
    pub(super) fn lay(&mut self, compact: Vec<u8>) -> Bytes {
        let text = if self.indent == 0 { compact } else { self.pretty(&compact) };
        let separator = |w: &[u8]| w[0] == 0xe2 && w[1] == 0x80 && matches!(w[2], 0xa8 | 0xa9);
        if !text.contains(&0xe2) || !text.windows(3).any(separator) {
            return text.into();
        }
        // Outside strings JSON is ASCII, so each of them is inside one.
        let mut out = Vec::with_capacity(text.len() + 16);
        let mut rest = text.as_slice();
        while let Some(at) = rest.windows(3).position(separator) {
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(if rest[at + 2] == 0xa8 { b"\\u2028" } else { b"\\u2029" });
            rest = &rest[at + 3..];
        }
        out.extend_from_slice(rest);
        out.into()
    }

    /// The same JSON with line breaks and blanks.
    fn pretty(&mut self, compact: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(compact.len() * 2);
        let (mut in_string, mut escaped) = (false, false);
        for &byte in compact {
            if in_string {
                out.push(byte);
                in_string = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
                continue;
            }
            // What is empty stays on its line.
            let opened = std::mem::replace(&mut self.opened, matches!(byte, b'{' | b'['));
            let closes = matches!(byte, b'}' | b']');
            if closes {
                self.depth = self.depth.saturating_sub(1);
            }
            if opened != closes {
                self.line(&mut out);
            }
            match byte {
                b'{' | b'[' => self.depth += 1,
                b'"' => in_string = true,
                _ => {}
            }
            out.push(byte);
            match byte {
                b',' => self.line(&mut out),
                b':' => out.push(b' '),
                _ => {}
            }
        }
        out
    }

    fn line(&self, out: &mut Vec<u8>) {
        out.push(b'\n');
        out.resize(out.len() + self.depth * self.indent, b' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_ids_name_caller_owner_and_datacenter() {
        let task = TaskRef { user: 10, owner: 8, in_dc: false, dc: 4 };
        let id = task.fresh_id();
        assert!(id.starts_with("10d8u4-d163e820-"), "{id}");
        assert_eq!(parse_task_id(&id), Some(task));
        let task = TaskRef { user: 1, owner: 1, in_dc: true, dc: 1 };
        let id = task.fresh_id();
        assert!(id.starts_with("1d1d1-6f75849b-"), "{id}");
        assert_eq!(parse_task_id(&id), Some(task));
        assert_ne!(id, TaskRef { user: 1, owner: 1, in_dc: true, dc: 1 }.fresh_id());
        let groups: Vec<_> = id.split('-').collect();
        assert!(groups[3].starts_with('4') && groups[4].starts_with(['8', '9', 'a', 'b']), "{id}");
    }

    #[test]
    fn what_is_no_task_id_is_refused() {
        assert!(parse_task_id("1e1d1-6f75849b-86d2-4a20-a3a4").is_some());
        for bad in [
            "xyz",
            "",
            "1d1u1",
            "1d1u1-6f75849b-86d2-4a20",
            "1d1u1-6f75849b-86d2-4a20-a3a4-0000",
            "1d1u1-6F75849B-86d2-4a20-a3a4",
            "d1u1-6f75849b-86d2-4a20-a3a4",
            "1d+1u1-6f75849b-86d2-4a20-a3a4",
            "1x1u1-6f75849b-86d2-4a20-a3a4",
        ] {
            assert_eq!(parse_task_id(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn indented_answers_hold_the_same_value() {
        let value = serde_json::json!({"a": [], "b": {}, "c": [1, {"d": "x\",:{}[]\\"}, "\\\""], "e": null, "ü": "ž"});
        let compact = serde_json::to_vec(&value).unwrap();
        let text = String::from_utf8(finish(compact, 4).to_vec()).unwrap();
        assert_eq!(text, serde_json::to_string_pretty(&value).unwrap().replace("  ", "    "));
    }

    #[test]
    fn pieces_are_laid_out_as_the_whole_is() {
        let value = serde_json::json!({"a": [{}, {"x": "\u{2028}[{"}, [], [[1]], "y"], "b": null});
        let compact = serde_json::to_vec(&value).unwrap();
        for indent in [0, 3] {
            let whole = finish(compact.clone(), indent);
            // Wherever no string is cut.
            let quotes = |at: usize| compact[..at].iter().filter(|b| **b == b'"').count();
            for at in (0..=compact.len()).filter(|at| quotes(*at) % 2 == 0) {
                let mut layout = Layout::new(indent);
                let pieces = [layout.lay(compact[..at].to_vec()), layout.lay(compact[at..].to_vec())].concat();
                assert_eq!(pieces, whole, "cut at {at}");
            }
        }
    }

    #[test]
    fn line_separators_are_escaped_and_other_text_is_not() {
        let text = finish(Json::of("a\u{2028}b\u{2029}\u{2027}ž").bytes().to_vec(), 0);
        assert_eq!(text, "\"a\\u2028b\\u2029\u{2027}ž\"");
    }

    #[test]
    fn the_envelope_has_the_documented_keys_in_the_documented_order() {
        let body = enclose("SUCCESS", Json::of(&["a"]).bytes(), "1d1u1-x");
        assert_eq!(body, br#"{"status":"SUCCESS","result":["a"],"task_id":"1d1u1-x"}"#);
        assert_eq!(detail("a \"b\""), br#"{"detail":"a \"b\""}"#);
    }
}
