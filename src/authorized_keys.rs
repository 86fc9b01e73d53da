//! `usher-authorized-keys`: sshd's `AuthorizedKeysCommand`. Asks the daemon on this host for a user's keys and prints
//! them.
//!
//! sshd believes what is printed if, and only if, the exit status is 0. So 0 means "this is the complete answer", no keys
//! included, and anything else means "I don't know", with nothing printed. The whole answer is received and every line of
//! it checked again, by rules that are written down here a second time, before the first byte goes out in one write.
//! sshd waits for us without a limit of its own; the deadline is ours.
//!
//! The standard library and nothing else; no environment, no files, no panic: the standard print macros would panic on a
//! closed pipe, so they are not used.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use crate::lookup::{Fingerprint, MAX_ANSWER, MAX_USER, Question, Received};
use crate::name::UserName;

// Every name of a user fits into a question.
const _: () = assert!(UserName::MAX == MAX_USER);

const USAGE: &str = "usage: usher-authorized-keys [--socket PATH] [--deadline MS] [--] USER [FINGERPRINT]";
const HELP: &str = "
Prints USER's authorized_keys lines, as sshd's AuthorizedKeysCommand does:

    AuthorizedKeysCommand /usr/bin/usher-authorized-keys %u %f

  FINGERPRINT      only the lines that concern this key: SHA256:... or MD5:...
  --socket PATH    the daemon's lookup socket (default /run/usher/keys.sock)
  --deadline MS    longest wait for the whole answer, in milliseconds
                   (default 2000, at most 600000)
  --help           this text
  --version        the version

Exit status: 0 the answer is complete, also if it is empty; 64 wrong usage;
75 no answer, and why is in the system's log (authpriv). Nothing is printed
then.
";
const DEFAULT_SOCKET: &str = "/run/usher/keys.sock";
const SYSLOG: &str = "/dev/log";
const DEFAULT_DEADLINE: Duration = Duration::from_millis(2000);
const MAX_DEADLINE_MS: u32 = 600_000;

/// sysexits(3).
const EX_USAGE: u8 = 64;
const EX_TEMPFAIL: u8 = 75;

/// The state that decides between the main thread and the deadline who has the last word.
static STATE: AtomicU8 = AtomicU8::new(ASKING);
const ASKING: u8 = 0;
const ANSWERED: u8 = 1;
const EXPIRED: u8 = 2;

/// The helper.
pub fn main() -> ExitCode {
    match parse_arguments(std::env::args_os().skip(1).collect()) {
        Some(Action::Help) => say(&format!("{USAGE}\n{HELP}")),
        Some(Action::Version) => say(concat!("usher-authorized-keys ", env!("CARGO_PKG_VERSION"), "\n")),
        Some(Action::Nobody) => ExitCode::SUCCESS,
        Some(Action::Ask { socket, deadline, question }) => match ask_and_print(&socket, deadline, &question) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                let message = message(&socket, &question, &failure);
                log(Path::new(SYSLOG), &message);
                complain(&message);
                ExitCode::from(EX_TEMPFAIL)
            }
        },
        None => {
            complain(USAGE);
            ExitCode::from(EX_USAGE)
        }
    }
}

/// What the arguments ask for.
#[derive(Debug, PartialEq)]
enum Action {
    Ask {
        socket: PathBuf,
        deadline: Duration,
        question: Question,
    },
    Help,
    /// No user can have this name, so the complete answer is known without asking.
    Nobody,
    Version,
}

/// Reads the arguments; none on wrong usage.
///
/// Whoever logs in chooses what sshd puts in place of `%u`, so a word that begins with `-` is never taken for a user
/// unless `--` stands before it, options come before USER only, and help needs to be asked for by that word alone.
fn parse_arguments(arguments: Vec<OsString>) -> Option<Action> {
    if let [only] = arguments.as_slice() {
        match only.to_str() {
            Some("--help") => return Some(Action::Help),
            Some("--version") => return Some(Action::Version),
            _ => {}
        }
    }
    let mut socket = PathBuf::from(DEFAULT_SOCKET);
    let mut deadline = DEFAULT_DEADLINE;
    let mut arguments = arguments.into_iter();
    let user = loop {
        let argument = arguments.next()?;
        match argument.to_str() {
            Some("--socket") => socket = arguments.next().filter(|path| !path.is_empty())?.into(),
            Some("--deadline") => deadline = parse_deadline(arguments.next()?.to_str()?)?,
            Some("--") => break arguments.next()?,
            _ if argument.as_encoded_bytes().starts_with(b"-") => return None,
            _ => break argument,
        }
    };
    let fingerprint = match arguments.next() {
        Some(text) => Some(Fingerprint::parse(text.to_str()?)?),
        None => None,
    };
    if arguments.next().is_some() {
        return None;
    }
    Some(match user.to_str().map(UserName::parse) {
        Some(Ok(user)) => {
            let user = user.as_str().to_owned();
            Action::Ask { socket, deadline, question: Question { user, fingerprint } }
        }
        Some(Err(_)) | None => Action::Nobody,
    })
}

