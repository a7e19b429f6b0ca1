//! Compares two configurations: finds requests that they answer differently.
//!
//! Recorded requests show what changes for yesterday's traffic. [`Search`] needs no recording: it
//! derives requests from the rules of both sides. Run it before a change ships; the command is
//! `tower-mesh diff`.
//!
//! How it searches: every literal of a rule gives texts that match and texts that do not (the
//! literal itself, one byte more, one byte less, the other case, start and end joined, nothing).
//! For each rule that differs between the sides, the search makes a request that the rule matches.
//! It steers the request past everything that hides the effect of the rule (a DENY of the same
//! side, an ALLOW of the other), and then changes one attribute at a time. It spends the rest of
//! its budget on mixtures. From each request it finds, it removes all that does not matter. A
//! search without findings is strong evidence and no proof; [`Found::is_cut`] says whether it ended
//! early. The same input gives the same questions every time.
//!
//! Rules that are the same on both sides cost nothing, so a small change of a large configuration
//! gets a close look.
//!
//! Some settings decide before the rules do and show in no answer: mutual TLS by port, which tokens
//! are good, how external providers are asked, which rate limits there are. [`unanswerable_changes`] lists what differs
//! there.
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
mod providers;
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
