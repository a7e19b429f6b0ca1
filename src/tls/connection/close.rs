//! The notice that a connection should end.
//!
//! A server that gets a notice tells its client that the connection takes no new requests (GOAWAY on
//! HTTP/2, `connection: close` on HTTP/1); a client sends no new requests on the connection. Both
//! let the requests in progress finish, and cut the connection after the grace period. A second
//! notice may come during the grace period, with a stronger reason. The connection is then cut at
//! the earlier of the two ends.

use std::time::Duration;

use crate::tls::closed_set::closed_set;

/// A connection should end: [`Lifetime::ended`](crate::tls::Lifetime::ended).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseNotice {
    /// Why.
    pub reason: CloseReason,
    /// How long the requests in progress may take to finish.
    pub grace: Duration,
}

closed_set! {
    /// Why a connection should end.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum CloseReason {
        /// The connection has reached its maximum age.
        Age = "age",
        /// Our certificate has expired or was withdrawn: the one that the connection was made with,
        /// or the one that we hold now.
        OwnExpired = "own_expired",
        /// The connection has no identities (plaintext, or the application's own TLS), and its port
        /// has become STRICT.
        ModeChanged = "mode_changed",
        /// The peer's certificate has expired.
        PeerExpired = "peer_expired",
        /// The peer's id is no longer one of those that may answer there.
        PeerNotAccepted = "peer_not_accepted",
        /// The roots that vouched for the peer are gone, or it was revoked.
        PeerUntrusted = "peer_untrusted",
        /// We now hold another certificate or other roots.
        Rotated = "rotated",
    }
}
