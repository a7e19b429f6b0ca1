//! The commands, one file or folder each.

#[cfg(not(all(feature = "audit", feature = "pki")))]
pub(crate) mod absent;
#[cfg(feature = "audit")]
pub(crate) mod audit;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod convert;
pub(crate) mod coverage;
pub(crate) mod diff;
pub(crate) mod envoy;
pub(crate) mod man;
#[cfg(feature = "pki")]
pub(crate) mod pki;
pub(crate) mod route;
pub(crate) mod vet;
