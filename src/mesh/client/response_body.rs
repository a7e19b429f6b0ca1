//! The body that a caller reads from a response.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project::pin_project;

use super::pool::connection::broken::Break;
use super::pool::connection::http2::StreamGuard;
use super::pool::endpoint::Answer;
use super::record::Record;
use crate::message::{CallProgress, EosBody};

/// The body of a response. The call ends when the body ends.
#[pin_project]
#[derive(Debug)]
pub struct ResponseBody {
    #[pin]
    inner: EosBody<Breakable, Record>,
    pub(super) limit: usize,
    /// Its stream on an HTTP/2 connection, until the response has ended: a caller may keep the
    /// body for longer.
    stream: Option<StreamGuard>,
}

impl ResponseBody {
    pub(super) fn wrap(answer: Answer, mut record: Record) -> Response<Self> {
        let Answer {
            response,
            stream,
            tried,
        } = answer;
        if let Some(watch) = record.watch() {
            watch.span.answered_by(tried);
        }
        let progress = record.progress().cloned();
        let response = response.map(|inner| Breakable { inner, progress });
        record.answer(response).map(|inner| Self {
            stream: stream.filter(|_| !inner.is_end_stream()),
            inner,
            limit: LIMIT,
        })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut this = self.project();
        let polled = this.inner.as_mut().poll_frame(cx);
        let has_failed = matches!(&polled, Poll::Ready(Some(Err(_))));
        if has_failed || this.inner.is_end_stream() {
            *this.stream = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body as it comes. The call's record learns how it broke.
#[pin_project]
#[derive(Debug)]
struct Breakable {
    #[pin]
    inner: Incoming,
    progress: Option<Arc<CallProgress>>,
}

impl Body for Breakable {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.project();
        let polled = this.inner.poll_frame(cx);
        if let (Poll::Ready(Some(Err(error))), Some(progress)) = (&polled, &this.progress) {
            let broken = Break::of_body(error);
            progress.breaks(broken.flag(), broken.details_of_body());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The default limit when a body is read whole, in bytes.
pub(super) const LIMIT: usize = 2 * 1024 * 1024;
