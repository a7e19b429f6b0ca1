use super::finished::SpanKind;
use crate::message::{GrpcStatus, Report};

/// Whether a span gets the tag `error`, and whether its status is ERROR: a client counts refusals
/// too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Errors {
    pub(super) tag: bool,
    pub(super) status: bool,
}

impl Errors {
    /// By Envoy's table.
    pub(super) fn new(report: &Report<'_>, kind: SpanKind, is_grpc: bool) -> Self {
        let grpc = report.end.grpc_status.filter(|_| is_grpc);
        let (is_server_fault, is_refusal) =
            match (grpc.map(GrpcStatus::code), report.counted_status) {
                (Some(code), _) => (GRPC_SERVER_FAULTS.contains(&code), code != 0),
                (None, Some(status)) => (status.is_server_error(), status.is_client_error()),
                (None, None) => (true, false),
            };
        Self {
            tag: is_server_fault,
            status: is_server_fault || (is_refusal && kind == SpanKind::Client),
        }
    }
}

/// UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS,
/// as in Envoy.
const GRPC_SERVER_FAULTS: [u32; 7] = [2, 4, 8, 12, 13, 14, 15];
