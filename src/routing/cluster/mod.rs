//! Clusters: what calls are sent to, with all that is known of it. One for each port of each
//! service that a workload sees, and for each subset.

mod auto_mtls;
mod build;
mod connections;
mod destinations;
mod identities;
mod options;
mod peer_modes;
mod tls;
mod upstream;

pub use build::Clusters;
pub use connections::{Connections, UpstreamProtocol};
pub use identities::{ExpectedIdentities, IdentitySource, KnownIdentities, UnknownIdentities};
pub use options::{ClusterOptions, DangerousClusterOptions};
pub use tls::{
    ClientCertificate, MeshTls, RootCertificates, TlsOrigination, TlsRefusal, UpstreamTls,
};
pub use upstream::{Discovery, UpstreamCluster};

#[cfg(test)]
mod tests;
