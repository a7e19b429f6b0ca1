//! Finds mistakes in policies that load, with file, line, column and a remedy.
//!
//! A policy can load and still not do what its author meant: a binding names a role that does not
//! exist, a method is in lower case, a rule can never match. [`Vet`] looks at all resources
//! together and returns a [`Report`] of [`Note`]s. Each note has a [`Code`], whose name is stable,
//! and a [`Severity`]. An error means that the policy does not do what it says. A warning means
//! that it does, and that its author probably meant something else. The page `docs/vet.md` and
//! [`Code::explanation`] explain every code with an example.
//!
//! Use it in a test next to the tests of the policies, or as `tower-mesh vet PATH...`.
//!
//! # What is certain, and what is known
//!
//! Rules are compared as they are compiled. A note that a rule never matches, or that another rule
//! makes it superfluous, holds for every request. Workloads are less certain, because resources
//! name only labels. Without further knowledge Vet gives a note only if it applies to every
//! possible workload. As soon as one workload of a namespace is known, because it is stated
//! ([`Vet::workload`]) or because the same files deploy it, Vet takes the known ones to be all
//! workloads of that namespace. Its notes then become exact: selectors that match no workload,
//! workloads without a policy, workloads on which no policy checks tokens.
//!
//! Without a PeerAuthentication the mode of mutual TLS is Istio's PERMISSIVE. Vet says so only
//! where that lets a caller in.
//!
//! # Silencing
//!
//! A resource silences notes about itself with the annotation `tower-mesh.io/vet-ignore`, a line
//! `CODE: reason` for each code; [`Vet::allow`] silences a code everywhere. [`Report::silenced`]
//! keeps the silenced notes. A silence without a reason is an error, and silences nothing.
//!
//! # What a mesh says
//!
//! For each known workload Vet runs the compiler of the mesh
//! ([`policy::compile`](crate::policy::compile)) on the same resources, and checks token rules as
//! the mesh does. What a mesh refuses is an error at the same line; what it warns of is a note.
//! `docs/vet.md` lists the exceptions.
//!
//! # Edges
//!
//! A text that cannot be read is refused, as in every other module. Three mistakes that leave the
//! text readable are notes here: typographic quotation marks, a resource that is written twice, and
//! two PeerAuthentications that cover the same workloads without saying which one is older.
//!
//! # Example
//!
//! ```
//! use tower_mesh::vet::{Code, Vet};
//!
//! let report = Vet::new().yaml("ward.yaml", "
//! apiVersion: security.istio.io/v1
//! kind: AuthorizationPolicy
//! metadata: {name: readers}
//! spec:
//!   rules:
//!   - from: [{source: {namespaces: [desk]}}]
//!     to:
//!     - operation: {methods: [get], paths: [/patients/*]}
//! ", "clinic")?;
//!
//! let note = &report.notes[0];
//! assert_eq!(note.code, Code::MethodLowerCase);
//! assert_eq!(note.at.to_string(), "ward.yaml:9:29");
//! assert_eq!(note.help, "write `GET`");
//! assert!(report.has_errors());
//! # Ok::<(), tower_mesh::istio::Problems>(())
//! ```

mod check;
mod logic;
mod report;
mod rules;
mod run;
#[cfg(feature = "routing")]
mod traffic;
mod world;

pub use report::code::{Code, Severity, UnknownCode};
pub use report::explain::Explanation;
pub use report::findings::Report;
pub use report::note::{Note, Silenced};
pub use run::Vet;
