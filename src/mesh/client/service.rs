use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body::Body;
use tower_service::Service;

use super::body::outgoing::streamed;
use super::body::replay::Left;
use super::error::ClientError;
use super::future::{ResponseBody, ResponseFuture};
use super::head_timeout::{Bound, HeadTimeout};
use super::pool::connector::MeshConnector;
use super::pool::pools::Pools;
use super::pool::upstreams::{Reach, Upstreams};
use super::record::Record;
use super::resend::{Again, Chances};
use crate::context;
use crate::mesh::ClientBody;
use crate::message::{ByteCount, CountingBody};
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
/// A call waits up to 30 seconds for the head of its response, or as
/// [`response_timeout`](crate::mesh::MeshBuilder::response_timeout) says.
///
/// It is also a tower [`Service`], so that tonic's generated clients can use it.
#[derive(Clone)]
pub struct Client(Arc<Outbound>);

pub(in crate::mesh) struct Outbound {
    pub(in crate::mesh) propagation: Propagation,
    pub(in crate::mesh) metrics: ClientMetrics,
    pub(in crate::mesh) upstreams: Arc<Upstreams>,
    pub(in crate::mesh) pools: Pools,
    /// To the head of a response.
    pub(in crate::mesh) response_timeout: Option<Duration>,
}

impl Client {
    pub(in crate::mesh) fn new(outbound: Outbound) -> Self {
        Self(Arc::new(outbound))
    }

    /// A connector to the same hosts, for a client of one's own.
    pub(in crate::mesh) fn connector(&self, protocol: Protocol) -> MeshConnector {
        self.0.pools.connector(protocol, &Arc::default())
    }

    /// Makes a call that is described as an [`http::Request`].
    ///
    /// Its body is any [`Body`] of bytes; of text or bytes at hand
    /// [`ClientBody`](crate::mesh::ClientBody) makes one: `ClientBody::from("text")`.
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

    pub(super) fn send<B>(&self, request: Request<B>, bound: Bound) -> ResponseFuture
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let now = Instant::now();
        let outbound = &self.0;
        let (mut head, body) = request.into_parts();
        let (body, sent) = CountingBody::under(&head.headers, body);
        let timeout = outbound.head_timeout(bound, &head.headers, &body, &sent);
        let exchange = context::current();
        let span = outbound
            .propagation
            .begin_call(&mut head, exchange.as_ref(), SystemTime::now);
        let reach = outbound.upstreams.find(&head.uri);
        let measured = match reach {
            Some(Reach::Outside(_)) => outbound.metrics.begin_outside(&mut head, sent, now),
            Some(Reach::Mesh(_)) | None => outbound.metrics.begin(&mut head, sent, now),
        };
        let record = Record::new(span, outbound.metrics.clone(), measured);
        if let Some(mistake) = mistake(&head) {
            return ResponseFuture::refused(mistake, record);
        }
        if reach.is_none() {
            let unknown = outbound.upstreams.unknown(&head.uri);
            return ResponseFuture::refused(ClientError::unknown_host(unknown), record);
        }
        let method = head.method.clone();
        let authority = head.uri.authority().cloned();
        let is_http2 = head.version == Version::HTTP_2 || body.is_grpc();
        // What it costs to be able to send a call once more is paid where HTTP/2 may ask for it.
        let (request, again) = if is_http2 {
            let head = Request::from_parts(head, ());
            let left = streamed(body).map(Left::whole);
            let (request, again) = Again::keep(outbound, head, left, Chances::USUAL);
            (request, Some(again))
        } else {
            (Request::from_parts(head, ClientBody::stream(body)), None)
        };
        let sending = outbound.pools.send(request, is_http2);
        ResponseFuture::sending(sending, again, record, method)
            .to(authority)
            .within(timeout)
    }
}

impl Outbound {
    /// What bounds a call with this body.
    fn head_timeout<B: Body>(
        &self,
        bound: Bound,
        headers: &HeaderMap,
        body: &CountingBody<B>,
        sent: &ByteCount,
    ) -> HeadTimeout {
        let usual = match bound {
            Bound::Exactly(time) => return HeadTimeout::after(time),
            Bound::Unbounded => None,
            // A stream of gRPC may send its head with a first message that takes long.
            Bound::Usual if body.is_grpc() => {
                return HeadTimeout::deadline(headers);
            }
            Bound::Usual => self.response_timeout,
        };
        let Some(time) = usual else {
            return HeadTimeout::never();
        };
        let size = body.size_hint().exact();
        if size.is_some_and(|size| size <= AT_ONCE) {
            HeadTimeout::after(time)
        } else {
            HeadTimeout::after_upload(time, sent.clone())
        }
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
fn mistake(head: &Parts) -> Option<ClientError> {
    if head.uri.scheme().is_none() && head.method != Method::CONNECT {
        return Some(ClientError::no_scheme(Some(&head.uri)));
    }
    let spoken = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2];
    let is_spoken = spoken.contains(&head.version);
    (!is_spoken).then(|| ClientError::malformed("a call is made over HTTP/1 or HTTP/2"))
}

/// A body of so many bytes is sent at once; of a larger one the progress counts.
const AT_ONCE: u64 = 64 * 1024;
