//! The options of connections that carry no HTTP.

use std::time::Duration;

use crate::mesh::client::Bounds;

/// How connections of [`Mesh::serve_tcp`](crate::Mesh::serve_tcp) are judged and bounded:
/// [`ListenerOptions::tcp`](crate::mesh::ListenerOptions::tcp).
///
/// ```
/// # use tower_mesh::{Mesh, mesh::TcpOptions};
/// # fn mail(mesh: &Mesh) -> Result<(), tower_mesh::mesh::BuildError> {
/// let mut options = TcpOptions::default();
/// // SMTP: the server speaks first.
/// options.server_first = true;
/// let mail = mesh.with_listener(|listener| listener.tcp(options))?;
/// # let _ = mail;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpOptions {
    /// Judges a connection when it is accepted, for protocols in which the server speaks first, as
    /// in MySQL and SMTP. By default it is judged at its first byte, as by Envoy, and its handler
    /// begins then. On a PERMISSIVE port the first byte tells TLS from plaintext all the same, so
    /// that a silent client in plaintext is not served there: make the port STRICT or DISABLE.
    pub server_first: bool,
    /// How long a client may take to send its first byte; 60 s by default. Until then the connection
    /// is not judged. (Envoy waits for [`idle`](Self::idle).) Not with
    /// [`server_first`](Self::server_first). 0 closes each connection that has not sent one when it
    /// is accepted; `Duration::MAX` is without a bound.
    pub first_byte: Duration,
    /// How long a connection may carry nothing in either direction; 1 hour by default, as in Istio.
    /// 0 closes it at once, where Envoy's 0 is without a bound: that is `Duration::MAX` here.
    pub idle: Duration,
    /// How long a connection may last; `None`, without a bound, by default. What ends here has
    /// Envoy's flag `DT`.
    pub max_duration: Option<Duration>,
    /// Judges open connections again when policies change, within five seconds, and ends those that
    /// are refused now; it does by default. (Istio's sidecar drains all connections of a port whose
    /// policies change, within 45 s.) Without it a decision holds for its connection.
    pub judge_again: bool,
}

impl Default for TcpOptions {
    fn default() -> Self {
        let Bounds { idle, max_duration } = Bounds::default();
        Self {
            server_first: false,
            first_byte: Duration::from_secs(60),
            idle,
            max_duration,
            judge_again: true,
        }
    }
}

impl TcpOptions {
    pub(in crate::mesh) fn bounds(&self) -> Bounds {
        Bounds {
            idle: self.idle,
            max_duration: self.max_duration,
        }
    }
}
