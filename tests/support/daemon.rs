//! `usherd dev` and `usherd serve` as child processes: start, ready line, credentials, signals, restart, end.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Api, Ldap, SyncProxy, TempDir, eventually};

const READY_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// What DIR/admin.env says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AdminEnv {
    pub(crate) api_url: String,
    pub(crate) api_key: String,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) ldap_url: String,
    pub(crate) bind_dn: String,
    pub(crate) bind_password_file: PathBuf,
    pub(crate) keys_socket: PathBuf,
}

impl AdminEnv {
    pub(crate) fn read(file: &Path) -> Self {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut values: BTreeMap<&str, String> = text
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
            .map(|line| {
                let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("admin.env: {line:?}"));
                (name, shell_unquote(value))
            })
            .collect();
        let mut take = |name: &str| values.remove(name).unwrap_or_else(|| panic!("admin.env has no {name}:\n{text}"));
        Self {
            api_url: take("ES_API_URL"),
            api_key: take("ES_API_KEY"),
            username: take("USHER_USERNAME"),
            password: take("USHER_PASSWORD"),
            ldap_url: take("USHER_LDAP_URL"),
            bind_dn: take("USHER_BIND_DN"),
            bind_password_file: take("USHER_BIND_PASSWORD_FILE").into(),
            keys_socket: take("USHER_KEYS_SOCKET").into(),
        }
    }
}

/// The value of one shell word as the shell would see it: single quotes, double quotes, backslashes.
fn shell_unquote(word: &str) -> String {
    let mut out = String::new();
    let mut chars = word.chars();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(q), c) if c == q => quote = None,
            (None, '\\') => out.extend(chars.next()),
            (Some('"'), '\\') => match chars.next() {
                Some(c @ ('"' | '\\' | '$' | '`')) => out.push(c),
                Some(c) => out.extend(['\\', c]),
                None => out.push('\\'),
            },
            (_, c) => out.push(c),
        }
    }
    assert_eq!(quote, None, "unclosed quote in {word:?}");
    out
}

/// How a `usherd dev` is to be started.
pub(crate) struct Builder {
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    throttle: bool,
    directory_name: String,
    open_files: Option<u32>,
}

impl Builder {
    pub(crate) fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub(crate) fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Keeps the throttles, which tests run without otherwise: they all come from one address.
    pub(crate) fn throttled(mut self) -> Self {
        self.throttle = true;
        self
    }

    /// The data directory's own name, below a short temporary directory.
    pub(crate) fn directory_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.directory_name);
        self
    }

    /// The limit of the daemon's open files, soft and hard.
    pub(crate) fn open_files(mut self, limit: u32) -> Self {
        self.open_files = Some(limit);
        self
    }

    pub(crate) fn start(self) -> Usherd {
        let temp = TempDir::new();
        let data = temp.path().join(&self.directory_name);
        let mut env = self.env;
        if !self.throttle {
            env.splice(0..0, no_throttle());
        }
        let mut command = vec!["dev".into(), "--data-dir".into(), data.clone().into_os_string()];
        if !self.args.iter().any(|arg| arg == "--listen") {
            command.extend(["--listen".into(), "127.0.0.1:0".into()]);
        }
        command.extend(self.args);
        let process = Process::start(&command, &env, self.open_files);
        let admin = AdminEnv::read(&data.join("admin.env"));
        Usherd { process, admin, command, env, data, temp: Arc::new(temp), open_files: self.open_files }
    }
}

fn no_throttle() -> impl Iterator<Item = (OsString, OsString)> {
    ["LOGINS", "BAD_CREDENTIALS", "BAD_PASSWORDS", "REQUESTS"]
        .into_iter()
        .map(|name| (format!("USHER__THROTTLE__{name}_PER_MINUTE").into(), "0".into()))
}

/// A running daemon with its data directory. Several may share one directory: the first is `usherd dev`, the others
/// come from [`Usherd::second`].
pub(crate) struct Usherd {
    process: Process,
    pub(crate) admin: AdminEnv,
    command: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    data: PathBuf,
    temp: Arc<TempDir>,
    open_files: Option<u32>,
}

impl Usherd {
    /// `usherd dev` on a fresh directory and a free port, without throttles.
    pub(crate) fn start() -> Self {
        Self::builder().start()
    }

    pub(crate) fn builder() -> Builder {
        Builder { args: Vec::new(), env: Vec::new(), throttle: false, directory_name: "d".to_owned(), open_files: None }
    }

    /// A second daemon on the same directory: `usherd serve --config DIR/usherd.toml` with its own port and socket.
    pub(crate) fn second(&self, name: &str) -> Self {
        self.second_with(name, &[])
    }

