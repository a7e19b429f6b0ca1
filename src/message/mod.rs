//! The HTTP craft that all layers share: local replies, bodies that know when they end, gRPC's way of failing.

mod body;
mod eos;
mod flags;
mod grpc;
mod guard;
mod reply;

pub use body::GuardBody;
pub use eos::{ByteCount, CountingBody, End, EndKind, EosBody, OnEnd};
pub use flags::ResponseFlags;
pub use grpc::{GrpcStatus, is_grpc};
pub use guard::GuardFuture;
pub use reply::LocalReply;
