//! Opens connections of the mesh for other HTTP clients.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use http::uri::Authority;
use tower_service::Service;

use super::compiled_outbound::CompiledOutbound;
use super::connect_error::{ConnectError, Failure};
use super::connection::dial::Dialer;
use super::connection::stream::MeshStream;
use crate::live::Live;
use crate::tls::Protocol;

/// Connects to the upstreams of a [`Mesh`](crate::Mesh), for HTTP clients other than the mesh's
/// own: see [`Mesh::connector`](crate::Mesh::connector).
///
/// It is a tower service from a URI to a connection, in the form that `hyper_util`'s client and
/// tonic's `Endpoint::connect_with_connector` take. A host that is not configured is an error.
/// After an identity on a connection is replaced or expires, the connection ends as
/// [`Lifetimes`](crate::tls::Lifetimes) describes.
///
/// [`Mesh::replace_upstreams`](crate::Mesh::replace_upstreams) decides about the connections that
/// are opened from then on. A connection that was opened before belongs to the other client, and
/// stays open until that client closes it or its lifetime is over, also if its host is no longer
/// configured. Drop that client to end them.
#[derive(Clone, Debug)]
pub struct MeshConnector {
    pub(in crate::mesh) dialer: Arc<Dialer>,
    pub(in crate::mesh) upstreams: Live<CompiledOutbound>,
    pub(in crate::mesh) protocol: Protocol,
}

impl Service<Uri> for MeshConnector {
    type Response = MeshStream;
    type Error = ConnectError;
    // Each connection costs one box; requests cost none.
    type Future = Pin<Box<dyn Future<Output = Result<MeshStream, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let connected = connector.connect(&uri).await;
            connected.map_err(|failure| {
                let authority = uri.authority().map_or("", Authority::as_str);
                ConnectError::new(authority, failure)
            })
        })
    }
}

impl MeshConnector {
    async fn connect(&self, uri: &Uri) -> Result<MeshStream, Failure> {
        let cluster = {
            let upstreams = self.upstreams.load();
            let reach = upstreams.find(uri).ok_or_else(|| upstreams.unknown(uri))?;
            reach.cluster(uri)
        };
        let mut order = cluster.endpoint_order();
        let mut failure = None;
        while let Some(candidate) = order.next(None) {
            match candidate.endpoint.dial(&self.dialer, self.protocol).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = Some(error),
            }
            order.pass_over(&candidate);
        }
        // An upstream without an address has only DNS names, and DNS has no address for any of
        // them.
        Err(failure.unwrap_or_else(|| Failure::unresolved(cluster.names())))
    }
}
