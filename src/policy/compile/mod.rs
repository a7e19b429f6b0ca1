//! Compiles resources to a [`Program`](super::Program): selects those that apply to one workload
//! and translates them to Envoy's terms.
//!
//! The result has the shape that Istio's control plane sends to a sidecar: one RBAC policy per
//! rule, `and` over fields, `or` over values, `not(or)` over negative lists, named
//! `ns[..]-policy[..]-rule[..]`. So the program can be printed, compared and given to an Envoy.
//!
//! ```text
//! pipeline         everything, in order
//!   selection      which resources touch this workload
//!   authorization  AuthorizationPolicy -> chains        custom    the CUSTOM part of it; providers
//!     policies     the rules of a policy, added to a set under their names
//!     rule/        one rule -> one RBAC policy for HTTP and one for TCP
//!       clauses    all fields and conditions of it       clause    one field's values -> tests
//!       condition  `when` keys
//!       principal  who: source fields and keys          permission  what: operation fields and keys
//!       text       string patterns, regexes, ports      claims      tests of a token's claims
//!   mtls           PeerAuthentication -> modes
//!   tokens         RequestAuthentication -> rules
//!   limits         RateLimit -> limits
//!   legacy/        the 2018 resources
//! compiler         what all stages share: the mesh, the workload, the problems; trust_domain
//! ```

mod authorization;
mod compiler;
mod custom;
mod legacy;
mod limits;
mod mtls;
mod pipeline;
mod policies;
mod providers;
mod rule;
mod selection;
mod tokens;
mod trust_domain;

pub use pipeline::compile;
#[cfg(feature = "vet")]
pub(crate) use rule::issuer_and_subject;
pub(crate) use selection::GATEWAY_LABEL;
#[cfg(feature = "vet")]
pub(crate) use trust_domain::Domains;

#[cfg(test)]
mod tests;
