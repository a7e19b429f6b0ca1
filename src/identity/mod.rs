//! Names of workloads: SPIFFE ids, trust domains, and who this process is.

mod certificate;
mod spiffe_id;
mod trust_domain;
mod workload;

pub use certificate::PeerCertificate;
pub use spiffe_id::{SpiffeId, SpiffeIdError};
pub use trust_domain::{TrustDomain, TrustDomainError};
pub use workload::{ServicePort, Workload};
