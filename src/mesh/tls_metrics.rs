//! The metrics of TLS: listeners, the client's connections, and our own identity.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::metrics::Registry;
use crate::tls::{CloseReason, Credentials, HandshakeStats, Reason, RotationStats};

/// Registers the metrics of a listener, under Envoy's names where it has them.
///
/// `address` is the listener's, as Envoy writes it: see [`listener_address`].
pub(super) fn listener(registry: &Registry, address: &str, stats: &Arc<HandshakeStats>) {
    let label = ("envoy_listener_address", address);
    let labels = [label];
    let count = |name, help, count: fn(&HandshakeStats) -> u64| {
        let stats = Arc::clone(stats);
        registry.counter_of(name, help, &labels, move || Some(count(&stats)));
    };
    count(
        "envoy_listener_downstream_cx_total",
        "Connections accepted.",
        HandshakeStats::accepted,
    );
    count(
        "envoy_listener_downstream_cx_overflow",
        "Times that no more connections could be open, so that the next ones waited.",
        HandshakeStats::full,
    );
    count(
        "envoy_listener_ssl_handshake",
        "TLS handshakes that succeeded.",
        HandshakeStats::handshakes,
    );
    count(
        "envoy_listener_ssl_connection_error",
        "TLS handshakes that failed, for another reason than the client's certificate.",
        |stats| refused(stats, |reason| Blame::of(reason) == Blame::Connection),
    );
    count(
        "envoy_listener_ssl_fail_verify_no_cert",
        "TLS handshakes that failed as the client showed no certificate.",
        |stats| stats.refused(Reason::NoCertificate),
    );
    count(
        "envoy_listener_ssl_fail_verify_error",
        "TLS handshakes that failed as the client's certificate does not hold.",
        |stats| refused(stats, |reason| Blame::of(reason) == Blame::Certificate),
    );
    count(
        "envoy_listener_ssl_fail_verify_san",
        "TLS handshakes that failed as the client's certificate does not have \
         the identity that it should.",
        |stats| refused(stats, |reason| Blame::of(reason) == Blame::Name),
    );
    let open = Arc::clone(stats);
    registry.gauge_of(
        "envoy_listener_downstream_cx_active",
        "Connections open.",
        &labels,
        move || Some(number(open.open())),
    );
    handshakes(registry, "inbound", &labels, stats);
    let cut = Arc::clone(stats);
    registry.counter_of(
        "mesh_requests_cut_total",
        "Requests that were under way on connections that were cut.",
        &[("side", "inbound"), label],
        move || Some(cut.cut()),
    );
}

/// The address of a listener as Envoy writes it in labels.
pub(super) fn listener_address(local: SocketAddr) -> String {
    format!("{}_{}", local.ip(), local.port())
}

/// Registers the metrics of the client's connections.
pub(super) fn connector(registry: &Registry, stats: &Arc<HandshakeStats>) {
    handshakes(registry, "outbound", &[], stats);
}

