//! The file behind `web.config_file`: TLS, basic authentication and headers of the web server, in the
//! format of Prometheus' exporter-toolkit.
//!
//! <https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>. A setting
//! that this server cannot honour is an error, so that no operator relies on it.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    str::FromStr as _,
};

use axum::http::{HeaderName, HeaderValue};
use bcrypt::HashParts;

use super::{
    error::ConfigError,
    source::{read, text},
    value::{boolean, choice, one_of, section, string},
    yaml::{self, Entry, Node, Position, Problem, Value, excerpt},
};

/// The contents of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebFile {
    /// TLS; `None` for plain HTTP.
    pub tls: Option<TlsSettings>,
    /// Users and the bcrypt hashes of their passwords. If empty, no request has to authenticate.
    pub users: BTreeMap<String, String>,
    /// Headers of every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// The section `tls_server_config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The server's certificate and those between it and the authority.
    pub certificate: Pem,
    /// Its private key.
    pub key: Pem,
    /// Whether clients are asked for a certificate, and whether one is required.
    pub clients: ClientAuth,
    /// The lowest version.
    pub min_version: TlsVersion,
    /// The highest version.
    pub max_version: TlsVersion,
}

/// Where certificates or a key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pem {
    /// In this file.
    File(PathBuf),
    /// Here.
    Inline(String),
}

/// The key `client_auth_type`, with the authorities that vouch for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// `NoClientCert`
    None,
    /// `VerifyClientCertIfGiven`
    IfGiven(Pem),
    /// `RequireAndVerifyClientCert`
    Required(Pem),
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.2
    Tls12,
    /// 1.3
    Tls13,
}

/// Headers that may be set, as the toolkit has them.
const HEADERS: [&str; 5] = [
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
];

const TLS_KEYS: [&str; 9] = [
    "cert_file",
    "key_file",
    "client_ca_file",
    "cert",
    "key",
    "client_ca",
    "client_auth_type",
    "min_version",
    "max_version",
];

const PEM_FILE: &str = "the path of a PEM file";

impl WebFile {
    /// Reads and checks the file. The files that it names are not opened.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(path, read(path)?)
    }

    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let tls = self.tls.as_ref();
        let authorities = tls.and_then(|tls| tls.clients.authorities());
        let pems = tls.into_iter().flat_map(|tls| [&tls.certificate, &tls.key]).chain(authorities);
        pems.filter_map(|pem| match pem {
            Pem::File(path) => Some(path.as_path()),
            Pem::Inline(_) => None,
        })
    }

    fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self, ConfigError> {
        // Paths in it are relative to its own folder.
        let folder = path.parent().unwrap_or(Path::new("/"));
        text(bytes)
            .and_then(|text| web_file(&text, folder))
            .map_err(|problem| ConfigError::invalid(path.to_owned(), problem))
    }
}

impl ClientAuth {
    /// The authorities that sign clients' certificates.
    pub const fn authorities(&self) -> Option<&Pem> {
        match self {
            Self::None => None,
            Self::IfGiven(pem) | Self::Required(pem) => Some(pem),
        }
    }
}

impl TlsVersion {
    const ALL: [Self; 2] = [Self::Tls12, Self::Tls13];

    const fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "TLS12",
            Self::Tls13 => "TLS13",
        }
    }
}

fn web_file(text: &str, folder: &Path) -> Result<WebFile, Problem> {
    let root = yaml::parse(text)?;
    let [tls, http, users] =
        section(root, ["tls_server_config", "http_server_config", "basic_auth_users"])?;
    Ok(WebFile {
        tls: tls.map(|tls| tls_settings(tls, folder)).transpose()?.flatten(),
        users: users.map(basic_auth_users).transpose()?.unwrap_or_default(),
        headers: http.map(http_settings).transpose()?.unwrap_or_default(),
    })
}

/// `None` for a section without keys, which is as if it were not there.
fn tls_settings(node: Node<'_>, folder: &Path) -> Result<Option<TlsSettings>, Problem> {
    let position = node.position;
    if matches!(node.value, Value::Null) {
        return Ok(None);
    }
    let [cert_file, key_file, ca_file, cert, key, ca, auth_type, min, max] =
        section(node, TLS_KEYS)?;
    let certificate = pem(["cert_file", "cert"], cert_file, cert, folder)?;
    let key = pem(["key_file", "key"], key_file, key, folder)?;
    let authorities = pem(["client_ca_file", "client_ca"], ca_file, ca, folder)?;
    let missing = |name: &str, expected: &str| {
        Problem::new(position, format!("the key `{name}` is missing"), expected)
    };
    let version = |node: Option<Node<'_>>, default| {
        node.map_or(Ok(default), |node| choice(node, TlsVersion::ALL, TlsVersion::name))
    };
    let max_position = max.as_ref().map_or(position, |max| max.position);
    let settings = TlsSettings {
        certificate: certificate.ok_or_else(|| missing("cert_file", "the server's certificate"))?,
        key: key.ok_or_else(|| missing("key_file", "the server's private key"))?,
        clients: client_auth(auth_type, authorities, position)?,
        min_version: version(min, TlsVersion::Tls12)?,
        max_version: version(max, TlsVersion::Tls13)?,
    };
    if settings.max_version < settings.min_version {
        let message = "max_version is below min_version";
        return Err(Problem::new(max_position, message, "TLS13, or no max_version"));
    }
    Ok(Some(settings))
}

