//! Records: an allow-list of typed fields, their canonical form, and a strict reader of it.

mod actor;
mod canonical;
mod entry;
mod event;
mod fields;
mod patient;
mod text;
mod value;

pub use actor::{Actor, Resource, Tls};
pub(crate) use canonical::{Link, MOST_BYTES, write};
pub use entry::{Entry, Malformed};
pub use event::{Call, Event, Outcome};
pub(crate) use fields::{Fields, Kind, OldStream, Own, Removed, Seal};
pub use patient::{PatientKey, PatientKeyError, Pseudonym};
pub(crate) use text::Bounded;
pub use text::Text;
pub use value::Value;
