//! Where connections come from: TCP, with TLS or without, and a Unix socket. What is spoken on them is `server`'s
//! business, and how a certificate is read the daemon's.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::arrival::{self, Came};

/// The TLS configuration that new connections get: a new certificate takes the old one's place while the daemon runs.
pub(crate) type Tls = watch::Receiver<Arc<ServerConfig>>;

/// One place to listen at.
pub(crate) enum Listener {
    Tcp(TcpListener, Option<Tls>),
    Unix(UnixListener),
}

/// What a connection reads from and writes to.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection on which nothing was read or written yet.
pub(super) struct Accepted {
    raw: Raw,
    /// The other end's address; for a Unix socket, which has none, 127.0.0.1.
    pub(super) peer: IpAddr,
}

enum Raw {
    Tcp(TcpStream, Option<Arc<ServerConfig>>),
    Unix(UnixStream),
}

impl Listener {
    /// On `listener`, with TLS or without.
    pub(crate) fn tcp(listener: TcpListener, tls: Option<Tls>) -> Self {
        arrival::note_times(&listener);
        Self::Tcp(listener, tls)
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener, tls) => {
                let (stream, peer) = listener.accept().await?;
                let tls = tls.as_ref().map(|tls| Arc::clone(&tls.borrow()));
                Ok(Accepted { raw: Raw::Tcp(stream, tls), peer: peer.ip() })
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted { raw: Raw::Unix(stream), peer: Ipv4Addr::LOCALHOST.into() })
            }
        }
    }
}

impl Accepted {
    /// Whether it came over a Unix socket: from a program on this host that the socket's mode lets in.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.raw, Raw::Unix(_))
    }

    /// The stream, after the TLS handshake where there is one, for which the client has `limit`.
    /// Also when what is read from it had come.
    pub(super) async fn open(self, limit: Duration) -> io::Result<(Box<dyn Io>, Came)> {
        match self.raw {
            Raw::Unix(stream) => Ok((Box::new(stream), Came::default())),
            Raw::Tcp(stream, tls) => {
                // Answers are written whole or in large pieces: waiting for more to send can only delay them.
                let _ = stream.set_nodelay(true);
                let (stream, came) = arrival::noted(stream);
                let stream: Box<dyn Io> = match tls {
                    None => Box::new(stream),
                    Some(tls) => Box::new(timeout(limit, TlsAcceptor::from(tls).accept(stream)).await??),
                };
                Ok((stream, came))
            }
        }
    }
}
