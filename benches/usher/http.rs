//! GET of one user over 64 keep-alive connections, beside a bare hyper server that sends the same bytes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::Usherd;

/// The argument that makes this program the bare server.
pub(crate) const BARE: &str = "--bare-server";
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(2);

pub(crate) fn run() {
    let usherd = Usherd::start();
    crate::create_user(&usherd.api(), "bench", crate::KEY);
    let answer = usherd.api().get("/accounts/user/bench/");
    let head = answer.headers.iter().map(|(n, v)| format!("{n}: {v}")).collect::<Vec<_>>().join("\n");
    let mut bare = Bare::start(&head, &answer.text());
    let request = |address: &str| {
        format!(
            "GET /api/accounts/user/bench/ HTTP/1.1\r\nHost: {address}\r\nES-API-KEY: {}\r\nAccept: application/json\r\n\r\n",
            usherd.admin.api_key
        )
    };
    let api = usherd.api();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(load(api.address(), &request(api.address())));
        theirs.push(load(&bare.address, &request(&bare.address)));
    }
    let (ours, theirs) = (crate::median(ours), crate::median(theirs));
    crate::report(
        "http_get_user",
        json!({"requests_per_s": ours.round(), "bare_hyper_requests_per_s": theirs.round(),
               "ratio": (ours / theirs * 1e3).round() / 1e3, "connections": CONNECTIONS, "rounds": ROUNDS}),
    );
    bare.end();
}

/// Requests a second over all connections for one round.
fn load(address: &str, request: &str) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let start = Instant::now();
        let tasks: Vec<_> = (0..CONNECTIONS)
            .map(|_| tokio::spawn(client(address.to_owned(), request.to_owned(), start + ROUND)))
            .collect();
        let mut done = 0;
        for task in tasks {
            done += task.await.unwrap();
        }
        done as f64 / start.elapsed().as_secs_f64()
    })
}

async fn client(address: String, request: String, end: Instant) -> usize {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::with_capacity(8192);
    let mut done = 0;
    while Instant::now() < end {
        stream.write_all(request.as_bytes()).await.unwrap();
        buffer.clear();
        loop {
            assert!(stream.read_buf(&mut buffer).await.unwrap() > 0, "the server closed");
            if complete(&buffer) {
                break;
            }
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer));
        done += 1;
    }
    done
}

fn complete(buffer: &[u8]) -> bool {
    let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).and_then(|l| l.trim().parse().ok());
    buffer.len() >= end + 4 + length.unwrap_or(0)
}

/// The bare server in a process of its own.
struct Bare {
    child: Child,
    address: String,
}

impl Bare {
    fn start(head: &str, body: &str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let child = Command::new(std::env::current_exe().unwrap())
            .args([BARE, &address, head, body])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        crate::support::eventually(Duration::from_secs(10), "the bare server", || {
            std::net::TcpStream::connect(&address).ok()
        });
        Self { child, address }
    }

    fn end(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Sends the same headers and body to everybody.
pub(crate) fn bare_server(args: &[String]) {
    let [address, head, body] = args else { panic!("{BARE} ADDRESS HEADERS BODY") };
    let address: SocketAddr = address.parse().unwrap();
    let headers: Vec<(String, String)> = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| !["content-length", "connection", "date"].contains(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let headers: &'static [(String, String)] = headers.leak();
    let body = Bytes::from(body.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await.unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let body = body.clone();
            let service = service_fn(move |_| {
                let mut response = hyper::Response::builder();
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                let response = response.body(Full::new(body.clone())).unwrap();
                async move { Ok::<_, Infallible>(response) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
}
