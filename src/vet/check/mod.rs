//! The checks, one file per subject; each adds its notes.

pub(super) mod callers;
#[cfg(feature = "cel")]
pub(super) mod expressions;
pub(super) mod hosts;
pub(super) mod legacy;
pub(super) mod limits;
pub(super) mod mesh;
pub(super) mod ports;
pub(super) mod providers;
pub(super) mod redundancy;
pub(super) mod tokens;
pub(super) mod values;
pub(super) mod workloads;
