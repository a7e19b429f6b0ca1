//! An audit trail that proves itself whole: who did what, on whose behalf and by which rule, kept so that
//! nobody can change it unseen.
//!
//! It is not an access log: a record is never dropped in silence, and what must
//! be recorded first does not happen before its record is durable.
//!
//! - [`Audit`] writes [`Event`]s to one or more [`Trail`]s, each with a thread of its own. In a folder,
//!   a trail is a row of segments: files to which lines are only added.
//! - A record is JSON in a line, in a canonical form, made of an allow-list of typed fields. Paths,
//!   queries, headers, bodies and tokens have no field.
//! - Each record has a number without holes and the hash of the record before. Signed [`Checkpoint`]s
//!   hold the root of a Merkle tree (RFC 6962) over all records of the stream. Kept in a second
//!   place, they also show a tail that was cut off.
//! - Each start of the process begins a new stream, which names the end of the one before.
//! - What could not be written is told by a `gap` record with the number of events.
//! - [`Verify`] names the first bad record and what is wrong with it. [`Show`] and [`ActivityReport`]
//!   read the trail. [`Prove`] shows one record of it to somebody who has not the rest. [`Prune`]
//!   alone removes anything, after six years.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use tower_mesh::audit::{Actor, Audit, Event, PublicKeys, SigningKey, Trail, Verify};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let base = tempfile::tempdir()?;
//! # let folder = base.path().join("trail");
//! # let key_file = base.path().join("audit.pem");
//! let key = SigningKey::create_file("patients", key_file)?;
//! let keys = PublicKeys::from_iter([key.public()]);
//! let audit = Audit::builder()
//!     .trail(Trail::folder(&folder).signer(key))
//!     .start()?;
//! audit.submit(Event::application("chart.read").actor(Actor::user("https://idp", "dr-7")));
//! assert!(audit.shutdown(Duration::from_secs(60)));
//!
//! let report = Verify::new(&folder).keys(keys).run()?;
//! assert!(report.is_whole(), "{report}");
//! # Ok(()) }
//! ```

mod application;
mod inclusion;
#[cfg(feature = "otlp")]
mod otlp;
mod proof;
mod prune;
mod record;
mod review;
mod scalar;
mod store;
mod verify;
mod writer;

pub use application::{ApplicationEvent, EventError, event};
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use application::{RequestTrail, with_request};
pub use inclusion::{InclusionError, InclusionProof, Prove, ProveError};
pub use proof::{
    Algorithm, Checkpoint, CheckpointError, KeyFileError, PublicKey, PublicKeyError, PublicKeys,
    SealingKey, SignError, Signer, SigningKey, consistency_proof, inclusion_proof, leaf_hash,
    root_of, verify_consistency, verify_inclusion,
};
pub use prune::{Prune, PruneError, PruneReport};
pub use record::{
    Actor, Call, Entry, Event, Malformed, Outcome, PatientKey, PatientKeyError, Pseudonym,
    Resource, Text, Tls, Value,
};
pub use review::{Access, ActivityReport, Change, Form, RecordFilter, Refusals, Show, Shown};
pub use scalar::parse_time;
pub use store::OpenError;
pub use verify::{
    Fault, FaultKind, GapNote, OpenIntent, PrunedNote, StreamNote, Verify, VerifyError,
    VerifyReport,
};
pub use writer::{
    Audit, AuditBuilder, AuditUnavailable, Clock, Counters, Durability, OnFailure, Recorded, Sink,
    SinkError, StartError, SystemClock, Trail,
};
