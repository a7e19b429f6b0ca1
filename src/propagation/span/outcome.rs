use http::StatusCode;

use super::finished::SpanKind;
use crate::message::{GrpcStatus, ResponseFlags};

/// How an exchange went, as far as it is known when it ends.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Outcome {
    /// The response's status; `None` when there was none.
    pub status: Option<StatusCode>,
    /// The gRPC status of a gRPC exchange.
    pub grpc_status: Option<GrpcStatus>,
    /// Envoy's response flags.
    pub flags: ResponseFlags,
    /// The bytes of the request's body.
    pub request_bytes: u64,
    /// The bytes of the response's body.
    pub response_bytes: u64,
}

impl Outcome {
    /// An exchange whose other end went away before it was answered.
    pub(super) fn cancelled() -> Self {
        Self {
            flags: ResponseFlags::DOWNSTREAM_DISCONNECT,
            ..Self::default()
        }
    }

    /// The error tag and the status, by Envoy's table (`Errors` below).
    pub(super) fn errors(&self, kind: SpanKind, is_grpc: bool) -> Errors {
        let grpc = self.grpc_status.filter(|_| is_grpc).map(GrpcStatus::code);
        let (is_server_fault, is_refusal) = match (grpc, self.status) {
            (Some(code), _) => (GRPC_SERVER_FAULTS.contains(&code), code != 0),
            (None, Some(status)) => (status.is_server_error(), status.is_client_error()),
            (None, None) => (true, false),
        };
        Errors {
            tag: is_server_fault,
            status: is_server_fault || (is_refusal && kind == SpanKind::Client),
        }
    }
}

/// Whether a span gets the tag `error`, and whether its status is ERROR: a client counts refusals
/// too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Errors {
    pub(super) tag: bool,
    pub(super) status: bool,
}

/// UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS,
/// as in Envoy.
const GRPC_SERVER_FAULTS: [u32; 7] = [2, 4, 8, 12, 13, 14, 15];
