//! The guarded service in the shape that `axum::serve` takes.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll, ready as poll_ready};

use axum::serve::IncomingStream;
use axum_core::body::Body as AxumBody;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tower_service::Service;

use super::handle::Mesh;
use super::server::{ConnectionServer, Server};
use crate::tls::Listener;

impl Mesh {
    /// Guards a finished service for axum's own server: `axum::serve(mesh.listen(address).await?,
    /// mesh.make(app))`.
    pub fn make<S>(&self, service: S) -> MakeServer<S> {
        MakeServer(self.protect(service))
    }
}

/// Makes the guarded service of each connection, for `axum::serve`.
#[derive(Clone, Debug)]
pub struct MakeServer<S>(Server<S>);

impl<S: Clone> Service<IncomingStream<'_, Listener>> for MakeServer<S> {
    type Response = AxumServer<S>;
    type Error = Infallible;
    type Future = Ready<Result<AxumServer<S>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, stream: IncomingStream<'_, Listener>) -> Self::Future {
        ready(Ok(AxumServer(
            self.0.clone().on_connection(stream.io().peer().clone()),
        )))
    }
}

/// The guarded service of one connection, with the body type that `axum::serve` takes: one box per
/// response.
#[derive(Clone, Debug)]
pub struct AxumServer<S>(ConnectionServer<S>);

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for AxumServer<S>
where
    ConnectionServer<S>: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<AxumBody>;
    type Error = <ConnectionServer<S> as Service<Request<ReqBody>>>::Error;
    type Future = AxumFuture<<ConnectionServer<S> as Service<Request<ReqBody>>>::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        AxumFuture(self.0.call(request))
    }
}

/// The future of [`AxumServer`].
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct AxumFuture<F>(#[pin] F);

impl<F, B, E> Future for AxumFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Output = Result<Response<AxumBody>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = poll_ready!(self.project().0.poll(cx));
        Poll::Ready(response.map(|response| response.map(AxumBody::new)))
    }
}
