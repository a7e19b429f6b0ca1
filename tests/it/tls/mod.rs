mod acceptor;
mod clock;
mod danger;
mod files;
mod lifetime;
mod listener;
mod living;
mod matrix;
mod modes;
mod own_tls;
mod partners;
mod renewed;
mod rotation;
mod scopes;
mod secrets;
mod served;
pub(crate) mod support;
#[cfg(all(unix, feature = "workload-api"))]
mod workload_api;
