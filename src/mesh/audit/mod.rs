//! The audit trail of a mesh: which requests are recorded, and what of them.
//!
//! - `template` and `route` find the requests that the application has chosen.
//! - `auditor` is what all requests share; `request` follows one of them.
//! - `configured` and `events` are about changes of configuration, keys and identity.
//! - `refused` is about connections that were refused before they were made; `connection` follows
//!   one that carries no HTTP.
//! - `state` says whether the trail can be written, and `metrics` how much of it was.
//! - `under_way` knows what the end of the trail must wait for.

mod auditor;
mod configured;
mod connection;
mod events;
mod metrics;
mod refused;
mod request;
mod route;
mod state;
mod template;
mod under_way;

pub(in crate::mesh) use auditor::{Auditor, Scope};
pub(in crate::mesh) use configured::{AuditedConfig, JudgedBy};
pub(in crate::mesh) use connection::{ConnectionAudit, RecordedFirst};
pub(in crate::mesh) use events::{follow_identity, follow_keys};
pub(in crate::mesh) use metrics::register;
pub(in crate::mesh) use request::{AUDIT_UNAVAILABLE, RequestAudit};
pub(in crate::mesh) use route::{Patient, Route};
pub use state::AuditState;
pub(in crate::mesh) use under_way::AuditedServer;
