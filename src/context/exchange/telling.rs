//! How the events and the log of a request tell of it.

#[cfg(feature = "audit")]
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// What a mesh has said of its events. All its requests share one.
#[cfg_attr(
    not(all(feature = "server", feature = "client")),
    allow(dead_code, reason = "for the events of a mesh")
)]
#[derive(Clone, Default)]
pub(crate) struct Telling {
    /// Takes parameters out of a path.
    pub(crate) hide: Option<Hide>,
    /// Whether each request has an event of the access log, so that a refusal needs none besides.
    pub(crate) has_event: bool,
    /// Where the application's own events of a request go: what the room `audit` has put here.
    #[cfg(feature = "audit")]
    pub(crate) audit: Option<Arc<dyn Any + Send + Sync>>,
}

pub(crate) type Hide = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// What the event of a refused request says of the rule.
#[cfg_attr(
    not(all(feature = "server", feature = "client")),
    allow(dead_code, reason = "for the events of a mesh")
)]
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The caller, and the proxy that speaks for it.
    pub(crate) peer: String,
    pub(crate) user: Option<String>,
    pub(crate) reason: String,
    pub(crate) policy: Option<String>,
    /// Where the rule is written.
    pub(crate) at: Option<String>,
    /// The rules that could have let it pass.
    pub(crate) asked: Option<String>,
}

impl fmt::Debug for Telling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telling")
            .field("has_event", &self.has_event)
            .finish_non_exhaustive()
    }
}
