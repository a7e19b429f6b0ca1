use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project::{pin_project, pinned_drop};

use super::record::Record;
use crate::message::{End, EosBody, GrpcStatus, GuardBody, LocalReply};
use crate::propagation::TaskBody;

/// The future of [`Server`](super::Server): the application's, or the answer of a layer in its place.
#[pin_project(PinnedDrop)]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, B> {
    #[pin]
    state: State<F, B>,
    record: Record,
    /// How the caller must be told of a panic.
    is_grpc: bool,
}

#[pin_project(project = StateProj, project_replace = StateReplace)]
#[derive(Debug)]
enum State<F, B> {
    Inner(#[pin] F),
    Local(Response<GuardBody<B>>),
    Done,
}

impl<F, B> ResponseFuture<F, B> {
    pub(super) fn inner(future: F, record: Record, is_grpc: bool) -> Self {
        Self {
            state: State::Inner(future),
            record,
            is_grpc,
        }
    }

    pub(super) fn local(reply: LocalReply, mut record: Record, is_grpc: bool) -> Self {
        record.refused(&reply);
        let response = reply.into_response_as(is_grpc, &record.method());
        Self {
            state: State::Local(response),
            record,
            is_grpc,
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let response = match this.state.as_mut().project() {
            StateProj::Inner(future) => {
                let polled = {
                    let _entered = this.record.enter();
                    // A handler that panics takes its own request down, and no other.
                    catch_unwind(AssertUnwindSafe(|| future.poll(cx)))
                };
                match polled {
                    Ok(Poll::Pending) => return Poll::Pending,
                    Ok(Poll::Ready(Ok(response))) => response.map(GuardBody::inner),
                    Ok(Poll::Ready(Err(error))) => {
                        {
                            let _entered = this.record.enter_drop();
                            // The error is the answer, whatever else its future still does.
                            let _ = catch_unwind(AssertUnwindSafe(|| this.state.set(State::Done)));
                        }
                        this.record.end(End::failed());
                        return Poll::Ready(Err(error));
                    }
                    Err(_) => panicked(this.record, *this.is_grpc),
                }
            }
            StateProj::Local(_) => match this.state.as_mut().project_replace(State::Done) {
                StateReplace::Local(response) => response,
                StateReplace::Inner(_) | StateReplace::Done => return Poll::Pending,
            },
            StateProj::Done => return Poll::Pending,
        };
        let dropped = {
            let _entered = this.record.enter_drop();
            catch_unwind(AssertUnwindSafe(|| this.state.set(State::Done)))
        };
        let response = match dropped {
            Ok(()) => response,
            Err(_) => panicked(this.record, *this.is_grpc),
        };
        Poll::Ready(Ok(ResponseBody::wrap(response, mem::take(this.record))))
    }
}

/// What the application made for a request that nobody waits for any more is dropped as that request.
#[pinned_drop]
impl<F, B> PinnedDrop for ResponseFuture<F, B> {
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        let _entered = this.record.enter_drop();
        this.state.set(State::Done);
    }
}

/// The answer to a handler's panic.
pub(super) fn panic_reply() -> LocalReply {
    LocalReply::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal error",
        "handler_panicked",
    )
    .grpc_status(GrpcStatus::INTERNAL)
}

fn panicked<B>(record: &mut Record, is_grpc: bool) -> Response<GuardBody<B>> {
    let reply = panic_reply();
    record.refused(&reply);
    reply.into_response_as(is_grpc, &record.method())
}

/// The body of [`Server`](super::Server)'s responses: polled as its request, and its end is the end of the request.
#[pin_project]
#[derive(Debug)]
pub struct ResponseBody<B>(#[pin] EosBody<TaskBody<GuardBody<B>>, Record>);

impl<B> ResponseBody<B>
where
    B: Body<Data = Bytes>,
{
    fn wrap(response: Response<GuardBody<B>>, mut record: Record) -> Response<Self> {
        let (mut head, inner) = response.into_parts();
        let inner = TaskBody::new(inner, record.answered(&mut head));
        let method = record.method();
        let body = EosBody::new(inner, head.status, &head.headers, &method, record);
        Response::from_parts(head, Self(body))
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.project().0.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
