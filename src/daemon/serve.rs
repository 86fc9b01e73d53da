//! The daemon from its configuration to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::accounts::password::Cost;
use crate::accounts::profile_rules::{is_country, is_time_zone};
use crate::accounts::secrets::KeyRing;
use crate::admin;
use crate::api::{self, App, Listener};
use crate::audit::Audit;
use crate::config::Config;
use crate::directory::managed::bootstrap::Bootstrap;
use crate::directory::{Directory, OpenError};
use crate::sshkey::{KeyType, Policy};

use super::{files, notify, socket, tls};

/// How long a directory that does not answer is left alone before the next try at start.
const RETRY: Duration = Duration::from_secs(1);

/// How long the audit log may take at the end.
const FLUSH: Duration = Duration::from_secs(5);

/// What the configuration stands for, checked.
pub(crate) struct Parts {
    pub(crate) ring: Arc<KeyRing>,
    policy: Arc<Policy>,
    pub(crate) cost: Cost,
}

impl Parts {
    /// Checks what the configuration's own rules can't: the key file, the certificate, the key policy, the cost
    /// of passwords, the defaults of profiles.
    pub(crate) fn check(config: &Config) -> Result<(), String> {
        tls::load(&config.http)?;
        Self::new(config).map(|_| ())
    }

    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let passwords = &config.passwords;
        let cost = Cost { memory: passwords.memory_kib, passes: passwords.passes, lanes: passwords.lanes };
        cost.check().map_err(|e| format!("passwords: {e}"))?;
        let types = config.keys.types.iter().map(|name| {
            KeyType::from_name(name).ok_or_else(|| format!("keys.types: {name} is no key type that usher knows"))
        });
        let types = types.collect::<Result<Vec<_>, _>>()?;
        let (zone, country) = (&config.profile.default_timezone, &config.profile.default_country);
        if !is_time_zone(zone) {
            return Err(format!("profile.default-timezone: {zone} is no name of the time zone database"));
        }
        if !is_country(country) {
            return Err(format!("profile.default-country: {country} is no code of ISO 3166-1"));
        }
        let policy = Arc::new(Policy { min_rsa_bits: config.keys.min_rsa_bits, types });
        Ok(Self { ring: Arc::new(KeyRing::new(&config.secrets.read_key()?)), policy, cost })
    }
}

/// Runs the daemon until it is told to end.
///
/// # Errors
/// A text for the operator: the daemon could not start.
pub(crate) async fn run(config: Config) -> Result<(), String> {
    let parts = Parts::new(&config)?;
    let mut end = End::new()?;
    let http =
        TcpListener::bind(config.http.listen).await.map_err(|e| format!("http.listen {}: {e}", config.http.listen))?;
    serve(config, parts, http, &mut end).await
}

/// The start order: bind, serve, start the directory, say so, wait for the end, drain. Until the directory is there, calls
/// are told to come back, and the lookup socket's wait.
///
/// # Errors
/// As [`run`].
pub(crate) async fn serve(config: Config, parts: Parts, http: TcpListener, end: &mut End) -> Result<(), String> {
    let audit = Audit::open(config.audit.file.as_deref()).map_err(|e| format!("audit.file: {e}"))?;
    let address = http.local_addr().map_err(|e| format!("http.listen: {e}"))?;
    let tls = tls::follow(&config.http)?;
    let scheme = config.http.scheme();
    let mut listeners = vec![Listener::tcp(http, tls)];
    if let Some(path) = &config.http.socket {
        listeners.push(Listener::Unix(socket::bind("http.socket", path, socket::FOR_GROUP).await?));
    }
    let keys = socket::bind("lookup.socket", &config.lookup.socket, socket::FOR_ALL).await?;
    let directory = Directory::new(&config.directory, parts.ring.clone(), parts.cost)?;
    let bootstrap = Bootstrap::new(&config.directory, parts.ring.clone(), parts.cost)?;
    let connections = files::http_connections(config.http.max_connections);
    let config = Arc::new(config);
    let app =
        Arc::new(App::new(directory.clone(), config.clone(), parts.ring, parts.cost, parts.policy.clone(), audit));
    let (stop, stopped) = watch::channel(false);
    let stopping = || {
        let mut stopped = stopped.clone();
        async move {
            // The sender outlives the servers.
            let _ = stopped.wait_for(|stop| *stop).await;
        }
    };
    let http = tokio::spawn(api::serve(listeners, app.clone(), connections, stopping()));
    if !start(&directory, end).await? {
        return Ok(());
    }
    // A decoy that is cheaper than real passwords tells who exists; logins work all the same.
    if let Err(error) = bootstrap.renew_decoy().await {
        warn!(%error, "the decoy entry could not be checked");
    }
    let keys = tokio::spawn(api::lookup::serve(keys, directory, parts.policy, stopping()));
    admin::say(&format!("usherd ready: {scheme}://{address}/api"));
    notify::notify("READY=1");
    info!(%address, socket = %config.lookup.socket.display(), "ready");

    end.wait().await;
    info!("ending");
    notify::notify("STOPPING=1");
    // While they are our own: once nobody answers there, a successor takes the places.
    for path in [Some(&config.lookup.socket), config.http.socket.as_ref()].into_iter().flatten() {
        if let Err(error) = std::fs::remove_file(path) {
            warn!(%error, socket = %path.display(), "a socket could not be removed");
        }
    }
    stop.send_replace(true);
    let _ = tokio::join!(http, keys);
    app.directory.end_announcements().await;
    app.directory.close();
    // Nothing else is left to run meanwhile.
    if !app.audit.flush(FLUSH) {
        warn!("the last lines of the audit log could not be written in time");
    }
    Ok(())
}

/// Starts the directory, trying again while it does not answer; false if the daemon is told to end meanwhile.
async fn start(directory: &Directory, end: &mut End) -> Result<bool, String> {
    loop {
        let result = tokio::select! {
            result = directory.start() => result,
            () = end.wait() => return Ok(false),
        };
        match result {
            Ok(()) => return Ok(true),
            Err(OpenError::Unfit(why)) => return Err(why),
            Err(error @ OpenError::Unavailable(_)) => warn!(%error, retry_s = RETRY.as_secs(), "not ready"),
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = end.wait() => return Ok(false),
        }
    }
}

/// The signals that end the daemon.
pub(crate) struct End {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl End {
    pub(crate) fn new() -> Result<Self, String> {
        let listen = |kind| signal(kind).map_err(|e| format!("signals: {e}"));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
