//! The audit log: one JSON line for every write and every login, failed ones too. Who writes what into it is decided
//! by `api`; nobody puts secrets in.
//!
//! A line is one `write` to a file opened for appending, so that several writers do not mix. Text from outside can't
//! make a second line: JSON escapes control characters. The last lines are kept in memory and answer `/task/log`.
//!
//! One thread of its own writes, in the order of the records: a disk that is slow keeps no request from its answer. What
//! it has not got to is lost with the process, not with an ordinary end ([`Audit::flush`]).

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How many records are kept in memory.
const KEPT: usize = 4096;

/// How many lines may wait to be written; further ones are lost, and counted as failures.
const WAITING: usize = 8192;

/// How much of an existing file is read at the start, in bytes.
const TAIL: u64 = 4 << 20;

/// One line. Names are in their canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// RFC 3339 with microseconds and an offset.
    pub(crate) time: String,
    /// Empty where the answer has none (login, logout).
    pub(crate) task_id: String,
    /// What was asked for, in the API's words: `Create user`.
    pub(crate) action: String,
    /// The user who asked; empty where no such name can exist.
    pub(crate) actor: String,
    pub(crate) actor_number: u64,
    /// `api-key`, `token` or `password`.
    pub(crate) credential: String,
    /// The client's address.
    pub(crate) peer: String,
    pub(crate) method: String,
    /// `user`, `role`, `sshkey`, `dc`, `session`.
    pub(crate) object_type: String,
    pub(crate) object_name: String,
    /// The object's shown name.
    pub(crate) object_alias: String,
    /// Parameters that are no secrets, as `name=value`.
    pub(crate) detail: String,
    /// The datacenter whose number the task id holds.
    pub(crate) dc: String,
    /// `SUCCESS` or `FAILURE`.
    pub(crate) status: String,
    pub(crate) http_status: u16,
}

/// The log.
#[derive(Debug)]
pub(crate) struct Audit {
    recent: Mutex<VecDeque<Arc<Record>>>,
    /// None where the log is in memory only.
    lines: Option<SyncSender<Vec<u8>>>,
    state: Arc<State>,
}

/// What the log and its writer share.
#[derive(Debug, Default)]
struct State {
    failures: AtomicU64,
    /// Lines that are not written yet.
    waiting: Mutex<u64>,
    written: Condvar,
}

impl State {
    fn fail(&self, why: &dyn std::fmt::Display) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        tracing::error!(error = %why, "the audit file can't be written");
    }

    fn done(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = waiting.saturating_sub(1);
        if *waiting == 0 {
            self.written.notify_all();
        }
    }
}

impl Audit {
    /// Opens or makes the file (0640), reads its end and starts the writer. Without a path the log is in memory only.
    ///
    /// # Errors
    /// The file can't be opened or read; a line that can't be understood is skipped. There is no thread to be had.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Self> {
        let state = Arc::new(State::default());
        let Some(path) = path else { return Ok(Self { recent: Mutex::default(), lines: None, state }) };
        let mut file = open(path)?;
        let recent = Mutex::new(tail(&mut file)?);
        let (lines, receiver) = sync_channel(WAITING);
        let log = Log { path: path.to_owned(), file, cut_short: false };
        let shared = Arc::clone(&state);
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || log.write_all(&receiver, &shared))?;
        Ok(Self { recent, lines: Some(lines), state })
    }

    /// Adds a record, and hands its line to the writer; waits for nothing. Where the line can't be written that is
    /// counted and logged, and the record kept in memory all the same, since what it tells of has happened.
    pub(crate) fn record(&self, record: Record) {
        let line = serde_json::to_vec(&record).map(|mut line| {
            line.push(b'\n');
            line
        });
        // Sent under the lock: the file's order is the memory's.
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= KEPT {
            recent.pop_front();
        }
        recent.push_back(Arc::new(record));
        let Some(lines) = &self.lines else { return };
        let sent = line.map_err(|error| error.to_string()).and_then(|line| {
            *self.state.waiting.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            lines.try_send(line).map_err(|_| {
                self.state.done();
                "too many lines wait to be written".to_owned()
            })
        });
        drop(recent);
        if let Err(error) = sent {
            self.state.fail(&error);
        }
    }

    /// Waits until every line so far is written, no longer than `patience`; whether they are. Blocks.
    pub(crate) fn flush(&self, patience: Duration) -> bool {
        let waiting = self.state.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.state.written.wait_timeout_while(waiting, patience, |waiting| *waiting > 0);
        !result.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// How many lines are not written yet.
    pub(crate) fn waiting(&self) -> u64 {
        *self.state.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest `limit` records that `wanted` takes, newest first.
    pub(crate) fn newest(&self, limit: usize, wanted: impl Fn(&Record) -> bool) -> Vec<Arc<Record>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().rev().filter(|record| wanted(record)).take(limit).cloned().collect()
    }

    /// How many lines could not be written.
    pub(crate) fn failures(&self) -> u64 {
        self.state.failures.load(Ordering::Relaxed)
    }
}

/// The file, as its writer has it.
struct Log {
    path: PathBuf,
    file: File,
    /// The last line may have been written in part: on a full disk, for instance.
    cut_short: bool,
}

impl Log {
    /// Writes what comes until nobody can send any more.
    fn write_all(mut self, lines: &Receiver<Vec<u8>>, state: &State) {
        for line in lines {
            if let Err(error) = self.append(&line) {
                state.fail(&error);
            }
            state.done();
        }
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        // A log rotation moves the file away: what counts is the one under the path now.
        let same = std::fs::metadata(&self.path)
            .is_ok_and(|named| self.file.metadata().is_ok_and(|m| (m.dev(), m.ino()) == (named.dev(), named.ino())));
        if !same {
            self.file = open(&self.path)?;
            self.cut_short = false;
        }
        if self.cut_short {
            self.file.write_all(b"\n")?;
        }
        self.cut_short = true;
        self.file.write_all(line)?;
        self.cut_short = false;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)
}

