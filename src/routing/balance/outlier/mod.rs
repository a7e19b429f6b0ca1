//! Outlier detection: hosts that fail in a row are left alone for a while.

mod breaker;
mod detector;
mod settings;
mod verdict;

pub use breaker::{HostAdmission, HostBreaker};
pub use detector::{Ejection, HostErrors, OutlierDetector, Sweep};
pub use settings::OutlierDetection;
