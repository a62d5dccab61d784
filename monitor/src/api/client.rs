//! Asking a running agent, over its Unix socket.

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

use super::SOCKET;

/// Time for the whole answer: an agent that hangs must not keep its operator from looking.
const LIMIT: Duration = Duration::from_secs(5);

/// Every port takes this much, with its counters after a scan.
const MAX_BYTES: usize = 256 << 20;

/// What is said of an agent that hangs.
const SILENT: &str = "the agent does not answer";

/// Asks the agent for `path`. `None` where none runs, or none that this user may ask.
pub async fn ask<T: DeserializeOwned>(path: &str) -> Result<Option<T>> {
    let body = read(path).await?;
    Ok(body.map(|body| serde_json::from_slice(&body)).transpose()?)
}

/// The same for an answer that is text.
pub async fn ask_text(path: &str) -> Result<Option<String>> {
    let body = read(path).await?;
    Ok(body.map(|body| String::from_utf8(body.into())).transpose()?)
}

/// An answer that goes on.
#[derive(Debug)]
pub struct Stream {
    body: Incoming,
    /// Without it the connection counts as done with, and the agent ends it.
    _sender: SendRequest<Empty<Bytes>>,
}

impl Stream {
    /// What comes next; `None` at the end, also at one that was not meant to be.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            let frame = self.body.frame().await?.ok()?;
            if let Ok(bytes) = frame.into_data() {
                return Some(bytes);
            }
        }
    }
}

/// The same for an answer that goes on.
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
    // Ends with the answer.
    tokio::spawn(connection);
    let request = Request::get(path).header(header::HOST, "agent").body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        bail!("the agent answers {}", response.status());
    }
    Ok(Some(Stream { body: response.into_body(), _sender: sender }))
}
