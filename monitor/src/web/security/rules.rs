//! The rules of one reading of the file.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tokio_rustls::rustls::ServerConfig;

use super::{
    error::SecurityError,
    password::{self, Passwords, Verified},
    tls,
};
use crate::{
    config::{ClientAuth, WebFile},
    web::client::Client,
};

/// What the server requires of its clients.
#[derive(Debug)]
pub(in crate::web) struct Rules {
    tls: Option<Arc<ServerConfig>>,
    /// Whether a client needs a certificate.
    requires_certificate: bool,
    passwords: Arc<Passwords>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The files that the file names.
    pub(super) files: Vec<PathBuf>,
}

impl Rules {
    pub(super) fn load(path: &Path) -> Result<Self, SecurityError> {
        let file = WebFile::load(path)?;
        let files = file.files().map(Path::to_owned).collect();
        let tls = file.tls.as_ref().map(tls::server_config).transpose();
        let tls = tls.map_err(|source| SecurityError::Tls { path: path.to_owned(), source })?;
        let requires = |clients: &ClientAuth| matches!(clients, ClientAuth::Required(_));
        let requires_certificate = file.tls.as_ref().is_some_and(|tls| requires(&tls.clients));
        let WebFile { users, headers, .. } = file;
        Ok(Self {
            tls: tls.map(Arc::new),
            requires_certificate,
            passwords: Arc::new(Passwords::new(users)),
            headers,
            files,
        })
    }

    /// What these rules require of clients and `next` does not.
    pub(super) fn given_up_by(&self, next: &Self) -> Option<&'static str> {
        if self.tls.is_some() && next.tls.is_none() {
            return Some("it has no tls_server_config any more");
        }
        if self.requires_certificate && !next.requires_certificate {
            return Some("it asks clients for no certificate any more");
        }
        (self.asks_for_password() && !next.asks_for_password())
            .then_some("it has no basic_auth_users any more")
    }

    /// TLS; `None` for plain connections.
    pub(in crate::web) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.clone()
    }

    /// Whether every request needs a password.
    pub(in crate::web) fn asks_for_password(&self) -> bool {
        !self.passwords.is_empty()
    }

    /// Whether these headers, which this client has sent, have the name and the password of a user.
    pub(in crate::web) async fn verify(&self, headers: &HeaderMap, client: Client) -> Verified {
        match password::credentials(headers) {
            Some(credentials) => self.passwords.check(credentials, client).await,
            None => Verified::Wrong,
        }
    }

    /// Adds the headers that every response has.
    pub(in crate::web) fn add_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
    }
}
