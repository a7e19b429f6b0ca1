//! Binds the socket of a server, with an error that names the addresses.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::unix::fs::FileTypeExt as _;
#[cfg(unix)]
use std::path::Path;

use tokio::net::{TcpListener, ToSocketAddrs, lookup_host};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

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

/// Listens on a Unix socket. A socket that a process has left behind is replaced.
///
/// # Errors
/// The system's error, with the path added.
#[cfg(unix)]
pub(in crate::mesh) async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let mut bound = UnixListener::bind(path);
    if bound.is_err() && is_left_behind(path).await {
        tokio::fs::remove_file(path).await?;
        bound = UnixListener::bind(path);
    }
    bound.map_err(|error| {
        let what = format!("cannot serve on {path:?}: {error}");
        io::Error::new(error.kind(), what)
    })
}

/// Whether a socket is there and nobody listens on it.
#[cfg(unix)]
async fn is_left_behind(path: &Path) -> bool {
    let file = tokio::fs::symlink_metadata(path).await;
    if !file.is_ok_and(|file| file.file_type().is_socket()) {
        return false;
    }
    let connected = UnixStream::connect(path).await;
    connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
