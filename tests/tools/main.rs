//! The commands around policies: what they print, and what they promise of every policy.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test may panic, and prints what it counted"
)]

mod analyze;
mod asked;
#[cfg(feature = "audit")]
mod audit;
mod files;
mod mistakes;
#[cfg(all(unix, feature = "pki"))]
mod pki;
mod policy_tests;
mod program;
mod providers;
#[path = "../support/random.rs"]
#[expect(dead_code, reason = "not every test asks for all of it")]
mod random;
mod rendered;
mod route;
mod same;
mod shell;
mod skipped;
mod testing_page;
mod trust_domain;
mod vet;
#[path = "../support/world.rs"]
#[expect(dead_code, reason = "not every test asks for all of it")]
mod world;
