//! The question and the answer between sshd's helper and the daemon: bytes to types and back, limits, end mark.
//!
//! One question on a connection to a Unix stream socket, one answer, close. ASCII words and LF:
//!
//! ```text
//! question   keys/1 USER LF                        every key of USER
//!            keys/1 USER FINGERPRINT LF            only the keys that matter to one with this fingerprint
//! answer     keys COUNT BYTES LF                   COUNT lines follow, BYTES bytes with their LFs
//!            LINE LF …                             COUNT lines of an authorized_keys file
//!            end LF
//! or         unknown LF                            no answer can be given; not the same as no keys
//! ```
//!
//! The counts in front and the word behind say when an answer is complete: one that was cut short is never taken for a
//! whole one. A user without keys and a user nobody knows have the same answer, `keys 0 0`. This module knows
//! neither sockets nor what makes a line a key.

use std::fmt;

/// The longest name in a question, in bytes: as long as a user's name may be.
pub(crate) const MAX_USER: usize = 254;
/// The longest question, in bytes: both words, the name, a SHA-256 fingerprint.
pub(crate) const MAX_QUESTION: usize = 7 + MAX_USER + 1 + 50 + 1;
/// The longest answer, in bytes.
pub(crate) const MAX_ANSWER: usize = 4 << 20;
/// Most lines of an answer.
pub(crate) const MAX_LINES: usize = 16_384;
/// The longest line, in bytes, without its LF: the longest key, the longest options and room for an expiry.
pub(crate) const MAX_LINE: usize = 80 << 10;

const QUESTION: &str = "keys/1 ";
const KEYS: &[u8] = b"keys ";
const END: &[u8] = b"end\n";
const UNKNOWN: &[u8] = b"unknown\n";
/// `keys `, five and seven digits, a blank and the LF.
const MAX_HEADER: usize = 5 + 5 + 1 + 7 + 1;

/// What came is not this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed message on the lookup socket")
    }
}

impl std::error::Error for Malformed {}

/// A key's fingerprint as sshd's `%f` gives it: `SHA256:` and unpadded base64, or with `FingerprintHash md5` `MD5:` and 16
/// pairs of hex digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(Box<str>);

impl Fingerprint {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let valid = if let Some(digits) = text.strip_prefix("SHA256:") {
            // 32 bytes are 43 digits, the last of which has two bits too many.
            digits.len() == 43
                && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
                && digits.ends_with(|last| "AEIMQUYcgkosw048".contains(last))
        } else {
            let pairs = text.strip_prefix("MD5:")?;
            pairs.len() == 47
                && pairs
                    .split(':')
                    .all(|pair| pair.len() == 2 && pair.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
        };
        valid.then(|| Self(text.into()))
    }

    /// The text with its prefix.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whose keys are wanted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Question {
    /// One word; both ends hold it against their own idea of a user's name.
    pub(crate) user: String,
    /// The key that a client offers; lines that can't concern it need not be in the answer.
    pub(crate) fingerprint: Option<Fingerprint>,
}

#[cfg_attr(not(feature = "daemon"), allow(dead_code, reason = "the daemon's half"))]
impl Question {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAX_QUESTION);
        bytes.extend_from_slice(QUESTION.as_bytes());
        bytes.extend_from_slice(self.user.as_bytes());
        if let Some(fingerprint) = &self.fingerprint {
            bytes.push(b' ');
            bytes.extend_from_slice(fingerprint.as_str().as_bytes());
        }
        bytes.push(b'\n');
        bytes
    }

    /// Reads a question from all that has come so far; none as long as more is needed.
    ///
    /// # Errors
    /// It is no question, longer than [`MAX_QUESTION`], or something follows it.
    pub(crate) fn parse(received: &[u8]) -> Result<Option<Self>, Malformed> {
        let Some(end) = received.iter().position(|byte| *byte == b'\n') else {
            return if received.len() < MAX_QUESTION { Ok(None) } else { Err(Malformed) };
        };
        if end + 1 != received.len() || received.len() > MAX_QUESTION {
            return Err(Malformed);
        }
        let text = std::str::from_utf8(&received[..end]).map_err(|_| Malformed)?;
        let words = text.strip_prefix(QUESTION).ok_or(Malformed)?;
        let (user, fingerprint) = match words.split_once(' ') {
            Some((user, fingerprint)) => (user, Some(Fingerprint::parse(fingerprint).ok_or(Malformed)?)),
            None => (words, None),
        };
        if user.is_empty() || user.len() > MAX_USER || !user.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Malformed);
        }
        Ok(Some(Self { user: user.to_owned(), fingerprint }))
    }
}

