mod acceptor;
mod files;
mod lifetime;
mod listener;
mod matrix;
mod modes;
mod rotation;
mod served;
pub(crate) mod support;
#[cfg(all(unix, feature = "workload-api"))]
mod workload_api;
