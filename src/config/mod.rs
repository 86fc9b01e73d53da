//! The configuration file `usherd.toml`: types, defaults, loading. Plain data; nobody's behaviour.
//!
//! One TOML file, kebab-case keys, unknown keys refused. Environment `USHER__SECTION__KEY` and `--set section.key=value`
//! override it, in this order. Secrets are never values here, only paths of files.

mod load;

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde::Deserialize;

/// The whole configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) directory: Directory,
    #[serde(default)]
    pub(crate) http: Http,
    #[serde(default)]
    pub(crate) lookup: Lookup,
    #[serde(default)]
    pub(crate) secrets: Secrets,
    #[serde(default)]
    pub(crate) throttle: Throttle,
    #[serde(default)]
    pub(crate) passwords: Passwords,
    #[serde(default)]
    pub(crate) keys: Keys,
    #[serde(default)]
    pub(crate) profile: Profile,
    #[serde(default)]
    pub(crate) sessions: Sessions,
    #[serde(default)]
    pub(crate) audit: Audit,
}

/// `[directory]`: where the entries are.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Directory {
    /// LDAP URLs in order of preference: `ldapi://%2Fpath`, `ldaps://host`, `ldap://host`.
    pub(crate) urls: Vec<String>,
    pub(crate) base_dn: String,
    /// Absent on ldapi: SASL EXTERNAL.
    pub(crate) bind_dn: Option<String>,
    pub(crate) bind_password_file: Option<PathBuf>,
    /// Ask for TLS on `ldap://` URLs (StartTLS) before anything else is sent.
    #[serde(default)]
    pub(crate) start_tls: bool,
    /// Longest wait for a connection, in milliseconds.
    #[serde(default = "default_connect_timeout")]
    pub(crate) connect_timeout_ms: u64,
    /// Longest wait for one operation, in milliseconds.
    #[serde(default = "default_operation_timeout")]
    pub(crate) operation_timeout_ms: u64,
}

fn default_connect_timeout() -> u64 {
    1_000
}

fn default_operation_timeout() -> u64 {
    5_000
}

/// `[http]`: the API's listeners.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Http {
    pub(crate) listen: SocketAddr,
    /// A Unix socket to listen at too, for a proxy on this host.
    pub(crate) socket: Option<PathBuf>,
    /// The certificate with its chain, and its key, in PEM form: with them `listen` speaks TLS. Read anew at SIGHUP.
    pub(crate) tls_certificate_file: Option<PathBuf>,
    pub(crate) tls_key_file: Option<PathBuf>,
    /// Largest request body, in bytes.
    pub(crate) max_body: usize,
    /// Most connections at a time; further ones wait.
    pub(crate) max_connections: usize,
    /// How long a connection may do nothing, and how long it may take for a request's head, in seconds.
    pub(crate) idle_seconds: u32,
    /// Addresses of proxies whose `X-Forwarded-For` counts; one on the Unix socket has the address 127.0.0.1.
    pub(crate) trusted_proxies: Vec<std::net::IpAddr>,
}

impl Http {
    /// The scheme of `listen`'s URL.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls_certificate_file.is_some() { "https" } else { "http" }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            socket: None,
            tls_certificate_file: None,
            tls_key_file: None,
            max_body: 1 << 20,
            max_connections: 4096,
            idle_seconds: 30,
            trusted_proxies: Vec::new(),
        }
    }
}

/// `[lookup]`: the socket that sshd's helper asks.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Lookup {
    pub(crate) socket: PathBuf,
}

impl Default for Lookup {
    fn default() -> Self {
        Self { socket: PathBuf::from("/run/usher/keys.sock") }
    }
}

/// `[secrets]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Secrets {
    /// 32 random bytes as 64 hex digits, readable by the daemon alone; shared by all daemons of one directory.
    pub(crate) key_file: PathBuf,
}

impl Default for Secrets {
    fn default() -> Self {
        Self { key_file: PathBuf::from("/etc/usher/key") }
    }
}

/// `[throttle]`: requests a minute; 0 means no limit (contract section 0, decision 14).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Throttle {
    /// Login attempts from one address.
    pub(crate) logins_per_minute: u32,
    /// Wrong keys and wrong tokens from one address.
    pub(crate) bad_credentials_per_minute: u32,
    /// Failed passwords for one user name.
    pub(crate) bad_passwords_per_minute: u32,
    /// Authenticated requests of one user.
    pub(crate) requests_per_minute: u32,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            logins_per_minute: 30,
            bad_credentials_per_minute: 30,
            bad_passwords_per_minute: 10,
            requests_per_minute: 0,
        }
    }
}

/// `[passwords]`: the cost of new Argon2id hashes.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Passwords {
    pub(crate) memory_kib: u32,
    pub(crate) passes: u32,
    pub(crate) lanes: u32,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2, lanes: 1 }
    }
}

/// What `keys.limit` may be at most (contract 4).
const MAX_KEYS: usize = 64;

/// `[keys]`: what SSH keys are accepted and handed out.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Keys {
    /// Most keys of one user.
    pub(crate) limit: usize,
    pub(crate) min_rsa_bits: u32,
    /// Allowed key types, by their OpenSSH names.
    pub(crate) types: Vec<String>,
}

impl Default for Keys {
    fn default() -> Self {
        let types = [
            "ssh-ed25519",
            "sk-ssh-ed25519@openssh.com",
            "ecdsa-sha2-nistp256",
            "ecdsa-sha2-nistp384",
            "ecdsa-sha2-nistp521",
            "sk-ecdsa-sha2-nistp256@openssh.com",
            "ssh-rsa",
        ];
        Self { limit: 10, min_rsa_bits: 2048, types: types.map(str::to_owned).to_vec() }
    }
}

