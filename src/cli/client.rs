//! One HTTP request and its answer: hyper over TCP or TLS. Redirects are shown, never followed.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{Failure, exit, python};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const ANSWER_LIMIT: Duration = Duration::from_secs(120);

/// What a path must not hold as it is; `%` stays, for who has encoded already.
const IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The API's base URL.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    tls: bool,
    host: String,
    port: u16,
    base: String,
}

impl Endpoint {
    /// Reads `http://HOST[:PORT][/BASE]`, or the same with `https`.
    ///
    /// # Errors
    /// A sentence on what in the URL cannot be used.
    pub(super) fn parse(url: &str) -> Result<Self, Failure> {
        let wrong = |what: &str| Failure::new(exit::USAGE, format!("ES_API_URL {url}: {what}"));
        let (tls, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(wrong("not an http:// or https:// URL")),
        };
        let (authority, base) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        // The host and the base go into the request as they are.
        if authority.contains('@')
            || url.contains(|c: char| c.is_ascii_whitespace() || c.is_control() || "?#".contains(c))
        {
            return Err(wrong("only a host, a port and a path, please"));
        }
        let colon = authority.rfind(':').filter(|colon| authority.rfind(']').is_none_or(|bracket| bracket < *colon));
        let (host, port) = match colon {
            Some(colon) => (&authority[..colon], authority[colon + 1..].parse().map_err(|_| wrong("not a port"))?),
            None => (authority, if tls { 443 } else { 80 }),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(wrong("no host"));
        }
        Ok(Self { tls, host: host.to_owned(), port, base: base.trim_end_matches('/').to_owned() })
    }

    /// The URL in one spelling.
    pub(super) fn url(&self) -> String {
        format!("{}://{}{}", self.scheme(), self.authority(), self.base)
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// What is to be sent.
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) resource: String,
    pub(super) params: Map<String, Value>,
    /// Credentials.
    pub(super) headers: Vec<(&'static str, String)>,
}

impl Request {
    /// Path and query below the base: with the slash at the path's end that the original demands.
    fn target(&self) -> String {
        let (path, query) = self.resource.split_once('?').unwrap_or((&self.resource, ""));
        let mut target = utf8_percent_encode(path, IN_PATH).to_string();
        if !target.ends_with('/') {
            target.push('/');
        }
        let mut pairs: Vec<String> = Vec::new();
        if !query.is_empty() {
            pairs.push(utf8_percent_encode(query, IN_PATH).to_string());
        }
        if self.method == "GET" {
            for (key, value) in &self.params {
                pairs.extend(query_values(value).iter().map(|value| format!("{}={}", encoded(key), encoded(value))));
            }
        }
        if !pairs.is_empty() {
            target.push('?');
            target.push_str(&pairs.join("&"));
        }
        target
    }

    fn body(&self) -> String {
        if self.method == "GET" { String::new() } else { Value::Object(self.params.clone()).to_string() }
    }
}

/// `text` as a part of a query, where a blank is a `+`.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, IN_QUERY).to_string().replace("%20", "+")
}

/// How a value looks in a query: as Python spells it, null not at all; of an array each item, of an object each key.
fn query_values(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().filter(|item| !item.is_null()).map(python::text).collect(),
        Value::Object(fields) => fields.keys().cloned().collect(),
        other => vec![python::text(other)],
    }
}

/// What was sent, as `-d` shows it: credentials are starred out.
pub(super) struct Sent {
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// Sends `request` to the server at `endpoint` and waits for the answer.
///
/// # Errors
/// No connection, no HTTP, no answer in time, or interrupted from the keyboard.
pub(super) fn send(endpoint: &Endpoint, request: Request) -> Result<(Sent, Answer), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(exit::NO_ANSWER, error.to_string()))?;
    runtime.block_on(async {
        tokio::select! {
            answer = tokio::time::timeout(ANSWER_LIMIT, exchange(endpoint, request)) => match answer {
                Ok(answer) => answer,
                Err(_) => Err(no_answer(endpoint, "no answer in time")),
            },
            Ok(()) = tokio::signal::ctrl_c() => Err(Failure::new(exit::INTERRUPTED, "interrupted")),
        }
    })
}

fn no_answer(endpoint: &Endpoint, error: impl std::fmt::Display) -> Failure {
    Failure::new(exit::NO_ANSWER, format!("{}: {error}", endpoint.url()))
}

