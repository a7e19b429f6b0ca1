//! Reads Istio's resources as they are written: `security.istio.io` (v1, v1beta1),
//! `telemetry.istio.io` (v1, v1alpha1), the `authentication.istio.io/v1alpha1` and `rbac.istio.io/v1alpha1` of 2018, and the fields of
//! MeshConfig that affect decisions; with the feature `routing` also `networking.istio.io` (v1,
//! v1beta1, v1alpha3), the Services and EndpointSlices of Kubernetes, and HTTPRoute and GRPCRoute of
//! `gateway.networking.k8s.io` (module `traffic`). It also reads the kinds of this crate, of the group
//! `mesh.tower`.
//!
//! This module reads text and reports what is wrong with it, with file, line, column and field.
//! [`policy`](crate::policy) decides what the resources *mean*. Every text keeps the [`Position`]
//! at which it was written, so that later stages can name it too.
//!
//! [`parse`] reads one text, a [`Loader`] several, [`parse_mesh_config`] the mesh's settings. A text
//! holds any number of documents, YAML or JSON; the kind `List` is read, too.
//!
//! - In a `spec` nothing is skipped: an unknown field, kind or word is an error. All errors are
//!   reported at once. [`Resources::notes`] lists what is allowed but probably not meant.
//! - `status` and everything in `metadata` is accepted.
//! - Documents of other API groups are listed in [`Resources::skipped`], so that the dump of a
//!   cluster can be read. From Kubernetes' documents that deploy workloads,
//!   [`Resources::workloads`] keeps what policies refer to.
//!
//! A document of one of our kinds is skipped, with a note, only under the domain of another project,
//! such as Linkerd's `policy.linkerd.io`. It is an error, which says what to write, without a group
//! or version, under another group of Istio (`config.istio.io` had a ServiceRole), and under a group
//! that is no domain name or that names Istio. So is every document under a misspelling of our
//! groups.
//!
//! A text larger than 64 MiB is an error. So is a document with more than two million values, with
//! more than 10,000 values from aliases, or nested more than 100 deep in either of YAML's two
//! styles.
//!
//! # Differences from Envoy/Istio
//!
//! - What Istio's webhook or its schema rejects is rejected here, too, and so are unknown fields,
//!   which a server may prune silently.
//! - `presence: REQUIRED`, `mtls.allowTls: true`, a legacy rule without `services` and unknown
//!   constraint keys are refused: their meaning is unsettled, or differed between versions.
//! - A path template must start with a single `/`; Istio lets others pass, which Envoy then
//!   refuses.
//! - Where Envoy would refuse a whole table of routes, the route is refused: a redirect with a code
//!   other than 301, 302, 303, 307 and 308, a status of 600.
//! - `tunnel`, `proxyProtocol`, `backendUtilization`, `outlierDetectionHttpErrorCodes`,
//!   `failurePercentageThreshold`, TLS of a Sidecar's `ingress` and `sessionPersistence` are refused:
//!   what they ask for is not done.
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
pub use resource::authorizer::{Authorizer, AuthorizerCache, CacheKey};
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
pub use resource::rate_limit::{
    HeaderMatch, HeaderMatchTest, HeaderToAdd, LocalRateLimit, LocalRateLimitDescriptor,
    QueryParameterMatch, RateLimit, RateLimitAction, RateLimitBucket, RateLimitDescriptor,
    RateLimitService, TextMatch, TextMatchKind, WhenAbsent,
};
pub use resource::resources::{Resources, Skipped};
pub use resource::security::{
    Action, AuthorizationPolicy, ClaimToHeader, Condition, JwtHeader, JwtRule, MtlsMode, Operation,
    PeerAuthentication, RequestAuthentication, Rule, Source,
};
pub use resource::telemetry::{
    CustomTag, FileLogFormat, MeshTelemetry, Metric, MetricSelector, MetricsOverride, Percentage,
    TagOverride, Telemetry, TelemetryAccessLogging, TelemetryMetrics, TelemetryMode,
    TelemetryProvider, TelemetryTracing, TracingService, TracingServiceName,
};
#[cfg(feature = "routing")]
pub use resource::traffic;
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
