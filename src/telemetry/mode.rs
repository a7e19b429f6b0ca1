use crate::istio::TelemetryMode;

/// Requests or calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Server,
    Client,
}

impl Mode {
    pub(super) fn is_of(self, written: TelemetryMode) -> bool {
        match written {
            TelemetryMode::ClientAndServer => true,
            TelemetryMode::Client => self == Self::Client,
            TelemetryMode::Server => self == Self::Server,
        }
    }
}
