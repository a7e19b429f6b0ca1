//! The composed mesh: start, configuration, readiness and what it says.

mod build_mistakes;
mod error_levels;
mod guards;
mod keys;
mod log_of_changes;
mod mounted_volumes;
mod plaintext;
mod probe;
mod reload;
mod sources;
mod start;
mod trust_domain;
