//! `networking.istio.io` Sidecar.

use super::{ConnectionPool, Destination, Protocol};
use crate::istio::{Meta, Position, Selector, Text};

/// `Sidecar`: what workloads can call. What it says about inbound connections is refused where it
/// would change something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sidecar {
    /// Name, namespace, position.
    pub meta: Meta,
    /// `workloadSelector`: the calling workloads. `None`: all of its namespace, or of the mesh if
    /// that is the root namespace.
    pub workload_selector: Option<Selector>,
    /// `egress[]`. Empty: everything of every namespace.
    pub egress: Vec<EgressListener>,
    /// `inboundConnectionPool`.
    pub inbound_connection_pool: Option<ConnectionPool>,
    /// `outboundTrafficPolicy`; `None`: MeshConfig's.
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
}

/// `egress[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EgressListener {
    /// `port`: only services with this port. `None`, of the last one only: all others.
    pub port: Option<SidecarPort>,
    /// `hosts[]`: `NAMESPACE/HOST`, where the namespace may be `.`, `*` or `~` (nothing), or
    /// `~NAMESPACE/HOST`, which is taken out again; the host may be a wildcard.
    pub hosts: Vec<Text>,
    /// Where it was written.
    pub at: Position,
}

/// `egress[].port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SidecarPort {
    /// `number`.
    pub number: u16,
    /// `protocol`.
    pub protocol: Protocol,
    /// `name`.
    pub name: Option<Text>,
}

/// `outboundTrafficPolicy` of a [`Sidecar`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboundTrafficPolicy {
    /// `mode`.
    pub mode: OutboundMode,
    /// `egressProxy`, with [`AllowAny`](OutboundMode::AllowAny) only: where unknown calls go.
    pub egress_proxy: Option<Destination>,
    /// Where it was written.
    pub at: Position,
}

/// `outboundTrafficPolicy.mode`: what becomes of a call to a host that no resource names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutboundMode {
    /// `REGISTRY_ONLY`: it is refused. The default of a block without a mode.
    #[default]
    RegistryOnly,
    /// `ALLOW_ANY`: it is passed on.
    AllowAny,
}
