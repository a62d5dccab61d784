//! The asking side: requests to a running agent, over its Unix socket or over TCP.

use std::{io::ErrorKind, time::Duration};

use anyhow::{Context as _, Result, bail};
use axum::{
    body::Bytes,
    http::{Method, Request, StatusCode, header},
};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{
    SOCKET,
    listener::Listeners,
    port::{Port, Ports},
    server::{Connection, Server},
};

/// Time limit of a whole answer: an agent that hangs must not block the command that asks it.
const LIMIT: Duration = Duration::from_secs(5);

/// The same for an order, which the agent may take seconds to carry out.
const ORDER_LIMIT: Duration = Duration::from_secs(15);

/// Limit of an answer's size: every port watched, with all its counters, takes this much.
const MAX_BYTES: usize = 256 << 20;

/// Error message of a request that hits [`LIMIT`].
const SILENT: &str = "the agent does not answer";

/// The watched ports of this host's agent. `None` where no agent runs, or none that this user may ask.
///
/// # Errors
/// The agent hangs, answers with an error, or with something else.
pub async fn ports() -> Result<Option<Vec<Port>>> {
    Server::default().ports().await
}

/// The listeners of the host. `None` where no agent runs, or none that this user may ask.
///
/// # Errors
/// As [`ports`]; an agent of an earlier version does not know the answer.
pub async fn listeners() -> Result<Option<Listeners>> {
    ask("/api/v1/listeners").await
}

/// Asks this host's agent for the JSON at `path`. `None` where no agent runs, or none that this user
/// may ask.
///
/// # Errors
/// The agent hangs, answers with an error, or with something else.
pub async fn ask<T: DeserializeOwned>(path: &str) -> Result<Option<T>> {
    Server::default().ask(path).await
}

/// Sends an order to this host's agent, and returns its answer. `None` where no agent runs.
///
/// # Errors
/// As [`ask`]; and an agent that this user may not ask.
pub async fn order<T: DeserializeOwned>(path: &str) -> Result<Option<T>> {
    let server = Server::default();
    let answer = async {
        let connection = match server.connect().await {
            Ok(connection) => connection,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                bail!("you may not ask the agent: be root, or a member of the group of {SOCKET}")
            }
            Err(error) if server.is_absence(&error) => return Ok(None),
            Err(error) => return Err(error).context("cannot ask the agent"),
        };
        let Stream { body, _sender } = server.request(connection, Method::POST, path).await?;
        let body = Limited::new(body, MAX_BYTES).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
        Ok(Some(serde_json::from_slice(&body)?))
    };
    timeout(ORDER_LIMIT, answer).await.context(SILENT)?
}

/// An answer without an end.
#[derive(Debug)]
pub struct Stream {
    body: Incoming,
    /// Keeps the connection open: without a sender hyper closes it.
    _sender: SendRequest<Empty<Bytes>>,
}

impl Stream {
    /// The next bytes; `None` at the end and after an error.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            let frame = self.body.frame().await?.ok()?;
            if let Ok(bytes) = frame.into_data() {
                return Some(bytes);
            }
        }
    }
}

impl Server {
    /// The watched ports. `None` as of [`Server::ask`].
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub async fn ports(&self) -> Result<Option<Vec<Port>>> {
        Ok(self.ask::<Ports>("/api/v1/ports").await?.map(|answer| answer.ports))
    }

    /// The JSON at `path`. `None` where no agent runs on this host, or none that this user may ask.
    ///
    /// # Errors
    /// The agent cannot be reached elsewhere, hangs, answers with an error, or with something else.
    pub async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        let body = self.read(path).await?;
        Ok(body.map(|body| serde_json::from_slice(&body)).transpose()?)
    }

    /// The same for an answer that is text.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub async fn ask_text(&self, path: &str) -> Result<Option<String>> {
        let body = self.read(path).await?;
        Ok(body.map(|body| String::from_utf8(body.into())).transpose()?)
    }

    /// The same for an answer without an end.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub async fn open(&self, path: &str) -> Result<Option<Stream>> {
        timeout(LIMIT, self.begin(path)).await.context(SILENT)?
    }

    async fn read(&self, path: &str) -> Result<Option<Bytes>> {
        let whole = async {
            let Some(stream) = self.begin(path).await? else { return Ok(None) };
            let body = Limited::new(stream.body, MAX_BYTES).collect().await;
            Ok(Some(body.map_err(anyhow::Error::from_boxed)?.to_bytes()))
        };
        timeout(LIMIT, whole).await.context(SILENT)?
    }

    async fn begin(&self, path: &str) -> Result<Option<Stream>> {
        let connection = match self.connect().await {
            Ok(connection) => connection,
            Err(error) if self.is_absence(&error) => return Ok(None),
            Err(error) => return Err(error).context(format!("cannot ask {}", self.name())),
        };
        self.request(connection, Method::GET, path).await.map(Some)
    }

    async fn request(
        &self,
        connection: Box<dyn Connection>,
        method: Method,
        path: &str,
    ) -> Result<Stream> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(connection)).await?;
        // The task ends with the answer.
        tokio::spawn(connection);
        let (host, path) = self.target(path);
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        match response.status() {
            StatusCode::OK => Ok(Stream { body: response.into_body(), _sender: sender }),
            StatusCode::UNAUTHORIZED => {
                bail!("{} wants a user and a password (--user, --password-file)", self.name())
            }
            StatusCode::FORBIDDEN => bail!(
                "{} does not let this client read details: see web.details of its configuration",
                self.name()
            ),
            status => bail!("the agent answers {status}"),
        }
    }
}
