//! Whether a try speaks against its host.

use crate::routing::balance::outcome::{Head, TryOutcome};

/// What a try says of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It works.
    Success,
    /// A 5xx of the server.
    ServerError { is_gateway_error: bool },
    /// No answer.
    LocalOrigin { status: u16 },
    /// Nothing: it was not asked.
    Nothing,
}

impl Verdict {
    pub(super) fn of(outcome: TryOutcome) -> Self {
        match outcome {
            TryOutcome::Head(head) => Self::of_status(status(head)),
            TryOutcome::ConnectFailure | TryOutcome::RefusedStream | TryOutcome::Reset { .. } => {
                Self::LocalOrigin { status: 503 }
            }
            TryOutcome::PerTryTimeout | TryOutcome::Timeout => Self::LocalOrigin { status: 504 },
            TryOutcome::Overflow => Self::Nothing,
        }
    }

    pub(super) fn of_status(status: u16) -> Self {
        match status {
            500..600 => Self::ServerError {
                is_gateway_error: (502..=504).contains(&status),
            },
            _ => Self::Success,
        }
    }
}

/// The HTTP status of a head, or that of its `grpc-status`, as Envoy's `grpcToHttpStatus` has it.
///
/// UNIMPLEMENTED is 501 there, so that a client which asks for what a server does not have gets the
/// server ejected. Here it counts as a success.
fn status(head: Head) -> u16 {
    let Some(status) = head.grpc_status else {
        return head.status;
    };
    match status {
        0 | 12 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        14 => 503,
        16 => 401,
        // UNKNOWN, INTERNAL, DATA_LOSS, and what is no status.
        _ => 500,
    }
}
