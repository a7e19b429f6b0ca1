//! The contract of the engine: rules in the shape of Envoy's `config.rbac.v3`.
//!
//! The compiler turns every kind of resource into these rules, `eval` walks them, and the index is
//! built from them. [`envoy`](crate::policy::envoy) prints them as Envoy's own JSON, so that a real
//! Envoy can run exactly the same rules.

mod tree;
pub(crate) mod view;

pub use tree::{
    HeaderMatcher, HeaderTest, MetadataMatcher, Permission, Policy, Principal, Rbac, RbacAction,
    ValueMatcher,
};