async fn exchange(endpoint: &Endpoint, request: Request) -> Result<(Sent, Answer), Failure> {
    let target = format!("{}{}", endpoint.base, request.target());
    let mut message = hyper::Request::builder()
        .method(request.method)
        .uri(&target)
        .header("Host", endpoint.authority())
        .header("User-Agent", concat!("usher/", env!("CARGO_PKG_VERSION")))
        .header("Accept", "application/json")
        .header("Content-Type", "application/json");
    for (name, value) in &request.headers {
        message = message.header(*name, value);
    }
    let message = message
        .body(Full::new(Bytes::from(request.body())))
        .map_err(|error| Failure::new(exit::USAGE, format!("this cannot be sent: {error}")))?;
    let sent = Sent {
        url: format!("{}://{}{target}", endpoint.scheme(), endpoint.authority()),
        headers: shown(message.headers(), |name| matches!(name, "es-api-key" | "authorization")),
    };

    let stream = match tokio::time::timeout(CONNECT_LIMIT, connect(endpoint)).await {
        Ok(stream) => stream.map_err(|error| no_answer(endpoint, error))?,
        Err(_) => return Err(no_answer(endpoint, "no connection in time")),
    };
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| no_answer(endpoint, error))?;
    // Drives the socket until the answer is complete; what fails there, fails below too.
    tokio::spawn(connection);
    let answer = sender.send_request(message).await.map_err(|error| no_answer(endpoint, error))?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(|error| no_answer(endpoint, error))?.to_bytes().to_vec();
    let answer = Answer { status: head.status.as_u16(), headers: shown(&head.headers, |_| false), body };
    Ok((sent, answer))
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection. The server's certificate must be from an authority that this host trusts, or that `SSL_CERT_FILE` names.
async fn connect(endpoint: &Endpoint) -> Result<Box<dyn Io>, String> {
    let tcp = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(|error| error.to_string())?;
    if !endpoint.tls {
        return Ok(Box::new(tcp));
    }
    let mut roots = RootCertStore::empty();
    // What this host holds and can't be read is not trusted.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(endpoint.host.clone()).map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(|error| error.to_string())?;
    Ok(Box::new(stream))
}

fn shown(headers: &hyper::HeaderMap, secret: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            let value = if secret(name.as_str()) { "***".into() } else { String::from_utf8_lossy(value.as_bytes()) };
            (name.to_string(), value.into_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn target(method: &'static str, resource: &str, params: Value) -> String {
        let Value::Object(params) = params else { panic!("an object, please") };
        Request { method, resource: resource.to_owned(), params, headers: Vec::new() }.target()
    }

    #[test]
    fn a_base_url_is_a_host_a_port_and_a_path() {
        for (url, tls, host, port, base) in [
            ("http://127.0.0.1:8000/api", false, "127.0.0.1", 8000, "/api"),
            ("http://example.com", false, "example.com", 80, ""),
            ("http://[::1]:81/a/b/", false, "::1", 81, "/a/b"),
            ("http://[::1]", false, "::1", 80, ""),
            ("https://example.com/api", true, "example.com", 443, "/api"),
            ("https://[::1]:8443", true, "::1", 8443, ""),
        ] {
            let expected = Endpoint { tls, host: host.to_owned(), port, base: base.to_owned() };
            assert_eq!(Endpoint::parse(url).unwrap(), expected);
        }
        assert_eq!(Endpoint::parse("http://[::1]:81/a/").unwrap().url(), "http://[::1]:81/a");
        assert_eq!(Endpoint::parse("https://a/b/").unwrap().url(), "https://a:443/b");
        for url in [
            "ftp://x",
            "x",
            "https://",
            "http://",
            "http://:80",
            "http://x:y",
            "http://a@x",
            "http://x/?a",
            "http://x/ y",
        ] {
            assert!(Endpoint::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn the_path_ends_with_a_slash_and_is_encoded_once() {
        assert_eq!(target("GET", "/accounts/user", json!({})), "/accounts/user/");
        assert_eq!(target("GET", "/a%40b/ü x/", json!({})), "/a%40b/%C3%BC%20x/");
        assert_eq!(target("GET", "/a^b|c\\d", json!({})), "/a%5Eb%7Cc%5Cd/");
        assert_eq!(target("GET", "/u?full=1", json!({"a": "b"})), "/u/?full=1&a=b");
    }

    #[test]
    fn query_values_are_spelt_as_the_original_client_spells_them() {
        let params = json!({"full": true, "active": false, "dc": null, "order_by": "+a, b", "g": ["x", null], "n": 1});
        assert_eq!(target("GET", "/u/", params), "/u/?full=True&active=False&order_by=%2Ba%2C+b&g=x&n=1");
        assert_eq!(target("GET", "/u/", json!({"o": {"a": 1, "b": 2}, "l": [[true]]})), "/u/?o=a&o=b&l=%5BTrue%5D");
        assert_eq!(target("PUT", "/u/", json!({"a": 1})), "/u/");
    }
}
