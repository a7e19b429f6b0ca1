//! The contract of the engine: rules in the shape of Envoy's `config.rbac.v3`.
//!
//! Every kind of resource compiles to this, `eval` walks it, `index` is built from it, and it
//! prints as Envoy's own JSON, so that a real Envoy can be given exactly what runs here.

mod tree;
pub(crate) mod view;

pub use tree::{
    HeaderMatcher, HeaderTest, MetadataMatcher, Permission, Policy, Principal, Rbac, RbacAction,
    ValueMatcher,
};
