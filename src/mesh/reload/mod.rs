//! Whether a changed configuration takes the place of the one that serves.
//!
//! ```text
//! judge        damage, then compiling, then what must be there, then what opens
//!   opening    two compiled configurations side by side, guard by guard
//!     guard    what keeps others out of a port
//!   presence   an ALLOW policy that selects us, or what nearly does
//! strict       for a mesh in plaintext, no STRICT port
//! standing     what is refused now, for readiness, metrics and the log
//! ```

mod guard;
mod judge;
mod opening;
mod presence;
mod standing;
mod strict;

pub(super) use guard::Guarded;
pub(super) use judge::Judge;
pub(super) use presence::{require_allow, warn_without_allow};
pub(super) use standing::Reloads;
pub use standing::{RefusalReason, RefusedReload};
pub(super) use strict::refuse_strict;
