//! One rule of an AuthorizationPolicy, as one RBAC policy for HTTP and one for raw TCP.

mod claims;
pub(super) mod clause;
mod clauses;
pub(super) mod condition;
mod permission;
pub(super) mod principal;
pub(in crate::policy::compile) mod text;

#[cfg(feature = "vet")]
pub(crate) use claims::issuer_and_subject;
pub(super) use clauses::{Clauses, OnTcp, never};
