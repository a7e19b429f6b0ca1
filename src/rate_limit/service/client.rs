//! Calls a rate limit service.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http::uri::PathAndQuery;
use http_body::Body;
use tonic::Request;
use tonic::client::{Grpc, GrpcService};
use tonic_prost::ProstCodec;

use super::long_answer::{LARGEST_ANSWER, ShortRefusals};
use super::messages::{RateLimitRequest, RateLimitResponse};
use crate::error_chain::ErrorChain;
use crate::peer_text::PeerText;

/// A rate limit service, or all that a transport can reach.
pub(crate) trait CountingService: fmt::Debug + Send + Sync {
    /// Calls `ShouldRateLimit` at this origin. `timeout` is what the service is told; the caller
    /// bounds the wait.
    fn ask(&self, origin: &Uri, message: RateLimitRequest, timeout: Option<Duration>) -> Asking;
}

/// A call that is under way. Dropping it cancels the call.
pub(crate) type Asking =
    Pin<Box<dyn Future<Output = Result<RateLimitResponse, Unanswered>> + Send>>;

/// Why there is no answer; for the log.
#[derive(Debug)]
pub(crate) struct Unanswered {
    why: String,
    is_callers: bool,
}

impl Unanswered {
    pub(crate) fn new(why: impl fmt::Display) -> Self {
        Self {
            why: why.to_string(),
            is_callers: false,
        }
    }

    /// The caller has left the service too little time. It could otherwise choose not to be
    /// counted, so such a request never passes.
    pub(crate) fn too_short(why: impl fmt::Display) -> Self {
        Self {
            is_callers: true,
            ..Self::new(why)
        }
    }

    /// Whether the caller has caused it, and not the service.
    pub(crate) fn is_callers(&self) -> bool {
        self.is_callers
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// Asks over gRPC, by any client that tonic can use.
pub(crate) struct OverGrpc<T>(T);

impl<T> OverGrpc<T> {
    pub(crate) fn new(transport: T) -> Self {
        Self(transport)
    }
}

impl<T> CountingService for OverGrpc<T>
where
    T: GrpcService<tonic::body::Body> + Clone + Send + Sync + 'static,
    T::Future: Send,
    T::Error: Send,
    T::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as Body>::Error: Into<Box<dyn Error + Send + Sync>> + Send,
{
    fn ask(&self, origin: &Uri, message: RateLimitRequest, timeout: Option<Duration>) -> Asking {
        let transport = ShortRefusals::new(self.0.clone(), origin.clone());
        let mut grpc = Grpc::with_origin(transport, origin.clone())
            .max_decoding_message_size(LARGEST_ANSWER as usize);
        let mut call = Request::new(message);
        if let Some(timeout) = timeout {
            // A header holds no longer time.
            call.set_timeout(timeout.min(LONGEST));
        }
        Box::pin(async move {
            if let Err(error) = grpc.ready().await {
                return Err(Unanswered::new(ErrorChain(&*error.into())));
            }
            let codec = ProstCodec::<RateLimitRequest, RateLimitResponse>::default();
            let path = PathAndQuery::from_static(SHOULD_RATE_LIMIT);
            let answer = grpc.unary(call, path, codec).await;
            answer.map(tonic::Response::into_inner).map_err(|status| {
                // Only what went wrong on our side has a source.
                if let Some(error) = status.source() {
                    return Unanswered::new(ErrorChain(error));
                }
                let (code, message) = (status.code(), PeerText(status.message()));
                Unanswered::new(format_args!(
                    "it answered with the gRPC status {code:?}: {message}"
                ))
            })
        })
    }
}

impl<T> fmt::Debug for OverGrpc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverGrpc").finish_non_exhaustive()
    }
}

const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
