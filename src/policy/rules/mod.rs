//! The rules of a workload, and what each of them says about one request.

mod attributes;
mod decision;
pub mod eval;
pub mod ir;
pub mod limit;
pub(super) mod metadata;
mod origin;
mod program;
mod provider_answer;

pub use attributes::Attributes;
pub use decision::{Decision, DryRun, Marks, PolicyId};
pub use origin::{ClauseOrigin, Origins, RuleOrigin};
pub use program::{
    Authentication, Chain, Chains, CustomFilter, LegacyAuthentication, PerPort, Program, RuleSets,
};
pub use provider_answer::ProviderAnswer;
