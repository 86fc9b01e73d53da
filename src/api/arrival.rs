//! When requests come: the kernel notes it for what it receives, and a busy daemon reads it later.

use std::io::{self, IoSliceMut};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, ready};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeVal;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, join};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};

use super::now;
use crate::accounts::Timestamp;

/// The most that is read at a time, in bytes.
const READ: usize = 64 << 10;

/// Where a request came from, and when.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    /// The address of the other end of the connection.
    pub(super) peer: IpAddr,
    /// When it came to this host: the last of what was read together with the end of its head, which may be more than that
    /// where it was read late.
    pub(super) came: Timestamp,
}

/// When what was read last from a connection had come.
#[derive(Clone, Default)]
pub(super) struct Came(Arc<AtomicI64>);

impl Came {
    /// Now, where the kernel does not say it, as for a Unix socket.
    pub(super) fn last(&self) -> Timestamp {
        match self.0.load(Ordering::Relaxed) {
            0 => now(),
            micros => Timestamp::from_micros(micros),
        }
    }
}

/// Lets the kernel note when what comes on the listener's connections does, from their beginning.
pub(super) fn note_times(listener: &TcpListener) {
    if let Err(error) = setsockopt(listener, sockopt::ReceiveTimestamp, &true) {
        tracing::debug!(%error, "the kernel does not say when requests come");
    }
}

/// The connection, and when what is read from it had come.
pub(super) fn noted(stream: TcpStream) -> (impl AsyncRead + AsyncWrite + Send + Unpin, Came) {
    let came = Came::default();
    let (reads, writes) = stream.into_split();
    (join(Noted { reads, came: came.clone(), control: cmsg_space!(TimeVal) }, writes), came)
}

struct Noted {
    reads: OwnedReadHalf,
    came: Came,
    /// Room for the time that comes with what is read.
    control: Vec<u8>,
}

impl AsyncRead for Noted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { reads, came, control } = self.get_mut();
        let stream: &TcpStream = reads.as_ref();
        loop {
            ready!(stream.poll_read_ready(cx))?;
            let room = buffer.initialize_unfilled_to(buffer.remaining().min(READ));
            let mut bytes = None;
            let tried = stream.try_io(Interest::READABLE, || {
                let (read, at) = receive(stream, room, control)?;
                bytes = Some(read);
                came.0.store(at, Ordering::Relaxed);
                // There was no more: that is the time to say so, and saves a call that tells nothing else.
                if read > 0 && read < room.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match (bytes, tried) {
                (Some(bytes), _) => {
                    buffer.advance(bytes);
                    return Poll::Ready(Ok(()));
                }
                (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                (None, tried) => return Poll::Ready(tried),
            }
        }
    }
}

/// How many bytes there were, and when they had come, in microseconds since 1970; 0 is unknown.
fn receive(stream: &TcpStream, room: &mut [u8], control: &mut [u8]) -> Result<(usize, i64), Errno> {
    let mut slices = [IoSliceMut::new(room)];
    let message = loop {
        match recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(control), MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            received => break received?,
        }
    };
    let time = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestamp(time) => Some(time.tv_sec() * 1_000_000 + time.tv_usec()),
        _ => None,
    });
    Ok((message.bytes, time.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_is_read_late_counts_from_when_it_came() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        note_times(&listener);
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, came) = noted(listener.accept().await.unwrap().0);
        // The kernel begins to note times some time after the first socket asks for them.
        for _ in 0..1000 {
            client.write_all(b".").await.unwrap();
            server.read_exact(&mut [0]).await.unwrap();
            if came.0.load(Ordering::Relaxed) != 0 {
                break;
            }
        }
        for text in ["first", "second"] {
            let before = now();
            client.write_all(text.as_bytes()).await.unwrap();
            std::thread::sleep(Duration::from_millis(20));
            let after = now();
            std::thread::sleep(Duration::from_millis(20));
            let mut read = vec![0; text.len()];
            server.read_exact(&mut read).await.unwrap();
            assert_eq!(read, text.as_bytes());
            assert!(before <= came.last() && came.last() <= after, "{before:?} {:?} {after:?}", came.last());
        }
        // What does not fit is read next, and the end is an end.
        client.write_all(&[7; 100_000]).await.unwrap();
        client.shutdown().await.unwrap();
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, [7; 100_000]);
        server.write_all(b"answer").await.unwrap();
        drop(server);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer");
    }
}
