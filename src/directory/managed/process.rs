//! The managed slapd as a process: found, started as the right user, watched, restarted, ended.
//!
//! It must not outlive us, however we end. The kernel's parent-death signal does that, if it is set after the change of
//! user (which clears it) and before exec, and if the thread that spawns lives as long as we do. So our own binary is
//! the first program of the child: it drops the rights, sets the signal, and becomes slapd. That needs no unsafe code.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Gid, Pid, Uid, getppid, setgid, setgroups, setuid};
use tracing::{error, info, warn};

use super::home::Account;

/// usherd's first argument when it is about to become slapd. Not for people.
pub(crate) const BECOME_SLAPD: &str = "__become-slapd";
/// How long a first start may take: slapd opens a database of any size in well under a second.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long slapd may take to end in peace.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How long to wait for a predecessor that is being killed.
const PREDECESSOR_LIMIT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A slapd that ran this long was healthy: the next restart is quick again.
const HEALTHY: Duration = Duration::from_secs(30);
/// How many lines of what is said are kept.
const SAID: usize = 4;
/// How long slapd may take to say why it does not start.
const DIAGNOSIS_LIMIT: Duration = Duration::from_secs(3);

/// What is started, and how.
#[derive(Debug)]
pub(crate) struct Launch {
    /// slapd's own binary.
    pub(crate) program: PathBuf,
    /// Where it runs; slapd.conf is there.
    pub(crate) dir: PathBuf,
    pub(crate) account: Option<Account>,
    /// Listeners, blank-separated.
    pub(crate) urls: String,
    /// The socket whose answering means that slapd is up.
    pub(crate) socket: PathBuf,
}

/// slapd's binary: on PATH, or where distributions put it.
///
/// # Errors
/// One line that says what to install.
pub(crate) fn find() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(
            ["/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/usr/local/libexec", "/usr/lib/openldap"].map(Into::into),
        )
        .map(|dir| dir.join("slapd"))
        .find(|file| file.is_absolute() && file.is_file())
        .ok_or_else(|| "slapd is not installed: apt-get install slapd slapd-contrib".to_owned())
}

#[derive(Debug, Default)]
struct State {
    /// The child; set from its start until it is reaped, both under the lock, so that no other process is ever signalled.
    pid: Option<Pid>,
    stopping: bool,
    /// How often slapd has ended.
    ends: usize,
    /// The first lines that it said.
    said: Vec<String>,
}

#[derive(Debug)]
struct Shared {
    launch: Launch,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether our own slapd answers: a predecessor that is being killed may still do.
    fn answers(&self) -> bool {
        let Ok(stream) = UnixStream::connect(&self.launch.socket) else { return false };
        let Ok(listener) = getsockopt(&stream, PeerCredentials) else { return false };
        self.state().pid == Some(Pid::from_raw(listener.pid()))
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.state().pid {
            // it has not been reaped, so the number is still its own
            let _ = kill(pid, signal);
        }
    }
}

/// A slapd that is kept running until [`Slapd::stop`].
#[derive(Debug)]
pub(crate) struct Slapd {
    shared: Arc<Shared>,
    keeper: Option<JoinHandle<()>>,
}

