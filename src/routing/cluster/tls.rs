//! TLS towards a cluster.

use std::fmt;

use crate::istio::traffic::{ClientTls, ClientTlsMode};
use crate::istio::{Position, Text};

use super::identities::{ExpectedIdentities, UnknownIdentities};

/// How the endpoints of a cluster are called.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpstreamTls {
    /// Without TLS.
    Plain,
    /// With mutual TLS of the mesh to endpoints that take it, without TLS to others: no rule says
    /// anything of it.
    Auto(Box<MeshTls>),
    /// With mutual TLS of the mesh: `ISTIO_MUTUAL`, or by itself where all endpoints take it.
    Mesh(Box<MeshTls>),
    /// With TLS that the mesh knows nothing of: `SIMPLE` and `MUTUAL`.
    Origination(Box<TlsOrigination>),
    /// Not at all: the rule cannot be followed, and Istio would send calls without TLS.
    Refused(TlsRefusal),
}

/// Mutual TLS of the mesh, with the workload's own certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeshTls {
    /// The server name: the cluster's as DNS has it, `outbound_.PORT_.SUBSET_.HOST`, unless the rule
    /// has `sni`. Empty for a cluster of DYNAMIC_DNS: the call's host.
    pub sni: String,
    /// The names of protocols that are offered: `istio`, and `h2` to a cluster of HTTP/2.
    pub alpn: Vec<&'static str>,
    /// Who may answer; an error where nobody may, as nothing says who the destination runs as.
    pub identities: Result<ExpectedIdentities, UnknownIdentities>,
    /// The names that Istio has a proxy accept: more where several resources state some, and none
    /// where it checks no name.
    pub istio_names: Vec<String>,
}

/// TLS to a server that is not of the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsOrigination {
    /// The server name; `None`: the host that the call names.
    pub sni: Option<String>,
    /// Our own certificate: `MUTUAL`.
    pub certificate: Option<ClientCertificate>,
    /// Who vouches for the server's.
    pub roots: RootCertificates,
    /// `caCrl`: the path of a list of revoked certificates.
    pub revoked: Option<String>,
    /// One of these must be in the certificate; empty: no name is checked for this.
    pub names: Vec<String>,
    /// The host that the call names must be in the certificate, as well as one of the names.
    pub checks_host: bool,
    /// `insecureSkipVerify`: nothing is checked.
    pub skips_verification: bool,
    /// The names of protocols that are offered.
    pub alpn: Vec<&'static str>,
}

/// A certificate of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// The paths of its chain and its key.
    Files {
        /// `clientCertificate`.
        chain: String,
        /// `privateKey`.
        key: String,
    },
    /// `credentialName`.
    Credential(String),
}

/// The certificates of authorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCertificates {
    /// The system's.
    System,
    /// `caCertificates`: the path of a file.
    File(String),
    /// Those that come with `credentialName` or `caCertCredentialName`.
    Credential(String),
}

/// Why a rule's `tls` is not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsRefusal {
    /// Where it was written.
    pub at: Position,
}

impl fmt::Display for TlsRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: `credentialName` needs a rule with `workloadSelector`; without one Istio calls \
             without TLS: name files in `clientCertificate`, `privateKey` and `caCertificates`, or \
             select the workloads that have the credential",
            self.at
        )
    }
}

impl std::error::Error for TlsRefusal {}

impl TlsOrigination {
    /// `names` are those that are known of the service where the rule has none.
    ///
    /// With a server name of its own and no name to check, that name must be in the certificate;
    /// Istio has a proxy check none.
    pub(super) fn new(tls: &ClientTls, names: Vec<String>, is_http2: bool) -> Self {
        let is_mutual = tls.mode == ClientTlsMode::Mutual;
        let text = |text: &Option<Text>| text.as_ref().map(|it| it.as_str().to_owned());
        let sni = text(&tls.sni).filter(|sni| !sni.is_empty());
        let credential = text(&tls.credential_name);
        let of_files = || {
            let chain = text(&tls.client_certificate)?;
            let key = text(&tls.private_key)?;
            Some(ClientCertificate::Files { chain, key })
        };
        let certificate = match &credential {
            Some(name) => Some(ClientCertificate::Credential(name.clone())),
            None => of_files(),
        };
        let of_credential = text(&tls.ca_cert_credential_name).or(credential);
        let roots = match (of_credential, text(&tls.ca_certificates)) {
            (Some(name), _) => RootCertificates::Credential(name),
            (None, Some(path)) => RootCertificates::File(path),
            (None, None) => RootCertificates::System,
        };
        let skips_verification = tls.insecure_skip_verify == Some(true);
        let stated = tls.subject_alt_names.iter();
        let stated: Vec<_> = stated.map(|it| it.as_str().to_owned()).collect();
        let checks_host = sni.is_none() && stated.is_empty() && !skips_verification;
        let mut names = if stated.is_empty() { names } else { stated };
        if names.is_empty()
            && let Some(sni) = &sni
        {
            names.push(sni.clone());
        }
        Self {
            sni,
            certificate: certificate.filter(|_| is_mutual),
            roots,
            revoked: text(&tls.ca_crl),
            names,
            checks_host,
            skips_verification,
            alpn: if is_http2 { vec!["h2"] } else { Vec::new() },
        }
    }
}
