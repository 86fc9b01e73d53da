//! `usherd dev`: a directory of its own, and the daemon on it. What lies in DIR, beside what the managed slapd has:
//!
//! * `key`: the key file. `ldap-password`: the directory manager's password. Both made once.
//! * `usherd.toml`: written at every start from what holds then.
//! * `admin.env`: credentials, made once, and addresses, renewed at every start; other lines stay.
//! * `audit.jsonl`: the audit log.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use nix::unistd::Uid;
use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::accounts::secrets::{KeyRing, Secret, hex, new_key, random};
use crate::config::Config;
use crate::directory::managed::bootstrap::{ADMIN, Bootstrap, Credentials};
use crate::directory::managed::{Home, Managed, Server, Sockets, check_base};

use super::admin_env::{self, AdminEnv};
use super::serve::{self, End, Parts};

const CONFIG: &str = "usherd.toml";
const ADMIN_ENV: &str = "admin.env";
const KEY: &str = "key";
const MANAGER_PASSWORD: &str = "ldap-password";
const AUDIT: &str = "audit.jsonl";
const DEFAULT_BASE: &str = "dc=example,dc=org";

/// Where things go.
#[derive(Args)]
pub(crate) struct DevArgs {
    /// Where everything lies [default: $XDG_DATA_HOME/usher; root: /var/lib/usher/dev].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The API's address; port 0 is any free one.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// A TCP address for LDAP clients; without it the directory is reached over Unix sockets only.
    #[arg(long, value_name = "ADDR:PORT")]
    ldap_listen: Option<SocketAddr>,
    /// The directory's base DN, fixed at the first start [default: dc=example,dc=org].
    #[arg(long, value_name = "DN")]
    base_dn: Option<String>,
}

/// The start order: directory, secrets, listener, configuration, slapd, entries, credentials, then the daemon's own.
///
/// # Errors
/// A text for the operator.
pub(crate) async fn run(args: DevArgs) -> Result<(), String> {
    let mut end = End::new()?;
    let data_dir = args.data_dir.map_or_else(default_data_dir, Ok)?;
    let server = Server::find()?;
    let home = Home::open(&data_dir)?;
    let text = |path: &Path| path.to_str().map(str::to_owned).ok_or_else(|| format!("{}: not UTF-8", path.display()));
    let dir = text(home.dir())?;
    let base = base(&home, args.base_dn)?;
    if home.read(KEY)?.is_none() && home.has_database() {
        return Err(format!(
            "{dir}/{KEY} is missing: restore it; the API keys in this directory can't be read without it"
        ));
    }
    once(&home, KEY, || hex(&random::<32>()) + "\n")?;
    // no end of line: the LDAP tools' -y takes the file as it is
    let manager = once(&home, MANAGER_PASSWORD, || new_key().reveal().to_owned())?;
    let listener = TcpListener::bind(args.listen).await.map_err(|e| format!("--listen {}: {e}", args.listen))?;
    let address = listener.local_addr().map_err(|e| format!("--listen {}: {e}", args.listen))?;
    let sockets = Sockets::place(&home)?;
    let keys_socket = text(&home.lookup_socket()?)?;
    let ldap_listen = args.ldap_listen.map(free_port).transpose()?;

    let settings = [
        ("directory.base-dn", base.clone()),
        ("http.listen", address.to_string()),
        ("lookup.socket", keys_socket.clone()),
        ("secrets.key-file", format!("{dir}/{KEY}")),
        ("audit.file", format!("{dir}/{AUDIT}")),
    ];
    let file = home.write(CONFIG, &config_text(&sockets.private_url, &settings), 0o600)?;
    // What this start decided holds against the environment; the rest of the environment counts.
    let mut sets: Vec<String> = settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
    sets.push(format!("directory.urls=[{}]", toml(&sockets.private_url)));
    let config = Config::load(&file, super::environment(), &sets)?;
    let parts = Parts::new(&config)?;

    let managed = Managed::start(server, &home, &sockets, &base, &manager, parts.cost, ldap_listen)?;
    if let Some(address) = ldap_listen {
        info!(%address, "LDAP listens");
    }
    let result = async {
        let credentials = entries(&home, &config, &parts, |credentials| {
            let env = AdminEnv {
                api_url: &format!("{}://{}/api", config.http.scheme(), reachable(address)),
                username: ADMIN,
                credentials,
                ldap_url: &sockets.local_url,
                bind_dn: &format!("cn=admin,{base}"),
                bind_password_file: &format!("{dir}/{MANAGER_PASSWORD}"),
                keys_socket: &keys_socket,
            };
            // What somebody wrote into it is kept, a password that was changed since above all.
            let old = home.read(ADMIN_ENV)?.unwrap_or_default();
            match admin_env::renewed(&old, &env.text()) {
                same if same == old => Ok(()),
                new => home.write(ADMIN_ENV, &new, 0o600).map(|_| ()),
            }
        });
        tokio::select! {
            done = credentials => done?,
            () = end.wait() => return Ok(()),
        }
        serve::serve(config, parts, listener, &mut end).await
    }
    .await;
    managed.stop();
    home.tidy();
    result
}

