use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, Uri, Version};
use http_body::Body;
use tower_service::Service;

use super::again::Again;
use super::error::ClientError;
use super::future::{ResponseBody, ResponseFuture};
use super::record::Record;
use crate::context;
use crate::mesh::ClientBody;
use crate::mesh::client_body::streamed;
use crate::mesh::connect::MeshConnector;
use crate::mesh::kept_body::Left;
use crate::mesh::pool::Pools;
use crate::mesh::upstream::{Reach, Upstreams};
use crate::message::CountingBody;
use crate::metrics::ClientMetrics;
use crate::propagation::Propagation;
use crate::tls::Protocol;

/// Calls other workloads of the mesh: mutual TLS to an expected identity, and the trace, request id and metrics of the call.
///
/// A call that is made while a request is being handled belongs to that request's trace, without a word about it in the handler.
/// Hosts are those of [`upstream`](crate::mesh::MeshBuilder::upstream), and those [`outside`](crate::mesh::MeshBuilder::outside) the mesh that
/// somebody allowed by name; any other is an error.
/// The version of a request picks the protocol: `HTTP/2` when it says so or is gRPC, else `HTTP/1.1`. Cheap to clone.
///
/// It is also a tower [`Service`], so that tonic's generated clients can use it.
#[derive(Clone)]
pub struct Client(Arc<Outbound>);

pub(in crate::mesh) struct Outbound {
    pub(in crate::mesh) propagation: Propagation,
    pub(in crate::mesh) metrics: ClientMetrics,
    pub(in crate::mesh) upstreams: Arc<Upstreams>,
    pub(in crate::mesh) pools: Pools,
}

impl Client {
    pub(in crate::mesh) fn new(outbound: Outbound) -> Self {
        Self(Arc::new(outbound))
    }

    /// A connector to the same hosts, for a client of one's own.
    pub(in crate::mesh) fn connector(&self, protocol: Protocol) -> MeshConnector {
        self.0.pools.connector(protocol, &Arc::default())
    }

    /// Gets a URI.
    ///
    /// # Errors
    /// When the URI cannot be parsed, its host is not configured, nobody answers there, or whoever answers is not who is expected.
    pub async fn get<U>(&self, uri: U) -> Result<Response<ResponseBody>, ClientError>
    where
        U: TryInto<Uri>,
    {
        let uri = uri
            .try_into()
            .map_err(|_| ClientError::malformed("the URI cannot be parsed"))?;
        let mut request = Request::new(ClientBody::empty());
        *request.uri_mut() = uri;
        self.request(request).await
    }

    /// Makes a call.
    pub fn request<B>(&self, request: Request<B>) -> ResponseFuture
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let now = Instant::now();
        let outbound = &self.0;
        let (mut head, body) = request.into_parts();
        let (body, sent) = CountingBody::under(&head.headers, body);
        let exchange = context::current();
        let span = outbound
            .propagation
            .begin_call(&mut head, exchange.as_ref(), SystemTime::now);
        let reach = outbound.upstreams.find(&head.uri);
        let measured = match reach {
            Some(Reach::Outside(_)) => outbound.metrics.begin_outside(&mut head, sent, now),
            Some(Reach::Mesh(_)) | None => outbound.metrics.begin(&mut head, sent, now),
        };
        let method = head.method.clone();
        let record = Record::new(span, outbound.metrics.clone(), measured);
        if reach.is_none() {
            return ResponseFuture::refused(ClientError::unknown_host(&head.uri), record);
        }
        if let Some(mistake) = mistake(&head) {
            return ResponseFuture::refused(ClientError::malformed(mistake), record);
        }
        let is_http2 = head.version == Version::HTTP_2 || body.is_grpc();
        // What it costs to be able to send a call once more is paid where HTTP/2 may ask for it.
        let (request, again) = if is_http2 {
            let head = Request::from_parts(head, ());
            let left = streamed(body).map(Left::whole);
            let (request, again) = Again::keep(outbound, head, left, RETRIES);
            (request, Some(again))
        } else {
            (Request::from_parts(head, ClientBody::stream(body)), None)
        };
        let sending = outbound.pools.send(request, is_http2);
        ResponseFuture::sending(sending, again, record, method)
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

/// Why such a request can be sent nowhere.
fn mistake(head: &Parts) -> Option<&'static str> {
    if head.uri.scheme().is_none() && head.method != Method::CONNECT {
        return Some("the URI of a call begins with http:// or https://");
    }
    let spoken = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2];
    (!spoken.contains(&head.version)).then_some("a call is made over HTTP/1 or HTTP/2")
}

/// Of a call that no server has touched: one connection that goes away is common, one after the other is not.
const RETRIES: u32 = 3;
