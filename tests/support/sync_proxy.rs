//! A socket in front of an LDAP server's own, which can hold back what content sync says: whoever connects through it
//! then has an old replica, while all else passes. Or what the server says to writes of groups, which are done then and
//! not yet answered. It can hold requests too, on their way to the server.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

/// The control that makes a search one for content sync (RFC 4533), as the request carries it.
const SYNC_REQUEST: &[u8] = b"1.3.6.1.4.1.4203.1.9.1.1";

/// The tags of a DelRequest, a ModifyRequest and an AddRequest (RFC 4511, 4.8, 4.6 and 4.7).
const DELETION: u8 = 0x4a;
const MODIFY: u8 = 0x66;
const ADD: u8 = 0x68;
/// The tag of a SearchRequest (RFC 4511, 4.5.1).
const SEARCH: u8 = 0x63;

/// What is in the DN of a group, and of a user.
const GROUPS: &[u8] = b"ou=groups,";
const USERS: &[u8] = b"ou=people,";

/// Serves for as long as the process runs.
pub(crate) struct SyncProxy {
    socket: PathBuf,
    gate: Arc<Mutex<Gate>>,
    requests: Arc<Requests>,
}

/// What can be held on its way to the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    Deletion,
    /// A modify or an add of a group.
    GroupChange,
    /// A modify of a user.
    UserChange,
    ContentSync,
    /// A search for how far the server is, for a call.
    ContextCsn,
}

impl Request {
    fn of(message: &[u8]) -> Option<Self> {
        match operation(message) {
            DELETION => Some(Self::Deletion),
            MODIFY | ADD if contains(message, GROUPS) => Some(Self::GroupChange),
            MODIFY if contains(message, USERS) => Some(Self::UserChange),
            _ if contains(message, SYNC_REQUEST) => Some(Self::ContentSync),
            _ if contains(message, b"contextCSN") => Some(Self::ContextCsn),
            _ => None,
        }
    }
}

/// Which requests are held, and how many are.
#[derive(Default)]
struct Requests {
    state: Mutex<(Option<Request>, usize)>,
    changed: Condvar,
}

impl Requests {
    /// Whether such requests are held, and this one with them.
    fn hold(&self, request: Request) -> bool {
        let mut state = self.state.lock().unwrap();
        let held = state.0 == Some(request);
        if held {
            state.1 += 1;
            self.changed.notify_all();
        }
        held
    }

    /// Waits while they are.
    fn wait(&self, request: Request) {
        let state = self.state.lock().unwrap();
        let mut state = self.changed.wait_while(state, |(held, _)| *held == Some(request)).unwrap();
        state.1 -= 1;
    }
}

/// What passes from the server. One lock for all connections, held while a message is written, keeps their order.
#[derive(Default)]
struct Gate {
    holds: Holds,
    held: Vec<(UnixStream, Vec<u8>)>,
    has_held_a_push: bool,
}

#[derive(Default)]
enum Holds {
    #[default]
    Nothing,
    ContentSync,
    Results,
}

impl SyncProxy {
    /// Listens on `socket` for connections to the server that listens on `server`.
    pub(crate) fn start(socket: &Path, server: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let proxy = Self { socket: socket.to_owned(), gate: Arc::default(), requests: Arc::default() };
        let (gate, requests) = (proxy.gate.clone(), proxy.requests.clone());
        let server = server.to_owned();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A server that is gone: so is the connection.
                if let Ok(server) = UnixStream::connect(&server) {
                    connect(client, server, &gate, &requests);
                }
            }
        });
        proxy
    }

    /// As in `directory.urls`.
    pub(crate) fn url(&self) -> String {
        format!("ldapi://{}", super::http::encode(self.socket.to_str().unwrap()))
    }

    /// Holds back what content sync says from now on, and what it is told when it asks which entries there are.
    pub(crate) fn hold(&self) {
        self.gate.lock().unwrap().holds = Holds::ContentSync;
    }

    /// Whether content sync has said anything that is held back now.
    pub(crate) fn has_held_a_push(&self) -> bool {
        self.gate.lock().unwrap().has_held_a_push
    }

    /// Holds back the results of changes of groups from now on.
    pub(crate) fn hold_results(&self) {
        self.gate.lock().unwrap().holds = Holds::Results;
    }

    /// Sends what was held back, and holds nothing more.
    pub(crate) fn release(&self) {
        let mut gate = self.gate.lock().unwrap();
        gate.holds = Holds::Nothing;
        gate.has_held_a_push = false;
        for (mut client, message) in gate.held.drain(..) {
            let _ = client.write_all(&message);
        }
    }

    /// Forgets what was held back, and holds nothing more.
    pub(crate) fn lose(&self) {
        *self.gate.lock().unwrap() = Gate::default();
    }

    /// Runs `meanwhile` once such a request, to which `act` leads, is on its way to the server, before it comes there.
    pub(crate) fn before<T: Send>(
        &self,
        request: Request,
        act: impl FnOnce() -> T + Send,
        meanwhile: impl FnOnce(),
    ) -> T {
        self.requests.state.lock().unwrap().0 = Some(request);
        thread::scope(|scope| {
            let acting = scope.spawn(act);
            let state = self.requests.state.lock().unwrap();
            let limit = Duration::from_secs(20);
            let waited = self.requests.changed.wait_timeout_while(state, limit, |(_, waiting)| *waiting == 0);
            let came = !waited.unwrap().1.timed_out();
            if came {
                meanwhile();
            }
            self.requests.state.lock().unwrap().0 = None;
            self.requests.changed.notify_all();
            let result = acting.join().unwrap();
            assert!(came, "there is no such request");
            result
        })
    }
}

