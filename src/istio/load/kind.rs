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
}

/// An API group of ours: its versions, the one to write, its kinds.
struct Group {
    name: &'static str,
    versions: &'static [&'static str],
    kinds: &'static [(&'static str, ResourceKind)],
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
    },
    Group {
        name: "authentication.istio.io",
        versions: &["v1alpha1"],
        kinds: &[
            ("MeshPolicy", ResourceKind::MeshPolicy),
            ("Policy", ResourceKind::Policy),
        ],
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
    },
    Group {
        name: "telemetry.istio.io",
        versions: &["v1", "v1alpha1"],
        kinds: &[("Telemetry", ResourceKind::Telemetry)],
    },
    // Not Istio's, but this crate's own.
    Group {
        name: "mesh.tower",
        versions: &["v1"],
        kinds: &[
            ("Authorizer", ResourceKind::Authorizer),
            ("RateLimit", ResourceKind::RateLimit),
        ],
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
            && name == kind
        {
            let message = format!("{own} has no {kind}; for this kind write {api_version}");
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
        }
    }
}