/// An answer as the daemon gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "daemon"), allow(dead_code, reason = "the daemon's half"))]
pub(crate) enum Answer {
    /// The lines, without LF.
    Keys(Vec<String>),
    /// The daemon doesn't know.
    Unknown,
}

#[cfg_attr(not(feature = "daemon"), allow(dead_code, reason = "the daemon's half"))]
impl Answer {
    /// The whole answer; an [`Answer::Unknown`] where the lines break a limit, since part of them would be a wrong answer.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Self::Keys(lines) = self else {
            return UNKNOWN.to_vec();
        };
        let length: usize = lines.iter().map(|line| line.len() + 1).sum();
        let sound = |line: &String| !line.is_empty() && line.len() <= MAX_LINE && !line.contains('\n');
        if lines.len() > MAX_LINES || MAX_HEADER + length + END.len() > MAX_ANSWER || !lines.iter().all(sound) {
            return UNKNOWN.to_vec();
        }
        let mut bytes = Vec::with_capacity(MAX_HEADER + length + END.len());
        bytes.extend_from_slice(format!("keys {} {length}\n", lines.len()).as_bytes());
        for line in lines {
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(END);
        bytes
    }
}

/// A complete answer as the helper sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received<'a> {
    /// The lines, each with its LF.
    Keys(&'a [u8]),
    Unknown,
}

impl<'a> Received<'a> {
    /// Reads an answer from all that has come so far; none as long as more is needed. Until the last byte is there it
    /// looks at the first line alone, so it may be asked again after every read.
    ///
    /// # Errors
    /// It is no answer, breaks a limit, or something follows it.
    pub(crate) fn parse(received: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let start = &received[..received.len().min(MAX_HEADER)];
        let Some(header_end) = start.iter().position(|byte| *byte == b'\n') else {
            return if start.len() < MAX_HEADER { Ok(None) } else { Err(Malformed) };
        };
        let (header, rest) = received.split_at(header_end + 1);
        if header == UNKNOWN {
            return if rest.is_empty() { Ok(Some(Self::Unknown)) } else { Err(Malformed) };
        }
        let words = header.strip_prefix(KEYS).and_then(|words| words.strip_suffix(b"\n")).ok_or(Malformed)?;
        let blank = words.iter().position(|byte| *byte == b' ').ok_or(Malformed)?;
        let count = number(&words[..blank], MAX_LINES)?;
        let length = number(&words[blank + 1..], MAX_ANSWER - MAX_HEADER - END.len())?;
        let Some((lines, end)) = rest.split_at_checked(length) else {
            return Ok(None);
        };
        if end != END {
            // Part of the end mark may still be to come.
            return if END.starts_with(end) { Ok(None) } else { Err(Malformed) };
        }
        let complete = lines.is_empty() || lines.ends_with(b"\n");
        let mut lengths = lines.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::len);
        if complete && lengths.clone().count() == count && lengths.all(|length| (2..=MAX_LINE + 1).contains(&length)) {
            Ok(Some(Self::Keys(lines)))
        } else {
            Err(Malformed)
        }
    }
}