/// `[profile]`: choices and defaults of profiles (contract 3.7, decision 16).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Profile {
    pub(crate) languages: Vec<String>,
    pub(crate) currencies: Vec<String>,
    pub(crate) default_language: String,
    pub(crate) default_timezone: String,
    pub(crate) default_currency: String,
    pub(crate) default_country: String,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            languages: vec!["en".to_owned(), "sk".to_owned()],
            currencies: vec!["EUR".to_owned()],
            default_language: "en".to_owned(),
            default_timezone: "Europe/Bratislava".to_owned(),
            default_currency: "EUR".to_owned(),
            default_country: "SK".to_owned(),
        }
    }
}

/// `[sessions]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Sessions {
    /// How long a token lives after the login, in seconds.
    pub(crate) lifetime_seconds: u32,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { lifetime_seconds: 3600 }
    }
}

/// `[audit]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Audit {
    /// JSON lines; absent: no file is written.
    pub(crate) file: Option<PathBuf>,
}

impl Config {
    /// The rules between values; what belongs to one value alone is its type's.
    fn check(&self) -> Result<(), String> {
        let directory = &self.directory;
        if directory.urls.is_empty() {
            return Err("directory.urls: names no server".to_owned());
        }
        let schemes = ["ldap://", "ldaps://", "ldapi://"];
        if let Some(url) = directory.urls.iter().find(|url| !schemes.iter().any(|scheme| url.starts_with(scheme))) {
            return Err(format!("directory.urls: {url}: must begin with ldap://, ldaps:// or ldapi://"));
        }
        match (&directory.bind_dn, &directory.bind_password_file) {
            (Some(_), None) => return Err("directory.bind-password-file: needed with directory.bind-dn".to_owned()),
            (None, Some(_)) => return Err("directory.bind-dn: needed with directory.bind-password-file".to_owned()),
            _ => {}
        }
        match (&self.http.tls_certificate_file, &self.http.tls_key_file) {
            (Some(_), None) => return Err("http.tls-key-file: needed with http.tls-certificate-file".to_owned()),
            (None, Some(_)) => return Err("http.tls-certificate-file: needed with http.tls-key-file".to_owned()),
            _ => {}
        }
        let positive = [
            ("directory.connect-timeout-ms", directory.connect_timeout_ms > 0),
            ("directory.operation-timeout-ms", directory.operation_timeout_ms > 0),
            ("http.max-body", self.http.max_body > 0),
            ("http.max-connections", self.http.max_connections > 0),
            ("http.idle-seconds", self.http.idle_seconds > 0),
            ("sessions.lifetime-seconds", self.sessions.lifetime_seconds > 0),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, ok)| !ok) {
            return Err(format!("{key}: must be more than 0"));
        }
        if self.keys.limit > MAX_KEYS {
            return Err(format!("keys.limit: must be {MAX_KEYS} at most"));
        }
        let profile = &self.profile;
        for (key, value, choices) in [
            ("profile.default-language", &profile.default_language, &profile.languages),
            ("profile.default-currency", &profile.default_currency, &profile.currencies),
        ] {
            if !choices.contains(value) {
                return Err(format!("{key}: {value} is none of the choices"));
            }
        }
        Ok(())
    }
}

impl Secrets {
    /// Reads the key file: 64 hex digits, readable by nobody but the daemon.
    ///
    /// # Errors
    /// A text that names the file and the rule.
    pub(crate) fn read_key(&self) -> Result<[u8; 32], String> {
        let name = || format!("secrets.key-file {}", self.key_file.display());
        let metadata = std::fs::metadata(&self.key_file).map_err(|e| format!("{}: {e}", name()))?;
        let (mode, owner) = (metadata.mode(), metadata.uid());
        if others_may_read(mode, owner, nix::unistd::Uid::effective().as_raw()) {
            return Err(format!("{}: mode {:03o} lets others read it; it must be 600 or 400", name(), mode & 0o777));
        }
        let text = std::fs::read_to_string(&self.key_file).map_err(|e| format!("{}: {e}", name()))?;
        let digits = text.trim_end().as_bytes();
        let mut key = [0; 32];
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(format!("{}: must hold 64 hex digits", name()));
        }
        for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|e| format!("{}: {e}", name()))?;
            *byte = u8::from_str_radix(pair, 16).map_err(|e| format!("{}: {e}", name()))?;
        }
        Ok(key)
    }
}

/// Whether a secret file of this mode and owner can be read by others than the daemon, whose user is `own`. What systemd's
/// LoadCredential hands over is root's file with an access control list for the daemon's user: that shows as the group's.
fn others_may_read(mode: u32, owner: u32, own: u32) -> bool {
    let granted = if owner == 0 && own != 0 { 0o040 } else { 0 };
    mode & 0o077 & !granted != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_its_owners_alone_or_systemds_to_give() {
        for (mode, owner, own, others) in [
            (0o600, 1000, 1000, false),
            (0o400, 0, 0, false),
            (0o440, 1000, 1000, true),
            (0o604, 1000, 1000, true),
            (0o440, 0, 0, true),
            (0o440, 0, 1000, false),
            (0o460, 0, 1000, true),
            (0o444, 0, 1000, true),
            (0o440, 1001, 1000, true),
        ] {
            assert_eq!(others_may_read(mode, owner, own), others, "{mode:o} {owner} {own}");
        }
    }
}