/// Milliseconds in plain digits, 1 to [`MAX_DEADLINE_MS`].
fn parse_deadline(text: &str) -> Option<Duration> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let milliseconds = text.parse().ok().filter(|number: &u32| digits && (1..=MAX_DEADLINE_MS).contains(number))?;
    Some(Duration::from_millis(milliseconds.into()))
}

/// Why there is no answer.
#[derive(Debug)]
enum Failure {
    /// The daemon's answer ended too early, or is none.
    Answer(&'static str),
    Deadline,
    /// A step on the way failed: its name, and the system's reason.
    Io(&'static str, ErrorKind),
}

/// The whole exchange: ask, check, print.
fn ask_and_print(socket: &Path, deadline: Duration, question: &Question) -> Result<(), Failure> {
    start_deadline(socket, deadline, question)?;
    let mut buffer = Vec::new();
    ask(socket, question, &mut buffer)?;
    let lines = check(&buffer)?;
    // From here on the deadline has no say, so that a whole answer is not cut. A failure leaves it in force, for the time
    // that reporting takes.
    if STATE.compare_exchange(ASKING, ANSWERED, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // The deadline won; its thread reports and ends the process.
        loop {
            thread::park();
        }
    }
    print(lines)
}

/// Ends the process when `deadline` has passed and no answer is there.
///
/// A thread, because connecting to a Unix socket blocks as long as the daemon's backlog is full, and neither the standard
/// library nor the socket's own time-outs can limit that. It does nothing but sleep, so it costs the ordinary case only
/// its start, a tenth of a millisecond.
fn start_deadline(socket: &Path, deadline: Duration, question: &Question) -> Result<(), Failure> {
    let socket = socket.to_owned();
    let question = question.clone();
    let expire = move || {
        thread::sleep(deadline);
        if STATE.compare_exchange(ASKING, EXPIRED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            let message = message(&socket, &question, &Failure::Deadline);
            log(Path::new(SYSLOG), &message);
            // Nobody ends us if we wait for a pipe here.
            if io::stderr().is_terminal() {
                complain(&message);
            }
            std::process::exit(i32::from(EX_TEMPFAIL));
        }
    };
    let thread = thread::Builder::new().stack_size(64 << 10).spawn(expire);
    thread.map(drop).map_err(|error| Failure::Io("start a thread", error.kind()))
}

/// Puts the question and collects the answer in `buffer`, until it is complete.
fn ask(socket: &Path, question: &Question, buffer: &mut Vec<u8>) -> Result<(), Failure> {
    let failed = |step| move |error: io::Error| Failure::Io(step, error.kind());
    let mut stream = UnixStream::connect(socket).map_err(failed("connect"))?;
    stream.write_all(&question.encode()).map_err(failed("ask"))?;
    buffer.resize(8 << 10, 0);
    let mut filled = 0;
    loop {
        let received = match stream.read(&mut buffer[filled..]) {
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed("read the answer")(error)),
        };
        if received == 0 {
            return Err(Failure::Answer("the answer is incomplete"));
        }
        filled += received;
        match Received::parse(&buffer[..filled]) {
            Ok(Some(_)) => {
                buffer.truncate(filled);
                return Ok(());
            }
            Ok(None) if filled == MAX_ANSWER => return Err(Failure::Answer("the answer is too long")),
            Ok(None) if filled == buffer.len() => buffer.resize((2 * filled).min(MAX_ANSWER), 0),
            Ok(None) => {}
            Err(_) => return Err(Failure::Answer("the answer is malformed")),
        }
    }
}

/// The lines of a complete answer, if each is one that may go to sshd.
fn check(answer: &[u8]) -> Result<&[u8], Failure> {
    let lines = match Received::parse(answer) {
        Ok(Some(Received::Keys(lines))) => lines,
        Ok(Some(Received::Unknown)) => return Err(Failure::Answer("the daemon doesn't know")),
        Ok(None) | Err(_) => return Err(Failure::Answer("the answer is malformed")),
    };
    let text = std::str::from_utf8(lines).map_err(|_| Failure::Answer("the answer is not UTF-8"))?;
    let mut scratch = Vec::new();
    for line in text.split_terminator('\n') {
        if !is_key_line(line, &mut scratch) {
            return Err(Failure::Answer("the answer holds a line that is no key"));
        }
    }
    Ok(lines)
}

/// Writes the answer in one go. A reader who has heard enough and closed the pipe got what he wanted.
fn print(lines: &[u8]) -> Result<(), Failure> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    match stdout.write_all(lines).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Io("write the answer", error.kind())),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether `line` is `[options] type base64[ comment]` (sshd(8)). `scratch` is memory to work in, whatever it holds.
fn is_key_line(line: &str, scratch: &mut Vec<u8>) -> bool {
    if line.chars().any(char::is_control) {
        return false;
    }
    is_key(line, scratch) || after_options(line).is_some_and(|key| is_key(key, scratch))
}

