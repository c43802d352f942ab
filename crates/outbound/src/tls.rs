//! TLS towards servers: trusts what the system trusts (or, as everywhere, only what `SSL_CERT_FILE` names), and besides
//! the authority in a file, where one is named. Certificates are read when first needed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Why a connection could not be secured.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// There is nothing to check certificates with; the first reason, where the system gives one.
    #[error("this server has no trusted certificates installed")]
    NoRoots(#[source] Option<rustls_native_certs::Error>),
    /// Reading the system's certificates came to no end.
    #[error("this server's trusted certificates cannot be read")]
    Reading(#[source] tokio::task::JoinError),
    /// The named authority is of no use.
    #[error("cannot use {}: {fault}", file.display())]
    CaFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        fault: CaFileError,
    },
    /// No certificate can be for this host.
    #[error("the host name cannot be verified by a certificate")]
    Name,
    /// TLS itself cannot be set up.
    #[error("TLS is not available: {0}")]
    Configuration(#[source] rustls::Error),
    /// The other side is not who it should be, or speaks no TLS.
    #[error("TLS handshake failed: {0}")]
    Handshake(#[source] std::io::Error),
}

/// Why a file of certificates is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CaFileError {
    /// It cannot be read, or is no PEM.
    #[error(transparent)]
    Pem(#[from] pem::Error),
    /// A certificate in it is none of an authority.
    #[error(transparent)]
    Certificate(#[from] rustls::Error),
    /// No certificate is in it.
    #[error("it holds no certificate")]
    Empty,
}

/// What is needed to secure connections, read once.
#[derive(Default)]
pub struct Tls {
    ca_file: Option<PathBuf>,
    connector: OnceCell<TlsConnector>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("ca_file", &self.ca_file).finish_non_exhaustive()
    }
}

impl Tls {
    /// Trusts besides what the system trusts the authorities in `ca_file` (PEM).
    pub fn trusting(ca_file: Option<&Path>) -> Self {
        Self { ca_file: ca_file.map(Path::to_owned), connector: OnceCell::new() }
    }

    /// Reads the certificates now instead of at the first connection, so that a file that is of no use is noticed early.
    ///
    /// # Errors
    /// [`TlsError`] if they cannot be used.
    pub async fn ready(&self) -> Result<(), TlsError> {
        self.connector.get_or_try_init(|| self.load()).await.map(drop)
    }

    /// Secures `stream`, checking that the other side is `host`.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, TlsError> {
        let connector = self.connector.get_or_try_init(|| self.load()).await?;
        let name = server_name(host).ok_or(TlsError::Name)?;
        connector.connect(name, stream).await.map_err(TlsError::Handshake)
    }

    async fn load(&self) -> Result<TlsConnector, TlsError> {
        let ca_file = self.ca_file.clone();
        let loading = tokio::task::spawn_blocking(move || roots(ca_file.as_deref()));
        let roots = loading.await.map_err(TlsError::Reading)??;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config =
            builder.map_err(TlsError::Configuration)?.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

/// What a certificate for `host` must be for; `None` where no certificate can be. IPv6 addresses come in brackets out
/// of a URL.
pub(crate) fn server_name(host: &str) -> Option<ServerName<'static>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).ok()
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let mut found = rustls_native_certs::load_native_certs();
    let (n_added, n_ignored) = roots.add_parsable_certificates(found.certs);
    let n_errors = found.errors.len();
    tracing::debug!(n_added, n_ignored, n_errors, "read the system's trusted certificates");
    if let Some(file) = ca_file {
        add(&mut roots, file).map_err(|fault| TlsError::CaFile { file: file.to_owned(), fault })?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoRoots((n_errors > 0).then(|| found.errors.swap_remove(0))));
    }
    Ok(roots)
}

fn add(roots: &mut RootCertStore, file: &Path) -> Result<(), CaFileError> {
    let before = roots.len();
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    if roots.len() == before { Err(CaFileError::Empty) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_named_with_what_is_wrong() {
        let missing = roots(Some(Path::new("/nowhere/ca.pem"))).unwrap_err().to_string();
        assert!(missing.starts_with("cannot use /nowhere/ca.pem: "), "{missing}");
        let empty = roots(Some(Path::new("/dev/null"))).unwrap_err();
        assert_eq!(empty.to_string(), "cannot use /dev/null: it holds no certificate");
    }

    #[test]
    fn a_certificate_can_be_for_names_and_addresses() {
        for good in ["example.org", "127.0.0.1", "[::1]", "::1"] {
            assert!(server_name(good).is_some(), "{good}");
        }
        assert!(server_name("exa mple").is_none());
    }
}
