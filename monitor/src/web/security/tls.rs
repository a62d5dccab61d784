//! The configuration for rustls from certificates and keys in PEM.

use std::{io, path::PathBuf, sync::Arc};

use tokio_rustls::rustls::{
    self, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};

use crate::config::{ClientAuth, Pem, TlsSettings, TlsVersion, read_file};

/// What is wrong with a certificate or a key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// There is no certificate.
    #[error("there is no certificate in {0}: expected PEM")]
    NoCertificate(String),
    /// There is no key.
    #[error("there is no private key in {0}: expected PEM, without a password")]
    NoKey(String),
    /// They do not belong together, or cannot be used.
    #[error("the certificate cannot be used with this key: {0}")]
    Unusable(rustls::Error),
    /// The authorities cannot be used.
    #[error("the authorities in {0} cannot be used: {1}")]
    Authorities(String, String),
}

/// The TLS configuration of the server.
pub(super) fn server_config(settings: &TlsSettings) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(settings))
        .map_err(TlsError::Unusable)?;
    let builder = match &settings.clients {
        ClientAuth::None => builder.with_no_client_auth(),
        ClientAuth::IfGiven(authorities) => {
            builder.with_client_cert_verifier(verifier(authorities, provider, true)?)
        }
        ClientAuth::Required(authorities) => {
            builder.with_client_cert_verifier(verifier(authorities, provider, false)?)
        }
    };
    let chain = certificates(&settings.certificate)?;
    let mut config =
        builder.with_single_cert(chain, private_key(&settings.key)?).map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn versions(settings: &TlsSettings) -> Vec<&'static SupportedProtocolVersion> {
    let wanted = settings.min_version..=settings.max_version;
    [(TlsVersion::Tls12, &TLS12), (TlsVersion::Tls13, &TLS13)]
        .into_iter()
        .filter_map(|(version, ours)| wanted.contains(&version).then_some(ours))
        .collect()
}

fn verifier(
    authorities: &Pem,
    provider: Arc<rustls::crypto::CryptoProvider>,
    allows_none: bool,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let unusable = |why: String| TlsError::Authorities(place(authorities), why);
    let mut roots = RootCertStore::empty();
    for authority in certificates(authorities)? {
        roots.add(authority).map_err(|error| unusable(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if allows_none { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error: VerifierBuilderError| unusable(error.to_string()))
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = bytes(pem)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(TlsError::NoCertificate(place(pem))),
    }
}

fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&bytes(pem)?).map_err(|_| TlsError::NoKey(place(pem)))
}

fn bytes(pem: &Pem) -> Result<Vec<u8>, TlsError> {
    match pem {
        Pem::Inline(text) => Ok(text.clone().into_bytes()),
        Pem::File(path) => {
            read_file(path).map_err(|source| TlsError::Unreadable { path: path.clone(), source })
        }
    }
}

/// Where the PEM is, for messages.
fn place(pem: &Pem) -> String {
    match pem {
        Pem::File(path) => path.display().to_string(),
        Pem::Inline(_) => "this file".into(),
    }
}
