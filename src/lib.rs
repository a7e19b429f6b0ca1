// The README is also read on the forge and on the registry, where its link labels lead to files.
// Rustdoc uses the first definition of a label, so these lead to the guide instead.
//! [access log]: guide::access_log
//! [audit]: guide::audit
//! [calls]: guide::calls
//! [certificates]: guide::certificates
//! [clinic]: https://github.com/tower-mesh/tower-mesh/tree/HEAD/examples/patients/policies/v1
//! [convert]: guide::convert
//! [design]: https://github.com/tower-mesh/tower-mesh/blob/HEAD/DESIGN.md
//! [external authorization]: guide::external_authorization
//! [features]: guide::features
//! [gate]: guide::gate
//! [getting started]: guide::getting_started
//! [layers]: guide::layers
//! [observability]: guide::observability
//! [outages]: guide::outages
//! [performance]: guide::performance
//! [policy]: guide::policy
//! [policy tests]: https://github.com/tower-mesh/tower-mesh/tree/HEAD/examples/policy_tests
//! [rate limits]: guide::rate_limits
//! [tcp]: guide::tcp
//! [testing policies]: guide::testing_policies
//! [tls]: guide::tls
//! [tracing]: guide::tracing
//! [troubleshooting]: guide::troubleshooting
//! [vet]: guide::vet
//!
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    test,
    allow(
        clippy::print_stdout,
        clippy::string_slice,
        reason = "a test may panic, and prints what it counted"
    )
)]

#[macro_use]
mod macros;

#[cfg(feature = "access-log")]
pub mod access_log;
#[cfg(feature = "audit")]
pub mod audit;
#[cfg(any(feature = "external", feature = "jwt"))]
mod bounded_cache;
#[cfg(feature = "cel")]
pub mod cel;
#[cfg(any(feature = "rate-limit", all(feature = "server", feature = "client")))]
pub mod concurrency;
pub mod context;
#[cfg(feature = "convert")]
pub mod convert;
#[cfg(feature = "coverage")]
pub mod coverage;
#[cfg(feature = "diff")]
pub mod diff;
#[cfg(any(
    feature = "external",
    feature = "jwt",
    feature = "otlp",
    feature = "rate-limit-service",
    feature = "tls",
    feature = "zipkin"
))]
mod error_chain;
#[cfg(feature = "external")]
pub mod external;
#[cfg(feature = "gate")]
pub mod gate;
#[cfg(any(feature = "gate", feature = "jwt"))]
pub mod guard;
#[cfg(any(doc, doctest))]
pub mod guide;
pub mod identity;
pub mod istio;
#[cfg(feature = "jwt")]
pub mod jwt;
pub mod live;
#[cfg(any(
    feature = "access-log",
    feature = "audit",
    feature = "axum",
    feature = "gate",
    feature = "jwt",
    feature = "tls",
    feature = "tonic"
))]
mod log_limit;
pub mod matcher;
#[cfg(all(feature = "server", feature = "client"))]
pub mod mesh;
pub mod message;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(any(feature = "gate", feature = "jwt"))]
mod peer_text;
pub mod policy;
#[cfg(feature = "propagation")]
pub mod propagation;
#[cfg(feature = "rate-limit")]
pub mod rate_limit;
#[cfg(feature = "rbac")]
pub mod rbac;
#[cfg(any(feature = "gate", feature = "jwt"))]
mod refusal_log;
#[cfg(feature = "routing")]
pub mod routing;
pub mod source;
#[cfg(any(feature = "metrics", feature = "rate-limit"))]
mod striped;
pub mod telemetry;
#[cfg(any(feature = "policy-testing", feature = "pki"))]
pub mod testing;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "vet")]
pub mod vet;

pub use context::{Claims, Peer, TraceContext};
pub use identity::Workload;
#[cfg(all(feature = "server", feature = "client"))]
pub use mesh::{Driver, Guards, GuardsBuilder, Mesh, MeshBuilder};
