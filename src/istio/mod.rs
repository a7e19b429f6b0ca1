//! Istio's resources as written: `security.istio.io` (v1, v1beta1), the 2018
//! `authentication.istio.io/v1alpha1` and `rbac.istio.io/v1alpha1`, and the parts of MeshConfig
//! that decide.
//!
//! This room reads text and says what is wrong with it, with file, line, column and field. What the
//! resources *mean* is decided by
//! [`policy`](crate::policy). Every text keeps the [`Position`] it was written at, so that later stages can point at it too.
//!
//! [`parse`] reads one text, a [`Loader`] several, [`parse_mesh_config`] the mesh's settings. Documents are YAML or JSON, as many as
//! a text holds, `List` kinds included. Documents of other API groups are listed under
//! [`Resources::skipped`], so that the dump of a cluster can be read, and of those of Kubernetes
//! that deploy workloads what policies refer to is kept in [`Resources::workloads`]; `status` and
//! everything of `metadata` is accepted. In a `spec` nothing is passed over: an unknown field, kind
//! or word is an error, all of them are reported at once, and [`Resources::notes`] lists what is
//! allowed and probably not meant.
//!
//! A document is someone else's only when it plainly is. One of our kinds without a group or
//! version, under another group of Istio's (`config.istio.io` had a ServiceRole), under a group
//! that is no domain name or names Istio, is an error that says what to write, and so is every
//! document under a misspelling of our groups. Under another domain, such as Linkerd's
//! `policy.linkerd.io`, it is skipped with a note.
//!
//! A text has at most 64 MiB, a document at most two million values, nested at most 100 deep in
//! each of YAML's two styles, of which 10,000 may come from aliases; what is beyond is an error.
//!
//! # Differences from Envoy/Istio
//!
//! - What Istio's webhook or its schema rejects is rejected here, too, and so are unknown fields,
//!   which a server may prune silently.
//! - `presence: REQUIRED`, `mtls.allowTls: true`, a legacy rule without `services` and unknown
//!   constraint keys are refused: their meaning is unsettled, or differed between versions.
//! - A path template must start with a single `/`; Istio lets others pass, which Envoy then
//!   refuses.
//! - Two PeerAuthentications for one whole namespace need a `creationTimestamp` each, because only
//!   the older one counts.
//!
//! # Example
//!
//! ```
//! use tower_mesh::istio;
//!
//! let resources = istio::parse("ward.yaml", "
//! apiVersion: security.istio.io/v1
//! kind: AuthorizationPolicy
//! metadata: {name: readers, namespace: clinic}
//! spec:
//!   rules:
//!   - from: [{source: {principals: [cluster.local/ns/clinic/sa/desk]}}]
//!     to: [{operation: {methods: [GET], ports: ['8080']}}]
//! ", "default")?;
//! let policy = &resources.authorization_policies[0];
//! assert_eq!(policy.rules[0].to[0].methods[0].at().to_string(), "ward.yaml:8:33");
//! # Ok::<(), istio::Problems>(())
//! ```

mod decode;
mod load;
mod resource;
mod yaml;

#[cfg(test)]
mod tests;

#[cfg(feature = "vet")]
pub(crate) use decode::DENIES_TCP;
pub(crate) use load::kind::{is_istio, is_our_kind};
pub(crate) use load::loader::is_blank_mesh_config;
pub use load::loader::{Loader, parse, parse_mesh_config};
pub(crate) use load::unique::contradictions;
pub use resource::kubernetes::{Deployed, DeployedPort, DeployedService};
pub use resource::legacy::{
    AccessRule, Constraint, EnforcementMode, LegacyJwt, LegacyMtls, LegacyPolicy, LegacyTarget,
    PortSelector, PrincipalBinding, RbacConfig, RbacMode, RbacTarget, ServiceRole,
    ServiceRoleBinding, StringMatch, Subject, TriggerRule,
};
pub(crate) use resource::mesh_config::{CONFIG_MAP, names_mesh_config};
pub use resource::mesh_config::{
    ExtensionProvider, MeshConfig, PathNormalization, ProviderKind, RequestBodyInCheck,
};
pub use resource::meta::{Meta, Selector, TargetRef};
pub use resource::resources::{Resources, Skipped};
pub use resource::security::{
    Action, AuthorizationPolicy, ClaimToHeader, Condition, JwtHeader, JwtRule, MtlsMode, Operation,
    PeerAuthentication, RequestAuthentication, Rule, Source,
};
pub(crate) use resource::uri::shown_uri;
pub use yaml::error::{Problem, ProblemKind, Problems};
pub(crate) use yaml::one_line::OneLine;
pub use yaml::position::{Position, Text, Within};
pub(crate) use yaml::suggest::distance;
// Files of kustomize and Helm are YAML, too.
pub(crate) use yaml::{
    cursor::Sink,
    reader::{Limits, documents},
    tree::{Node, Value},
};
// The tables of policy tests are YAML, too, and say as well what is wrong with them.
#[cfg(feature = "policy-testing")]
pub(crate) use yaml::{cursor::Cursor, fields::Fields, tree::Plain};
