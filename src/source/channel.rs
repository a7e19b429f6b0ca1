//! A source of configuration that the application feeds.

use std::fmt;
use std::future::pending;

use tokio::sync::{mpsc, oneshot};

use super::{NextUpdate, Source, Update};
use crate::istio::Problems;

/// A source that the application feeds. It starts with `first`; each [`Sender::send`] delivers a
/// change.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_mesh::source::{self, Fixed};
/// use tower_mesh::{Guards, Workload};
///
/// let policy = |method: &str| Fixed::yaml("policy.yaml", format!("
/// apiVersion: security.istio.io/v1
/// kind: AuthorizationPolicy
/// metadata: {{name: methods}}
/// spec:
///   rules: [{{to: [{{operation: {{methods: [{method}]}}}}]}}]
/// "));
/// let (sender, channel) = source::channel(policy("GET").load("default")?);
/// let (guards, driver) = Guards::builder(Workload::new("default", "patients"))
///     .config(channel)
///     .build()
///     .await?;
/// tokio::spawn(driver.run());
///
/// sender.send(policy("PUT").load("default")?).await?;
/// assert_eq!(guards.readiness().generation, 2);
/// # Ok(()) }
/// ```
#[must_use]
pub fn channel(first: impl Into<Update>) -> (Sender, Channel) {
    let (sender, receiver) = mpsc::channel(1);
    let channel = Channel {
        first: Some(first.into()),
        receiver,
        asked: None,
    };
    (Sender(sender), channel)
}

/// Sends changes of a configuration to a mesh; see [`channel`]. Clones feed the same channel.
#[derive(Clone, Debug)]
pub struct Sender(mpsc::Sender<(Update, Asked)>);

/// Gets the verdict on an update, on behalf of the sender that waits for it.
type Asked = oneshot::Sender<Result<(), Problems>>;

impl Sender {
    /// Sends a change, and waits until the mesh uses it.
    ///
    /// If the future is dropped before it is ready, the change may or may not have been sent.
    ///
    /// # Errors
    /// The mesh refused the change and keeps the previous configuration, or it no longer follows
    /// this channel.
    pub async fn send(&self, update: impl Into<Update>) -> Result<(), SendError> {
        let (asked, answer) = oneshot::channel();
        let sent = self.0.send((update.into(), asked)).await;
        sent.map_err(|_| SendError(None))?;
        match answer.await {
            Ok(verdict) => verdict.map_err(|problems| SendError(Some(problems))),
            Err(_) => Err(SendError(None)),
        }
    }
}

/// Why a configuration that was sent is not in use.
#[derive(Debug)]
pub struct SendError(Option<Problems>);

impl SendError {
    /// What is wrong with the configuration; `None` if no mesh follows the channel.
    #[must_use]
    pub fn problems(&self) -> Option<&Problems> {
        self.0.as_ref()
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(_) => f.write_str("the configuration was refused; the one before stays in use"),
            None => {
                f.write_str("no mesh follows this channel: run its Driver for as long as it serves")
            }
        }
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.as_ref().map(|problems| problems as _)
    }
}

/// The source that [`channel`] makes.
#[derive(Debug)]
pub struct Channel {
    first: Option<Update>,
    receiver: mpsc::Receiver<(Update, Asked)>,
    asked: Option<Asked>,
}

impl Source for Channel {
    fn next<'a>(&'a mut self, _: &'a str) -> NextUpdate<'a> {
        Box::pin(async move {
            if let Some(first) = self.first.take() {
                return Some(first);
            }
            match self.receiver.recv().await {
                Some((update, asked)) => {
                    self.asked = Some(asked);
                    Some(update)
                }
                // The application has dropped every sender, so there will be no more changes.
                None => pending().await,
            }
        })
    }

    fn answered(&mut self, verdict: Result<(), &Problems>) {
        if let Some(asked) = self.asked.take() {
            // The sender may no longer wait for the verdict.
            let _ = asked.send(verdict.map_err(Clone::clone));
        }
    }
}
