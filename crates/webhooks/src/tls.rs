use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Why a connection could not be secured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("this server has no trusted certificates installed")]
    NoRoots,
    #[error("the host name cannot be verified by a certificate")]
    Name,
    #[error("TLS is not available: {0}")]
    Configuration(rustls::Error),
    #[error("TLS handshake failed: {0}")]
    Handshake(std::io::Error),
}

/// TLS towards receivers, trusting what the system trusts. The certificates are read when first needed.
#[derive(Default)]
pub(crate) struct Tls {
    connector: OnceCell<TlsConnector>,
}

impl Tls {
    /// Secures `stream`, checking that the other side is `host`.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, TlsError> {
        let connector = self.connector.get_or_try_init(load).await?;
        // IPv6 hosts come in brackets out of a URL.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|_| TlsError::Name)?;
        connector.connect(name, stream).await.map_err(TlsError::Handshake)
    }
}

async fn load() -> Result<TlsConnector, TlsError> {
    let loading = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs);
    let found = loading.await.map_err(|_| TlsError::NoRoots)?;
    let mut roots = RootCertStore::empty();
    let (n_added, n_ignored) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(
        n_added,
        n_ignored,
        n_errors = found.errors.len(),
        "read the system's trusted certificates"
    );
    if roots.is_empty() { Err(TlsError::NoRoots) } else { connector(roots) }
}

fn connector(roots: RootCertStore) -> Result<TlsConnector, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config =
        builder.map_err(TlsError::Configuration)?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
