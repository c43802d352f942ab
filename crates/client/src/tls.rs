//! TLS towards the server: trusts what the system trusts (or, as everywhere, only what `SSL_CERT_FILE` names), and
//! besides the authority the user names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::ClientError;

/// TLS with one server. Certificates are read when first needed.
pub(crate) struct Tls {
    name: ServerName<'static>,
    authority: String,
    ca_file: Option<PathBuf>,
    connector: OnceCell<TlsConnector>,
}

impl Tls {
    pub(crate) fn new(host: &str, authority: &str, ca_file: Option<&Path>) -> Result<Self, ClientError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ClientError::Url {
            url: authority.to_owned(),
            reason: "no certificate can be for its host name",
        })?;
        let ca_file = ca_file.map(Path::to_owned);
        Ok(Self { name, authority: authority.to_owned(), ca_file, connector: OnceCell::new() })
    }

    pub(crate) async fn connect(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, ClientError> {
        let connector = self.connector.get_or_try_init(|| self.load()).await?;
        connector
            .connect(self.name.clone(), stream)
            .await
            .map_err(|source| ClientError::Tls { authority: self.authority.clone(), source })
    }

    async fn load(&self) -> Result<TlsConnector, ClientError> {
        let ca_file = self.ca_file.clone();
        let loading = tokio::task::spawn_blocking(move || roots(ca_file.as_deref()));
        let roots =
            loading.await.map_err(|_| ClientError::Certificates("reading them failed".to_owned()))??;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| ClientError::Certificates(error.to_string()))?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    if let Some(file) = ca_file {
        let unusable = |error: &dyn std::fmt::Display| {
            ClientError::Certificates(format!("cannot use {}: {error}", file.display()))
        };
        let before = roots.len();
        for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unusable(&error))? {
            let certificate = certificate.map_err(|error| unusable(&error))?;
            roots.add(certificate).map_err(|error| unusable(&error))?;
        }
        if roots.len() == before {
            return Err(unusable(&"it holds no certificate"));
        }
    }
    if roots.is_empty() {
        let why = system.errors.first().map_or_else(String::new, |error| format!(": {error}"));
        return Err(ClientError::Certificates(format!("this system trusts nobody{why}")));
    }
    Ok(roots)
}
