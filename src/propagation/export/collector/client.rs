//! Sends a request of OTLP and reads the answer.

use std::future::Future;

use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
#[cfg(all(feature = "server", feature = "client"))]
use opentelemetry_proto::tonic::common::v1::KeyValue;
#[cfg(all(feature = "server", feature = "client"))]
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use super::target::{Target, headers};
use crate::propagation::export::batch::{BoxError, Partial};
use crate::propagation::export::post::{post, read};

/// A signal of OpenTelemetry: logs or metrics.
pub(crate) trait Signal {
    /// As in the names of its variables: `LOGS`.
    const NAME: &'static str;

    type Request: Message + Clone + 'static;
    type Response: Message + Default;

    /// Calls its service.
    fn call(
        channel: Channel,
        request: tonic::Request<Self::Request>,
    ) -> impl Future<Output = Result<Response<Self::Response>, Status>> + Send;

    /// What the collector has not taken.
    fn partial(response: Self::Response) -> Partial;
}

/// The way to a collector. It has no deadline of its own: who calls it has one, and drops the
/// future when that is over.
#[derive(Debug)]
pub(crate) struct Client {
    to: Target,
    headers: HeaderMap,
    /// Made in a task, because a channel needs a runtime. It is kept only behind an answer: after a
    /// call that was refused, or given up because the other end is silent, the next one connects
    /// anew. So a connection that has died without a word costs one request. HTTP/2's pings would
    /// not find it sooner: gRPC's servers refuse them more often than every five minutes.
    channel: Option<Channel>,
}

/// Why a request was not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    /// For now.
    Later(BoxError),
    ForGood(BoxError),
}

impl Client {
    /// With the headers that the environment gives this signal.
    pub(crate) fn new<S: Signal>(to: Target) -> Self {
        Self {
            to,
            headers: headers(S::NAME),
            channel: None,
        }
    }

    /// Where to, for the log.
    pub(crate) fn place(&self) -> String {
        self.to.place()
    }

    /// Sends a request once. Returns what the collector has not taken of it.
    pub(crate) async fn export<S: Signal>(
        &mut self,
        request: &S::Request,
    ) -> Result<Partial, Refused> {
        let response = match &self.to {
            Target::Http(url) => over_http::<S>(url, self.headers.clone(), request).await?,
            Target::Grpc(url) => {
                let open = || Endpoint::from(url.clone()).connect_lazy();
                let channel = self.channel.take().unwrap_or_else(open);
                let mut request = tonic::Request::new(request.clone());
                *request.metadata_mut() = MetadataMap::from_headers(self.headers.clone());
                let answer = S::call(channel.clone(), request).await;
                let response = answer.map_err(Refused::from)?.into_inner();
                self.channel = Some(channel);
                response
            }
        };
        Ok(S::partial(response))
    }
}

async fn over_http<S: Signal>(
    url: &Uri,
    mut headers: HeaderMap,
    request: &S::Request,
) -> Result<S::Response, Refused> {
    let protobuf = HeaderValue::from_static("application/x-protobuf");
    headers.insert(header::CONTENT_TYPE, protobuf);
    let body = request.encode_to_vec().into();
    let answer = post(url, headers, body).await.map_err(Refused::Later)?;
    match answer.status() {
        status if status.is_success() => read(&answer).map_err(Refused::ForGood),
        status => Err(status.into()),
    }
}

impl From<StatusCode> for Refused {
    /// OTLP's list of what may be sent again.
    fn from(status: StatusCode) -> Self {
        let error = format!("the collector answers {status}").into();
        match status.as_u16() {
            429 | 502..=504 => Self::Later(error),
            _ => Self::ForGood(error),
        }
    }
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        let is_later = match status.code() {
            Code::Unavailable | Code::Aborted => true,
            // Else it may be the size of the request, which does not pass.
            Code::ResourceExhausted => has_retry_info(&status),
            _ => false,
        };
        match is_later {
            true => Self::Later(status.into()),
            false => Self::ForGood(status.into()),
        }
    }
}

/// Whether the details of a status, a `google.rpc.Status`, say that and when to try again.
fn has_retry_info(status: &Status) -> bool {
    let name = b"google.rpc.RetryInfo";
    let mut places = status.details().windows(name.len());
    places.any(|place| place == name)
}

impl Refused {
    pub(crate) fn into_error(self) -> BoxError {
        let (Self::Later(error) | Self::ForGood(error)) = self;
        error
    }
}

/// Whose library has made the data.
pub(crate) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "tower-mesh".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

/// Whose data it is.
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) fn resource(attributes: impl Iterator<Item = KeyValue>) -> Resource {
    Resource {
        attributes: attributes.collect(),
        ..Resource::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OTLP's list. A request that is too large is refused as resources that are exhausted, too, and
    /// without a `RetryInfo` it is not sent again.
    #[test]
    fn what_may_be_sent_again_says_so() {
        let info = b"\x08\x08\x1a\x2a\x0a\x28type.googleapis.com/google.rpc.RetryInfo";
        let is_later = |code, details: &'static [u8]| {
            let status = Status::with_details(code, "no", details.into());
            matches!(Refused::from(status), Refused::Later(_))
        };
        for (code, details, expected) in [
            (Code::Unavailable, &b""[..], true),
            (Code::Aborted, b"", true),
            (Code::ResourceExhausted, b"", false),
            (Code::ResourceExhausted, info, true),
            (Code::InvalidArgument, info, false),
        ] {
            assert_eq!(is_later(code, details), expected, "{code:?}");
        }
    }
}
