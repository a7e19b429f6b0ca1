//! A source that reads the SPIFFE Workload API, from SPIRE's agent for example.

use std::future::poll_fn;
use std::pin::Pin;

use futures_core::Stream;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use spiffe::workload_api::error::WorkloadApiError;
use spiffe::{WorkloadApiClient, X509Context};
use tokio::time::{Duration, Instant, sleep_until, timeout};

use crate::error_chain::ErrorChain;
use crate::identity::TrustDomain;
use crate::tls::identity::bundle::TrustBundles;
use crate::tls::identity::svid::{Identity, X509Svid};

use super::contract::{NextIdentity, Source, SourceError};

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
    endpoint: Option<String>,
    hint: Option<String>,
    answers: Option<Answers>,
    /// Whether the stream has brought an answer.
    has_answered: bool,
    /// How long the last pause was, and when it is over.
    pause: Duration,
    again: Option<Instant>,
}

type Answer = Result<X509Context, WorkloadApiError>;
type Answers = Pin<Box<dyn Stream<Item = Answer> + Send>>;

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
            endpoint,
            hint: None,
            answers: None,
            has_answered: false,
            pause: Duration::ZERO,
            again: None,
        }
    }

    /// Uses the identity to which the agent gives this hint, and no other.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    async fn receive(&mut self) -> Result<Identity, SourceError> {
        if let Some(again) = self.again {
            sleep_until(again).await;
            self.again = None;
        }
        let answer = if self.has_answered {
            self.answer().await
        } else {
            let first = timeout(FIRST_ANSWER, self.answer()).await;
            first.unwrap_or_else(|_| Err(self.gone("the agent does not answer")))
        };
        let answer = match answer? {
            Some(Ok(answer)) => answer,
            Some(Err(error)) => return Err(self.failed(&error)),
            None => return Err(self.gone("the agent ended the stream")),
        };
        self.has_answered = true;
        self.pause = Duration::ZERO;
        self.identity(&answer)
    }

    async fn answer(&mut self) -> Result<Option<Answer>, SourceError> {
        let answers = match &mut self.answers {
            Some(answers) => answers,
            none => match connect(self.endpoint.as_deref()).await {
                Ok(answers) => none.insert(answers),
                Err(error) => {
                    self.give_up();
                    return Err(error);
                }
            },
        };
        Ok(poll_fn(|cx| answers.as_mut().poll_next(cx)).await)
    }

    /// What an error means for the identity that we hold.
    fn failed(&mut self, error: &WorkloadApiError) -> SourceError {
        use WorkloadApiError::{MissingRequiredField, NoIdentityIssued, PermissionDenied};
        match error {
            // This is a regular answer: the stream goes on.
            MissingRequiredField { field } if *field == IDENTITIES => SourceError::withdrawn(),
            // SPIRE says the same by ending the stream. At the beginning of a stream it may only
            // mean that the agent did not recognize us this time, for example because the service
            // that it asks about us did not answer. Then our identity stays.
            NoIdentityIssued | PermissionDenied(_) if self.has_answered => {
                self.give_up();
                SourceError::withdrawn()
            }
            error => self.gone(ErrorChain(error).to_string()),
        }
    }

    /// The agent is gone, for this reason.
    fn gone(&mut self, text: impl Into<String>) -> SourceError {
        self.give_up();
        SourceError::new(text)
    }

    fn give_up(&mut self) {
        self.answers = None;
        self.has_answered = false;
        self.pause = (self.pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        self.again = Some(Instant::now() + self.pause);
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
}

debug_fields!(WorkloadApi { endpoint, hint });

/// Connects to the agent. Keys travel this way, so it must be a socket of this machine.
async fn connect(endpoint: Option<&str>) -> Result<Answers, SourceError> {
    let endpoint = match endpoint {
        Some(endpoint) => endpoint.to_owned(),
        None => std::env::var(ENDPOINT).map_err(|_| {
            SourceError::new(format!(
                "{ENDPOINT} is not set: set it to unix:///PATH, the socket of the agent"
            ))
        })?,
    };
    if !endpoint.starts_with("unix:") {
        let text = "the Workload API's address does not begin with unix: write unix:///PATH, the socket of the agent";
        return Err(SourceError::new(text));
    }
    let client = WorkloadApiClient::connect_to(&endpoint).await;
    let client = client.map_err(|error| SourceError::new(ErrorChain(&error).to_string()))?;
    let answers = client.stream_x509_contexts().await;
    let answers = answers.map_err(|error| SourceError::new(ErrorChain(&error).to_string()))?;
    Ok(Box::pin(answers))
}

fn owned(der: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from(der.to_vec())
}

/// The field that an answer without any identity lacks.
const IDENTITIES: &str = "X509SVIDResponse.svids";
const ENDPOINT: &str = "SPIFFE_ENDPOINT_SOCKET";
const FIRST_ANSWER: Duration = Duration::from_secs(30);
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
