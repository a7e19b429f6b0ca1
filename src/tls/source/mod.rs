//! Where our identity and its successors come from.
//!
//! ```text
//! contract       the traits of sources, their error, a source that never changes
//! files          PEM files that another program renews
//! workload_api   the SPIFFE Workload API
//!   workload_api_bundles  its keys of JWT-SVIDs
//!   agent        a stream of answers, opened again when it fails
//! renewed        a function that asks an authority again and again
//! ```

#[cfg(feature = "workload-api")]
mod agent;
pub(super) mod contract;
pub(super) mod files;
pub(super) mod renewed;
#[cfg(feature = "workload-api")]
pub(super) mod workload_api;
#[cfg(feature = "workload-api")]
pub(super) mod workload_api_bundles;
