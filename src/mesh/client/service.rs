//! The client as an application and tower use it.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::call::{Outbound, ResponseFuture};
use super::error::ClientError;
use super::head_timeout::Bound;
use super::pool::connector::MeshConnector;
use super::response_body::ResponseBody;
use crate::tls::Protocol;

/// Calls other workloads of the mesh. It uses mutual TLS to an expected identity, and adds the
/// trace, request id and metrics to each call. Clones are cheap.
///
/// A call that a handler makes joins the trace of the request that it handles; the handler needs no
/// code for that. A call may go to the hosts of [`upstream`](crate::mesh::MeshBuilder::upstream)
/// and to hosts [`outside`](crate::mesh::MeshBuilder::outside) the mesh that the application allows
/// by name; any other host is an error. A request uses `HTTP/2` when its version is `HTTP/2` or it
/// is gRPC, and otherwise `HTTP/1.1`.
///
/// A call waits up to 30 seconds for the head of its response, or as long as
/// [`response_timeout`](crate::mesh::ClientOptions::response_timeout) sets.
///
/// It is also a tower [`Service`], so tonic's generated clients can use it.
#[derive(Clone)]
pub struct Client(Arc<Outbound>);

impl Client {
    pub(in crate::mesh) fn new(outbound: Outbound) -> Self {
        Self(Arc::new(outbound))
    }

    pub(in crate::mesh) fn outbound(&self) -> &Outbound {
        &self.0
    }

    /// A connector to the same hosts, for another HTTP client.
    pub(in crate::mesh) fn connector(&self, protocol: Protocol) -> MeshConnector {
        MeshConnector {
            dialer: Arc::clone(&self.0.dialer),
            upstreams: self.0.upstreams.clone(),
            protocol,
        }
    }

    /// Sends an [`http::Request`].
    ///
    /// Its body is any [`Body`] of bytes. [`ClientBody`](crate::mesh::ClientBody) makes one from
    /// text or bytes: `ClientBody::from("text")`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn request<B>(&self, request: Request<B>) -> ResponseFuture
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.send(request, Bound::Usual)
    }

    /// Sends a request whose caller bounds the wait.
    #[cfg(any(feature = "external", feature = "rate-limit-service"))]
    pub(in crate::mesh) fn request_unbounded<B>(&self, request: Request<B>) -> ResponseFuture
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.send(request, Bound::OfGuard)
    }

    /// Whether calls to the host of this URI may be made.
    #[cfg(any(feature = "external", feature = "rate-limit-service"))]
    pub(in crate::mesh) fn knows(&self, uri: &http::Uri) -> bool {
        self.0.upstreams.load().find(uri).is_some()
    }

    /// Connects to the host of this URI over HTTP/2, if no connection is open.
    #[cfg(any(feature = "external", feature = "rate-limit-service"))]
    pub(super) fn warm(&self, uri: &http::Uri) {
        if let Some(reach) = self.0.upstreams.load().find(uri) {
            reach.cluster(uri).warm(&self.0.dialer);
        }
    }

    pub(super) fn send<B>(&self, request: Request<B>, bound: Bound) -> ResponseFuture
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.0.call(request, bound)
    }
}

impl<B> Service<Request<B>> for Client
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<ResponseBody>;
    type Error = ClientError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        self.request(request)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::SocketAddr;

    use axum::Router;
    use axum::routing::any;
    use http::Version;
    use tokio::net::TcpListener;

    use super::super::Upstreams;
    use super::*;
    use crate::testing::Pki;
    use crate::{Mesh, Peer, Workload};

    async fn mesh(builder: crate::MeshBuilder) -> Mesh {
        let (mesh, driver) = builder.build().await.unwrap();
        tokio::spawn(driver.run());
        mesh
    }

    /// A server whose responses name the connection that the request came on.
    async fn served(pki: &Pki) -> SocketAddr {
        let identity = pki.identity("default", "app").unwrap();
        let mesh = mesh(Mesh::builder(Workload::new("default", "app"), identity)).await;
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let whence = any(|peer: Peer| async move { peer.remote_addr().to_string() });
        let app = Router::new().fallback(whence);
        tokio::spawn(async move { mesh.serve_on(socket, app).await });
        address
    }

    fn upstreams(hosts: &[(&str, &[SocketAddr], &str)]) -> Upstreams {
        let none = Upstreams::new();
        hosts
            .iter()
            .fold(none, |upstreams, (host, addresses, account)| {
                let id = format!("spiffe://cluster.local/ns/default/sa/{account}");
                upstreams.upstream(host, addresses.iter().copied(), [id.as_str()])
            })
    }

    async fn ask(client: &Client, host: &str, version: Version) -> Result<String, ClientError> {
        let call = client.get(format!("http://{host}/")).version(version);
        let text = call.await?.into_body().text().await.unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        Ok(text)
    }

    #[tokio::test]
    async fn an_endpoint_that_stays_keeps_its_connections_when_upstreams_are_replaced() {
        let pki = Pki::new("cluster.local").unwrap();
        let (one, two) = (served(&pki).await, served(&pki).await);
        let identity = pki.identity("default", "desk").unwrap();
        let desk = mesh(Mesh::builder(Workload::new("default", "desk"), identity)).await;
        let client = desk.client();
        for version in [Version::HTTP_11, Version::HTTP_2] {
            desk.replace_upstreams(upstreams(&[("a", &[one], "app")]))
                .await
                .unwrap();
            let first = ask(client, "a", version).await.unwrap();
            assert!(
                ask(client, "b", version)
                    .await
                    .unwrap_err()
                    .is_unknown_host()
            );
            let both: &[_] = &[two, one];
            desk.replace_upstreams(upstreams(&[("a", both, "app"), ("b", &[one], "app")]))
                .await
                .unwrap();
            let mut seen = BTreeSet::new();
            for _ in 0..4 {
                seen.insert(ask(client, "a", version).await.unwrap());
            }
            assert!(
                seen.len() == 2 && seen.contains(&first),
                "{version:?}: {seen:?}"
            );
            assert!(ask(client, "b", version).await.is_ok());
            // A removed endpoint gets no more calls, and each endpoint keeps its own expected
            // identity.
            desk.replace_upstreams(upstreams(&[("a", &[two], "app"), ("b", &[one], "other")]))
                .await
                .unwrap();
            let last = ask(client, "a", version).await.unwrap();
            assert!(
                last != first && seen.contains(&last),
                "{version:?}: {last}, {seen:?}"
            );
            assert!(
                ask(client, "b", version)
                    .await
                    .unwrap_err()
                    .handshake()
                    .is_some()
            );
            desk.replace_upstreams(upstreams(&[])).await.unwrap();
            assert!(
                ask(client, "a", version)
                    .await
                    .unwrap_err()
                    .is_unknown_host()
            );
        }
    }
}
