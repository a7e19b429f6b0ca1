//! The resources as types, with every text as it is written.

pub(super) mod authorizer;
pub(super) mod kubernetes;
pub(super) mod legacy;
pub(super) mod mesh_config;
pub(super) mod meta;
pub(super) mod rate_limit;
pub(super) mod resources;
pub(super) mod security;
pub(super) mod telemetry;
#[cfg(feature = "routing")]
pub mod traffic;
pub(super) mod uri;
