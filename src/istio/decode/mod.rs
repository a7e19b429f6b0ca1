//! Decodes trees into typed resources, by the rules of Istio's validation.

// authorization            AuthorizationPolicy; `when` of its rules: condition
// authorizer               Authorizer, of this crate
// peer_authentication      PeerAuthentication
// request_authentication   RequestAuthentication
// rate_limit               RateLimit, of this crate; its descriptors: rate_limit_actions
// legacy_*                 the kinds of 2018
// telemetry                Telemetry
// traffic                  the kinds that route and balance calls
// mesh_config              MeshConfig; what it says about telemetry and traffic: in its folder
// meta                     what all kinds have: name, namespace, selector
// value                    numbers, texts and lists

mod authorization;
mod authorizer;
mod condition;
mod legacy_authentication;
mod legacy_rbac;
mod mesh_config;
mod meta;
mod peer_authentication;
mod rate_limit;
mod rate_limit_actions;
mod request_authentication;
mod telemetry;
#[cfg(feature = "routing")]
pub(super) mod traffic;
mod value;

#[cfg(feature = "vet")]
pub(crate) use authorization::DENIES_TCP;
pub(super) use authorization::authorization_policy;
pub(super) use authorizer::authorizer;
pub(super) use legacy_authentication::legacy_policy;
pub(super) use legacy_rbac::{rbac_config, service_role, service_role_binding};
pub(super) use mesh_config::mesh_config;
pub(super) use meta::{DOCUMENT, Scope, meta};
pub(super) use peer_authentication::peer_authentication;
pub(super) use rate_limit::rate_limit;
pub(super) use request_authentication::request_authentication;
pub(super) use telemetry::telemetry;
pub(super) use value::required;
