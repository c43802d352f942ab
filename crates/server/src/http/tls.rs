//! The server's certificate: read and checked before anything is opened, read again when the operator says so.
//!
//! New connections get the certificate last read; those that are open keep theirs. A reading that fails changes
//! nothing. The key stays in this process.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use sandscope_config::TlsFiles;

/// What TLS calls HTTP/2 and HTTP/1.1.
pub(super) const HTTP_2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// The certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot read the {what} from {}: {}", path.display(), said(source))]
    Unreadable { what: &'static str, path: PathBuf, source: pem::Error },
    #[error("{} holds no certificate", .0.display())]
    Empty(PathBuf),
    #[error("the private key in {} is not the key of the certificate in {}", .0.key.display(), .0.cert.display())]
    Mismatch(TlsFiles),
    #[error("the certificate in {} or its key cannot be used: {reason}", files.cert.display())]
    Unusable { files: TlsFiles, reason: rustls::Error },
}

/// TLS towards clients.
#[derive(Debug)]
pub(crate) struct Tls {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
    config: Arc<ServerConfig>,
}

/// The certificate in use.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Tls {
    /// Reads certificate and key and sees that they belong together.
    pub(crate) fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let current = Arc::new(Current(RwLock::new(Arc::new(read(files, &provider)?))));
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|reason| TlsError::Unusable { files: files.clone(), reason })?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Current>::clone(&current);
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1_1.to_vec()];
        Ok(Self { files: files.clone(), provider, current, config: Arc::new(config) })
    }

    /// Reads both files again; from now on new connections get what is there now.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let read = Arc::new(read(&self.files, &self.provider)?);
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// Which of `names` clients will refuse the certificate for.
    pub(crate) fn missing<'n>(&self, names: &'n [String]) -> Vec<&'n str> {
        let current = Arc::clone(&self.current.0.read().unwrap_or_else(PoisonError::into_inner));
        let Some(certificate) = current.cert.first() else { return Vec::new() };
        let Ok(certificate) = ParsedCertificate::try_from(certificate) else { return Vec::new() };
        let covers = |name: &str| {
            ServerName::try_from(name).is_ok_and(|name| verify_server_name(&certificate, &name).is_ok())
        };
        names.iter().map(String::as_str).filter(|name| !covers(name)).collect()
    }
}

fn read(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let unreadable = |what, path: &PathBuf| {
        let path = path.clone();
        move |source| TlsError::Unreadable { what, path, source }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(unreadable("certificate", &files.cert))?;
    if chain.is_empty() {
        return Err(TlsError::Empty(files.cert.clone()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(unreadable("private key", &files.key))?;
    warn_if_public(&files.key);
    CertifiedKey::from_der(chain, key, provider).map_err(|reason| match reason {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch(files.clone()),
        reason => TlsError::Unusable { files: files.clone(), reason },
    })
}

fn warn_if_public(key: &std::path::Path) {
    let mode = std::fs::metadata(key).map_or(0, |found| found.permissions().mode());
    if mode & 0o007 != 0 {
        tracing::warn!(path = %key.display(), "every user of this machine can read the private key");
    }
}

fn said(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "there is none in it (PEM is expected)".to_owned(),
        pem::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}
