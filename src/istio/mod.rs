//! Istio's resources as written: `security.istio.io` (v1, v1beta1), the 2018 `authentication.istio.io/v1alpha1` and
//! `rbac.istio.io/v1alpha1`, and the parts of MeshConfig that decide.
//!
//! This room reads text and says what is wrong with it, with file, line, column and field. What the resources *mean* is decided by
//! [`policy`](crate::policy). Every text keeps the [`Position`] it was written at, so that later stages can point at it too.

mod cursor;
mod decode;
mod embedded;
mod error;
mod fields;
mod kind;
mod legacy;
mod load;
mod mesh_config;
mod meta;
mod position;
mod reader;
mod resource;
mod security;
mod suggest;
mod tree;
mod unique;

#[cfg(test)]
mod tests;

pub use error::{Problem, Problems};
pub use legacy::{
    AccessRule, Constraint, EnforcementMode, LegacyJwt, LegacyMtls, LegacyPolicy, LegacyTarget,
    PortSelector, PrincipalBinding, RbacConfig, RbacMode, RbacTarget, ServiceRole,
    ServiceRoleBinding, StringMatch, Subject, TriggerRule,
};
pub use load::{Loader, parse, parse_mesh_config};
pub use mesh_config::{ExtensionProvider, MeshConfig, PathNormalization, ProviderKind};
pub use meta::{Meta, Selector, TargetRef};
pub use position::{Position, Text};
pub use resource::{Resources, Skipped};
pub use security::{
    Action, AuthorizationPolicy, ClaimToHeader, Condition, JwtHeader, JwtRule, MtlsMode, Operation,
    PeerAuthentication, RequestAuthentication, Rule, Source,
};