/// Counts by result and reason; a reason that never occurred has no line.
fn handshakes(
    registry: &Registry,
    side: &'static str,
    labels: &[(&'static str, &str)],
    stats: &Arc<HandshakeStats>,
) {
    const HANDSHAKES: &str = "TLS handshakes that succeeded, and connections refused, by reason.";
    const ENDED: &str = "Connections that had to end, by reason.";
    let with = |more: &[(&'static str, &'static str)]| {
        let mut all = vec![("side", side)];
        all.extend_from_slice(more);
        all
    };
    let count = |name, help, own: &[(&'static str, &'static str)], count: Count| {
        let mut all: Vec<(&'static str, &str)> = with(own);
        all.extend_from_slice(labels);
        let stats = Arc::clone(stats);
        registry.counter_of(name, help, &all, move || count.read(&stats));
    };
    let handshakes = "mesh_tls_handshakes_total";
    let good = [("result", "ok"), ("reason", "")];
    count(handshakes, HANDSHAKES, &good, Count::Good);
    for &reason in Reason::ALL {
        let refused = [("result", "refused"), ("reason", reason.as_str())];
        count(handshakes, HANDSHAKES, &refused, Count::Refused(reason));
    }
    for &reason in CloseReason::ALL {
        let ended = [("reason", reason.as_str())];
        count(
            "mesh_connections_ended_total",
            ENDED,
            &ended,
            Count::Ended(reason),
        );
    }
}

#[derive(Clone, Copy)]
enum Count {
    Good,
    Refused(Reason),
    Ended(CloseReason),
}

impl Count {
    fn read(self, stats: &HandshakeStats) -> Option<u64> {
        let (count, always) = match self {
            Self::Good => (stats.handshakes(), true),
            Self::Refused(reason) => (stats.refused(reason), false),
            Self::Ended(reason) => (stats.ended(reason), false),
        };
        (always || count > 0).then_some(count)
    }
}

/// Registers the metrics of our own identity: when it expires, how many there have been, and how
/// its renewal goes.
pub(super) fn identity(
    registry: &Registry,
    credentials: &Credentials,
    rotation: Option<Arc<RotationStats>>,
) {
    const EXPIRY: &str = "Seconds until the certificate ends; negative once it has.";
    let gauge =
        |name, help, labels: &[(&'static str, &str)], value: fn(&Credentials) -> Option<f64>| {
            let credentials = credentials.clone();
            registry.gauge_of(name, help, labels, move || value(&credentials));
        };
    let resource = |name| [("resource_name", name)];
    let expiry = "istio_agent_cert_expiry_seconds";
    gauge(expiry, EXPIRY, &resource("default"), |credentials| {
        Some(left(credentials, credentials.not_after()))
    });
    gauge(expiry, EXPIRY, &resource("ROOTCA"), |credentials| {
        let own = credentials.spiffe_id();
        let not_after = credentials.bundles().not_after(own.trust_domain())?;
        Some(left(credentials, not_after))
    });
    gauge(
        "envoy_server_days_until_first_cert_expiring",
        "Days until our certificate ends.",
        &[],
        |credentials| {
            Some(
                (left(credentials, credentials.not_after()) / DAY)
                    .floor()
                    .max(0.0),
            )
        },
    );
    gauge(
        "mesh_identity_generation",
        "How many identities have been in use.",
        &[],
        |credentials| Some(number(credentials.generation())),
    );
    gauge(
        "mesh_identity_valid",
        "Whether our identity can be used: 1, or 0.",
        &[],
        |credentials| Some(f64::from(u8::from(credentials.is_valid()))),
    );
    if let Some(rotation) = rotation {
        renewal(registry, &rotation);
    }
}

fn renewal(registry: &Registry, rotation: &Arc<RotationStats>) {
    const ERRORS: &str =
        "Times that the source of our identity failed, or gave one that cannot be used, by reason.";
    let stats = Arc::clone(rotation);
    registry.counter_of(
        "mesh_identity_rotations_total",
        "Times that another identity was put to use.",
        &[],
        move || Some(stats.rotations()),
    );
    let stats = Arc::clone(rotation);
    registry.gauge_of(
        "mesh_identity_age_seconds",
        "Seconds since the source of our identity last gave a usable answer.",
        &[],
        move || Some(stats.age().as_secs_f64()),
    );
    let errors = |reason: &'static str, count: Box<dyn Fn(&RotationStats) -> u64 + Send + Sync>| {
        let stats = Arc::clone(rotation);
        registry.counter_of(
            "mesh_identity_rotation_errors_total",
            ERRORS,
            &[("reason", reason)],
            move || Some(count(&stats)).filter(|count| *count > 0 || reason == SOURCE),
        );
    };
    errors(SOURCE, Box::new(RotationStats::unheard));
    for &reason in Reason::ALL {
        errors(
            reason.as_str(),
            Box::new(move |stats| stats.rejected(reason)),
        );
    }
}

/// Seconds from now, by the clock that judges certificates.
fn left(credentials: &Credentials, not_after: SystemTime) -> f64 {
    let now = credentials.clock().now();
    match not_after.duration_since(now) {
        Ok(left) => left.as_secs_f64(),
        Err(past) => -past.duration().as_secs_f64(),
    }
}

/// The cause to which Envoy attributes a handshake that failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// The client sent no certificate.
    NoCertificate,
    Certificate,
    Name,
    Connection,
    /// There was no handshake.
    Nothing,
}

impl Blame {
    fn of(reason: Reason) -> Self {
        match reason {
            Reason::NoCertificate => Self::NoCertificate,
            Reason::BadDnsName
            | Reason::IdNotAllowed
            | Reason::NoSpiffeId
            | Reason::SanCount
            | Reason::UntrustedDomain => Self::Name,
            Reason::BadCertificate
            | Reason::BadSignature
            | Reason::ChainTooLong
            | Reason::Expired
            | Reason::ExtendedKeyUsage
            | Reason::Intermediate
            | Reason::KeyUsage
            | Reason::LeafIsCa
            | Reason::NameConstraints
            | Reason::NotYetValid
            | Reason::Revocation
            | Reason::Revoked
            | Reason::UnknownIssuer => Self::Certificate,
            Reason::PlaintextRefused
            | Reason::ProxyHeader
            | Reason::TooMany
            | Reason::TooManySilent => Self::Nothing,
            _ => Self::Connection,
        }
    }
}

fn refused(stats: &HandshakeStats, which: impl Fn(Reason) -> bool) -> u64 {
    let refusals = stats.refusals().filter(|(reason, _)| which(*reason));
    refusals.map(|(_, count)| count).sum()
}

fn number(count: u64) -> f64 {
    // A counter does not reach 2^53.
    count as f64
}

const SOURCE: &str = "source";
const DAY: f64 = Duration::from_secs(24 * 3600).as_secs() as f64;