impl Slapd {
    /// Starts slapd and waits until it answers. Blocks.
    ///
    /// # Errors
    /// It did not start; with what it said.
    pub(crate) fn start(launch: Launch) -> Result<Self, String> {
        let shared = Arc::new(Shared { launch, state: Mutex::default(), changed: Condvar::new() });
        let for_keeper = Arc::clone(&shared);
        let keeper = thread::Builder::new()
            .name("slapd".to_owned())
            .spawn(move || keep(&for_keeper))
            .map_err(|e| format!("no thread for slapd: {e}"))?;
        let mut slapd = Self { shared, keeper: Some(keeper) };
        let start = Instant::now();
        while !slapd.shared.answers() {
            if slapd.shared.state().ends > 0 || start.elapsed() > START_LIMIT {
                slapd.end();
                let mut said = std::mem::take(&mut slapd.shared.state().said);
                if said.is_empty() {
                    said = diagnose(&slapd.shared.launch);
                }
                return Err(format!("slapd does not start: {}{}", said.join("; "), app_armor_hint()));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(slapd)
    }

    /// Ends slapd in peace, or by force where it does not listen. Blocks.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(keeper) = self.keeper.take() else { return };
        self.shared.state().stopping = true;
        self.shared.changed.notify_all();
        // a frozen one (SIGSTOP) takes the signal when it continues
        self.shared.signal(Signal::SIGTERM);
        self.shared.signal(Signal::SIGCONT);
        let start = Instant::now();
        while !keeper.is_finished() {
            if start.elapsed() > STOP_LIMIT {
                warn!("slapd does not end in time and is killed");
                self.shared.signal(Signal::SIGKILL);
                break;
            }
            thread::sleep(Duration::from_millis(2));
        }
        let _ = keeper.join();
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts slapd again whenever it ends. The thread that runs this lives as long as the process or until `stop`: the
/// kernel kills slapd when it ends.
fn keep(shared: &Shared) {
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Instant::now();
        let end = run_once(shared);
        let mut state = shared.state();
        state.ends += 1;
        if state.stopping {
            match end {
                Ok(status) => info!(%status, "slapd ended"),
                Err(error) => error!(%error, "slapd"),
            }
            return;
        }
        if started.elapsed() >= HEALTHY {
            pause = FIRST_PAUSE;
        }
        match end {
            Ok(status) => error!(%status, ?pause, "slapd ended by itself and is started again"),
            Err(error) => error!(%error, ?pause, "slapd did not start and is tried again"),
        }
        let wait = shared.changed.wait_timeout_while(state, pause, |state| !state.stopping);
        if wait.unwrap_or_else(PoisonError::into_inner).0.stopping {
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn run_once(shared: &Shared) -> Result<ExitStatus, String> {
    let mut child = {
        let mut state = shared.state();
        if state.stopping {
            return Err("stopping".to_owned());
        }
        let child = spawn(&shared.launch, "0").map_err(|e| e.to_string())?;
        state.pid = i32::try_from(child.id()).ok().map(Pid::from_raw);
        child
    };
    if let Some(pipe) = child.stderr.take() {
        listen(shared, pipe);
    }
    // its standard error is closed: it has ended, or is about to
    let pid = shared.state().pid;
    if let Some(pid) = pid {
        // waits without reaping, so that the number stays its own until nobody may signal it any more
        while let Err(nix::Error::EINTR) = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {}
    }
    let mut state = shared.state();
    state.pid = None;
    child.wait().map_err(|e| e.to_string())
}

fn spawn(launch: &Launch, level: &str) -> std::io::Result<Child> {
    let none = OsString::from("-");
    let (uid, gid) = match launch.account {
        Some(account) => (account.uid.to_string().into(), account.gid.to_string().into()),
        None => (none.clone(), none),
    };
    Command::new("/proc/self/exe")
        .arg(BECOME_SLAPD)
        .args([OsString::from(std::process::id().to_string()), uid, gid])
        .arg(&launch.program)
        // any level keeps it in the foreground: "0" is silent, "none" says what is said at every level
        .args(["-d", level, "-f", "slapd.conf", "-h", &launch.urls])
        .current_dir(&launch.dir)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        // the host's ldap.conf is not for this server
        .env("LDAPNOINIT", "1")
        // Ctrl-C is for usherd, which ends slapd last
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
}

/// Passes what the child says on to the log until it closes its standard error: a fault of [`become_slapd`], or of a
/// library. slapd itself is silent, since its words come with every operation and a full pipe would stop it.
fn listen(shared: &Shared, pipe: ChildStderr) {
    for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        let text = message(&line);
        warn!(slapd = text);
        let mut state = shared.state();
        if state.said.len() < SAID {
            state.said.push(text.to_owned());
        }
    }
}

/// Why slapd does not start: starts it once more and lets it speak.
fn diagnose(launch: &Launch) -> Vec<String> {
    let Ok(mut child) = spawn(launch, "none") else { return Vec::new() };
    let (sender, lines) = mpsc::channel();
    if let Some(pipe) = child.stderr.take() {
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let _ = sender.send(message(&String::from_utf8_lossy(&line)).to_owned());
            }
        });
    }
    let start = Instant::now();
    let mut said = Vec::new();
    while let Ok(line) = lines.recv_timeout(DIAGNOSIS_LIMIT.saturating_sub(start.elapsed())) {
        let routine = ["@(#)", "slapd starting", "slapd stopped", "slapd shutdown"].iter().any(|p| line.starts_with(p));
        if !routine && !line.is_empty() && !line.contains("Maintainers <") && said.len() < SAID {
            said.push(line);
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    said
}

/// The line without slapd's time stamp and thread number (`6b05bea2.0428afd3 0x7fed3eb3c200 `).
fn message(line: &str) -> &str {
    let mut parts = line.trim_end().splitn(3, ' ');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(thread), Some(text)) if thread.starts_with("0x") => text.trim(),
        _ => line.trim(),
    }
}

/// Ubuntu confines slapd to the system's own directories.
fn app_armor_hint() -> &'static str {
    if Path::new("/sys/module/apparmor").exists() && Path::new("/etc/apparmor.d/usr.sbin.slapd").exists() {
        " (an AppArmor profile confines slapd to the system's directories: apparmor_parser -R /etc/apparmor.d/usr.sbin.slapd)"
    } else {
        ""
    }
}

