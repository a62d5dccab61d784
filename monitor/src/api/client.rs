//! The asking side: requests to a running agent over its Unix socket.

use std::{io, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use axum::{
    body::Bytes,
    http::{Request, StatusCode, header},
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
    port::{Port, Ports},
};

/// Time limit of a whole answer: an agent that hangs must not block the command that asks it.
const LIMIT: Duration = Duration::from_secs(5);

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

/// Asks the agent for the JSON at `path`. `None` where no agent runs, or none that this user may
/// ask.
///
/// # Errors
/// The agent hangs, answers with an error, or with something else.
pub async fn ask<T: DeserializeOwned>(path: &str) -> Result<Option<T>> {
    let body = read(path).await?;
    Ok(body.map(|body| serde_json::from_slice(&body)).transpose()?)
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
    use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
    let stream = match UnixStream::connect(socket).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ConnectionRefused | NotFound | PermissionDenied) => {
            return Ok(None);
        }
        Err(error) => return Err(error).context("cannot ask the agent"),
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // The task ends with the answer.
    tokio::spawn(connection);
    let request = Request::get(path).header(header::HOST, "agent").body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        bail!("the agent answers {}", response.status());
    }
    Ok(Some(Stream { body: response.into_body(), _sender: sender }))
}