/// A file, or the text itself.
fn pem(
    [file_key, text_key]: [&str; 2],
    file: Option<Node<'_>>,
    text: Option<Node<'_>>,
    folder: &Path,
) -> Result<Option<Pem>, Problem> {
    match (file, text) {
        (Some(_), Some(text)) => {
            let message = format!("both `{file_key}` and `{text_key}` are given");
            Err(Problem::new(text.position, message, "one of them"))
        }
        (Some(file), None) => match string(&file, PEM_FILE)? {
            "" => Err(Problem::new(file.position, "a path without a name", PEM_FILE)),
            path => Ok(Some(Pem::File(folder.join(path)))),
        },
        (None, Some(text)) => Ok(Some(Pem::Inline(string(&text, "PEM")?.to_owned()))),
        (None, None) => Ok(None),
    }
}

fn client_auth(
    auth_type: Option<Node<'_>>,
    authorities: Option<Pem>,
    section: Position,
) -> Result<ClientAuth, Problem> {
    const NONE: &str = "NoClientCert";
    const IF_GIVEN: &str = "VerifyClientCertIfGiven";
    const REQUIRED: &str = "RequireAndVerifyClientCert";
    // The toolkit has two more types, which verify nothing.
    const TYPES: [&str; 3] = [NONE, IF_GIVEN, REQUIRED];
    let position = auth_type.as_ref().map_or(section, |node| node.position);
    let auth_type = auth_type.map_or(Ok(NONE), |node| choice(node, TYPES, |name| name))?;
    match (auth_type, authorities) {
        (NONE, None) => Ok(ClientAuth::None),
        (NONE, Some(_)) => {
            let message = "client_ca_file is given, and no client is asked for a certificate";
            let expected = format!("client_auth_type: {}", one_of([IF_GIVEN, REQUIRED]));
            Err(Problem::new(position, message, expected))
        }
        (_, None) => {
            let message = "the key `client_ca_file` is missing";
            Err(Problem::new(position, message, "the authorities that vouch for clients"))
        }
        (IF_GIVEN, Some(authorities)) => Ok(ClientAuth::IfGiven(authorities)),
        (_, Some(authorities)) => Ok(ClientAuth::Required(authorities)),
    }
}

/// `http2` is known, and changes nothing: this server speaks HTTP/1.1, which every client does.
fn http_settings(node: Node<'_>) -> Result<Vec<(HeaderName, HeaderValue)>, Problem> {
    let [http2, headers] = section(node, ["http2", "headers"])?;
    http2.map(|http2| boolean(&http2)).transpose()?;
    let entries = headers.map(|headers| entries(headers, &one_of(HEADERS))).transpose()?;
    let headers = entries.into_iter().flatten().map(header);
    // A header without a value is not set.
    headers
        .filter(|header| {
            header.as_ref().is_ok_and(|(_, value)| !value.is_empty()) || header.is_err()
        })
        .collect()
}

fn header(entry: Entry<'_>) -> Result<(HeaderName, HeaderValue), Problem> {
    let known = HEADERS.iter().any(|name| name.eq_ignore_ascii_case(&entry.key));
    let name = HeaderName::from_str(&entry.key).ok().filter(|_| known).ok_or_else(|| {
        let message = format!("the header `{}` cannot be set", excerpt(&entry.key));
        Problem::new(entry.key_position, message, one_of(HEADERS))
    })?;
    let value = HeaderValue::from_str(string(&entry.value, "a value")?).map_err(|_| {
        Problem::new(entry.value.position, "this is not the value of a header", "visible ASCII")
    })?;
    Ok((name, value))
}

fn basic_auth_users(node: Node<'_>) -> Result<BTreeMap<String, String>, Problem> {
    const USERS: &str =
        "names of users and bcrypt hashes of their passwords, as htpasswd -nBC 10 \"\" makes them";
    let mut users = BTreeMap::new();
    for entry in entries(node, USERS)? {
        let hash = string(&entry.value, USERS)?;
        if HashParts::from_str(hash).is_err() {
            // Not shown: it may be a password.
            return Err(Problem::new(entry.value.position, "this is no bcrypt hash", USERS));
        }
        let name = entry.key.into_owned();
        if users.insert(name.clone(), hash.to_owned()).is_some() {
            let message = format!("the user `{}` is there twice", excerpt(&name));
            return Err(Problem::new(entry.key_position, message, "every user once"));
        }
    }
    Ok(users)
}

/// A mapping whose keys are the user's own.
fn entries<'text>(node: Node<'text>, expected: &str) -> Result<Vec<Entry<'text>>, Problem> {
    match node.value {
        Value::Mapping(entries) => Ok(entries),
        Value::Null => Ok(Vec::new()),
        other => {
            let message = format!("{other} in the place of a mapping");
            Err(Problem::new(node.position, message, expected))
        }
    }
}
