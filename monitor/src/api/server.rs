//! Which agent is asked: that of this host over its Unix socket, or another one over TCP.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use axum::http::{HeaderValue, Uri};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper_rustls::ConfigBuilderExt as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

use super::SOCKET;
use crate::config::HttpUrl;

/// An agent that is asked.
#[derive(Clone, Debug)]
pub struct Server {
    place: Place,
    /// User and password, as a header.
    pub(super) authorization: Option<HeaderValue>,
}

#[derive(Clone, Debug)]
enum Place {
    Socket(PathBuf),
    Tcp { url: HttpUrl, tls: Option<Tls> },
}

#[derive(Clone)]
struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How to reach an agent of another host.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// User of basic authentication.
    pub user: Option<String>,
    /// File with the password, of which the first line counts.
    pub password_file: Option<PathBuf>,
    /// Certificates of the authorities that are trusted, instead of those of this host.
    pub authorities: Option<PathBuf>,
    /// Certificate of the client.
    pub certificate: Option<PathBuf>,
    /// Its key; where absent, the file of the certificate has both.
    pub key: Option<PathBuf>,
}

/// A connection to an agent.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

impl Default for Server {
    fn default() -> Self {
        Self::of_socket(PathBuf::from(SOCKET))
    }
}

impl Server {
    /// The agent behind this socket.
    pub const fn of_socket(path: PathBuf) -> Self {
        Self { place: Place::Socket(path), authorization: None }
    }

    /// The agent at this address.
    ///
    /// # Errors
    /// A file cannot be read, or is not what it should be.
    pub fn of_url(url: &HttpUrl, access: &Access) -> Result<Self> {
        let tls = url.is_https().then(|| Tls::new(url, access)).transpose()?;
        if tls.is_none() && access.certificate.is_some() {
            bail!("a certificate takes an https URL");
        }
        let place = Place::Tcp { url: url.clone(), tls };
        Ok(Self { place, authorization: access.authorization()? })
    }

    /// What the agent is called in messages.
    pub fn name(&self) -> String {
        match &self.place {
            Place::Socket(path) => path.display().to_string(),
            Place::Tcp { url, .. } => url.origin(),
        }
    }

    /// The value of the header `Host`, and the path of a request.
    pub(super) fn target(&self, path: &str) -> (String, String) {
        match &self.place {
            Place::Socket(_) => ("agent".to_owned(), path.to_owned()),
            Place::Tcp { url, .. } => {
                let host = url.uri().authority().map_or("agent", |authority| authority.as_str());
                let (path, query) = path.split_once('?').unwrap_or((path, ""));
                let path = url.join(path).path().to_owned();
                let query = if query.is_empty() { String::new() } else { format!("?{query}") };
                (host.to_owned(), path + &query)
            }
        }
    }

    /// Connects.
    pub(super) async fn connect(&self) -> io::Result<Box<dyn Connection>> {
        match &self.place {
            Place::Socket(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Place::Tcp { url, tls } => {
                let (host, port) = host_and_port(url.uri(), tls.is_some());
                let tcp = TcpStream::connect((host.as_str(), port)).await?;
                tcp.set_nodelay(true)?;
                Ok(match tls {
                    None => Box::new(tcp),
                    Some(tls) => Box::new(tls.connector.connect(tls.name.clone(), tcp).await?),
                })
            }
        }
    }

    /// Whether a failed connection means that no agent runs, or none that this user may ask.
    pub(super) fn is_absence(&self, error: &io::Error) -> bool {
        use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
        matches!(self.place, Place::Socket(_))
            && matches!(error.kind(), ConnectionRefused | NotFound | PermissionDenied)
    }
}

fn host_and_port(uri: &Uri, is_https: bool) -> (String, u16) {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    (host.to_owned(), uri.port_u16().unwrap_or(if is_https { 443 } else { 80 }))
}

impl Access {
    fn authorization(&self) -> Result<Option<HeaderValue>> {
        let Some(user) = &self.user else { return Ok(None) };
        let password = match &self.password_file {
            Some(path) => {
                let text = fs::read_to_string(path);
                let text = text.with_context(|| format!("cannot read {}", path.display()))?;
                text.lines().next().unwrap_or_default().to_owned()
            }
            None => String::new(),
        };
        let credentials = STANDARD.encode(format!("{user}:{password}"));
        let mut value = HeaderValue::try_from(format!("Basic {credentials}"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl Tls {
    fn new(url: &HttpUrl, access: &Access) -> Result<Self> {
        let (host, _) = host_and_port(url.uri(), true);
        let name = ServerName::try_from(host.clone());
        let name = name.with_context(|| format!("{host:?} is no name of a server"))?;
        let builder = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()?;
        let builder = match &access.authorities {
            Some(path) => builder.with_root_certificates(roots(path)?),
            None => builder.with_native_roots().context("this host trusts no authority")?,
        };
        let config = match &access.certificate {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let key = access.key.as_deref().unwrap_or(path);
                let key = PrivateKeyDer::from_pem_file(key)
                    .with_context(|| format!("no private key in {}", key.display()))?;
                builder.with_client_auth_cert(certificates(path)?, key)?
            }
        };
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }
}

/// The authorities of a file.
fn roots(file: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(file)? {
        roots.add(authority).with_context(|| file.display().to_string())?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> =
        certificates.with_context(|| format!("no certificate in {}", path.display()))?;
    if certificates.is_empty() {
        bail!("no certificate in {}", path.display());
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_url(url: &str, access: &Access) -> Result<Server> {
        Server::of_url(&url.parse().expect("a URL"), access)
    }

    #[test]
    fn requests_name_the_host_and_keep_the_path_of_the_url() {
        let server =
            of_url("http://192.0.2.1:10948/behind/", &Access::default()).expect("a server");
        let target = server.target("/api/v1/events?limit=2");
        assert_eq!(target, ("192.0.2.1:10948".into(), "/behind/api/v1/events?limit=2".into()));
        assert_eq!(server.name(), "http://192.0.2.1:10948");
        assert_eq!(Server::default().target("/metrics"), ("agent".into(), "/metrics".into()));
    }

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let path = std::env::temp_dir().join(format!("ghostport-password-{}", std::process::id()));
        fs::write(&path, "open sesame\n").expect("written");
        let access =
            Access { user: Some("ali".into()), password_file: Some(path), ..Access::default() };
        let value = access.authorization().expect("read").expect("a header");
        fs::remove_file(access.password_file.expect("a file")).expect("removed");
        assert_eq!(value.to_str().expect("text"), "Basic YWxpOm9wZW4gc2VzYW1l");
    }

    #[test]
    fn a_certificate_needs_https_and_a_file_that_has_one() {
        let access = Access { certificate: Some("/dev/null".into()), ..Access::default() };
        let error = of_url("http://192.0.2.1/", &access).expect_err("no TLS");
        assert_eq!(error.to_string(), "a certificate takes an https URL");
        let access = Access { authorities: Some("/dev/null".into()), ..Access::default() };
        let error = of_url("https://192.0.2.1/", &access).expect_err("no certificate");
        assert_eq!(error.to_string(), "no certificate in /dev/null");
    }

    #[test]
    fn an_address_of_ipv6_has_no_brackets() {
        let uri: Uri = "https://[::1]:10948/".parse().expect("a URL");
        assert_eq!(host_and_port(&uri, true), ("::1".into(), 10948));
        assert_eq!(host_and_port(&"https://a.example/".parse().expect("a URL"), true).1, 443);
    }
}
