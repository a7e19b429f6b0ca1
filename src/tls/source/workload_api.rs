//! A source that reads the SPIFFE Workload API, from SPIRE's agent for example.

use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use spiffe::workload_api::error::WorkloadApiError;
use spiffe::{WorkloadApiClient, X509Context};

use crate::error_chain::ErrorChain;
use crate::identity::TrustDomain;
use crate::tls::identity::bundle::TrustBundles;
use crate::tls::identity::svid::{Identity, X509Svid};

use super::agent::{AgentStream, Answers, Question};
use super::contract::{JwtBundleSource, NextIdentity, Source, SourceError};
use super::workload_api_bundles::WorkloadApiBundles;

/// An identity from the SPIFFE Workload API: from SPIRE's agent or a compatible one, over its Unix
/// socket.
///
/// The source keeps a stream to the agent. Each answer carries certificate, key and all roots,
/// including those of federated trust domains. When the agent is gone, or does not answer within 30
/// s, the identity in use stays, and the source asks again after 1 s, then after twice the time for
/// each further failure, up to 30 s. An answer without any identity withdraws ours. So does an
/// agent that has answered before and then says that it has no identity for us. A withdrawn
/// identity makes no handshake until there is another. A federated domain whose bundle is empty is
/// no longer trusted.
///
/// A mesh also takes the keys of JWT-SVIDs from the agent, by a second stream
/// ([`WorkloadApiBundles`]), once a token rule needs them.
///
/// When the agent knows several identities of ours, the source uses the first, unless a
/// [`hint`](Self::hint) selects another.
///
/// ```no_run
/// # async fn example() -> Result<(), tower_mesh::tls::SourceError> {
/// use tower_mesh::tls::{Rotation, Settings, WorkloadApi};
///
/// let source = WorkloadApi::at("unix:///run/spire/agent/public/api.sock");
/// let (credentials, rotation) = Rotation::start(source, Settings::default()).await?;
/// tokio::spawn(rotation.run());
/// # Ok(()) }
/// ```
pub struct WorkloadApi {
    agent: AgentStream<X509Contexts>,
    hint: Option<String>,
}

/// The question for our certificates and all roots.
struct X509Contexts;

impl Question for X509Contexts {
    type Answer = X509Context;
    const EMPTY: &'static str = "X509SVIDResponse.svids";

    async fn ask(client: WorkloadApiClient) -> Result<Answers<X509Context>, WorkloadApiError> {
        Ok(Box::pin(client.stream_x509_contexts().await?))
    }
}

impl WorkloadApi {
    /// The agent whose address is in `SPIFFE_ENDPOINT_SOCKET` at the first request.
    #[must_use]
    pub fn from_env() -> Self {
        Self::new(None)
    }

    /// The agent behind this socket, `unix:///path`.
    #[must_use]
    pub fn at(endpoint: impl Into<String>) -> Self {
        Self::new(Some(endpoint.into()))
    }

    fn new(endpoint: Option<String>) -> Self {
        Self {
            agent: AgentStream::new(endpoint),
            hint: None,
        }
    }

    /// Uses the identity to which the agent gives this hint, and no other.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    async fn receive(&mut self) -> Result<Identity, SourceError> {
        let answer = self.agent.next().await?;
        self.identity(&answer)
    }

    fn identity(&self, answer: &X509Context) -> Result<Identity, SourceError> {
        let mut svids = answer.svids().iter();
        let svid = match &self.hint {
            Some(hint) => svids.find(|svid| svid.hint() == Some(hint.as_str())),
            None => svids.next(),
        };
        let svid = svid.ok_or_else(SourceError::withdrawn)?;
        let chain = svid.cert_chain().iter().map(|der| owned(der.as_bytes()));
        let key = PrivatePkcs8KeyDer::from(svid.private_key().as_bytes().to_vec());
        let svid = X509Svid::new(chain.collect(), key.into())?;
        let mut bundles = TrustBundles::new();
        for (domain, bundle) in answer.bundle_set().iter() {
            let domain = TrustDomain::new(domain.as_str())
                .map_err(|error| SourceError::new(ErrorChain(&error).to_string()))?;
            // A domain without roots is not trusted. The other domains and our own identity are not
            // affected.
            if bundle.authorities().is_empty() {
                continue;
            }
            let roots = bundle.authorities().iter();
            bundles = bundles.with(domain, roots.map(|der| owned(der.as_bytes())))?;
        }
        Ok(Identity::new(svid, bundles))
    }
}

impl Source for WorkloadApi {
    fn next(&mut self) -> NextIdentity<'_> {
        Box::pin(self.receive())
    }

    fn jwt_bundles(&self) -> Option<Box<dyn JwtBundleSource>> {
        let bundles = WorkloadApiBundles::new(self.agent.endpoint.clone());
        Some(Box::new(bundles))
    }
}

debug_fields!(WorkloadApi(api) { endpoint = api.agent.endpoint, hint = api.hint });

fn owned(der: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from(der.to_vec())
}
