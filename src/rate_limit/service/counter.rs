//! One limit of a service: asks, within the limit's time, unless the service does not answer.

use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, StatusCode, Uri};
use tokio::time::{Instant, timeout};

use super::answer::{Decided, read};
use super::breaker::Breaker;
use super::client::{CountingService, Unanswered};
use super::messages::RateLimitRequest;
use crate::message::{LocalReply, ResponseFlags};
use crate::policy::limit::{ServiceLimit, Spec};
use crate::rate_limit::refusal::{grpc_status, header_map, status};

/// What one limit keeps of its service.
#[derive(Debug)]
pub(crate) struct ServiceCounter {
    service: ServiceLimit,
    /// `None`: the limit's host is none.
    origin: Option<Uri>,
    breaker: Breaker,
    begun: Instant,
}

impl ServiceCounter {
    pub(in crate::rate_limit) fn new(service: &ServiceLimit) -> Self {
        Self {
            service: service.clone(),
            origin: origin(service),
            breaker: Breaker::default(),
            begun: Instant::now(),
        }
    }

    /// Whether it keeps what this limit needs.
    pub(in crate::rate_limit) fn is_of(&self, service: &ServiceLimit) -> bool {
        self.service == *service
    }

    /// Where the service is called, as `http://host:port`.
    pub(in crate::rate_limit) fn origin(&self) -> Option<&Uri> {
        self.origin.as_ref()
    }

    /// Asks the service. `deadline` is what the request itself has left.
    ///
    /// # Errors
    ///
    /// There is no answer within the time, or none that makes sense, or the breaker is open.
    pub(in crate::rate_limit) async fn ask(
        &self,
        service: &dyn CountingService,
        message: RateLimitRequest,
        deadline: Option<Duration>,
    ) -> Result<Decided, Unanswered> {
        let Some(origin) = &self.origin else {
            return Err(Unanswered::new("its host is not valid"));
        };
        let Some(admitted) = self.breaker.admit(self.begun.elapsed()) else {
            return Err(Unanswered::new("the circuit breaker is open"));
        };
        let own = self.service.timeout;
        let asking = service.ask(origin, message, own);
        // A caller may not shorten what the service is told, and its own time says nothing about
        // the service.
        let shorter = deadline.filter(|deadline| own.is_none_or(|own| *deadline < own));
        let answer = match shorter.or(own) {
            None => asking.await,
            Some(time) => match (timeout(time, asking).await, shorter) {
                (Ok(answer), _) => answer,
                (Err(_), None) => Err(Unanswered::new(format_args!("no answer within {time:?}"))),
                (Err(_), Some(_)) => {
                    return Err(Unanswered::too_short(format_args!(
                        "no answer within {time:?}, the caller's own deadline"
                    )));
                }
            },
        };
        let decided = answer.and_then(read);
        if admitted.record(decided.is_ok(), self.begun.elapsed()) {
            tracing::warn!(
                target: "tower_mesh::rate_limit",
                host = self.service.host,
                port = self.service.port,
                "the rate limit service has failed five times in a row: it is not asked for a second"
            );
        }
        decided
    }

    /// The refusal of a request over the limit, as Envoy's `ratelimit`. `added` are the headers
    /// that the limit itself adds.
    pub(in crate::rate_limit) fn over_limit(&self, spec: &Spec, decided: Decided) -> LocalReply {
        let mut reply = LocalReply::from_bytes(status(spec), decided.body, REQUEST_RATE_LIMITED)
            .flags(ResponseFlags::RATE_LIMITED)
            .grpc_status(grpc_status(spec))
            .headers(decided.response_headers)
            .headers(header_map(&spec.response_headers));
        if self.service.envoy_ratelimited_header {
            reply = reply.header(X_ENVOY_RATELIMITED, HeaderValue::from_static("true"));
        }
        reply
    }

    /// The refusal of a request that the service could not count; `None` if it passes.
    pub(in crate::rate_limit) fn unanswered(&self, why: &Unanswered) -> Option<LocalReply> {
        let status = StatusCode::from_u16(self.service.status_on_error);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let reply = LocalReply::new(status, "", RATE_LIMITER_ERROR)
            .flags(ResponseFlags::RATE_LIMIT_SERVICE_ERROR);
        (self.service.failure_mode_deny || why.is_callers()).then_some(reply)
    }
}

fn origin(service: &ServiceLimit) -> Option<Uri> {
    let authority = format!("{}:{}", service.host, service.port);
    let authority: Authority = authority.parse().ok()?;
    Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(authority)
        .path_and_query("/")
        .build()
        .ok()
}

const X_ENVOY_RATELIMITED: HeaderName = HeaderName::from_static("x-envoy-ratelimited");
const REQUEST_RATE_LIMITED: &str = "request_rate_limited";
const RATE_LIMITER_ERROR: &str = "rate_limiter_error";
