//! The builder of a mesh: its options, and what makes a running mesh of them.

mod allow;
mod assemble;
#[cfg(feature = "audit")]
mod audit;
#[cfg(feature = "external")]
mod authorizer;
mod builder;
mod danger;
mod gate;
mod guard;
#[cfg(feature = "rate-limit")]
mod rate_limit;
mod upstreams;

pub use builder::MeshBuilder;
pub use danger::{DangerousMesh, DangerousMeshBuilder};
