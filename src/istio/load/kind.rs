//! The API groups, versions and kinds that this crate reads.

use crate::istio::decode::Scope;
use crate::istio::yaml::suggest::nearest;

/// A kind that this crate reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResourceKind {
    AuthorizationPolicy,
    Authorizer,
    ClusterRbacConfig,
    MeshPolicy,
    PeerAuthentication,
    Policy,
    RateLimit,
    RbacConfig,
    RequestAuthentication,
    ServiceRole,
    ServiceRoleBinding,
    Telemetry,
    #[cfg(feature = "routing")]
    Traffic(TrafficKind),
}

/// A kind that routes and balances calls.
#[cfg(feature = "routing")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrafficKind {
    DestinationRule,
    GrpcRoute,
    HttpRoute,
    ReferenceGrant,
    ServiceEntry,
    Sidecar,
    VirtualService,
    WorkloadEntry,
    WorkloadGroup,
}

/// An API group of ours: its versions, the one to write first, and its kinds.
struct Group {
    name: &'static str,
    versions: &'static [&'static str],
    kinds: &'static [(&'static str, ResourceKind)],
    /// Kinds that are passed over.
    unread: &'static [&'static str],
    /// Whether there may be others, which are passed over, too.
    is_open: bool,
}

const GROUPS: &[Group] = &[
    Group {
        name: "security.istio.io",
        versions: &["v1", "v1beta1"],
        kinds: &[
            ("AuthorizationPolicy", ResourceKind::AuthorizationPolicy),
            ("PeerAuthentication", ResourceKind::PeerAuthentication),
            ("RequestAuthentication", ResourceKind::RequestAuthentication),
        ],
        unread: &[],
        is_open: false,
    },
    Group {
        name: "authentication.istio.io",
        versions: &["v1alpha1"],
        kinds: &[
            ("MeshPolicy", ResourceKind::MeshPolicy),
            ("Policy", ResourceKind::Policy),
        ],
        unread: &[],
        is_open: false,
    },
    Group {
        name: "rbac.istio.io",
        versions: &["v1alpha1"],
        kinds: &[
            ("ClusterRbacConfig", ResourceKind::ClusterRbacConfig),
            ("RbacConfig", ResourceKind::RbacConfig),
            ("ServiceRole", ResourceKind::ServiceRole),
            ("ServiceRoleBinding", ResourceKind::ServiceRoleBinding),
        ],
        unread: &[],
        is_open: false,
    },
    Group {
        name: "telemetry.istio.io",
        versions: &["v1", "v1alpha1"],
        kinds: &[("Telemetry", ResourceKind::Telemetry)],
        unread: &[],
        is_open: false,
    },
    #[cfg(feature = "routing")]
    Group {
        name: "networking.istio.io",
        versions: &["v1", "v1beta1", "v1alpha3"],
        kinds: &[
            (
                "DestinationRule",
                ResourceKind::Traffic(TrafficKind::DestinationRule),
            ),
            (
                "ServiceEntry",
                ResourceKind::Traffic(TrafficKind::ServiceEntry),
            ),
            ("Sidecar", ResourceKind::Traffic(TrafficKind::Sidecar)),
            (
                "VirtualService",
                ResourceKind::Traffic(TrafficKind::VirtualService),
            ),
            (
                "WorkloadEntry",
                ResourceKind::Traffic(TrafficKind::WorkloadEntry),
            ),
            (
                "WorkloadGroup",
                ResourceKind::Traffic(TrafficKind::WorkloadGroup),
            ),
        ],
        unread: &["EnvoyFilter", "Gateway", "ProxyConfig"],
        is_open: false,
    },
    #[cfg(feature = "routing")]
    Group {
        name: "gateway.networking.k8s.io",
        versions: &["v1", "v1beta1", "v1alpha2"],
        kinds: &[
            ("GRPCRoute", ResourceKind::Traffic(TrafficKind::GrpcRoute)),
            ("HTTPRoute", ResourceKind::Traffic(TrafficKind::HttpRoute)),
            (
                "ReferenceGrant",
                ResourceKind::Traffic(TrafficKind::ReferenceGrant),
            ),
        ],
        unread: &[
            "Gateway",
            "GatewayClass",
            "TCPRoute",
            "TLSRoute",
            "UDPRoute",
        ],
        is_open: true,
    },
    // Not Istio's, but this crate's own.
    Group {
        name: "mesh.tower",
        versions: &["v1"],
        kinds: &[
            ("Authorizer", ResourceKind::Authorizer),
            ("RateLimit", ResourceKind::RateLimit),
        ],
        unread: &[],
        is_open: false,
    },
];

impl Group {
    /// What to write as `apiVersion`.
    fn api_version(&self) -> String {
        let version = self.versions.first().copied().unwrap_or_default();
        format!("{}/{version}", self.name)
    }
}