/// Makes what is missing in the directory and writes the credentials: before admin's entry is made, so that no crash
/// leaves an admin whose password nobody knows.
async fn entries(
    home: &Home,
    config: &Config,
    parts: &Parts,
    write: impl Fn(&Credentials) -> Result<(), String>,
) -> Result<(), String> {
    let ring: Arc<KeyRing> = parts.ring.clone();
    let bootstrap = Bootstrap::new(&config.directory, ring, parts.cost)?;
    let stored = home.read(ADMIN_ENV)?.as_deref().and_then(admin_env::credentials);
    let new = || Credentials { password: new_key(), api_key: new_key() };
    match (bootstrap.is_complete().await?, stored) {
        (true, Some(credentials)) => write(&credentials),
        (true, None) => {
            warn!("admin.env is gone: admin gets a new password and a new API key");
            let credentials = new();
            bootstrap.reset_admin(&credentials).await?;
            write(&credentials)
        }
        (false, stored) => {
            let credentials = stored.unwrap_or_else(new);
            write(&credentials)?;
            bootstrap.run(&credentials).await
        }
    }
}

fn default_data_dir() -> Result<PathBuf, String> {
    if Uid::effective().is_root() {
        return Ok("/var/lib/usher/dev".into());
    }
    // a relative $XDG_DATA_HOME is invalid and ignored (XDG base directory specification)
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|dir| dir.join("usher"))
        .ok_or_else(|| "--data-dir is needed: neither XDG_DATA_HOME nor HOME is set".to_owned())
}

/// The base DN: of the first start, which a later one can't change. A start that failed before there was a database, at
/// a base DN that slapd does not take say, decided nothing.
fn base(home: &Home, wanted: Option<String>) -> Result<String, String> {
    let written = match home.read(CONFIG)? {
        Some(_) if home.has_database() => {
            Some(Config::load(&home.dir().join(CONFIG), std::iter::empty(), &[])?.directory.base_dn)
        }
        _ => None,
    };
    match (written, wanted) {
        (Some(written), Some(wanted)) if written != wanted.trim() => {
            Err(format!("--base-dn: {} has the base DN {written}", home.dir().display()))
        }
        (Some(written), _) => Ok(written),
        (None, wanted) => {
            let base = wanted.map_or_else(|| DEFAULT_BASE.to_owned(), |base| base.trim().to_owned());
            check_base(&base).map(|()| base)
        }
    }
}

/// The file's text, made at the first start.
fn once(home: &Home, name: &str, make: impl FnOnce() -> String) -> Result<Secret, String> {
    if let Some(text) = home.read(name)? {
        return Ok(Secret::new(text));
    }
    let text = make();
    home.write(name, &text, 0o600)?;
    Ok(Secret::new(text))
}

/// slapd takes port 0 for LDAP's own, which is not ours to take.
fn free_port(address: SocketAddr) -> Result<SocketAddr, String> {
    if address.port() != 0 {
        return Ok(address);
    }
    std::net::TcpListener::bind(address)
        .and_then(|listener| listener.local_addr())
        .map_err(|e| format!("--ldap-listen {address}: {e}"))
}

/// The address by which this host reaches a listener.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => address.set_ip(std::net::Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => address.set_ip(std::net::Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

fn config_text(url: &str, settings: &[(&str, String)]) -> String {
    let mut text =
        "# Written by usherd dev at every start: changes here are lost. Set USHER__SECTION__KEY in the environment,\n\
         # or give a copy of this file to usherd serve.\n"
            .to_owned();
    let mut section = "";
    for (key, value) in settings {
        let (of, key) = key.split_once('.').unwrap_or(("", key));
        if of != section {
            text.push_str(&format!("\n[{of}]\n"));
            section = of;
            if of == "directory" {
                text.push_str(&format!("urls = [{}]\n", toml(url)));
            }
        }
        text.push_str(&format!("{key} = {}\n", toml(value)));
    }
    text
}

/// A TOML basic string.
fn toml(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_survives_the_configuration_file() {
        let socket = "/tmp/a \"b\" \\c\u{7f}é/keys.sock".to_owned();
        let text =
            config_text("ldapi://%2Fx", &[("directory.base-dn", "o=\"x\"".into()), ("lookup.socket", socket.clone())]);
        let file = std::env::temp_dir().join(format!("usher-dev-{}.toml", std::process::id()));
        std::fs::write(&file, text).unwrap();
        let config = Config::load(&file, std::iter::empty(), &[]).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(config.lookup.socket, Path::new(&socket));
        assert_eq!(config.directory.base_dn, "o=\"x\"");
    }
}
