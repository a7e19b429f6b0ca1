use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use axum::serve::IncomingStream;
use tower_service::Service;

use super::Mesh;
use super::inbound::{ConnectionServer, Server};
use crate::tls::Listener;

impl Mesh {
    /// Guards a finished service for axum's own server: `axum::serve(mesh.listen(address).await?, mesh.make(app))`.
    pub fn make<S>(&self, service: S) -> MakeServer<S> {
        MakeServer(self.protect(service))
    }
}

/// Makes the guarded service of each connection, for `axum::serve`.
#[derive(Clone, Debug)]
pub struct MakeServer<S>(Server<S>);

impl<S: Clone> Service<IncomingStream<'_, Listener>> for MakeServer<S> {
    type Response = ConnectionServer<S>;
    type Error = Infallible;
    type Future = Ready<Result<ConnectionServer<S>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, stream: IncomingStream<'_, Listener>) -> Self::Future {
        ready(Ok(self.0.clone().of(stream.io().peer().clone())))
    }
}
