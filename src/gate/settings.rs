//! The profiles of the gate, and its settings.

use crate::matcher::path::Normalization;

/// How strict the gate is. The table in the [module's documentation](super) lists the rules of
/// both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// What a sidecar of Istio lets through, except for requests that two parsers read differently:
    /// hosts are literal, `%2f` stays, and the host in the target replaces `Host`.
    Istio,
    /// Refuses also what is legal but has been used to get around rules.
    Strict,
}

/// The settings of the gate.
///
/// ```
/// use tower_mesh::gate::{Gate, GateLayer};
///
/// // Strict, for an application whose names contain slashes.
/// let gate = Gate::strict().keep_escaped_slashes(true);
/// let layer = GateLayer::with(gate);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Gate {
    pub(super) profile: Profile,
    /// `None` for the default, which another setting of a mesh may replace.
    normalization: Option<Normalization>,
    pub(super) accepts_http_10: bool,
    pub(super) keeps_escaped_slashes: bool,
    pub(super) judges_bare_hosts: bool,
}

impl Gate {
    /// The settings of a profile, with paths that are normalized as Istio does by default.
    pub fn new(profile: Profile) -> Self {
        let is_istio = profile == Profile::Istio;
        Self {
            profile,
            normalization: None,
            accepts_http_10: is_istio,
            keeps_escaped_slashes: is_istio,
            judges_bare_hosts: !is_istio,
        }
    }

    /// The settings of [`Profile::Istio`].
    pub fn istio() -> Self {
        Self::new(Profile::Istio)
    }

    /// The settings of [`Profile::Strict`].
    pub fn strict() -> Self {
        Self::new(Profile::Strict)
    }

    /// Sets how far paths are normalized. It must be what policies are judged with.
    pub fn normalization(mut self, how: Normalization) -> Self {
        self.normalization = Some(how);
        self
    }

    /// Sets whether HTTP/1.0 is accepted. Such a request must name its host, too. A sidecar of
    /// Istio refuses it with 426 by default; [`Profile::Istio`] accepts it, because a server that
    /// is no proxy loses nothing by it.
    pub fn accept_http_10(mut self, accepts: bool) -> Self {
        self.accepts_http_10 = accepts;
        self
    }

    /// Sets whether `%2f` and `%5c` in paths are kept or refused.
    pub fn keep_escaped_slashes(mut self, keeps: bool) -> Self {
        self.keeps_escaped_slashes = keeps;
        self
    }

    /// Sets whether policy also judges a host without its port and without a dot at its end. The
    /// decision that refuses counts, so that `secret.example:80` does not get around a DENY on
    /// `secret.example`.
    pub fn judge_bare_hosts(mut self, judges: bool) -> Self {
        self.judges_bare_hosts = judges;
        self
    }

    /// The profile.
    #[must_use]
    pub fn profile(self) -> Profile {
        self.profile
    }

    /// Whether the settings say how paths are normalized.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn normalizes_by_itself(self) -> bool {
        self.normalization.is_some()
    }

    pub(super) fn how(self) -> Normalization {
        self.normalization.unwrap_or_default()
    }

    pub(super) fn is_strict(self) -> bool {
        self.profile == Profile::Strict
    }
}

impl From<Profile> for Gate {
    fn from(profile: Profile) -> Self {
        Self::new(profile)
    }
}

impl Default for Gate {
    /// [`Gate::strict`].
    fn default() -> Self {
        Self::strict()
    }
}
