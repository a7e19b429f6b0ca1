//! Decides whether a changed configuration replaces the one in use.
//!
//! # The judge
//!
//! [`Judge`] compares each update with the configuration in use and answers with a compiled
//! configuration or with a refusal; it publishes nothing. It checks in this order, and the first
//! check that fails is the reason of the refusal:
//!
//! - `Invalid`: the source could not read it.
//! - `Damage`: a file that held documents holds none.
//! - `Invalid`: it does not compile.
//! - `Strict`: a port is STRICT and the mesh speaks plaintext.
//! - `NoPolicy`: no ALLOW policy selects the workload, and one is required.
//! - `Opening`: a port loses a protection that it had.
//!
//! `Damage` and `Opening` are refusals only with [`OnOpening::Refuse`](crate::source::OnOpening);
//! otherwise they are logged and counted. The refusal stays in [`Reloads`] until a change is
//! published; meanwhile the log repeats it each minute.
//!
//! ```text
//! judge        damage, then compiling, then what must be there, then what opens
//!   opening    two compiled configurations side by side, port by port
//!     protection  what keeps others out of a port
//!   foreign    policies that name callers of a trust domain without roots
//!   presence   an ALLOW policy that selects us, or what nearly does
//! strict       for a mesh in plaintext, no STRICT port
//! standing     what is refused now, for readiness, metrics and the log
//! ```

mod foreign;
mod judge;
mod opening;
mod presence;
mod protection;
mod standing;
mod strict;

pub(in crate::mesh) use foreign::warn_of_foreign;
pub(in crate::mesh) use judge::Judge;
pub(in crate::mesh) use presence::{require_allow, warn_without_allow};
pub(in crate::mesh) use protection::PortProtections;
pub(in crate::mesh) use standing::Reloads;
pub use standing::{RefusalReason, RefusedReload};
pub(in crate::mesh) use strict::refuse_strict;
