//! A small blocking HTTP/1.1 client: one request a connection, any bytes, no opinion on the answer. Written here
//! because tests must be able to send what a library refuses to, and see headers as they came.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(30);

/// An HTTP answer.
pub(crate) struct Response {
    pub(crate) status: u16,
    /// In the order of the wire, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The first header called `name`, whatever its case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// `result` of the success envelope; the status must be `status`.
    #[track_caller]
    pub(crate) fn result(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.json()["result"].clone()
    }

    /// `detail` of an error; the status must be `status`.
    #[track_caller]
    pub(crate) fn detail(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        self.json()["detail"].as_str().map_or_else(|| panic!("no detail: {self:?}"), str::to_owned)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.text())
    }
}

/// The API at one URL with a fixed set of headers.
#[derive(Clone)]
pub(crate) struct Api {
    address: String,
    base: String,
    headers: Vec<(String, String)>,
}

impl Api {
    /// `url` as in `http://127.0.0.1:8000/api`.
    pub(crate) fn new(url: &str) -> Self {
        let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("no http URL: {url}"));
        let (address, base) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        Self { address: address.to_owned(), base: base.to_owned(), headers: Vec::new() }
    }

    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same credentials at another daemon.
    pub(crate) fn moved_to(&self, other: &Self) -> Self {
        Self { headers: self.headers.clone(), ..other.clone() }
    }

    /// The server's root, above `/api`.
    pub(crate) fn root(&self) -> Self {
        Self { base: String::new(), ..self.clone() }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.send("GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Response {
        self.json("POST", path, body)
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Response {
        self.json("PUT", path, body)
    }

    pub(crate) fn delete(&self, path: &str) -> Response {
        self.send("DELETE", path, &[], b"")
    }

    pub(crate) fn json(&self, method: &str, path: &str, body: &Value) -> Response {
        self.send(method, path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    /// Any request; `path` is below the base and may have a query.
    #[track_caller]
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.try_send(method, path, headers, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    pub(crate) fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        exchange(&self.address, &self.request(method, path, headers, body))
    }

    /// A PUT whose answer is not waited for: has come to the server's host when this returns, but for the last bytes of its
    /// body, of which so many are `kept`.
    pub(crate) fn begin_put(&self, path: &str, body: &Value, kept: usize) -> Begun {
        let body = body.to_string();
        let mut request = self.request("PUT", path, &[("Content-Type", "application/json")], body.as_bytes());
        let kept = request.split_off(request.len() - kept);
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(&request).unwrap();
        Begun { stream, kept }
    }

    fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut request = format!("{method} {}{path} HTTP/1.1\r\nHost: {}\r\n", self.base, self.address);
        for (name, value) in self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain(headers.iter().copied()) {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("Connection: close\r\nContent-Length: {}\r\n\r\n", body.len()));
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }
}

/// A request of which at least the head was sent.
pub(crate) struct Begun {
    stream: TcpStream,
    kept: Vec<u8>,
}

impl Begun {
    /// Sends the rest of it, if any.
    pub(crate) fn answer(mut self) -> Response {
        self.stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        self.stream.write_all(&self.kept).unwrap();
        let mut answer = Vec::new();
        self.stream.read_to_end(&mut answer).unwrap();
        parse(&answer, false).unwrap()
    }
}

/// Sends `bytes` as they are and reads one answer until the server closes; the request must ask for that.
pub(crate) fn exchange(address: &str, bytes: &[u8]) -> io::Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    // A server may answer and close before it has read a request that it refuses: the answer counts.
    let sent = stream.write_all(bytes);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    if answer.is_empty() {
        sent?;
        read?;
    }
    parse(&answer, bytes.starts_with(b"HEAD "))
}

fn parse(answer: &[u8], head_only: bool) -> io::Result<Response> {
    let wrong = |what: &str| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {:?}", String::from_utf8_lossy(answer)))
    };
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(|| wrong("no end of headers"))?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1."))
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .ok_or_else(|| wrong("no status line"))?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut response = Response { status, headers, body: answer[end + 4..].to_vec() };
    // The answer to a HEAD announces a body that it does not have.
    if response.body.is_empty() && head_only {
        return Ok(response);
    }
    if response.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        response.body = unchunk(&response.body).ok_or_else(|| wrong("broken chunks"))?;
    } else if let Some(length) = response.header("content-length") {
        let length: usize = length.parse().map_err(|_| wrong("content-length"))?;
        if response.body.len() != length {
            return Err(wrong("body is not as long as promised"));
        }
    }
    Ok(response)
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|w| w == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

/// `text` with everything but unreserved characters percent-encoded, for a path segment or a query.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
