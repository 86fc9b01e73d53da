//! The managed slapd of `usherd dev`: a private server in a directory of its own, with our schema, indexes, overlays,
//! limits and access rules. It never touches the system's slapd.
//!
//! `home`: the directory and its sockets. `conf`: slapd.conf. `process`: the child. `bootstrap`: the base entries and
//! the state of a new directory. What else lies in DIR (usherd.toml, admin.env) is `daemon`'s.

pub(crate) mod bootstrap;
mod conf;
mod home;
mod process;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use crate::accounts::password::Cost;
use crate::accounts::secrets::Secret;

pub(crate) use conf::check_base;
pub(crate) use home::Home;
pub(crate) use process::{BECOME_SLAPD, become_slapd};

/// Where the managed slapd listens, on this host.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// The listener that only usherd reaches.
    pub(crate) private_url: String,
    /// The listener for everybody else.
    pub(crate) local_url: String,
    private: PathBuf,
    /// Both as slapd binds them.
    private_bound: String,
    local_bound: String,
}

impl Sockets {
    /// Chooses the places and makes their directories.
    ///
    /// # Errors
    /// A text for the operator.
    pub(crate) fn place(home: &Home) -> Result<Self, String> {
        let (private, private_bound) = home.ldap_socket("private", 0o700)?;
        let (local, local_bound) = home.ldap_socket("ldap", 0o711)?;
        Ok(Self {
            private_url: ldapi_url(&private)?,
            local_url: ldapi_url(&local)?,
            private,
            private_bound: ldapi_url(&private_bound)?,
            local_bound: ldapi_url(&local_bound)?,
        })
    }
}

/// The slapd that the host has.
#[derive(Debug)]
pub(crate) struct Server {
    program: PathBuf,
    installed: conf::Installed,
}

impl Server {
    /// Looks for it.
    ///
    /// # Errors
    /// One line that says what to install.
    pub(crate) fn find() -> Result<Self, String> {
        Ok(Self { program: process::find()?, installed: conf::Installed::find()? })
    }
}

/// A running managed slapd; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Managed(process::Slapd);

impl Managed {
    /// Writes the configuration into `home` and starts slapd. Blocks until it answers.
    ///
    /// # Errors
    /// A text for the operator.
    pub(crate) fn start(
        server: Server,
        home: &Home,
        sockets: &Sockets,
        base: &str,
        manager: &Secret,
        cost: Cost,
        tcp: Option<SocketAddr>,
    ) -> Result<Self, String> {
        check_base(base)?;
        let Server { program, installed } = server;
        let mut urls = format!("{} {}", sockets.private_bound, sockets.local_bound);
        if let Some(address) = tcp {
            urls.push_str(&format!(" ldap://{address}"));
        }
        // The manager's password is random: guessing it is hopeless at any cost, and every bind pays the cost.
        let manager_hash = Cost { memory: 64, passes: 1, lanes: 1 }.hash(manager)?;
        let settings = conf::Settings {
            installed: &installed,
            base,
            private_url: &sockets.private_bound,
            uid: Uid::effective().as_raw(),
            manager_hash: &manager_hash,
            cost,
        };
        for (name, text) in conf::SCHEMA {
            home.write(&format!("schema/{name}"), text, 0o644)?;
        }
        home.write_for_slapd("slapd.conf", &conf::text(&settings))?;
        process::Slapd::start(process::Launch {
            program,
            dir: home.dir().to_owned(),
            account: home.account(),
            urls,
            socket: sockets.private.clone(),
        })
        .map(Self)
    }

    /// Ends slapd. Blocks.
    pub(crate) fn stop(self) {
        self.0.stop();
    }
}

/// `ldapi://` with the path percent-encoded.
fn ldapi_url(path: &Path) -> Result<String, String> {
    let path = path.to_str().ok_or_else(|| format!("{}: not UTF-8", path.display()))?;
    let encoded: String = path
        .bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect();
    Ok(format!("ldapi://{encoded}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ldapi_url_takes_any_path() {
        assert_eq!(ldapi_url(Path::new("/a b/ldapi")).unwrap(), "ldapi://%2Fa%20b%2Fldapi");
    }
}
