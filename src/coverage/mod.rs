//! Measures which rules of a workload's policies were exercised by the requests that were judged.
//!
//! Use it to find the rule that no test exercises before someone widens it unnoticed: in `cargo
//! test` through the policy tests of the module `testing`, on recorded traffic with `tower-mesh
//! coverage`, or directly with [`Coverage`].
//!
//! # What counts
//!
//! A **rule** is one entry of an AuthorizationPolicy's `rules`, or one legacy ServiceRole with its
//! bindings, that applies to the workload, enforced or on trial. A **clause** is one list of a rule
//! as written: `to[0].operation.methods`, `from[1].source.notNamespaces`, the `values` of a
//! condition. Each has points to be covered:
//!
//! | Point | Covered when |
//! |---|---|
//! | a rule matched | it matched some request that reached it |
//! | a rule did not match | it did not match some request that reached it; a rule without clauses matches everything and has no such point |
//! | a clause was decisive | for some request that reached the rule, its opposite would have turned the rule's answer |
//!
//! So a clause is decisive when the answer depends on it alone: when nothing else in the rule keeps
//! a request out, or when no alternative would have let one in. A condition in `when` narrows every
//! `from`; its opposite is taken everywhere at once.
//!
//! The figure is the share of covered points. Without any rule there is no figure, and no threshold
//! is met: a misspelt label or workload must not pass for full coverage.
//!
//! # Which requests reach a rule
//!
//! The order is the server's: CUSTOM, AUDIT, DENY, ALLOW. What a DENY refused never reached the
//! ALLOW rules, so it says nothing about them. External providers are taken as allowing, unless
//! [`Coverage::observe_with`] says what they answer; what one refuses reaches no other rule. The
//! report says how often each was asked and what it answered; that is no point. A bad path reaches no rule at all, and a missing
//! token of a legacy Policy ends after CUSTOM. A raw TCP connection tests what is left of a rule
//! there.
//!
//! # Example
//!
//! ```
//! use tower_mesh::Workload;
//! use tower_mesh::coverage::Coverage;
//! use tower_mesh::policy::{Engine, Request};
//!
//! let engine = Engine::builder(&Workload::new("default", "patients")).named_yaml("readers.yaml", "
//! apiVersion: security.istio.io/v1
//! kind: AuthorizationPolicy
//! metadata: {name: readers}
//! spec:
//!   rules:
//!   - from: [{source: {principals: [cluster.local/ns/default/sa/desk]}}]
//!     to: [{operation: {methods: [GET]}}]
//! ").build()?;
//!
//! let mut coverage = Coverage::new(&engine);
//! let desk = Request::new().get("/patients/7").from("cluster.local/ns/default/sa/desk");
//! coverage.observe(&desk);
//! coverage.observe(&desk.delete("/patients/7"));
//! let report = coverage.report();
//! assert_eq!((report.covered, report.points), (4, 4), "{report}");
//! # Ok::<(), tower_mesh::istio::Problems>(())
//! ```

mod measure;
mod providers;
mod report;
mod rules;

pub use measure::Coverage;
pub use providers::ProviderCoverage;
pub use report::{ClauseCoverage, FileCoverage, Report, RuleCoverage};
