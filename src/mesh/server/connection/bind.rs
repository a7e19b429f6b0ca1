//! Binds the socket of a server, with an error that names the addresses.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, ToSocketAddrs, lookup_host};

/// Listens on the first of these addresses that the system lets us bind.
///
/// # Errors
/// The system's error, with the addresses added: the system's own text does not name them.
pub(in crate::mesh) async fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    let found = lookup_host(address).await.map_err(|error| {
        let what = format!("no address to serve on, write ip:port: {error}");
        io::Error::new(error.kind(), what)
    })?;
    let addresses: Vec<_> = found.collect();
    let listening = TcpListener::bind(addresses.as_slice()).await;
    listening.map_err(|error| {
        let names: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => "; end what listens there, or serve on another port",
            _ => "",
        };
        let what = format!("cannot serve on {}: {error}{remedy}", names.join(", "));
        io::Error::new(error.kind(), what)
    })
}
