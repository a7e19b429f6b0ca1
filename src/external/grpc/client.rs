//! Asks over gRPC.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Uri;
use http::uri::PathAndQuery;
use http_body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::answer::authorization;
use super::check_request::check_request;
use super::messages::{CheckRequest, CheckResponse};
use crate::external::transport::unreachable;
use crate::external::{
    Authorization, AuthorizationRequest, Authorizer, AuthorizerError, BodyBound, Stage,
};
use crate::peer_text::PeerText;

/// A provider that is asked over gRPC, as Envoy's filter `ext_authz` asks it: Istio's
/// `envoyExtAuthzGrpc`.
///
/// `T` is any client that tonic can use, such as a `tonic::transport::Channel` or a mesh's
/// [`Client`](crate::mesh::Client). It calls `envoy.service.auth.v3.Authorization/Check`.
///
/// Any gRPC error is an error of the provider, `PERMISSION_DENIED` too: a refusal is an answer. An
/// answer may have 256 KiB.
///
/// # Differences from Envoy/Istio
///
/// The provider sees `x-request-id` only if the caller has sent it. An answer that holds what is no
/// header of HTTP, or a change that a provider [may not make](crate::external::Changes), is an
/// error of the provider. The query's parameters keep their order, and what may not be in a query
/// is escaped. A body over the bound is refused also if its last piece brings it over.
#[derive(Clone)]
pub struct GrpcAuthorizer<T> {
    transport: T,
    origin: Uri,
    own: Option<Arc<str>>,
    body: Option<BodyBound>,
    packs_bytes: bool,
}

impl<T> GrpcAuthorizer<T> {
    /// Asks the server at `origin` (`http://host:port`) through `transport`. A transport that
    /// knows its server ignores the origin.
    #[must_use]
    pub fn new(transport: T, origin: Uri) -> Self {
        Self {
            transport,
            origin,
            own: None,
            body: None,
            packs_bytes: false,
        }
    }

    /// Sets our own SPIFFE id, which the provider sees as the principal of the destination for
    /// requests that come over the mesh's TLS.
    #[must_use]
    pub fn own_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.own = Some(id.into());
        self
    }

    /// Shows the provider the request's body, up to this bound.
    #[must_use]
    pub fn with_body(mut self, bound: BodyBound) -> Self {
        self.body = Some(bound);
        self
    }

    /// Sends the body as bytes (`raw_body`). Otherwise it is sent as text (`body`), in which each
    /// byte that is not UTF-8 becomes `!`.
    #[must_use]
    pub fn pack_as_bytes(mut self) -> Self {
        self.packs_bytes = true;
        self
    }
}

impl<T> Authorizer for GrpcAuthorizer<T>
where
    T: GrpcService<tonic::body::Body> + Clone + Send + Sync + 'static,
    T::Future: Send,
    T::Error: Send,
    T::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as Body>::Error: Into<Box<dyn Error + Send + Sync>> + Send,
{
    async fn authorize(
        &self,
        request: AuthorizationRequest,
    ) -> Result<Authorization, AuthorizerError> {
        let mut grpc = Grpc::with_origin(self.transport.clone(), self.origin.clone())
            .max_decoding_message_size(LARGEST_ANSWER)
            .max_encoding_message_size(usize::MAX);
        if let Err(error) = grpc.ready().await {
            return Err(unreachable(&*error.into()));
        }
        let deadline = request.deadline();
        let message = check_request(&request, self.own.as_deref(), self.packs_bytes);
        drop(request);
        let mut call = Request::new(message);
        if let Some(deadline) = deadline {
            call.set_timeout(deadline);
        }
        let codec = ProstCodec::<CheckRequest, CheckResponse>::default();
        match grpc
            .unary(call, PathAndQuery::from_static(CHECK), codec)
            .await
        {
            Ok(response) => authorization(response.into_inner()),
            Err(status) => Err(failed(&status)),
        }
    }

    /// As in Envoy, before tokens are verified.
    fn stage(&self) -> Stage {
        Stage::BeforeTokens
    }

    fn wants_body(&self) -> Option<BodyBound> {
        self.body
    }
}

impl<T> fmt::Debug for GrpcAuthorizer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcAuthorizer")
            .field("origin", &self.origin)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// The error for a call that got no answer.
fn failed(status: &Status) -> AuthorizerError {
    // Only what went wrong on our side has a source.
    if let Some(error) = status.source() {
        return unreachable(error);
    }
    let (code, message) = (status.code(), PeerText(status.message()));
    let error = AuthorizerError::new(format!(
        "it answered with the gRPC status {code:?}: {message}"
    ));
    // A message that is too large to be read may be a no.
    match code {
        Code::OutOfRange => error.never_passes(),
        _ => error,
    }
}

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// The most bytes of an answer.
const LARGEST_ANSWER: usize = 256 * 1024;