/// The last records of the file. Ends an unfinished last line, which a crash may have left.
fn tail(file: &mut File) -> io::Result<VecDeque<Arc<Record>>> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    Read::by_ref(file).take(TAIL).read_to_end(&mut bytes)?;
    if bytes.last().is_some_and(|last| *last != b'\n') {
        file.write_all(b"\n")?;
    }
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    if from > 0 {
        lines.remove(0);
    }
    let mut records: VecDeque<_> = lines
        .into_iter()
        .rev()
        .filter_map(|line| serde_json::from_slice::<Record>(line).ok())
        .take(KEPT)
        .map(Arc::new)
        .collect();
    records.make_contiguous().reverse();
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(task_id: &str) -> Record {
        Record {
            time: "2026-11-24T02:03:48.673589+00:00".into(),
            task_id: task_id.into(),
            action: "Create user".into(),
            actor: "admin".into(),
            actor_number: 1,
            credential: "api-key".into(),
            peer: "127.0.0.1".into(),
            method: "POST".into(),
            object_type: "user".into(),
            object_name: "bob".into(),
            object_alias: "Bob\r\n{\"time\":\"forged\"}\u{2028}".into(),
            detail: String::new(),
            dc: "main".into(),
            status: "SUCCESS".into(),
            http_status: 201,
        }
    }

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("usher-audit-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn flush(audit: &Audit) {
        assert!(audit.flush(Duration::from_secs(10)));
    }

    /// O_NONBLOCK.
    const NONBLOCK: i32 = nix::fcntl::OFlag::O_NONBLOCK.bits();

    fn ids(audit: &Audit) -> Vec<String> {
        audit.newest(10, |_| true).iter().map(|r| r.task_id.clone()).collect()
    }

    #[test]
    fn records_are_one_line_each_and_come_back_after_a_restart_newest_first() {
        let dir = Dir::new("restart");
        let path = dir.0.join("audit.log");
        let audit = Audit::open(Some(&path)).unwrap();
        audit.record(record("a"));
        audit.record(record("b"));
        flush(&audit);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert_eq!(ids(&Audit::open(Some(&path)).unwrap()), ["b", "a"]);
    }

    #[test]
    fn a_line_that_a_crash_cut_short_hurts_no_other() {
        let dir = Dir::new("crash");
        let path = dir.0.join("audit.log");
        let audit = Audit::open(Some(&path)).unwrap();
        audit.record(record("a"));
        flush(&audit);
        File::options().append(true).open(&path).unwrap().write_all(b"{\"time\":\"20").unwrap();
        let audit = Audit::open(Some(&path)).unwrap();
        audit.record(record("b"));
        flush(&audit);
        assert_eq!(ids(&Audit::open(Some(&path)).unwrap()), ["b", "a"]);
    }

    #[test]
    fn a_line_that_a_full_disk_cut_short_hurts_no_other() {
        // A pipe that is filled while a long line is written.
        let (mut reader, writer) = io::pipe().unwrap();
        nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&writer)));
        let mut log = Log { path, file: File::from(std::os::fd::OwnedFd::from(writer)), cut_short: false };
        let long = [b"x".repeat(200_000), b"\n".to_vec()].concat();
        assert!(log.append(&long).is_err());
        let mut taken = vec![0; 1 << 16];
        reader.read_exact(&mut taken).unwrap();
        log.append(b"{}\n").unwrap();
        log.append(b"[]\n").unwrap();
        drop(log);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest.trim_start_matches('x'), "\n{}\n[]\n");
    }

    #[test]
    fn a_rotated_file_is_left_for_the_new_one() {
        let dir = Dir::new("rotate");
        let path = dir.0.join("audit.log");
        let audit = Audit::open(Some(&path)).unwrap();
        audit.record(record("a"));
        flush(&audit);
        std::fs::rename(&path, dir.0.join("audit.log.1")).unwrap();
        audit.record(record("b"));
        flush(&audit);
        assert!(std::fs::read_to_string(&path).unwrap().contains("\"b\""));
        assert_eq!(audit.failures(), 0);
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_kept() {
        let dir = Dir::new("full");
        let path = dir.0.join("audit.log");
        let audit = Audit::open(Some(&path)).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        audit.record(record("a"));
        flush(&audit);
        assert_eq!(audit.failures(), 1);
        assert_eq!(ids(&audit), ["a"]);
    }

    #[test]
    fn a_disk_that_is_stuck_keeps_nobody_waiting_and_its_losses_are_counted() {
        let dir = Dir::new("stuck");
        let path = dir.0.join("audit.log");
        let audit = Audit::open(Some(&path)).unwrap();
        // A pipe that nobody reads: opening it, as after a rotation, blocks.
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut filler = OpenOptions::new().read(true).write(true).custom_flags(NONBLOCK).open(&path).unwrap();
        while filler.write(&[b'x'; 4096]).is_ok() {}
        while filler.write(b"x").is_ok() {}
        for number in 0..WAITING + 10 {
            audit.record(record(&number.to_string()));
        }
        assert!((8..=10).contains(&audit.failures()), "{}", audit.failures());
        assert_eq!(ids(&audit)[0], (WAITING + 9).to_string());
        assert!(!audit.flush(Duration::from_millis(1)));
    }

    #[test]
    fn memory_is_bounded() {
        let audit = Audit::open(None).unwrap();
        for number in 0..KEPT + 10 {
            audit.record(record(&number.to_string()));
        }
        assert_eq!(audit.newest(usize::MAX, |_| true).len(), KEPT);
    }
}
