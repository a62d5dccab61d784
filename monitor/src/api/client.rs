//! The asking side: requests to a running agent over its Unix socket.

use std::{
    io::{self, ErrorKind},
    path::Path,
    time::Duration,
};

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
use tokio::{net::UnixStream, time::timeout};

use super::{
    SOCKET,
    listener::Listeners,
    port::{Port, Ports},
};

/// Time limit of a whole answer: an agent that hangs must not block the command that asks it.
const LIMIT: Duration = Duration::from_secs(5);

/// The same for an order, which the agent may take seconds to carry out.
const ORDER_LIMIT: Duration = Duration::from_secs(15);

/// Limit of an answer's size: every port watched, with all its counters, takes this much.
const MAX_BYTES: usize = 256 << 20;

/// Error message of a request that hits [`LIMIT`].
const SILENT: &str = "the agent does not answer";

/// The watched ports. `None` where no agent runs, or none that this user may ask.
///
/// # Errors
/// The agent hangs, answers with an error, or with something else.
pub async fn ports() -> Result<Option<Vec<Port>>> {
    Ok(ask::<Ports>("/api/v1/ports").await?.map(|answer| answer.ports))
}

/// The listeners of the host. `None` where no agent runs, or none that this user may ask.
///
/// # Errors
/// As [`ports`]; an agent of an earlier version does not know the answer.
pub async fn listeners() -> Result<Option<Listeners>> {
    ask("/api/v1/listeners").await
}

/// Asks the agent for the JSON at `path`. `None` where no agent runs, or none that this user may
/// ask.
///
/// # Errors
/// The agent hangs, answers with an error, or with something else.
pub async fn ask<T: DeserializeOwned>(path: &str) -> Result<Option<T>> {
    let body = read(path).await?;
    Ok(body.map(|body| serde_json::from_slice(&body)).transpose()?)
}

/// Sends an order to the agent, and returns its answer. `None` where no agent runs.
///
/// # Errors
/// As [`ask`]; and an agent that this user may not ask.
pub async fn order<T: DeserializeOwned>(path: &str) -> Result<Option<T>> {
    let answer = async {
        let stream = match UnixStream::connect(SOCKET).await {
            Ok(stream) => stream,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                bail!("you may not ask the agent: be root, or a member of the group of {SOCKET}")
            }
            Err(error) => return Err(error).context("cannot ask the agent"),
        };
        let Stream { body, _sender } = request(stream, Method::POST, path).await?;
        let body = Limited::new(body, MAX_BYTES).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
        Ok(Some(serde_json::from_slice(&body)?))
    };
    timeout(ORDER_LIMIT, answer).await.context(SILENT)?
}

/// The same for an answer that is text.
///
/// # Errors
/// As [`ask`].
pub async fn ask_text(path: &str) -> Result<Option<String>> {
    let body = read(path).await?;
    Ok(body.map(|body| String::from_utf8(body.into())).transpose()?)
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

/// The same for an answer without an end.
///
/// # Errors
/// As [`ask`].
pub async fn open(path: &str) -> Result<Option<Stream>> {
    timeout(LIMIT, open_at(Path::new(SOCKET), path)).await.context(SILENT)?
}

async fn read(path: &str) -> Result<Option<Bytes>> {
    let whole = async {
        let Some(stream) = open_at(Path::new(SOCKET), path).await? else { return Ok(None) };
        let body = Limited::new(stream.body, MAX_BYTES).collect().await;
        Ok(Some(body.map_err(anyhow::Error::from_boxed)?.to_bytes()))
    };
    timeout(LIMIT, whole).await.context(SILENT)?
}

async fn open_at(socket: &Path, path: &str) -> Result<Option<Stream>> {
    let stream = match UnixStream::connect(socket).await {
        Ok(stream) => stream,
        Err(error) if is_absent(&error) || error.kind() == ErrorKind::PermissionDenied => {
            return Ok(None);
        }
        Err(error) => return Err(error).context("cannot ask the agent"),
    };
    request(stream, Method::GET, path).await.map(Some)
}

/// Whether no agent listens on the socket.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound)
}

async fn request(stream: UnixStream, method: Method, path: &str) -> Result<Stream> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // The task ends with the answer.
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header(header::HOST, "agent");
    let request = request.body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        bail!("the agent answers {}", response.status());
    }
    Ok(Stream { body: response.into_body(), _sender: sender })
}
