//! The audit log: one JSON line for every write and every login, failed ones too. Who writes what into it is decided
//! by `api`; nobody puts secrets in.
//!
//! A line is one `write` to a file opened for appending, so that several writers do not mix. Text from outside can't
//! make a second line: JSON escapes control characters. The last lines are kept in memory and answer `/task/log`.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// How many records are kept in memory.
const KEPT: usize = 4096;

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
    inner: Mutex<Inner>,
    failures: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    path: Option<PathBuf>,
    file: Option<File>,
    recent: VecDeque<Arc<Record>>,
}

impl Audit {
    /// Opens or makes the file (0640) and reads its end. Without a path the log is in memory only.
    ///
    /// # Errors
    /// The file can't be opened or read; a line that can't be understood is skipped.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Self> {
        let mut inner = Inner { path: path.map(Path::to_owned), file: None, recent: VecDeque::new() };
        if let Some(path) = path {
            let mut file = open(path)?;
            inner.recent = tail(&mut file)?;
            inner.file = Some(file);
        }
        Ok(Self { inner: Mutex::new(inner), failures: AtomicU64::new(0) })
    }

    /// Adds a record. When this returns the line is with the operating system; where that fails it is counted, logged
    /// and kept in memory, since what the record tells of has happened.
    pub(crate) fn record(&self, record: Record) {
        let line = serde_json::to_string(&record).map(|mut line| {
            line.push('\n');
            line
        });
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let written = line.map_err(io::Error::from).and_then(|line| inner.append(line.as_bytes()));
        if inner.recent.len() >= KEPT {
            inner.recent.pop_front();
        }
        inner.recent.push_back(Arc::new(record));
        drop(inner);
        if let Err(error) = written {
            self.failures.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "the audit file can't be written");
        }
    }

    /// The newest `limit` records that `wanted` takes, newest first.
    pub(crate) fn newest(&self, limit: usize, wanted: impl Fn(&Record) -> bool) -> Vec<Arc<Record>> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.recent.iter().rev().filter(|record| wanted(record)).take(limit).cloned().collect()
    }

    /// How many lines could not be written.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

impl Inner {
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        // A log rotation moves the file away: what counts is the one under the path now.
        let same = match (&self.file, std::fs::metadata(path)) {
            (Some(file), Ok(named)) => file.metadata().is_ok_and(|m| (m.dev(), m.ino()) == (named.dev(), named.ino())),
            _ => false,
        };
        if !same {
            self.file = Some(open(path)?);
        }
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(line))
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
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert_eq!(ids(&Audit::open(Some(&path)).unwrap()), ["b", "a"]);
    }

    #[test]
    fn a_line_that_a_crash_cut_short_hurts_no_other() {
        let dir = Dir::new("crash");
        let path = dir.0.join("audit.log");
        Audit::open(Some(&path)).unwrap().record(record("a"));
        File::options().append(true).open(&path).unwrap().write_all(b"{\"time\":\"20").unwrap();
        let audit = Audit::open(Some(&path)).unwrap();
        audit.record(record("b"));
        assert_eq!(ids(&Audit::open(Some(&path)).unwrap()), ["b", "a"]);
    }

    #[test]
    fn a_rotated_file_is_left_for_the_new_one() {
        let dir = Dir::new("rotate");
        let path = dir.0.join("audit.log");
        let audit = Audit::open(Some(&path)).unwrap();
        audit.record(record("a"));
        std::fs::rename(&path, dir.0.join("audit.log.1")).unwrap();
        audit.record(record("b"));
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
        assert_eq!(audit.failures(), 1);
        assert_eq!(ids(&audit), ["a"]);
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