    /// The same with further settings, each `section.key=value`.
    pub(crate) fn second_with(&self, name: &str, settings: &[&str]) -> Self {
        let socket = self.temp.path().join(format!("{name}.sock"));
        let mut command: Vec<OsString> = vec![
            "serve".into(),
            "--config".into(),
            self.data.join("usherd.toml").into_os_string(),
            "--set".into(),
            "http.listen=127.0.0.1:0".into(),
            "--set".into(),
            format!("lookup.socket={}", socket.display()).into(),
        ];
        command.extend(settings.iter().flat_map(|setting| ["--set".into(), OsString::from(setting)]));
        let process = Process::start(&command, &self.env, self.open_files);
        let admin = AdminEnv { api_url: process.url.clone(), keys_socket: socket, ..self.admin.clone() };
        let (env, data, temp) = (self.env.clone(), self.data.clone(), Arc::clone(&self.temp));
        Self { process, admin, command, env, data, temp, open_files: self.open_files }
    }

    /// A second daemon whose connections to the directory go through a proxy.
    pub(crate) fn second_behind_proxy(&self) -> (Self, SyncProxy) {
        let text = fs::read_to_string(self.data.join("usherd.toml")).unwrap();
        let url = text.lines().find_map(|line| line.strip_prefix("urls = [\"ldapi://")?.strip_suffix("\"]"));
        let server = url.expect("usherd.toml names the server's socket").replace("%2F", "/");
        let proxy = SyncProxy::start(&self.scratch().join("proxy"), server.as_ref());
        // What a test holds back on its way must not be given up.
        let patience = "directory.operation-timeout-ms=30000";
        let second = self.second_with("second", &[&format!("directory.urls=[\"{}\"]", proxy.url()), patience]);
        (second, proxy)
    }

    /// The base URL of the ready line, as in `http://127.0.0.1:8000/api`.
    pub(crate) fn url(&self) -> &str {
        &self.process.url
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data
    }

    /// A place for a test's own files, removed with the daemon.
    pub(crate) fn scratch(&self) -> &Path {
        self.temp.path()
    }

    /// The API, spoken to with admin's key.
    pub(crate) fn api(&self) -> Api {
        self.anonymous().with_header("ES-API-KEY", &self.admin.api_key)
    }

    /// The API without credentials.
    pub(crate) fn anonymous(&self) -> Api {
        Api::new(self.url())
    }

    /// The API as `username`, logged in with `password`.
    #[track_caller]
    pub(crate) fn login(&self, username: &str, password: &str) -> Api {
        let body = serde_json::json!({"username": username, "password": password});
        let answer = self.anonymous().post("/accounts/login/", &body);
        assert_eq!(answer.status, 200, "login as {username}: {answer:?}");
        let token = answer.json()["token"].as_str().map(str::to_owned).unwrap_or_else(|| panic!("{answer:?}"));
        self.anonymous().with_header("Authorization", &format!("Token {token}"))
    }

    /// The directory, as the manager that admin.env names.
    pub(crate) fn ldap(&self) -> Ldap {
        Ldap::new(&self.admin.ldap_url, &self.admin.bind_dn, &self.admin.bind_password_file)
    }

    pub(crate) fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// The slapd that this daemon runs, if it runs one now.
    pub(crate) fn slapd_pid(&self) -> Option<Pid> {
        children(self.pid()).into_iter().find(|(_, name)| name == "slapd").map(|(pid, _)| pid)
    }

    /// Everything that the daemon wrote to stderr since its (last) start.
    pub(crate) fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Asks the daemon to end (SIGTERM) and waits for it.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.process.signal(Signal::SIGTERM);
        self.process.wait(STOP_LIMIT)
    }

    /// kill -9 of the daemon alone.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        self.process.signal(Signal::SIGKILL);
        self.process.wait(STOP_LIMIT);
    }

    /// Sends `signal` to the daemon's slapd; one that is to stop has stopped when this returns, with all its threads.
    #[track_caller]
    pub(crate) fn signal_slapd(&self, signal: Signal) {
        let slapd = self.slapd_pid().expect("usherd runs a slapd");
        kill(slapd, signal).unwrap();
        if signal == Signal::SIGSTOP {
            eventually(STOP_LIMIT, "slapd stops", || is_stopped(slapd).then_some(()));
        }
    }

    /// Sends `signal` to the daemon.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// The status with which the daemon ended, if it has.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.process.child.try_wait().unwrap()
    }

    /// Starts the daemon again on the same directory, after [`Self::stop`] or [`Self::kill`]; with port 0 the address
    /// is a new one.
    pub(crate) fn start_again(&mut self) {
        assert!(self.exited().is_some(), "it still runs");
        self.process = Process::start(&self.command, &self.env, self.open_files);
        if self.command[0] == "dev" {
            self.admin = AdminEnv::read(&self.data.join("admin.env"));
        } else {
            self.admin.api_url.clone_from(&self.process.url);
        }
    }
}

