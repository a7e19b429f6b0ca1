//! Outbound calls. A call (`call`: upstream, span, metrics) makes one or more attempts (`attempts`:
//! timeout, retry, replay). Each attempt picks an endpoint and sends the request
//! (`attempts/attempt`, over `pool`).

mod attempts;
pub(super) mod body;
mod call;
mod deadline;
mod error;
mod head_timeout;
mod into_uri;
#[cfg(any(feature = "external", feature = "rate-limit-service"))]
mod late_client;
pub(super) mod pool;
mod read_body;
mod record;
mod request;
mod response_body;
mod service;
mod tcp_bounds;
mod upstreams;

pub(super) use call::Outbound;
pub use call::ResponseFuture;
pub use error::ClientError;
pub use into_uri::IntoUri;
#[cfg(any(feature = "external", feature = "rate-limit-service"))]
pub(super) use late_client::LateClient;
pub use read_body::BodyError;
pub use request::RequestBuilder;
pub use response_body::ResponseBody;
pub use service::Client;
pub(super) use tcp_bounds::Bounds;
pub use upstreams::Upstreams;
