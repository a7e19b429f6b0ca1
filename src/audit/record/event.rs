//! What happened: the record that an application or a mesh hands in.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::actor::{Actor, Resource, Tls};
use super::fields::{Fields, Identity, Kind};
use super::patient::Pseudonym;
use super::text::{Bounded, Text};

/// Something that happened, to be written as one record.
///
/// Each setter is one field of the record; there are no others. A text that is longer than its field
/// may be is cut and ends in `…`.
///
/// # Example
/// ```
/// use tower_mesh::audit::{Actor, Event};
///
/// let event = Event::application("chart.read").actor(Actor::user("https://idp", "dr-7"));
/// # drop(event);
/// ```
#[derive(Clone, Debug)]
#[must_use = "an event is written only when it is submitted"]
pub struct Event(pub(crate) Box<Fields>);

/// The number that the intent and the completion of one access share. Unique in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Call(u64);

impl Call {
    /// The next number.
    #[must_use]
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What became of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was allowed.
    Allow,
    /// It was refused.
    Deny,
    /// It failed.
    Error,
    /// The caller left before its end.
    Cancelled,
}

impl Outcome {
    /// The word in the record.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Event {
    /// An access that was decided and is done with: a refusal, or an access with one record.
    pub fn access() -> Self {
        Self(Fields::new(Kind::Access))
    }

    /// An access that was allowed and begins when this record is durable. One without its
    /// [completion](Self::completion) was cut off by a crash, and `verify` lists it.
    pub fn intent(call: Call) -> Self {
        Self::phase(call, "intent")
    }

    /// The end of an access that began with an [intent](Self::intent).
    pub fn completion(call: Call) -> Self {
        Self::phase(call, "completion")
    }

    fn phase(call: Call, phase: &'static str) -> Self {
        let mut event = Self::access();
        event.0.call = Some(call.0);
        event.0.phase = Some(phase);
        event
    }

    /// A change of configuration: hashes of the old and the new, at most 128 bytes each; where it
    /// came from and what became of it, at most 256 bytes each.
    pub fn config(
        old_hash: impl Into<Text>,
        hash: impl Into<Text>,
        source: impl Into<Text>,
        result: impl Into<Text>,
    ) -> Self {
        let mut event = Self(Fields::new(Kind::Config));
        event.0.old_hash = Bounded::new(old_hash);
        event.0.hash = Bounded::new(hash);
        event.0.source = Bounded::new(source);
        event.0.result = Bounded::new(result);
        event
    }

    /// A certificate of this workload: its serial number (at most 64 bytes), its end, and the hash of
    /// the trust bundle that came with it (at most 128 bytes).
    pub fn identity(
        serial: impl Into<Text>,
        not_after: SystemTime,
        bundle_hash: impl Into<Text>,
    ) -> Self {
        let mut event = Self(Fields::new(Kind::Identity));
        event.0.identity = Some(Identity {
            bundle: Bounded::new(bundle_hash),
            not_after: not_after.into(),
            serial: Bounded::new(serial),
        });
        event
    }

    /// An access that a policy for emergencies allowed.
    pub fn break_glass() -> Self {
        Self(Fields::new(Kind::BreakGlass))
    }

    /// An event of the application, as `chart.read`; a name has at most 128 bytes.
    pub fn application(name: impl Into<Text>) -> Self {
        let mut event = Self(Fields::new(Kind::Event));
        event.0.name = Bounded::new(name);
        event
    }

    /// Who acted.
    pub fn actor(mut self, actor: Actor) -> Self {
        self.0.actor = Some(actor);
        self
    }

    /// What was done: the method of the request, at most 64 bytes.
    pub fn action(mut self, action: impl Into<Text>) -> Self {
        self.0.action = Bounded::new(action);
        self
    }

    /// What it was done to.
    pub fn resource(mut self, resource: Resource) -> Self {
        self.0.resource = resource;
        self
    }

    /// Whose data it was about.
    pub fn patient(mut self, patient: Pseudonym) -> Self {
        self.0.patient = Some(patient);
        self
    }

    /// What an event of the application is about, at most 256 bytes. It must not name a person; see
    /// [`patient`](Self::patient).
    pub fn subject(mut self, subject: impl Into<Text>) -> Self {
        self.0.subject = Bounded::new(subject);
        self
    }

    /// What became of it.
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.0.outcome = Some(outcome.as_str());
        self
    }

    /// The status of the HTTP response.
    pub fn status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    /// The status of the gRPC response.
    pub fn grpc_status(mut self, status: u16) -> Self {
        self.0.grpc = Some(status);
        self
    }

    /// Why, at most 256 bytes.
    pub fn reason(mut self, reason: impl Into<Text>) -> Self {
        self.0.reason = Bounded::new(reason);
        self
    }

    /// The policy that decided, at most 512 bytes.
    pub fn policy(mut self, policy: impl Into<Text>) -> Self {
        self.0.policy = Bounded::new(policy);
        self
    }

    /// What a dry-run policy would have decided, at most 256 bytes.
    pub fn dry_run(mut self, result: impl Into<Text>) -> Self {
        self.0.dry_run = Bounded::new(result);
        self
    }

    /// The generation of the configuration that decided, and its hash (at most 128 bytes).
    pub fn configuration(mut self, generation: u64, hash: impl Into<Text>) -> Self {
        self.0.generation = Some(generation);
        self.0.hash = Bounded::new(hash);
        self
    }

    /// The id of the trace, at most 64 bytes.
    pub fn trace(mut self, trace: impl Into<Text>) -> Self {
        self.0.trace = Bounded::new(trace);
        self
    }

    /// The id of the request, at most 128 bytes.
    pub fn request_id(mut self, id: impl Into<Text>) -> Self {
        self.0.request_id = Bounded::new(id);
        self
    }

    /// Where the request came from.
    pub fn source_ip(mut self, address: IpAddr) -> Self {
        self.0.source_ip = Some(address);
        self
    }

    /// The connection of the caller.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.0.tls = Some(tls);
        self
    }

    /// The SPIFFE ID of the workload that was called, at most 2,048 bytes.
    pub fn dest(mut self, spiffe_id: impl Into<Text>) -> Self {
        self.0.dest = Bounded::new(spiffe_id);
        self
    }

    /// The purpose of use that a claim gives, at most 128 bytes.
    pub fn purpose(mut self, purpose: impl Into<Text>) -> Self {
        self.0.purpose = Bounded::new(purpose);
        self
    }

    /// The reason and the caller of a refusal.
    pub(crate) fn flood_key(&self) -> (&str, Option<&str>, Option<IpAddr>) {
        let peer = self
            .0
            .actor
            .as_ref()
            .and_then(|actor| actor.spiffe.as_str());
        // Callers without an identity are told apart by their addresses.
        let address = self.0.source_ip.filter(|_| peer.is_none());
        (self.0.reason.as_str().unwrap_or_default(), peer, address)
    }

    /// Whether it is a refusal, of which many may share one record. The end of an access that began
    /// is none: without it, its intent would stay open. Nor is an event of the application, which has
    /// a name, a subject and a patient of its own.
    pub(crate) fn is_refusal(&self) -> bool {
        let is_access = self.0.kind == Some(Kind::Access) && self.0.call.is_none();
        is_access && self.0.outcome == Some("deny")
    }

    /// A refusal that stands for those of several callers and reasons: it names none of them.
    pub(crate) fn of_others(self) -> Self {
        let mut event = Self::access().outcome(Outcome::Deny).reason("others");
        event.0.dest = self.0.dest;
        event
    }
}
