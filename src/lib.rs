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

pub mod context;
#[cfg(feature = "convert")]
pub mod convert;
#[cfg(feature = "coverage")]
pub mod coverage;
#[cfg(feature = "diff")]
pub mod diff;
#[cfg(any(feature = "jwt", feature = "tls"))]
mod error_chain;
pub mod identity;
pub mod istio;
#[cfg(feature = "jwt")]
pub mod jwt;
pub mod live;
#[cfg(any(feature = "jwt", feature = "rbac", feature = "tls"))]
mod log_limit;
pub mod matcher;
#[cfg(all(feature = "server", feature = "client"))]
pub mod mesh;
pub mod message;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod policy;
#[cfg(feature = "propagation")]
pub mod propagation;
#[cfg(feature = "rbac")]
pub mod rbac;
pub mod source;
#[cfg(any(feature = "policy-testing", feature = "pki"))]
pub mod testing;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "vet")]
pub mod vet;

pub use context::{Claims, Peer, TraceContext};
pub use identity::Workload;
#[cfg(all(feature = "server", feature = "client"))]
pub use mesh::{Driver, Mesh, MeshBuilder};
