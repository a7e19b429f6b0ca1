//! What a port accepts: mutual TLS, plaintext, or both.

use std::collections::BTreeMap;
use std::fmt;

use crate::istio::MtlsMode;
use crate::policy::PerPort;

/// The kinds of connection that a port accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Plaintext only; the first byte is not examined.
    Disable,
    /// Plaintext, and TLS with a client certificate; the first byte decides.
    Permissive,
    /// TLS with a client certificate only.
    #[default]
    Strict,
}

impl Mode {
    /// The mode as Istio writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "DISABLE",
            Self::Permissive => "PERMISSIVE",
            Self::Strict => "STRICT",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The mode of every port of a workload. An acceptor reads it from a [`Live`](crate::live::Live)
/// cell for each connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    otherwise: Mode,
    ports: BTreeMap<u16, Mode>,
}

impl Modes {
    /// The same mode for every port.
    #[must_use]
    pub fn new(otherwise: Mode) -> Self {
        Self {
            otherwise,
            ports: BTreeMap::new(),
        }
    }

    /// The modes that the resources set ([`Program::mtls`](crate::policy::Program::mtls));
    /// `otherwise` is for ports that no PeerAuthentication covers.
    #[must_use]
    pub fn from_resources(said: &PerPort<Option<MtlsMode>>, otherwise: Mode) -> Self {
        let mode = |said: &Option<MtlsMode>| match said {
            Some(MtlsMode::Disable) => Mode::Disable,
            // Istio's default where a resource exists and leaves the mode open.
            Some(MtlsMode::Permissive | MtlsMode::Unset) => Mode::Permissive,
            Some(MtlsMode::Strict) => Mode::Strict,
            None => otherwise,
        };
        let ports = said.by_port.iter();
        Self {
            otherwise: mode(&said.default),
            ports: ports.map(|(port, said)| (*port, mode(said))).collect(),
        }
    }

    /// Another mode for one port.
    #[must_use]
    pub fn with_port(mut self, port: u16, mode: Mode) -> Self {
        self.ports.insert(port, mode);
        self
    }

    /// The mode of ports that have none of their own.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn otherwise(&self) -> Mode {
        self.otherwise
    }

    /// The mode of a port.
    #[must_use]
    pub fn for_port(&self, port: u16) -> Mode {
        self.ports.get(&port).copied().unwrap_or(self.otherwise)
    }
}

/// `STRICT`, or `STRICT, port 8080 DISABLE`.
impl fmt::Display for Modes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.otherwise)?;
        let mut ports = self.ports.iter();
        ports.try_for_each(|(port, mode)| write!(f, ", port {port} {mode}"))
    }
}
