//! Where our identity and its successors come from.
//!
//! ```text
//! contract       the trait `Source`, its error, a source that never changes
//! files          PEM files that another program renews
//! workload_api   the SPIFFE Workload API
//! renewed        a function that asks an authority again and again
//! ```

pub(super) mod contract;
pub(super) mod files;
pub(super) mod renewed;
#[cfg(feature = "workload-api")]
pub(super) mod workload_api;
