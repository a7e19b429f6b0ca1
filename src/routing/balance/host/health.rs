//! What a host may be used for.

/// Whether a host can be used, by discovery and by ejection together.
///
/// As Envoy's `coarseHealth`: an ejected host is unhealthy whatever discovery says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Health {
    /// It gets calls.
    #[default]
    Healthy,
    /// It gets calls that the healthy hosts of all priorities cannot take.
    Degraded,
    /// It gets none, unless its priority is in panic.
    Unhealthy,
}
