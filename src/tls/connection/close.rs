use std::time::Duration;

use crate::tls::closed_set::closed_set;

/// That a connection should end: [`Lifetime::ended`](crate::tls::Lifetime::ended).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseNotice {
    /// Why.
    pub reason: CloseReason,
    /// How long what is under way may take to finish.
    pub grace: Duration,
}

closed_set! {
    /// Why a connection should end.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum CloseReason {
        /// It has lived long enough.
        Age = "age",
        /// Our certificate has ended, the one that it was made with or the one we have now, or was withdrawn.
        OwnExpired = "own_expired",
        /// It has no identities (plaintext, or the application's own TLS), and its port has become STRICT.
        ModeChanged = "mode_changed",
        /// The peer's certificate has ended.
        PeerExpired = "peer_expired",
        /// The peer's id is no longer one of those that may answer there.
        PeerNotAccepted = "peer_not_accepted",
        /// The roots that vouched for the peer are gone, or it was revoked.
        PeerUntrusted = "peer_untrusted",
        /// We have another certificate or other roots by now.
        Rotated = "rotated",
    }
}