/// Passes messages on in both directions until one side ends.
fn connect(client: UnixStream, server: UnixStream, gate: &Arc<Mutex<Gate>>, requests: &Arc<Requests>) {
    let sync_search = Arc::new(OnceLock::<Vec<u8>>::new());
    // Searches for which entries there are, beside content sync.
    let checks = Arc::new(Mutex::new(HashSet::<Vec<u8>>::new()));
    let group_changes = Arc::new(Mutex::new(HashSet::<Vec<u8>>::new()));
    let (mut from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (noted, changes) = (Arc::clone(&sync_search), Arc::clone(&group_changes));
    let noted_checks = Arc::clone(&checks);
    let (gate, requests) = (Arc::clone(gate), Arc::clone(requests));
    thread::spawn(move || {
        let to_server = Arc::new(Mutex::new(to_server));
        while let Some(message) = next_message(&mut from_client) {
            let is_consumer = noted.get().is_some();
            let request = Request::of(&message).filter(|request| *request != Request::ContextCsn || !is_consumer);
            if is_consumer && is_check(&message) {
                noted_checks.lock().unwrap().insert(message_id(&message).to_vec());
            }
            match request {
                Some(Request::ContentSync) => {
                    noted.set(message_id(&message).to_vec()).expect("one content sync on a connection");
                }
                Some(Request::GroupChange) => {
                    changes.lock().unwrap().insert(message_id(&message).to_vec());
                }
                _ => {}
            }
            // Those that come after it pass, as in a server that works on several at a time.
            if let Some(request) = request.filter(|request| requests.hold(*request)) {
                let (requests, to_server) = (Arc::clone(&requests), Arc::clone(&to_server));
                thread::spawn(move || {
                    requests.wait(request);
                    let _ = to_server.lock().unwrap().write_all(&message);
                });
            } else if to_server.lock().unwrap().write_all(&message).is_err() {
                break;
            }
        }
        let _ = to_server.lock().unwrap().shutdown(Shutdown::Both);
    });
    let (mut from_server, mut to_client) = (server, client);
    thread::spawn(move || {
        let mut has_synced = false;
        while let Some(message) = next_message(&mut from_server) {
            let is_sync = sync_search.get().is_some_and(|id| id == message_id(&message));
            let mut gate = gate.lock().unwrap();
            let is_held = match gate.holds {
                Holds::Nothing => false,
                // Where it has told of nothing yet, the checks are a part of how the daemon does without it.
                Holds::ContentSync => is_sync || (has_synced && checks.lock().unwrap().contains(message_id(&message))),
                Holds::Results => group_changes.lock().unwrap().contains(message_id(&message)),
            };
            has_synced |= is_sync && !is_held;
            if is_held {
                gate.has_held_a_push |= is_sync;
                gate.held.push((to_client.try_clone().unwrap(), message));
            } else if to_client.write_all(&message).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
    });
}

/// Whether it asks for entryUUID and nothing that is replicated.
fn is_check(message: &[u8]) -> bool {
    operation(message) == SEARCH && contains(message, b"entryUUID") && !contains(message, b"usherActive")
}

fn contains(message: &[u8], part: &[u8]) -> bool {
    message.windows(part.len()).any(|window| window == part)
}

/// One LDAPMessage, a BER sequence; `None` at the end.
fn next_message(from: &mut UnixStream) -> Option<Vec<u8>> {
    let mut message = vec![0; 2];
    from.read_exact(&mut message).ok()?;
    let mut length = usize::from(message[1]);
    if length >= 0x80 {
        let mut octets = vec![0; length - 0x80];
        from.read_exact(&mut octets).ok()?;
        length = octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
        message.extend(octets);
    }
    let head = message.len();
    message.resize(head + length, 0);
    from.read_exact(&mut message[head..]).ok()?;
    Some(message)
}

/// The octets of the messageID, which is what the sequence begins with, and the rest.
fn parts(message: &[u8]) -> (&[u8], &[u8]) {
    let head = if message[1] < 0x80 { 2 } else { 2 + usize::from(message[1] - 0x80) };
    message[head + 2..].split_at(usize::from(message[head + 1]))
}

fn message_id(message: &[u8]) -> &[u8] {
    parts(message).0
}

/// The tag of the operation.
fn operation(message: &[u8]) -> u8 {
    parts(message).1[0]
}
