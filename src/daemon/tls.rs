//! The API's certificate: read at the start, and again at SIGHUP.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tracing::{error, info};

use crate::api::Tls;
use crate::config::Http;

/// What the configured files say; `None` where none are configured.
///
/// # Errors
/// A text that names the file and the rule.
pub(crate) fn load(http: &Http) -> Result<Option<Arc<ServerConfig>>, String> {
    // `Config` holds both or none.
    let (Some(certificate), Some(key)) = (&http.tls_certificate_file, &http.tls_key_file) else { return Ok(None) };
    let chain = chain(certificate).map_err(|e| format!("http.tls-certificate-file {}: {e}", certificate.display()))?;
    let key_error = |e: String| format!("http.tls-key-file {}: {e}", key.display());
    let key = private_key(key).map_err(key_error)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS: {e}"))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| key_error(format!("does not go with the certificate: {e}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(Arc::new(config)))
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(|e| e.to_string())?.collect();
    let chain = chain.map_err(|e| e.to_string())?;
    if chain.is_empty() { Err("holds no certificate in PEM form".to_owned()) } else { Ok(chain) }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let mode = std::fs::metadata(file).map_err(|e| e.to_string())?.mode();
    if mode & 0o007 != 0 {
        return Err(format!("mode {:03o} lets everybody have it; it must be 640 or less", mode & 0o777));
    }
    PrivateKeyDer::from_pem_file(file).map_err(|e| e.to_string())
}

/// What new connections get from now on: the files as they are, read anew at every SIGHUP. Files that can't be used change
/// nothing. Without TLS, SIGHUP does nothing, instead of ending the daemon.
///
/// # Errors
/// As [`load`].
pub(crate) fn follow(http: &Http) -> Result<Option<Tls>, String> {
    let mut hangup = signal(SignalKind::hangup()).map_err(|e| format!("signals: {e}"))?;
    let sender = load(http)?.map(watch::Sender::new);
    let receiver = sender.as_ref().map(watch::Sender::subscribe);
    let http = http.clone();
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match (&sender, load(&http)) {
                (Some(sender), Ok(Some(config))) => {
                    sender.send_replace(config);
                    info!("the certificate was read anew");
                }
                (_, Err(error)) => error!(%error, "the certificate stays as it was"),
                _ => info!("nothing to read anew"),
            }
        }
    });
    Ok(receiver)
}
