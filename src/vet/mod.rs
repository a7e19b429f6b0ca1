//! Tells what is wrong with policies that load: with file, line and column, and what to do about it.
//!
//! A policy can be read and still not do what was meant: a binding names a role that is not there, a method is in lower case, a rule
//! can never match. [`Vet`] looks at all resources together and returns a [`Report`] of [`Note`]s. Each note has a [`Code`], whose name
//! is stable, and a [`Severity`]: an error does not do what is written, a warning probably not what was meant. The page
//! `docs/vet.md` explains every code, and so does [`Code::explanation`], with an example.
//!
//! Use it in a test, beside the tests of the policies themselves, or as `tower-mesh vet PATH...` on the command line.
//!
//! # What is certain, and what is known
//!
//! Rules are compared as they are compiled, and what is said of them (that one never matches, that another makes it superfluous) holds
//! for every request. Which workloads there are is another matter: resources only name labels. Without further knowledge a note is
//! given when no workload could escape it. Once workloads of a namespace are known, because they are stated ([`Vet::workload`]) or because
//! the same files deploy them, they are taken to be all of that namespace, and the notes become exact: selectors that match none of them, workloads that no policy guards, tokens that nobody checks
//! on one of them.
//!
//! Without a PeerAuthentication the mode of mutual TLS is Istio's PERMISSIVE; that is told only where it lets a caller in.
//!
//! # Silencing
//!
//! A resource silences notes about itself with the annotation `tower-mesh.io/vet-ignore`, a line `CODE: reason` for each code;
//! [`Vet::allow`] silences a code everywhere. What is silenced is kept in [`Report::silenced`]. A silence without a reason is an error,
//! and silences nothing.
//!
//! # What a mesh says
//!
//! For each known workload the compiler of the mesh ([`policy::compile`](crate::policy::compile)) runs on the same resources, and the rules of tokens are
//! checked as the mesh checks them: what a mesh refuses is an error at the same line, and what it warns of a note. `docs/vet.md` lists the exceptions.
//!
//! # Edges
//!
//! What cannot be read is refused, as everywhere. Three mistakes that leave the text readable are notes here: typographic quotation
//! marks, a resource that is written twice, and two PeerAuthentications of which neither is the older.
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
mod world;

pub use report::code::{Code, Severity, UnknownCode};
pub use report::explain::Explanation;
pub use report::findings::Report;
pub use report::note::{Note, Silenced};
pub use run::Vet;
