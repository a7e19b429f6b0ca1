//! The 2018 resources (`v1alpha1`, Istio 1.0 to 1.5) on today's IR, as Istio 1.5 read them.
//!
//! They select by service, not by workload: the service of each port decides which resources apply
//! to it, so ports can differ. Today's resources replace them part by part: an AuthorizationPolicy
//! all of RBAC, a RequestAuthentication the origins, a PeerAuthentication the peers.

mod policies;
mod rbac;
mod roles;
mod service;
mod subjects;
mod switch;
mod whole;

pub(super) use whole::{Replaced, compile};
