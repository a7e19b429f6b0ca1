//! The policy engine: Istio's resources in, Envoy's decisions out. Pure: no HTTP, no runtime, no clock.

mod attributes;
mod builder;
mod claims;
mod compile;
mod decision;
mod engine;
pub mod envoy;
pub mod eval;
mod explain;
mod index;
pub mod ir;
mod metadata;
mod program;
mod request;
mod stages;
mod trigger;

pub use attributes::Attributes;
pub use builder::EngineBuilder;
pub use claims::split_words;
pub use compile::compile;
pub use decision::{Decision, DryRun, Marks, PolicyId};
pub use engine::{CustomMatch, Engine, Judgement};
pub use explain::{Explanation, FailedClause, RuleReport};
pub use program::{
    Authentication, Chain, Chains, CustomFilter, LegacyAuthentication, PerPort, Program, RuleSets,
};
pub use request::Request;
pub use trigger::Triggers;