/// What follows the options and one blank. As sshd does it: blanks between quotes belong to the options, and `\"` does not
/// end a quote. Outside quotes nothing may stand that is in no option's name.
fn after_options(line: &str) -> Option<&str> {
    let bytes = line.as_bytes();
    let mut quoted = false;
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b'"' => quoted = !quoted,
            b'\\' if quoted && bytes.get(at + 1) == Some(&b'"') => at += 1,
            _ if quoted => {}
            b' ' if at > 0 => return line.get(at + 1..),
            byte if byte.is_ascii_alphanumeric() || b"-=,".contains(byte) => {}
            _ => return None,
        }
        at += 1;
    }
}

fn is_key(text: &str, scratch: &mut Vec<u8>) -> bool {
    let mut words = text.splitn(3, ' ');
    let (Some(word), Some(base64)) = (words.next(), words.next()) else {
        return false;
    };
    is_key_type(word) && decode_base64(base64.as_bytes(), scratch).is_some() && holds_key(scratch, word.as_bytes())
}

fn is_key_type(word: &str) -> bool {
    matches!(
        word,
        "ssh-ed25519"
            | "ssh-rsa"
            | "ssh-dss"
            | "ecdsa-sha2-nistp256"
            | "ecdsa-sha2-nistp384"
            | "ecdsa-sha2-nistp521"
            | "sk-ssh-ed25519@openssh.com"
            | "sk-ecdsa-sha2-nistp256@openssh.com"
    )
}

/// Whether `blob` is length-prefixed strings to its end (RFC 4251, 5), of which the first is `word` and others follow.
fn holds_key(blob: &[u8], word: &[u8]) -> bool {
    let mut rest = blob;
    let mut fields = 0;
    while !rest.is_empty() {
        let Some((length, tail)) = rest.split_first_chunk::<4>() else {
            return false;
        };
        let Some((field, tail)) =
            usize::try_from(u32::from_be_bytes(*length)).ok().and_then(|n| tail.split_at_checked(n))
        else {
            return false;
        };
        if fields == 0 && field != word {
            return false;
        }
        fields += 1;
        rest = tail;
    }
    fields > 1
}

/// Decodes base64 (RFC 4648, 4) into `out`; none if it is not padded, holds anything else or has stray bits at the end.
fn decode_base64(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    let mut groups = text.chunks_exact(4);
    if text.is_empty() || !groups.remainder().is_empty() {
        return None;
    }
    let last = groups.next_back()?;
    for group in groups {
        let value = group.iter().try_fold(0_u32, |value, digit| Some(value << 6 | digit_value(*digit)?))?;
        let [_, high, middle, low] = value.to_be_bytes();
        out.extend_from_slice(&[high, middle, low]);
    }
    let padding = last.iter().rev().take_while(|digit| **digit == b'=').count();
    let digits = last.get(..4_usize.checked_sub(padding)?).filter(|_| padding < 3)?;
    let value = digits.iter().try_fold(0_u32, |value, digit| Some(value << 6 | digit_value(*digit)?))?;
    let bytes = (value << (6 * padding)).to_be_bytes();
    let (kept, stray) = bytes.get(1..)?.split_at_checked(3_usize.checked_sub(padding)?)?;
    out.extend_from_slice(kept);
    stray.iter().all(|byte| *byte == 0).then_some(())
}

fn digit_value(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

/// Why there is no answer, in one line.
fn message(socket: &Path, question: &Question, failure: &Failure) -> String {
    let why = match failure {
        Failure::Answer(what) => (*what).to_owned(),
        Failure::Deadline => "no answer before the deadline".to_owned(),
        Failure::Io(step, kind) => format!("can't {step}: {kind}"),
    };
    format!("no keys for {}: {why} ({})", question.user, socket.display().to_string().escape_debug())
}

/// One message for syslog (RFC 3164, without the optional time and host, which its receiver adds): facility authpriv,
/// severity error. Whether it arrives is not our concern, so nothing here waits or fails.
fn log(socket: &Path, message: &str) {
    const PRIORITY: u8 = 10 << 3 | 3;
    let Ok(syslog) = UnixDatagram::unbound() else {
        return;
    };
    if syslog.set_nonblocking(true).is_ok() {
        let tag = format!("<{PRIORITY}>usher-authorized-keys[{}]: ", std::process::id());
        let _ = syslog.send_to(format!("{tag}{message}").as_bytes(), socket);
    }
}

fn say(text: &str) -> ExitCode {
    let _ = io::stdout().lock().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn complain(message: &str) {
    let _ = io::stderr().lock().write_all(format!("usher-authorized-keys: {message}\n").as_bytes());
}

#[cfg(test)]
mod tests;
