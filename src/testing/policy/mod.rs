//! Policy tests in `cargo test`, against the cluster's own YAML.
//!
//! - [`Policies`] loads the resources of one workload, and [`expect`](Policies::expect) begins a
//!   sentence about one request.
//! - [`policy_tests!`](crate::policy_tests) makes a test of each row of a table; a [`Suite`] does
//!   so for tables in YAML files, which people who write no Rust can read and amend.
//! - A [`Matrix`] asks every caller for every operation and prints the access table.
//! - Every table and matrix can say which rules it put to the test ([`coverage`](crate::coverage)).
//!
//! A caller is a name and a user is a handful of claims: no certificate is issued and no token is
//! signed, because the engine judges what is left of them after both were verified. Whether
//! certificates and tokens are verified well is for a test of the whole mesh.
//!
//! A request meets the [gate](crate::gate) first, that of Istio's profile unless [`Policies::gate`]
//! sets another one. It is then judged as [`Engine::judge`](crate::policy::Engine::judge) does it:
//! external providers (CUSTOM) are taken as allowing unless [`Policies::provider`] says what they
//! answer, and PeerAuthentication is not asked, so a plaintext request is judged as one that was
//! let in. Tokens count as good and meant for us.
//!
//! [The guide](crate::guide::testing_policies) leads through all of it in five minutes.
//!
//! # Example
//!
//! ```
//! use tower_mesh::Workload;
//! use tower_mesh::testing::policy::{Policies, request};
//!
//! let workload = Workload::new("default", "patients").label("app", "patients");
//! let patients = Policies::read(&workload, "examples/patients/policies/v1");
//!
//! let receptionist = request()
//!     .from("cluster.local/ns/default/sa/patient-check-in")
//!     .user("https://idp.clinic.example", "receptionist");
//! patients.expect(receptionist.clone().get("/patients/7")).to_be_allowed().by("check-in/0");
//! patients.expect(receptionist.delete("/patients/7")).to_be_denied().by("none");
//! ```

mod answer;
mod ask;
mod by;
mod expectation;
mod macros;
mod matrix;
mod policies;
mod row;
mod stubs;
mod suite;
mod table;
mod words;
mod yaml;

pub use ask::{connection, request};
pub use by::By;
pub use expectation::Expectation;
pub use matrix::{Access, Matrix};
pub use policies::{Expect, Policies};
pub use suite::Suite;
pub use table::{Failure, Run, Table};
pub use yaml::TableFile;