/// One child process that has printed its ready line.
struct Process {
    child: Child,
    url: String,
    stderr: Arc<Mutex<Vec<u8>>>,
    /// Kept for identity: a process id alone may be somebody else's by the time it is signalled.
    slapd: Option<(Pid, u64)>,
}

impl Process {
    fn start(args: &[OsString], env: &[(OsString, OsString)], open_files: Option<u32>) -> Self {
        let usherd = env!("CARGO_BIN_EXE_usherd");
        let mut command = match open_files {
            // prlimit becomes the daemon: the process id is the same.
            Some(limit) => {
                let mut command = Command::new("prlimit");
                command.arg(format!("--nofile={limit}:{limit}")).arg(usherd);
                command
            }
            None => Command::new(usherd),
        };
        let mut child = command
            .args(args)
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("usherd starts");
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let (mut pipe, sink) = (child.stderr.take().unwrap(), Arc::clone(&stderr));
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(read @ 1..) = pipe.read(&mut chunk) {
                sink.lock().unwrap().extend_from_slice(&chunk[..read]);
            }
        });
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            // Reads on after the ready line: a daemon must never wait for a full pipe.
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut process = Self { child, url: String::new(), stderr, slapd: None };
        process.url = match lines.recv_timeout(READY_LIMIT) {
            Ok(line) => match line.strip_prefix("usherd ready: ") {
                Some(url) => url.to_owned(),
                None => panic!("stdout has {line:?} before the ready line\n{}", process.stderr()),
            },
            Err(RecvTimeoutError::Timeout) => panic!("{args:?}: not ready\n{}", process.stderr()),
            Err(RecvTimeoutError::Disconnected) => {
                let status = process.wait(STOP_LIMIT);
                panic!("{args:?}: ended before it was ready, {status}\n{}", process.stderr())
            }
        };
        process.note_slapd();
        process
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned()
    }

    fn note_slapd(&mut self) {
        let slapd = children(self.pid()).into_iter().find(|(_, name)| name == "slapd");
        if let Some((pid, _)) = slapd {
            self.slapd = Stat::of(pid).map(|stat| (pid, stat.started));
        }
    }

    fn signal(&self, signal: Signal) {
        // The child has not been waited for, so its id is still its own.
        let _ = kill(self.pid(), signal);
    }

    #[track_caller]
    fn wait(&mut self, limit: Duration) -> ExitStatus {
        eventually(limit, "usherd ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.note_slapd();
        if let Ok(None) = self.child.try_wait() {
            self.signal(Signal::SIGCONT);
            self.signal(Signal::SIGTERM);
            let start = Instant::now();
            while start.elapsed() < STOP_LIMIT && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // A daemon that a test killed or froze may not have ended its slapd yet; the next one must not meet it.
        if let Some((pid, started)) = self.slapd
            && Stat::of(pid).is_some_and(|stat| stat.started == started)
        {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

/// What /proc/PID/stat says.
struct Stat {
    name: String,
    parent: i32,
    /// Start time in clock ticks since boot: with the id, a process's identity.
    started: u64,
}

impl Stat {
    fn of(pid: Pid) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may hold blanks and parentheses itself.
        let (head, tail) = text.rsplit_once(')')?;
        let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
        Some(Self {
            name: head.split_once('(')?.1.to_owned(),
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

/// The processes whose parent is `parent`, with their names.
fn children(parent: Pid) -> Vec<(Pid, String)> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| Some(Pid::from_raw(entry.ok()?.file_name().to_str()?.parse().ok()?)))
        .filter_map(|pid| Stat::of(pid).filter(|stat| stat.parent == parent.as_raw()).map(|stat| (pid, stat.name)))
        .collect()
}

/// Whether every thread of the process has stopped.
fn is_stopped(pid: Pid) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.flatten().all(|thread| {
        // A thread that has just ended has no file any more.
        fs::read_to_string(thread.path().join("stat"))
            .map_or(true, |text| text.rsplit_once(") ").is_some_and(|(_, tail)| tail.starts_with('T')))
    })
}

/// Whether a process with this id exists (a zombie does not count).
pub(crate) fn alive(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|text| text.rsplit_once(") ").is_some_and(|(_, tail)| !tail.starts_with('Z')))
}
