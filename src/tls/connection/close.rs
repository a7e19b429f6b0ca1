use std::fmt;
use std::time::Duration;

/// That a connection should end: [`Lifetime::ended`](crate::tls::Lifetime::ended).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseNotice {
    /// Why.
    pub reason: CloseReason,
    /// How long what is under way may take to finish.
    pub grace: Duration,
}

/// Why a connection should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// It has lived long enough.
    Age,
    /// Our certificate has ended, the one that it was made with or the one we have now, or was withdrawn.
    OwnExpired,
    /// It has no identities (plaintext, or the application's own TLS), and its port has become STRICT.
    ModeChanged,
    /// The peer's certificate has ended.
    PeerExpired,
    /// The peer's id is no longer one of those that may answer there.
    PeerNotAccepted,
    /// The roots that vouched for the peer are gone, or it was revoked.
    PeerUntrusted,
    /// We have another certificate or other roots by now.
    Rotated,
}

impl CloseReason {
    /// Every reason, in the order of [`index`](Self::index).
    pub const ALL: &'static [Self] = &[
        Self::Age,
        Self::OwnExpired,
        Self::ModeChanged,
        Self::PeerExpired,
        Self::PeerNotAccepted,
        Self::PeerUntrusted,
        Self::Rotated,
    ];

    /// The reason as metrics and logs write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::OwnExpired => "own_expired",
            Self::ModeChanged => "mode_changed",
            Self::PeerExpired => "peer_expired",
            Self::PeerNotAccepted => "peer_not_accepted",
            Self::PeerUntrusted => "peer_untrusted",
            Self::Rotated => "rotated",
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
