//! The pages of the repository's `docs` folder.
//!
//! Start with [`getting_started`], then read [`layers`] or [`features`]. If a request is refused,
//! see [`troubleshooting`].
//!
//! This module exists only in the documentation.

// The pages link to each other by labels, which lead to files on the forge. Rustdoc uses the first
// definition of a label, so the definitions below lead to these modules instead.

/// [access log]: access_log
/// [calls]: calls
/// [certificates]: certificates
/// [features]: features
/// [layers]: layers
/// [observability]: observability
/// [policy]: policy
/// [testing policies]: testing_policies
/// [tls]: tls
/// [troubleshooting]: troubleshooting
///
#[doc = include_str!("../../docs/getting-started.md")]
pub mod getting_started {}

/// [getting started]: getting_started
/// [layers]: layers
/// [testing policies]: testing_policies
/// [tls]: tls
///
#[doc = include_str!("../../docs/features.md")]
pub mod features {}

/// [`Guards`]: crate::Guards
/// [`PeerLayer`]: crate::context::PeerLayer
/// [`ClientPropagationLayer`]: crate::propagation::ClientPropagationLayer
/// [`GateLayer`]: crate::gate::GateLayer
/// [`JwtLayer`]: crate::jwt::JwtLayer
/// [`MetricsLayer`]: crate::metrics::MetricsLayer
/// [`PropagationLayer`]: crate::propagation::PropagationLayer
/// [`RbacLayer`]: crate::rbac::RbacLayer
/// [features]: features
/// [gate]: gate
/// [getting started]: getting_started
/// [observability]: observability
/// [tls]: tls
/// [tracing]: tracing
/// [troubleshooting]: troubleshooting
///
#[doc = include_str!("../../docs/layers.md")]
pub mod layers {}

/// [layers]: layers
/// [observability]: observability
/// [policy]: policy
/// [rules]: rules
/// [testing policies]: testing_policies
///
#[doc = include_str!("../../docs/gate.md")]
pub mod gate {}

/// [layers]: layers
///
#[doc = include_str!("../../docs/access-log.md")]
pub mod access_log {}

/// [access log]: access_log
/// [features]: features
///
#[doc = include_str!("../../docs/audit.md")]
pub mod audit {}

/// [access log]: access_log
/// [getting started]: getting_started
/// [tls]: tls
/// [tracing]: tracing
/// [troubleshooting]: troubleshooting
///
#[doc = include_str!("../../docs/observability.md")]
pub mod observability {}

/// [calls]: calls
/// [layers]: layers
/// [observability]: observability
/// [Trace cases]: trace_cases
///
#[doc = include_str!("../../docs/tracing.md")]
pub mod tracing {}

#[doc = include_str!("../../docs/rules.md")]
pub mod rules {}

/// [getting started]: getting_started
/// [tls]: tls
/// [troubleshooting]: troubleshooting
///
#[doc = include_str!("../../docs/calls.md")]
pub mod calls {}

/// [access log]: access_log
/// [audit trail]: audit
/// [calls]: calls
/// [rules]: rules
/// [tls]: tls
///
#[doc = include_str!("../../docs/tcp.md")]
pub mod tcp {}

/// [access log]: access_log
/// [calls]: calls
/// [certificates]: certificates
/// [gate]: gate
/// [layers]: layers
/// [mistakes]: mistakes
/// [observability]: observability
/// [policy]: policy
/// [tls]: tls
/// [vet]: vet
///
#[doc = include_str!("../../docs/troubleshooting.md")]
pub mod troubleshooting {}

/// [getting started]: getting_started
/// [tls]: tls
///
#[doc = include_str!("../../docs/certificates.md")]
pub mod certificates {}

/// [calls]: calls
/// [certificates]: certificates
/// [observability]: observability
/// [policy]: policy
/// [reload]: policy#when-a-watched-configuration-changes
///
#[doc = include_str!("../../docs/tls.md")]
pub mod tls {}

#[doc = include_str!("../../docs/policy.md")]
pub mod policy {}

/// [guards]: layers#kept-fresh
/// [stubs]: testing_policies#what-an-external-provider-answers
///
#[doc = include_str!("../../docs/external-authorization.md")]
pub mod external_authorization {}

/// [policy]: policy#when-a-watched-configuration-changes
/// [troubleshooting]: troubleshooting
///
#[doc = include_str!("../../docs/outages.md")]
pub mod outages {}

/// [access log]: access_log
/// [observability]: observability
/// [tracing]: tracing
///
#[doc = include_str!("../../docs/trace-cases.md")]
pub mod trace_cases {}

/// [layers]: layers
/// [policy]: policy#when-a-watched-configuration-changes
///
#[doc = include_str!("../../docs/rate-limits.md")]
pub mod rate_limits {}

#[doc = include_str!("../../docs/vet.md")]
pub mod vet {}

/// [gate]: gate
///
#[doc = include_str!("../../docs/testing-policies.md")]
pub mod testing_policies {}

#[doc = include_str!("../../docs/convert.md")]
pub mod convert {}

#[doc = include_str!("../../docs/performance.md")]
pub mod performance {}

/// [certificates]: certificates
/// [policy]: policy
/// [troubleshooting]: troubleshooting
///
#[doc = include_str!("../../docs/mistakes.md")]
pub mod mistakes {}