/// The child's first program: gives up rights, ties itself to the parent's life, and becomes slapd.
///
/// Arguments: the parent's process id, uid and gid to run as (or `-`), slapd's binary and its arguments.
pub(crate) fn become_slapd(args: &[OsString]) -> ExitCode {
    let Err(error) = try_become_slapd(args);
    let _ = writeln!(std::io::stderr(), "usherd: slapd: {error}");
    ExitCode::FAILURE
}

fn try_become_slapd(args: &[OsString]) -> Result<std::convert::Infallible, String> {
    let [parent, uid, gid, program, rest @ ..] = args else {
        return Err("not to be called by hand".to_owned());
    };
    let number = |text: &OsStr| text.to_str().and_then(|t| t.parse::<u32>().ok());
    let parent = number(parent).and_then(|n| i32::try_from(n).ok()).ok_or("no parent")?;
    if getppid() != Pid::from_raw(parent) {
        return Err("usherd is gone".to_owned());
    }
    let lock_file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open("slapd.lock")
        .map_err(|e| format!("slapd.lock: {e}"))?;
    if let (Some(uid), Some(gid)) = (number(uid), number(gid)) {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        setgroups(&[gid]).and_then(|()| setgid(gid)).and_then(|()| setuid(uid)).map_err(|e| format!("user: {e}"))?;
    }
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(|e| format!("parent-death signal: {e}"))?;
    if getppid() != Pid::from_raw(parent) {
        // it ended before the signal was set
        return Err("usherd is gone".to_owned());
    }
    umask(Mode::from_bits_truncate(0o077));
    // The lock is slapd's: it goes with it. A predecessor whose usherd was killed is killed too, but may take a moment.
    let lock = wait_for_lock(lock_file)?;
    fcntl(&*lock, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|e| format!("slapd.lock: {e}"))?;
    let error = Command::new(program).arg0("slapd").args(rest).exec();
    drop(lock);
    Err(format!("{}: {error}", Path::new(program).display()))
}

fn wait_for_lock(mut file: std::fs::File) -> Result<Flock<std::fs::File>, String> {
    let start = Instant::now();
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, nix::Error::EWOULDBLOCK)) if start.elapsed() > PREDECESSOR_LIMIT => {
                return Err("another slapd still runs in this directory".to_owned());
            }
            Err((back, nix::Error::EWOULDBLOCK)) => file = back,
            Err((_, error)) => return Err(format!("slapd.lock: {error}")),
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slapds_stamp_is_cut_off() {
        assert_eq!(message("6b05bea2.0428afd3 0x7fed3eb3c200 slapd starting"), "slapd starting");
        assert_eq!(message("usherd: slapd: usherd is gone\r"), "usherd: slapd: usherd is gone");
        assert_eq!(message(""), "");
    }
}
