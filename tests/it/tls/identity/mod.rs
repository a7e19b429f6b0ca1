//! Our own identity: where it comes from, and what is refused.

mod files;
mod partners;
mod pem;
mod remedies;
mod remedies_of_peers;
mod renewed;
mod scopes;
mod secrets;
#[cfg(all(unix, feature = "workload-api"))]
mod workload_api;
