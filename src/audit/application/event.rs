//! Events that the application writes into the trail.

use std::fmt;

use super::facts::with_request;
use super::trail::RequestTrail;
use crate::audit::record::{Actor, Event, Outcome, Pseudonym, Resource, Text};
use crate::audit::writer::{Audit, Recorded};
use crate::context;
use crate::log_limit::limited;

/// Begins an event of the application, as `chart.read`, for the trail of the request that is being
/// handled. The record gets the caller, the user, the trace and the request's id from the request.
///
/// ```
/// use tower_mesh::audit;
///
/// async fn read_chart() -> &'static str {
///     audit::event("chart.read").subject("lab-results").write();
///     "normal"
/// }
/// # let app: axum::Router = axum::Router::new().route("/chart", axum::routing::get(read_chart));
/// ```
///
/// The event finds its request as [`propagation::tag`](crate::propagation::tag) does: in the task of
/// the request. In a task of your own, use [`ApplicationEvent::write_to`].
pub fn event(name: impl Into<Text>) -> ApplicationEvent {
    ApplicationEvent {
        event: Event::application(name),
    }
}

/// An event that is not written yet: [`event`].
///
/// Names and subjects must not name a person: for that there is [`patient`](Self::patient).
#[derive(Clone, Debug)]
#[must_use = "an event is written by `write`, `write_to` or `write_durable`"]
pub struct ApplicationEvent {
    event: Event,
}

/// Why an event is not durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventError {
    /// The thread is polling no request of a mesh with an audit trail.
    NoTrail,
    /// No trail has made it durable in time.
    Unavailable,
}

impl ApplicationEvent {
    /// What the event is about, at most 256 bytes.
    pub fn subject(mut self, subject: impl Into<Text>) -> Self {
        self.event = self.event.subject(subject);
        self
    }

    /// Whose data it is about.
    pub fn patient(mut self, patient: Pseudonym) -> Self {
        self.event = self.event.patient(patient);
        self
    }

    /// What was acted on.
    pub fn resource(mut self, resource: Resource) -> Self {
        self.event = self.event.resource(resource);
        self
    }

    /// What became of it.
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.event = self.event.outcome(outcome);
        self
    }

    /// Why, at most 256 bytes.
    pub fn reason(mut self, reason: impl Into<Text>) -> Self {
        self.event = self.event.reason(reason);
        self
    }

    /// Writes the event into the trail of the request that is being handled. Never waits. Returns
    /// `false` outside of such a request; the event is then lost, and the log says so (target
    /// `tower_mesh::audit`).
    pub fn write(self) -> bool {
        let Some((trail, exchange)) = RequestTrail::current() else {
            limited!(
                target: "tower_mesh::audit",
                WARN,
                "an event of the application was written outside of a request of a mesh with an \
                 audit trail, and is lost: write it with `write_to`"
            );
            return false;
        };
        let event = trail.to(with_request(self.event, &exchange));
        trail.audit.submit(event);
        true
    }

    /// Writes the event into this trail. Inside a request the record says who asks; outside of one
    /// it says that there is no such caller (`anonymous`).
    pub fn write_to(self, audit: &Audit) {
        audit.submit(match context::current() {
            Some(exchange) => with_request(self.event, &exchange),
            None => self.event.actor(Actor::anonymous()),
        });
    }

    /// As [`write`](Self::write); the future ends when the event is durable.
    ///
    /// # Errors
    /// Outside of a request; and when no trail has made it durable in time and the audit was told to
    /// refuse then. What the event is about must then not happen.
    pub async fn write_durable(self) -> Result<Recorded, EventError> {
        let durable = {
            let (trail, exchange) = RequestTrail::current().ok_or(EventError::NoTrail)?;
            let event = trail.to(with_request(self.event, &exchange));
            trail.audit.submit_durable(event)
        };
        durable.await.map_err(|_| EventError::Unavailable)
    }
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTrail => "this is no request of a mesh with an audit trail",
            Self::Unavailable => "the event could not be made durable in any audit trail in time",
        })
    }
}

impl std::error::Error for EventError {}
