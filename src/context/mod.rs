//! Facts of a request that layers share: who called ([`Peer`]), for whom ([`Claims`]), in which trace ([`TraceContext`]).
//!
//! One [`Exchange`] per request carries them. The outermost layer puts it into the request's extensions, the others find it there, and
//! while a request is being polled it is also the *current* exchange of the task, which is how the client layer and log events find it
//! without help from the application.

mod activity;
mod claims;
mod exchange;
#[cfg(feature = "axum")]
mod extract;
mod peer;
mod peer_layer;
mod task;
#[cfg(feature = "tonic")]
mod tonic_request;
mod trace;
mod under_way;

pub use activity::Activity;
pub use claims::Claims;
pub use exchange::Exchange;
#[cfg(feature = "axum")]
pub use extract::MissingFact;
pub use peer::{Peer, TlsFacts};
pub use peer_layer::{PeerLayer, WithPeer};
pub use task::{Lent, Scope, current, current_trace};
#[cfg(feature = "tonic")]
pub use tonic_request::RequestFacts;
#[cfg(feature = "propagation")]
pub(crate) use trace::{Carried, Formats, Marks};
pub use trace::{SpanId, TraceContext, TraceId};
pub use under_way::{QuietPlace, UnderWay};
