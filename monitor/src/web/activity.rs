//! Whether a connection has a request in progress: from its head to the end of its answer.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::Request,
    middleware::Next,
    response::Response,
};
use hyper::body::{Frame, SizeHint};

/// Whether a connection has a request in progress.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity(Arc<AtomicBool>);

/// A request in progress, until this is dropped.
#[derive(Debug)]
pub(super) struct Busy(Activity);

impl Activity {
    /// A request begins. A connection has one at a time.
    pub(super) fn begin(&self) -> Busy {
        self.0.store(true, Ordering::Relaxed);
        Busy(self.clone())
    }

    pub(super) fn is_busy(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

/// Marks the connection of a request as busy. What the client has not read of an answer that is
/// written does not keep it so.
pub(super) async fn track(
    Extension(activity): Extension<Activity>,
    request: Request,
    next: Next,
) -> Response {
    let busy = activity.begin();
    let response = next.run(request).await;
    response.map(|body| Body::new(TrackedBody { body, _busy: busy }))
}

/// The body of an answer in progress.
struct TrackedBody {
    body: Body,
    _busy: Busy,
}

impl hyper::body::Body for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
