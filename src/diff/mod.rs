//! Two configurations beside one another: which requests get another answer.
//!
//! Recorded requests show what changes for yesterday's traffic. [`Search`] needs none: from the rules of both sides it derives requests that
//! show a change of meaning, whoever would send them. Take it before a change ships; the command is `tower-mesh diff`.
//!
//! How it looks: every literal of the rules gives texts on both sides of it (itself, a byte more, a byte less, the other case, a joined
//! start and end, nothing at all). For each rule that is not the same on both sides it makes a request that the rule matches, steers it
//! past whatever else hides the rule's effect (a DENY of the same side, an ALLOW of the other), and then says otherwise one thing at a
//! time; what is left of its budget goes into mixtures. Whatever differs is stripped of all that does not matter. It is a search: that
//! it finds nothing is strong evidence and no proof, and [`Found::is_cut`] tells when it ended early. It asks the same every time.
//!
//! Rules that are the same on both sides cost nothing, so a small change of a large configuration is looked at closely.
//!
//! What decides before the rules do is not in an answer; [`beside`] tells of it: mutual TLS by port, which tokens are good.
//!
//! # Example
//!
//! ```
//! use tower_mesh::Workload;
//! use tower_mesh::diff::Search;
//! use tower_mesh::policy::Engine;
//!
//! let engine = |methods: &str| Engine::builder(&Workload::new("default", "patients")).yaml(&format!("
//! apiVersion: security.istio.io/v1
//! kind: AuthorizationPolicy
//! metadata: {{name: desk}}
//! spec:
//!   rules:
//!   - from: [{{source: {{principals: [cluster.local/ns/default/sa/desk]}}}}]
//!     to: [{{operation: {{methods: {methods}}}}}]
//! ")).build();
//! let (old, new) = (engine("[GET]")?, engine("[GET, DELETE]")?);
//!
//! let found = Search::new(&old, &new).run();
//! let gained = &found.witnesses[0];
//! assert_eq!(gained.to_json()["method"], "DELETE");
//! assert_eq!(gained.to_json()["source"]["principal"], "cluster.local/ns/default/sa/desk");
//! assert!(!old.judge(&gained.request()).decision.allowed && new.judge(&gained.request()).decision.allowed);
//! assert!(Search::new(&old, &old).run().witnesses.is_empty());
//! # Ok::<(), tower_mesh::istio::Problems>(())
//! ```

mod fact;
mod minimal_findings;
mod names;
mod node;
mod pool;
mod rules;
mod run;
mod sample;
mod search;
mod tokens;
mod unanswerable_changes;
mod witness;

pub use search::{Found, Search};
pub use unanswerable_changes::unanswerable_changes;
pub use witness::Witness;
