//! Asking a running agent, over its Unix socket.

use std::{io, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use axum::{
    body::Bytes,
    http::{Request, StatusCode, header},
};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::UnixStream, time::timeout};

use super::SOCKET;

/// Time for the whole answer: an agent that hangs must not keep its operator from looking.
const LIMIT: Duration = Duration::from_secs(5);

/// Every port as a mapping takes this much.
const MAX_BYTES: usize = 64 << 20;

/// Asks the agent for `path`. `None` where none runs, or none that this user may ask.
pub async fn ask<T: DeserializeOwned>(path: &str) -> Result<Option<T>> {
    timeout(LIMIT, ask_at(Path::new(SOCKET), path)).await.context("the agent does not answer")?
}

async fn ask_at<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<Option<T>> {
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
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, MAX_BYTES).collect().await.map_err(anyhow::Error::from_boxed)?;
    if head.status != StatusCode::OK {
        bail!("the agent answers {}", head.status);
    }
    Ok(Some(serde_json::from_slice(&body.to_bytes())?))
}
