//! `authentication.istio.io/v1alpha1` and `rbac.istio.io/v1alpha1`, as served by Istio 1.0 to 1.5.

use std::collections::BTreeMap;

use crate::istio::{JwtRule, Meta, MtlsMode, Position, Text};

/// `Policy` (namespaced) or `MeshPolicy` (cluster-wide): how peers and end users are authenticated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LegacyPolicy {
    /// Name, namespace (empty for a `MeshPolicy`), position.
    pub meta: Meta,
    /// The services it applies to; empty: the whole namespace or mesh.
    pub targets: Vec<LegacyTarget>,
    /// `peers[].mtls`, when there is one.
    pub mtls: Option<LegacyMtls>,
    /// `peerIsOptional`.
    pub peer_is_optional: bool,
    /// `origins[].jwt`, in order.
    pub origins: Vec<LegacyJwt>,
    /// `originIsOptional`.
    pub origin_is_optional: bool,
    /// What `request.auth.principal` is.
    pub principal_binding: PrincipalBinding,
}

/// `targets[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LegacyTarget {
    /// The service's short name.
    pub name: Text,
    /// Its ports; empty: all.
    pub ports: Vec<PortSelector>,
}

/// A service's port, by number or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortSelector {
    /// By name.
    Name(Text),
    /// By number.
    Number(u16),
}

/// `peers[].mtls`; its `mode` defaults to [`MtlsMode::Strict`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LegacyMtls {
    /// [`MtlsMode::Strict`] or [`MtlsMode::Permissive`].
    pub mode: MtlsMode,
    /// Where it was written.
    pub at: Position,
}

impl LegacyMtls {
    /// A peer method of this mode.
    #[must_use]
    pub fn new(mode: MtlsMode, at: Position) -> Self {
        Self { mode, at }
    }
}

/// `origins[].jwt`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LegacyJwt {
    /// Issuer, audiences, keys and locations in today's form: `jwtHeaders` become `from_headers`
    /// without a prefix, `jwtParams` become `from_params`, and the token is always forwarded.
    pub rule: JwtRule,
    /// `triggerRules`; empty: always.
    pub trigger_rules: Vec<TriggerRule>,
}

/// `triggerRules[]`: the method applies iff no excluded path matches and the included ones are
/// empty or one matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TriggerRule {
    /// Paths it does not apply to.
    pub excluded_paths: Vec<StringMatch>,
    /// Paths it applies to.
    pub included_paths: Vec<StringMatch>,
}

/// A match on a whole text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StringMatch {
    /// The same text.
    Exact(Text),
    /// Starts so.
    Prefix(Text),
    /// RE2, the whole text.
    Regex(Text),
    /// Ends so.
    Suffix(Text),
}

/// `principalBinding`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrincipalBinding {
    /// The peer, `td/ns/N/sa/S`.
    #[default]
    UsePeer,
    /// The end user, `iss/sub`.
    UseOrigin,
}

/// `ClusterRbacConfig` or `RbacConfig`, named `default`: whether RBAC is on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RbacConfig {
    /// Name, kind, position.
    pub meta: Meta,
    /// For which services it is on.
    pub mode: RbacMode,
    /// Used with [`RbacMode::OnWithInclusion`].
    pub inclusion: RbacTarget,
    /// Used with [`RbacMode::OnWithExclusion`].
    pub exclusion: RbacTarget,
    /// Enforce, or only report.
    pub enforcement_mode: EnforcementMode,
}

/// `mode` of an [`RbacConfig`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RbacMode {
    /// For no service.
    #[default]
    Off,
    /// For every service.
    On,
    /// For all but the excluded.
    OnWithExclusion,
    /// For the included.
    OnWithInclusion,
}

/// Services and namespaces of an inclusion or exclusion; both exact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RbacTarget {
    /// Fully qualified service names.
    pub services: Vec<Text>,
    /// Namespaces.
    pub namespaces: Vec<Text>,
}

/// Whether a decision counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EnforcementMode {
    /// It does.
    #[default]
    Enforced,
    /// It is only reported.
    Permissive,
}

/// `ServiceRole`: what may be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceRole {
    /// Name, namespace, position.
    pub meta: Meta,
    /// The rules; ORed.
    pub rules: Vec<AccessRule>,
}

/// `rules[]` of a [`ServiceRole`]; fields are ANDed, values of a field ORed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are Istio's own, name for name")]
#[non_exhaustive]
pub struct AccessRule {
    pub services: Vec<Text>,
    pub hosts: Vec<Text>,
    pub not_hosts: Vec<Text>,
    pub paths: Vec<Text>,
    pub not_paths: Vec<Text>,
    pub methods: Vec<Text>,
    pub not_methods: Vec<Text>,
    pub ports: Vec<u16>,
    pub not_ports: Vec<u16>,
    pub constraints: Vec<Constraint>,
    pub at: Position,
}

/// `constraints[]`: the key's value must be one of the values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Constraint {
    /// The key.
    pub key: Text,
    /// The values; ORed.
    pub values: Vec<Text>,
}

/// `ServiceRoleBinding`: who holds a role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceRoleBinding {
    /// Name, namespace, position.
    pub meta: Meta,
    /// Who; ORed.
    pub subjects: Vec<Subject>,
    /// The name of the role, from `roleRef.name` or `role`.
    pub role: Text,
    /// `actions`, the inline role of Istio 1.3 and later, when it is used instead of a name.
    pub actions: Vec<AccessRule>,
    /// `mode`.
    pub mode: EnforcementMode,
}

/// `subjects[]`; all fields are ANDed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are Istio's own, name for name")]
#[non_exhaustive]
pub struct Subject {
    pub user: Option<Text>,
    pub group: Option<Text>,
    pub names: Vec<Text>,
    pub not_names: Vec<Text>,
    pub groups: Vec<Text>,
    pub not_groups: Vec<Text>,
    pub namespaces: Vec<Text>,
    pub not_namespaces: Vec<Text>,
    pub ips: Vec<Text>,
    pub not_ips: Vec<Text>,
    /// `properties`: key to value.
    pub properties: BTreeMap<String, Text>,
    pub at: Position,
}
