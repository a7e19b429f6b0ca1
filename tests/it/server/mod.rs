//! The serving side: connections, limits, shutdown and faults.

mod asking;
mod concurrency;
mod faults;
mod limits;
mod own_servers;
mod panics;
mod quiet_streams;
mod serve;
mod shutdown;
mod silent_clients;
mod trusted_proxy;
#[cfg(unix)]
mod trusted_sockets;
mod upgrades;
