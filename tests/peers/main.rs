//! Mutual TLS with programs that are not ours: `openssl s_client`, `curl`, a real Envoy as client and as server, and identities from a real
//! SPIRE; HTTP/2 as h2spec would have it; the tokens of a real OpenID provider; OPA as an authorizer, envoyproxy/ratelimit with Redis,
//! Jaeger as a collector, and Prometheus with its tools.
//!
//! `run.sh` beside this file installs them and runs this; `scripts/peers.sh` builds Jaeger, OPA, ratelimit and SPIRE, and what needs one that is not
//! built is left out. Without them, a program that is not there is not tested against, which is said; it is a failure when
//! `PEERS_REQUIRED` is set. `ENVOY`, `H2SPEC`, `OIDC_PROVIDER` and `OPENMETRICS_PYTHON` name those four, `PATIENTS` the example; the others are on the
//! `PATH`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_types,
    reason = "a test may panic"
)]

mod certificates;
mod curl;
mod envoy;
mod guarded;
mod h2spec;
mod jaeger;
#[path = "../it/support/log.rs"]
mod log;
mod oidc;
mod opa;
mod openssl;
mod prometheus;
mod ratelimit;
mod site;
#[cfg(all(unix, feature = "workload-api"))]
mod spire;
mod tool;
mod weak;
