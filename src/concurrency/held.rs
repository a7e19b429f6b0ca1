//! What an admitted request holds until it ends.

use http::{HeaderMap, StatusCode};

use super::limiter::Permit;
use crate::context::Peer;

/// The permit of a request, and the connection that keeps it after an upgrade. Empty for a request
/// that is not counted.
#[derive(Debug, Default)]
pub(super) struct Held {
    permit: Option<Permit>,
    peer: Option<Peer>,
}

impl Held {
    /// `peer` is the one of the request's connection, if the request may upgrade it.
    pub(super) fn new(permit: Option<Permit>, peer: Option<&Peer>) -> Self {
        Self {
            peer: peer.filter(|_| permit.is_some()).cloned(),
            permit,
        }
    }

    /// The head of the response is there. After an upgrade the connection keeps the permit, so that
    /// the request is under way as long as the connection is open.
    pub(super) fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        if let Some(permit) = &mut self.permit {
            permit.answered(status, headers);
        }
        if status == StatusCode::SWITCHING_PROTOCOLS
            && let (Some(permit), Some(peer)) = (self.permit.take(), &self.peer)
        {
            peer.at_close(move |_| drop(permit));
        }
    }

    /// The request has ended.
    pub(super) fn end(&mut self) {
        self.permit = None;
    }
}