/// The names of our groups, each with the `apiVersion` to write.
pub(super) fn our_groups() -> impl Iterator<Item = (&'static str, String)> {
    GROUPS.iter().map(|group| (group.name, group.api_version()))
}

/// Whether every kind of this group must be understood.
pub(super) fn is_our_group(name: &str) -> bool {
    GROUPS.iter().any(|group| group.name == name)
}

/// Whether a kind of one of our groups is passed over.
pub(super) fn is_unread(group: &str, kind: &str) -> bool {
    let Some(group) = GROUPS.iter().find(|known| known.name == group) else {
        return false;
    };
    let known = group.kinds.iter().map(|(name, _)| *name);
    group.unread.contains(&kind) || group.is_open && nearest(kind, known).is_none()
}

/// What has taken the place of a kind of Istio's first years, which is refused.
#[cfg(feature = "routing")]
pub(super) fn replaced(api_version: &str, kind: &str) -> Option<String> {
    const REPLACED: [(&str, &str, &str); 4] = [
        ("DestinationPolicy", "DestinationRule", "trafficPolicy"),
        ("EgressRule", "ServiceEntry", "hosts and ports"),
        ("ExternalService", "ServiceEntry", "hosts and ports"),
        ("RouteRule", "VirtualService", "http routes"),
    ];
    let (_, today, what) = REPLACED
        .into_iter()
        .find(|(old, _, _)| *old == kind && is_istio(api_version))?;
    Some(format!(
        "{kind} is a kind of 2018 that Istio no longer reads; write its {what} as a {today} of networking.istio.io/v1"
    ))
}

/// Whether an `apiVersion` or an API group is one of Istio's, also one that is not read.
pub(crate) fn is_istio(api_version: &str) -> bool {
    let group = api_version.split('/').next().unwrap_or_default();
    group == "istio.io" || group.ends_with(".istio.io")
}

/// Whether a kind of ours has just this name.
pub(crate) fn is_our_kind(name: &str) -> bool {
    let mut kinds = GROUPS.iter().flat_map(|group| group.kinds);
    kinds.any(|(known, _)| *known == name)
}

/// The kind of ours that is named so, or nearly so, and the `apiVersion` to write for it.
pub(in crate::istio) fn meant(kind: &str) -> Option<(&'static str, String)> {
    let names = || {
        let kinds = GROUPS.iter().flat_map(|group| group.kinds);
        kinds.map(|(name, _)| *name)
    };
    let name = names()
        .find(|name| *name == kind)
        .or_else(|| nearest(kind, names()))?;
    let is_home = |group: &&Group| group.kinds.iter().any(|(known, _)| *known == name);
    let home = GROUPS.iter().find(is_home)?;
    Some((name, home.api_version()))
}

impl ResourceKind {
    /// The kind that a document of one of our groups says it is; otherwise the field to blame, and
    /// what to write there instead.
    pub(in crate::istio) fn find(
        group: &str,
        version: &str,
        kind: &str,
    ) -> Result<Self, (&'static str, String)> {
        let Some(group) = GROUPS.iter().find(|known| known.name == group) else {
            let message = format!("`{group}` is no API group that is read");
            return Err(("apiVersion", message));
        };
        let own = group.name;
        let known = group.kinds.iter().map(|(name, _)| *name);
        let found = group.kinds.iter().find(|(name, _)| *name == kind);
        if found.is_none()
            && let Some((name, api_version)) = meant(kind)
            && (name == kind || nearest(kind, known.clone()).is_none())
        {
            let message = match name == kind {
                true => format!("{own} has no {kind}; for this kind write {api_version}"),
                false => format!(
                    "{own} has no `{kind}`; if {name} is meant, write {api_version} and kind {name}"
                ),
            };
            return Err(("kind", message));
        }
        if !group.versions.contains(&version) {
            let what = match version {
                "" => format!("`{own}` has no version"),
                version => format!("apiVersion `{own}/{version}` is not supported"),
            };
            let message = format!("{what}; write {}", group.api_version());
            return Err(("apiVersion", message));
        }
        if let Some((_, found)) = found {
            return Ok(*found);
        }
        let remedy = match nearest(kind, known.clone()) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("known are {}", known.collect::<Vec<_>>().join(", ")),
        };
        let message = format!("unknown kind `{kind}` of {own}; {remedy}");
        Err(("kind", message))
    }

    pub(in crate::istio) fn scope(self) -> Scope {
        match self {
            Self::ClusterRbacConfig | Self::MeshPolicy => Scope::Cluster,
            Self::AuthorizationPolicy
            | Self::Authorizer
            | Self::PeerAuthentication
            | Self::Policy
            | Self::RateLimit
            | Self::RbacConfig
            | Self::RequestAuthentication
            | Self::ServiceRole
            | Self::ServiceRoleBinding
            | Self::Telemetry => Scope::Namespace,
            #[cfg(feature = "routing")]
            Self::Traffic(_) => Scope::Namespace,
        }
    }
}
