//! Accepts connections and speaks HTTP/1.1 and HTTP/2 on them. What a request means is `request`'s business.
//!
//! Bounds: the number of connections, of all and of one address, the size and number of headers, the time for a head, the
//! time that a connection may do nothing. The times are each connection's own, so that a slow client costs others nothing.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::arrival::Arrival;
use super::listener::{Accepted, Io, Listener};
use super::request::{Answer, handle};
use super::throttle::Source;
use super::turns::Turns;
use super::unanswered::Adding;
use super::{App, WRITES};

/// How long requests that are running may take to end after a shutdown was asked for.
const DRAIN: Duration = Duration::from_secs(10);

/// How often it is looked at what a connection does, in the time that it may do nothing.
const LOOKS: u32 = 4;

/// Largest head of a request, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// The part of all connections that one address may have, and the number that it may have in any case.
const SHARE_OF_ONE: (usize, usize) = (4, 64);

/// Serves `app` on `listeners`, with up to `connections` at a time on all of them, until `shutdown` is ready, then lets
/// running requests end, within a deadline.
pub(crate) async fn serve(
    listeners: Vec<Listener>,
    app: Arc<App>,
    connections: usize,
    shutdown: impl Future<Output = ()>,
) {
    let limit = connections.clamp(1, Semaphore::MAX_PERMITS >> 1);
    let connections = Arc::new(Semaphore::new(limit));
    let (closing, closed) = watch::channel(());
    let idle = Duration::from_secs(app.config.http.idle_seconds.max(1).into());
    let server = Arc::new(Server {
        app: Arc::clone(&app),
        limit,
        connections: Arc::clone(&connections),
        turns: Arc::default(),
        builder: builder(idle),
        idle,
        closed,
    });
    let mut accepting: JoinSet<()> =
        listeners.into_iter().map(|listener| Arc::clone(&server).accept_on(listener)).collect();
    shutdown.await;
    accepting.shutdown().await;
    let _ = closing.send(());
    let all = u32::try_from(limit).unwrap_or(u32::MAX);
    let done = async {
        let _ = connections.acquire_many(all).await;
        let _ = app.writes.acquire_many(WRITES).await;
    };
    if timeout(DRAIN, done).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
}

/// What all connections share.
struct Server {
    app: Arc<App>,
    /// Most connections at a time, and a permit for each.
    limit: usize,
    connections: Arc<Semaphore>,
    /// How many each address has.
    turns: Arc<Turns<Source>>,
    builder: Builder<TokioExecutor>,
    idle: Duration,
    /// Changes when everything is to end.
    closed: watch::Receiver<()>,
}

impl Server {
    /// Accepts connections until it is dropped.
    async fn accept_on(self: Arc<Self>, listener: Listener) {
        loop {
            let Ok(permit) = Arc::clone(&self.connections).acquire_owned().await else { return };
            match listener.accept().await {
                Ok(accepted) => {
                    let peer = accepted.peer;
                    let Some(turn) = self.turns.take(peer.into(), self.share(&accepted)) else {
                        tracing::debug!(%peer, "too many connections from one address");
                        continue;
                    };
                    let server = Arc::clone(&self);
                    tokio::spawn(async move {
                        server.app.metrics.connection_opened();
                        server.connection(accepted).await;
                        server.app.metrics.connection_closed();
                        drop((turn, permit));
                    });
                }
                // Out of file descriptors or memory: no sense in asking again at once. The rest concerns one client.
                Err(error) if exhausted(&error) => {
                    tracing::warn!(%error, "no more connections can be accepted");
                    sleep(Duration::from_millis(100)).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection was lost before it was accepted");
                    sleep(Duration::from_millis(1)).await;
                }
            }
        }
    }

    /// Most connections of this one's address. Behind a proxy are many clients, and who they are is not known before their
    /// requests are.
    fn share(&self, accepted: &Accepted) -> usize {
        let peer = accepted.peer.to_canonical();
        let proxies = &self.app.config.http.trusted_proxies;
        if accepted.is_local() || proxies.iter().any(|proxy| proxy.to_canonical() == peer) {
            self.limit
        } else {
            (self.limit / SHARE_OF_ONE.0).max(SHARE_OF_ONE.1)
        }
    }

    /// Serves one connection until it ends, is idle for too long, or everything is to end.
    async fn connection(&self, accepted: Accepted) {
        let (app, idle, peer): (_, _, IpAddr) = (&self.app, self.idle, accepted.peer);
        let mut closed = self.closed.clone();
        let (stream, came) = match accepted.open(idle).await {
            Ok(opened) => opened,
            Err(error) => {
                tracing::debug!(%peer, %error, "no TLS connection came about");
                return;
            }
        };
        let activity = Arc::new(Activity::default());
        let stream = Counted { stream, activity: Arc::clone(&activity) };
        let service = service_fn(|request: Request<Incoming>| {
            let (app, activity) = (Arc::clone(app), Arc::clone(&activity));
            let arrival = Arrival { peer, came: came.last() };
            async move {
                let _running = Running::new(&activity);
                let mut answer = handle(&app, arrival, request).await;
                activity.answers(answer.extensions_mut().remove());
                Ok::<Answer, Infallible>(answer)
            }
        });
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(stream), service));
        let mut seen = 0;
        let mut since = Instant::now();
        let mut ending = false;
        let period = idle / LOOKS;
        let mut tick = pin!(sleep(period));
        loop {
            tokio::select! {
                result = &mut connection => {
                    if let Err(error) = result {
                        tracing::debug!(%peer, %error, "a connection ended");
                    }
                    return;
                }
                () = &mut tick => {
                    let written = activity.written.load(Ordering::Relaxed);
                    let now = Instant::now();
                    if activity.running.load(Ordering::Relaxed) > 0 || written != seen {
                        (seen, since) = (written, now);
                    } else if now - since >= idle {
                        // What waits for the next request ends by that at once; what is left does not take its answer.
                        if ending || written == 0 {
                            return;
                        }
                        ending = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    tick.as_mut().reset(now + period);
                }
                _ = closed.changed(), if !ending => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

fn builder(idle: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_buf_size(MAX_HEAD)
        // A client that has sent all it wants to and shuts its side down still gets its answer.
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(64)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX));
    builder
}

/// What a connection has been doing.
#[derive(Default)]
struct Activity {
    /// Requests whose answer is not made yet.
    running: AtomicU64,
    /// Bytes that the client has taken.
    written: AtomicU64,
    /// What the requests added whose answer is made and goes out with what is written next.
    unanswered: Mutex<Vec<Arc<Adding>>>,
}

impl Activity {
    fn unanswered(&self) -> MutexGuard<'_, Vec<Arc<Adding>>> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a request that added this is made.
    fn answers(&self, added: Option<Arc<Adding>>) {
        self.unanswered().extend(added);
    }

    /// Answers go out. This is noted before they do: who has one comes later than that.
    fn writes(&self) {
        drop(std::mem::take(&mut *self.unanswered()));
    }
}

/// One running request. Counted by its lifetime, since a client that gives up drops it half way.
struct Running(Arc<Activity>);

impl Running {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that notes what is written.
struct Counted {
    stream: Box<dyn Io>,
    activity: Arc<Activity>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Counted {
    fn count(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = result {
            self.activity.written.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.activity.writes();
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.count(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.activity.writes();
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.count(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// EMFILE, ENFILE, ENOBUFS, ENOMEM.
fn exhausted(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM))
}