/// A number in plain digits, at most `max`.
fn number(digits: &[u8], max: usize) -> Result<usize, Malformed> {
    let plain = digits == b"0" || !digits.starts_with(b"0") && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).map_err(|_| Malformed)?;
    text.parse().ok().filter(|number| plain && *number <= max).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(user: &str, fingerprint: Option<&str>) -> Question {
        Question { user: user.to_owned(), fingerprint: fingerprint.map(|text| Fingerprint::parse(text).unwrap()) }
    }

    const SHA256: &str = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    const MD5: &str = "MD5:d4:1d:8c:d9:8f:00:b2:04:e9:80:09:98:ec:f8:42:7e";

    #[test]
    fn questions_round_trip_and_need_every_byte() {
        let longest = "a".repeat(MAX_USER);
        for question in [question("a", None), question("Bob@x", Some(MD5)), question(&longest, Some(SHA256))] {
            let bytes = question.encode();
            assert!(bytes.len() <= MAX_QUESTION);
            for cut in 0..bytes.len() {
                assert_eq!(Question::parse(&bytes[..cut]), Ok(None));
            }
            assert_eq!(Question::parse(&bytes), Ok(Some(question)));
        }
        assert_eq!(question(&longest, Some(SHA256)).encode().len(), MAX_QUESTION);
    }

    #[test]
    fn what_is_no_question_is_refused() {
        let long = vec![b'a'; MAX_QUESTION];
        let mut bad: Vec<&[u8]> = vec![b"\n", b"keys/1 \n", b"keys/2 bob\n", b"keys/1 bob \n", b"keys/1  bob\n", &long];
        bad.extend([b"keys/1 bob\nkeys/1 eve\n".as_slice(), b"keys/1 bob x\n", b"keys/1 b\tb\n", b"keys/1 b\xff\n"]);
        for bytes in bad {
            assert_eq!(Question::parse(bytes), Err(Malformed), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn fingerprints_have_sshds_two_forms() {
        for good in [SHA256, MD5] {
            assert_eq!(Fingerprint::parse(good).unwrap().as_str(), good);
            assert_eq!(Fingerprint::parse(&good[..good.len() - 1]), None);
            assert_eq!(Fingerprint::parse(&format!("{good} ")), None);
        }
        for bad in ["", "SHA256:", "SHA1:x", "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV", &MD5.to_uppercase()]
        {
            assert_eq!(Fingerprint::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_answer_is_complete_with_its_last_byte_and_not_before() {
        for lines in [vec![], vec!["a b".to_owned()], vec!["x".to_owned(), "ü".repeat(40_000)]] {
            let body = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            let bytes = Answer::Keys(lines).encode();
            for cut in (0..bytes.len()).filter(|cut| *cut < 100 || cut + 100 > bytes.len()) {
                assert_eq!(Received::parse(&bytes[..cut]), Ok(None), "{cut}");
            }
            assert_eq!(Received::parse(&bytes), Ok(Some(Received::Keys(body.as_bytes()))));
            assert_eq!(Received::parse(&[bytes.as_slice(), b"x"].concat()), Err(Malformed));
        }
        assert_eq!(Received::parse(b"unknown"), Ok(None));
        assert_eq!(Received::parse(&Answer::Unknown.encode()), Ok(Some(Received::Unknown)));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let bad: [&[u8]; 14] = [
            b"\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"unknown\nend\n",
            b"keys 1 2\na\nend\nx",
            b"keys 2 2\na\nend\n",
            b"keys 1 4\na\nb\nend\n",
            b"keys 1 2\nab\nend\n",
            b"keys 1 1\n\nend\n",
            b"keys 1 2\na\nEND\n",
            b"keys 01 2\na\nend\n",
            b"keys +1 2\na\nend\n",
            b"keys 1 -2\n",
            b"keys 1 9999999\n",
            b"keys 99999 2\n",
        ];
        for bytes in bad {
            assert_eq!(Received::parse(bytes), Err(Malformed), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn lines_that_break_a_limit_make_no_answer_instead_of_a_short_one() {
        let line = |length: usize| "k".repeat(length);
        let limits = [
            vec![line(MAX_LINE + 1)],
            vec![line(1); MAX_LINES + 1],
            vec![line(MAX_LINE); MAX_ANSWER / MAX_LINE + 1],
            vec![String::new()],
            vec!["a\nb".to_owned()],
        ];
        for (i, lines) in limits.into_iter().enumerate() {
            assert!(Answer::Keys(lines).encode() == UNKNOWN, "case {i}");
        }
        let most = Answer::Keys(vec![line(200); MAX_LINES]).encode();
        assert!(matches!(Received::parse(&most), Ok(Some(Received::Keys(_)))));
        assert!(most.len() <= MAX_ANSWER);
    }
}
