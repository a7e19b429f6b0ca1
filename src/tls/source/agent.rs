//! A stream of answers from an agent of the SPIFFE Workload API, and when to open it again.

use std::future::poll_fn;
use std::pin::Pin;

use futures_core::Stream;
use spiffe::WorkloadApiClient;
use spiffe::workload_api::error::WorkloadApiError;
use tokio::time::{Duration, Instant, sleep_until, timeout};

use crate::error_chain::ErrorChain;

use super::contract::SourceError;

/// What an agent is asked for.
pub(super) trait Question {
    type Answer;
    /// The field that an answer with nothing in it lacks.
    const EMPTY: &'static str;

    /// Opens the stream of answers.
    fn ask(
        client: WorkloadApiClient,
    ) -> impl Future<Output = Result<Answers<Self::Answer>, WorkloadApiError>> + Send;
}

pub(super) type Answers<A> = Pin<Box<dyn Stream<Item = Result<A, WorkloadApiError>> + Send>>;

/// The answers to one question (rule M-52). Opened again after a pause when it fails.
pub(super) struct AgentStream<Q: Question> {
    pub(super) endpoint: Option<String>,
    answers: Option<Answers<Q::Answer>>,
    /// Whether the stream has brought an answer.
    has_answered: bool,
    /// How long the last pause was, and when it is over.
    pause: Duration,
    again: Option<Instant>,
}

impl<Q: Question> AgentStream<Q> {
    /// A stream of the agent behind this socket; `None` takes the address of the environment.
    pub(super) fn new(endpoint: Option<String>) -> Self {
        Self {
            endpoint,
            answers: None,
            has_answered: false,
            pause: Duration::ZERO,
            again: None,
        }
    }

    /// The next answer.
    ///
    /// # Errors
    /// When the agent is gone; or that what we had was withdrawn, when it says so.
    pub(super) async fn next(&mut self) -> Result<Q::Answer, SourceError> {
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
        Ok(answer)
    }

    async fn answer(&mut self) -> Result<Option<Result<Q::Answer, WorkloadApiError>>, SourceError> {
        let answers = match &mut self.answers {
            Some(answers) => answers,
            none => match connect::<Q>(self.endpoint.as_deref()).await {
                Ok(answers) => none.insert(answers),
                Err(error) => {
                    self.give_up();
                    return Err(error);
                }
            },
        };
        Ok(poll_fn(|cx| answers.as_mut().poll_next(cx)).await)
    }

    /// What an error means for what we hold.
    fn failed(&mut self, error: &WorkloadApiError) -> SourceError {
        use WorkloadApiError::{MissingRequiredField, NoIdentityIssued, PermissionDenied};
        match error {
            // This is a regular answer: the stream goes on.
            MissingRequiredField { field } if *field == Q::EMPTY => {
                self.has_answered = true;
                SourceError::withdrawn()
            }
            // SPIRE says the same by ending the stream. At the beginning of a stream it may only
            // mean that the agent did not recognize us this time, for example because the service
            // that it asks about us did not answer. Then what we hold stays.
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
}

/// Connects to the agent. Keys travel this way, so it must be a socket of this machine.
async fn connect<Q: Question>(endpoint: Option<&str>) -> Result<Answers<Q::Answer>, SourceError> {
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
    let answers = Q::ask(client).await;
    answers.map_err(|error| SourceError::new(ErrorChain(&error).to_string()))
}

const ENDPOINT: &str = "SPIFFE_ENDPOINT_SOCKET";
const FIRST_ANSWER: Duration = Duration::from_secs(30);
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
