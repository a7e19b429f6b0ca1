//! The mesh's client, as the guards use it that ask providers and rate limit services.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Body;
use tower_service::Service;

use super::response_body::ResponseBody;
use super::service::Client;
#[cfg(feature = "external")]
use crate::external::UnknownProvider;

/// The mesh's client, which is made after the configuration was compiled. No request can come
/// before it is there. Clones share it.
///
/// A call waits for as long as its caller lets it.
#[derive(Clone, Debug, Default)]
pub(in crate::mesh) struct LateClient(Arc<Late>);

#[derive(Debug, Default)]
struct Late {
    client: OnceLock<Client>,
    /// Servers to connect to once the client is there and has looked up names.
    wanted: ArcSwap<Vec<Uri>>,
}

type BoxError = Box<dyn Error + Send + Sync>;

impl LateClient {
    pub(in crate::mesh) fn set(&self, client: Client) {
        let _ = self.0.client.set(client);
    }

    /// Connects to the server of this URI over HTTP/2 if no connection is open, so that the first
    /// question does not have to wait for that. Before [`warm_up`](Self::warm_up) it only notes it.
    pub(in crate::mesh) fn warm(&self, uri: &Uri) {
        match self.0.client.get() {
            Some(client) => client.warm(uri),
            None => {
                self.0.wanted.rcu(|wanted| {
                    let wanted = wanted.iter().chain([uri]);
                    wanted.cloned().collect::<Vec<_>>()
                });
            }
        }
    }

    /// Connects to the servers that were noted before there was a client.
    pub(in crate::mesh) fn warm_up(&self) {
        for uri in self.0.wanted.swap(Arc::default()).iter() {
            self.warm(uri);
        }
    }

    /// Whether the client has a server for this URI; `None` as long as there is no client.
    pub(in crate::mesh) fn knows(&self, uri: &Uri) -> Option<bool> {
        self.0.client.get().map(|client| client.knows(uri))
    }
}

impl<B> Service<Request<B>> for LateClient
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let called = self
            .0
            .client
            .get()
            .map(|client| client.request_unbounded(request));
        Box::pin(async move {
            let Some(called) = called else {
                return Err(UnknownProvider.into());
            };
            called.await.map_err(|error| match error.is_unknown_host() {
                true => UnknownProvider.into(),
                false => error.into(),
            })
        })
    }
}

/// The error of a host that the client does not know.
#[cfg(not(feature = "external"))]
#[derive(Debug)]
struct UnknownProvider;

#[cfg(not(feature = "external"))]
impl std::fmt::Display for UnknownProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the mesh's client knows no server for the host")
    }
}

#[cfg(not(feature = "external"))]
impl Error for UnknownProvider {}
