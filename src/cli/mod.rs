//! The `usher` command: the API from a shell, with the grammar of `es`. Called by another name it behaves the same.
//!
//! `args` reads the command line, `client` speaks HTTP, `session` keeps the login's token, `print` shows the answer, as a
//! `table` where asked for, in the spelling of `python`.
//! Nothing here knows the API's objects: whatever the server has is reachable.

mod args;
mod client;
mod print;
mod python;
mod session;
mod table;

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Map, Value};

use args::{Action, Call, Command, Param};
use client::{Answer, Endpoint, Request};
use session::Session;

const DEFAULT_URL: &str = "http://127.0.0.1:8000/api";

/// Exit statuses, the same as those of `es`.
mod exit {
    pub(super) const OK: u8 = 0;
    /// The server answered 4xx.
    pub(super) const REFUSED: u8 = 1;
    /// The server answered 5xx.
    pub(super) const SERVER: u8 = 2;
    /// No answer: no connection, a time-out, a file that cannot be read.
    pub(super) const NO_ANSWER: u8 = 3;
    /// A login that brought no token.
    pub(super) const LOGIN: u8 = 4;
    pub(super) const INTERRUPTED: u8 = 5;
    /// The answer could not be written to stdout.
    pub(super) const OUTPUT: u8 = 8;
    /// The answer has no shape that the output format can show.
    pub(super) const SHAPE: u8 = 9;
    pub(super) const USAGE: u8 = 11;
    pub(super) const NO_RESOURCE: u8 = 12;
    pub(super) const FORMAT: u8 = 13;
}

/// Why there is nothing to show: a sentence for stderr, and the exit status.
#[derive(Debug)]
struct Failure {
    status: u8,
    message: String,
}

impl Failure {
    fn new(status: u8, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let name = words
        .next()
        .and_then(|path| std::path::Path::new(&path).file_name().map(|name| name.to_string_lossy().into_owned()))
        .unwrap_or_else(|| "usher".to_owned());
    let status = match run(words.collect(), &name) {
        Ok(status) => status,
        Err(failure) => {
            // Nowhere is left to say that stderr is gone.
            let _ = writeln!(io::stderr(), "{name}: {}", failure.message);
            failure.status
        }
    };
    ExitCode::from(status)
}

fn run(words: Vec<std::ffi::OsString>, name: &str) -> Result<u8, Failure> {
    let call = match args::parse(words)? {
        Command::Help => return print::write(&args::help(name)).map(|()| exit::OK),
        Command::Version => return print::write(concat!("usher ", env!("CARGO_PKG_VERSION"), "\n")).map(|()| exit::OK),
        Command::Call(call) => call,
    };
    let url = std::env::var("ES_API_URL").ok().filter(|url| !url.is_empty()).unwrap_or_else(|| DEFAULT_URL.to_owned());
    let endpoint = Endpoint::parse(&url)?;
    let session = Session::of(endpoint.url());
    let request = request(&call, &session)?;
    let (request, answer) = client::send(&endpoint, request)?;
    let logged_in = match call.action {
        Action::Login => keep_token(&session, &answer)?,
        Action::Logout if answer.status == 200 => {
            session.forget();
            true
        }
        _ => true,
    };
    print::answer(&call, &request, &answer)?;
    if !logged_in {
        let _ = writeln!(io::stderr(), "{name}: no token came back");
    }
    Ok(match answer.status {
        _ if !logged_in => exit::LOGIN,
        ..400 => exit::OK,
        400..500 => exit::REFUSED,
        _ => exit::SERVER,
    })
}

/// The HTTP request that `call` asks for: its files read, its credentials added.
fn request(call: &Call, session: &Session) -> Result<Request, Failure> {
    let mut params = Map::new();
    for (key, param) in &call.params {
        let value = match param {
            Param::Value(value) => value.clone(),
            Param::File(path) => Value::String(read(path, key == "password")?),
        };
        params.insert(key.clone(), value);
    }
    let api_key = match &call.api_key {
        Some(Param::File(path)) => Some(read(path, true)?),
        Some(Param::Value(Value::String(key))) => Some(key.clone()),
        // No key, whatever the environment says.
        Some(Param::Value(Value::Null | Value::Bool(false))) => None,
        Some(Param::Value(_)) => return Err(Failure::new(exit::USAGE, "-api-key takes a key or file::PATH")),
        None => std::env::var("ES_API_KEY").ok(),
    };
    let mut headers = Vec::new();
    if let Some(key) = api_key.filter(|key| !key.is_empty()) {
        headers.push(("ES-API-KEY", key));
    }
    if call.action != Action::Login
        && let Some(token) = session.token()
    {
        headers.push(("Authorization", format!("Token {token}")));
    }
    Ok(Request { method: call.action.method(), resource: call.resource.clone(), params, headers })
}

/// The text of the file at `path`. Of a secret, an editor's line end is not a part.
fn read(path: &str, secret: bool) -> Result<String, Failure> {
    let mut text =
        fs::read_to_string(path).map_err(|error| Failure::new(exit::NO_ANSWER, format!("{path}: {error}")))?;
    if secret && text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// Keeps the token of a login's answer; false if it has none.
fn keep_token(session: &Session, answer: &Answer) -> Result<bool, Failure> {
    let Some(json) = answer.json() else { return Ok(false) };
    let Some(token) = json.get("token").and_then(Value::as_str).filter(|_| answer.status == 200) else {
        return Ok(false);
    };
    session.keep(token).map_err(|error| {
        Failure::new(exit::LOGIN, format!("logged in, but the token cannot be kept: {}: {error}", session.place()))
    })?;
    Ok(true)
}
