//! Mutual TLS with programs that are not ours: `openssl s_client`, `curl`, a real Envoy as client and as server, and identities from a real
//! SPIRE; and HTTP/2 as h2spec would have it.
//!
//! `run.sh` beside this file installs them and runs this; `spire.sh` builds SPIRE and runs what needs it. Without them, a program that is not
//! there is not tested against, which is said; it is a failure when `PEERS_REQUIRED` is set. `ENVOY` and `H2SPEC` name those two.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may panic"
)]

mod certificates;
mod curl;
mod envoy;
mod h2spec;
mod openssl;
mod site;
#[cfg(all(unix, feature = "workload-api"))]
mod spire;
mod tool;
mod weak;
