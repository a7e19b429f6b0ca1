//! The commands, one file each.

#[cfg(not(feature = "pki"))]
pub(crate) mod absent;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod convert;
pub(crate) mod coverage;
pub(crate) mod diff;
pub(crate) mod envoy;
pub(crate) mod man;
#[cfg(feature = "pki")]
pub(crate) mod pki;
pub(crate) mod vet;
