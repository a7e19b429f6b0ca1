//! From options to a running mesh.

mod allow;
mod assemble;
mod builder;
mod danger;
mod guard;
mod upstreams;

pub use builder::MeshBuilder;
pub use danger::{DangerousMesh, DangerousMeshBuilder};
