//! Names of workloads: [SPIFFE ids](SpiffeId), [trust domains](TrustDomain), and the identity of
//! this process ([`Workload`]).
//!
//! A workload has one name, and three places must agree on it: the application, which states a
//! [`Workload`]; the certificate, whose one URI is the [`SpiffeId`]; and the policies, which write
//! that id without its scheme, as a *principal*.
//!
//! ```text
//! Workload::new("default", "patients")                       what the application states
//!                   │          │
//! spiffe://cluster.local/ns/default/sa/patients              the URI of its certificate
//!          └─────┬─────┘    └──┬──┘    └──┬───┘
//!          trust domain    namespace   service account
//!
//! principals: ["cluster.local/ns/default/sa/patients"]       how policies name it as a caller
//! selector: {matchLabels: {app: patients}}                   how its own policies select it
//! ```
//!
//! - A trust domain is the set of identities that one authority signs. An id of another domain is
//!   verified with that domain's roots.
//! - Only ids of the shape `/ns/NAMESPACE/sa/ACCOUNT` have a namespace and an account.
//!   `namespaces:` and `serviceAccounts:` of a policy match only this shape; `principals:` match
//!   any.
//! - [`PeerCertificate`] holds the names of a verified certificate. After a handshake of this crate
//!   that is only the SPIFFE id: DNS names and the subject are not identities.
//!
//! This module does no I/O, except that [`Workload::from_env`] and [`Workload::label_file`] read the
//! files that their documentation names. [`tls`](crate::tls) handles keys and certificates;
//! [`context`](crate::context) finds the caller's identity in a request.
//!
//! # Example
//!
//! ```
//! use tower_mesh::Workload;
//! use tower_mesh::identity::{SpiffeId, TrustDomain};
//!
//! let patients = Workload::new("default", "patients")
//!     .label("app", "patients")
//!     .service("patients", 8443);
//! let id = patients.spiffe_id(&TrustDomain::new("cluster.local")?)?;
//! assert_eq!(id.as_str(), "spiffe://cluster.local/ns/default/sa/patients");
//! assert_eq!(id.principal(), "cluster.local/ns/default/sa/patients");
//!
//! let desk: SpiffeId = "spiffe://cluster.local/ns/default/sa/desk".parse()?;
//! assert_eq!((desk.namespace(), desk.service_account()), (Some("default"), Some("desk")));
//!
//! // An id of another shape is an identity, too, but has no namespace.
//! let printer: SpiffeId = "spiffe://cluster.local/floor-2/printer".parse()?;
//! assert_eq!(printer.namespace(), None);
//!
//! // Nothing is guessed: an id is what the standard says, to the letter.
//! assert!("spiffe://Cluster.Local/ns/default/sa/desk".parse::<SpiffeId>().is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod as_text;
mod certificate;
mod from_env;
mod spiffe_id;
mod trace_service;
mod trust_domain;
mod workload;

pub use certificate::PeerCertificate;
pub use from_env::WorkloadError;
pub use spiffe_id::{SpiffeId, SpiffeIdError};
pub use trace_service::TraceServiceName;
pub use trust_domain::{TrustDomain, TrustDomainError};
pub use workload::{ServicePort, Workload};
