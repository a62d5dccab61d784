//! The HTTP client of the remote sinks.

use std::{io, time::Duration};

use axum::{
    body::Bytes,
    http::{HeaderMap, Request, StatusCode, Uri, header},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::headers::Headers;
use crate::config::{HttpOptions, HttpUrl};

/// Time limit of a connection attempt.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Time limit of a request with its answer, including the connection attempt.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// Idle time after which a connection is closed.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// Bytes of an answer that are read at most: a thousand alerts.
const MAX_ANSWER: usize = 4 << 20;

/// Characters of an answer in the log at most.
const SHOWN: usize = 200;

/// The longest pause that a receiver may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

const USER_AGENT: &str = concat!("ghostport/", env!("CARGO_PKG_VERSION"));

/// A client for one server. It keeps one connection.
#[derive(Debug)]
pub(super) struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Headers of every request, beside its own.
    headers: Option<Headers>,
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Post {
    pub(super) uri: Uri,
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
}

/// The answer to a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The pause that the server asks for.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

impl Client {
    /// A client for `url`. For https it reads the certificates of the authorities that this host
    /// trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` override them.
    pub(super) fn new(url: &HttpUrl, options: &HttpOptions) -> io::Result<Self> {
        let headers = options.headers_file.as_deref().map(Headers::open).transpose();
        let headers = headers.map_err(io::Error::other)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_LIMIT));
        tcp.set_nodelay(true);
        let tls = HttpsConnectorBuilder::new();
        let provider = ring::default_provider();
        let tls = if url.is_https() {
            tls.with_provider_and_native_roots(provider)?
        } else {
            let config = ClientConfig::builder_with_provider(provider.into())
                .with_safe_default_protocol_versions()
                .map_err(io::Error::other)?
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth();
            tls.with_tls_config(config)
        };
        let connector = tls.https_or_http().enable_http1().wrap_connector(tcp);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_LIMIT)
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Self { pool, headers })
    }

    /// Sends a request and waits for the answer. The error says why there is none. A redirection is
    /// an answer.
    pub(super) async fn post(&self, post: &Post) -> Result<Answer, String> {
        timeout(REQUEST_LIMIT, self.send(post))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", REQUEST_LIMIT.as_secs())))
    }

    /// Asks for a document, and waits for the answer.
    pub(super) async fn get(&self, uri: Uri) -> Result<Answer, String> {
        let request = Request::get(uri).header(header::USER_AGENT, USER_AGENT);
        self.exchange(request.body(Full::default()).map_err(|error| error.to_string())?).await
    }

    async fn send(&self, post: &Post) -> Result<Answer, String> {
        let request = Request::post(post.uri.clone())
            .header(header::CONTENT_TYPE, post.content_type)
            .header(header::USER_AGENT, USER_AGENT)
            .body(Full::new(post.body.clone()))
            .map_err(|error| error.to_string())?;
        self.exchange(request).await
    }

    async fn exchange(&self, mut request: Request<Full<Bytes>>) -> Result<Answer, String> {
        if let Some(headers) = &self.headers {
            headers.add_to(request.headers_mut());
        }
        let answer = self.pool.request(request).await;
        let (head, body) = answer.map_err(|error| causes(&error))?.into_parts();
        let retry_after = retry_after(&head.headers);
        // The status counts even if the body cannot be read.
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        Ok(Answer { status: head.status, retry_after, body })
    }
}

impl Answer {
    /// The answer in words, for the log.
    pub(super) fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let text: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
        format!("it answers {}: {text}", self.status).trim_end_matches([':', ' ']).to_owned()
    }
}

/// The seconds of RFC 9110, section 10.2.3. Dates are not supported.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

/// An error and its sources.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let words: Vec<String> = chain.map(ToString::to_string).collect();
    words.join(": ")
}
