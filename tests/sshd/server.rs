//! A real sshd on a loopback port with its own configuration and host key, and the real client.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::unistd::{Uid, User};

use super::support::{TempDir, eventually_true};

/// The account that is logged in to: the tests run as root, and sshd lets nobody else in as somebody else.
pub(crate) const ACCOUNT: &str = "root";
/// sshd's command user; it needs to exist and owns nothing.
const COMMAND_USER: &str = "nobody";

/// Whether an sshd that logs anybody in can be started here; says so where it can't.
pub(crate) fn possible() -> bool {
    let why = if !Uid::effective().is_root() {
        "not run as root"
    } else if !Path::new("/usr/sbin/sshd").exists() {
        "no /usr/sbin/sshd (package openssh-server)"
    } else if !matches!(User::from_name(COMMAND_USER), Ok(Some(_))) {
        "no user nobody"
    } else {
        return true;
    };
    assert!(std::env::var_os("CI").is_none(), "needs a real sshd: {why}");
    eprintln!("SKIPPED, needs a real sshd: {why}");
    false
}

/// Two files, the private key and the public one beside it.
pub(crate) struct ClientKey {
    pub(crate) private: PathBuf,
    /// `type base64 comment`.
    pub(crate) public: String,
}

impl ClientKey {
    pub(crate) fn generate(directory: &Path, name: &str, arguments: &[&str]) -> Self {
        let private = directory.join(name);
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-N", "", "-C", name]).args(arguments).arg("-f").arg(&private);
        assert!(command.stdin(Stdio::null()).status().unwrap().success());
        let public = fs::read_to_string(private.with_extension("pub")).unwrap().trim_end().to_owned();
        Self { private, public }
    }
}

/// A running sshd that asks the helper for keys and has no other source of them.
pub(crate) struct Sshd {
    child: Child,
    port: u16,
    temp: TempDir,
    _command: CommandDirectory,
}

impl Sshd {
    /// `socket` is the lookup socket; `arguments` what stands behind it on the helper's command line.
    pub(crate) fn start(socket: &Path, arguments: &str) -> Self {
        let temp = TempDir::new();
        let command = CommandDirectory::new();
        ClientKey::generate(temp.path(), "host", &["-t", "ed25519"]);
        // sshd's privilege separation; empty, and never used by anything else.
        let _ = fs::DirBuilder::new().mode(0o755).create("/run/sshd");
        // Between finding a free port and sshd's taking it somebody else may have it.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let configuration = format!(
                "ListenAddress 127.0.0.1:{port}\nHostKey {temp}/host\nPidFile none\nUsePAM no\nLogLevel DEBUG1\n\
                 AuthenticationMethods publickey\nPermitRootLogin prohibit-password\nForceCommand /bin/echo let in\n\
                 MaxStartups 500\nMaxAuthTries 60\nAuthorizedKeysFile none\n\
                 AuthorizedKeysCommand {helper} --socket {socket} {arguments}\nAuthorizedKeysCommandUser {COMMAND_USER}\n",
                temp = temp.path().display(),
                helper = command.helper().display(),
                socket = socket.display(),
            );
            let file = temp.path().join("sshd_config");
            fs::write(&file, configuration).unwrap();
            let log = fs::File::create(temp.path().join("log")).unwrap();
            let mut child = Command::new("/usr/sbin/sshd")
                .args(["-D", "-e", "-f"])
                .arg(&file)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap();
            let mut up = false;
            eventually_true(Duration::from_secs(20), "sshd listens or ends", || {
                up = TcpStream::connect(("127.0.0.1", port)).is_ok();
                up || child.try_wait().unwrap().is_some()
            });
            if up && child.try_wait().unwrap().is_none() {
                return Self { child, port, temp, _command: command };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("sshd does not start: {}", fs::read_to_string(temp.path().join("log")).unwrap_or_default());
    }

    /// The usual configuration: `%u %f`.
    pub(crate) fn with_fingerprints(socket: &Path) -> Self {
        Self::start(socket, "%u %f")
    }

    /// A place for the test's own files.
    pub(crate) fn scratch(&self) -> &Path {
        self.temp.path()
    }

    /// What sshd and its children wrote.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.temp.path().join("log")).unwrap()).into_owned()
    }

    /// Whether the holder of `key` is let in.
    #[track_caller]
    pub(crate) fn lets_in(&self, key: &ClientKey) -> bool {
        self.client(key).spawn().map(|client| Self::finish(client)).unwrap()
    }

    /// A login under way; [`Self::finish`] tells how it ends.
    pub(crate) fn client(&self, key: &ClientKey) -> Command {
        let mut command = Command::new("ssh");
        command
            .env_remove("SSH_AUTH_SOCK")
            .args(["-F", "none", "-T", "-p", &self.port.to_string(), "-i"])
            .arg(&key.private)
            .args(["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=30"])
            .arg(format!("{ACCOUNT}@127.0.0.1"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// True for a login that was let in, false for one that was refused for its key; anything else is a failed test.
    #[track_caller]
    pub(crate) fn finish(client: Child) -> bool {
        let output = client.wait_with_output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        match output.status.code() {
            Some(0) if stdout == "let in\n" => true,
            Some(255) if stderr.contains("Permission denied (publickey)") => false,
            _ => panic!("{}: {stdout:?} {stderr:?}", output.status),
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("sshd's log:\n{}", self.log());
        }
    }
}

/// The helper where sshd will run it: owned by root, below directories that only root may write to, so not in /tmp.
struct CommandDirectory(PathBuf);

impl CommandDirectory {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = Self(PathBuf::from(format!("/run/usher-test-{}-{number}", std::process::id())));
        let _ = fs::remove_dir_all(&directory.0);
        fs::DirBuilder::new().mode(0o755).create(&directory.0).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_usher-authorized-keys"), directory.helper()).unwrap();
        fs::set_permissions(directory.helper(), fs::Permissions::from_mode(0o755)).unwrap();
        directory
    }

    fn helper(&self) -> PathBuf {
        self.0.join("usher-authorized-keys")
    }
}

impl Drop for CommandDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
