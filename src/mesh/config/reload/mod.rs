//! Whether a changed configuration takes the place of the one that serves.
//!
//! ```text
//! judge        damage, then compiling, then what must be there, then what opens
//!   opening    two compiled configurations side by side, guard by guard
//!     guard    what keeps others out of a port
//!   foreign    policies that name callers of a trust domain without roots
//!   presence   an ALLOW policy that selects us, or what nearly does
//! strict       for a mesh in plaintext, no STRICT port
//! standing     what is refused now, for readiness, metrics and the log
//! ```

mod foreign;
mod guard;
mod judge;
mod opening;
mod presence;
mod standing;
mod strict;

pub(in crate::mesh) use foreign::warn_of_foreign;
pub(in crate::mesh) use guard::Guarded;
pub(in crate::mesh) use judge::Judge;
pub(in crate::mesh) use presence::{require_allow, warn_without_allow};
pub(in crate::mesh) use standing::Reloads;
pub use standing::{RefusalReason, RefusedReload};
pub(in crate::mesh) use strict::refuse_strict;
