//! Serves a protocol that is not HTTP.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, ToSocketAddrs};

use super::accepted::{self, Service};
use super::judge::warn_of_custom;
use super::refused::RefusedCounts;
use super::stream::TcpConnection;
use crate::Mesh;
use crate::mesh::Drained;
use crate::mesh::server::connection::bind::bind;

impl Mesh {
    /// Serves a protocol that is not HTTP on an address: the mesh's TLS, policy and telemetry, then
    /// `handler`, which is called with each connection that policy lets in.
    ///
    /// Connections are accepted as by [`serve`](Self::serve): mutual TLS by the mode of the port,
    /// bounds on handshakes and connections, PROXY headers of trusted proxies. Policy judges a
    /// connection at its first byte, as Envoy does; a connection that is refused is closed, and the
    /// handler never sees it. An ALLOW rule that asks for HTTP does not count, a DENY rule refuses by
    /// what it says besides. [`TcpOptions`](crate::mesh::TcpOptions) has the times, and
    /// [`server_first`](crate::mesh::TcpOptions::server_first) for protocols in which the server
    /// speaks first.
    ///
    /// A connection ends when its handler is done and has dropped it, with an error or `Ok`. A panic
    /// of the handler ends its connection alone. The server runs until
    /// [`shutdown`](Self::shutdown); then handlers, told by
    /// [`TcpConnection::draining`], have the grace period to end, and what is left is cut and counted
    /// ([`Drained`]).
    ///
    /// ```no_run
    /// use tokio::io::{copy, split};
    /// use tower_mesh::{Mesh, mesh::TcpConnection};
    ///
    /// async fn echo(mut connection: TcpConnection) -> std::io::Result<()> {
    ///     let (mut read, mut write) = split(&mut connection);
    ///     copy(&mut read, &mut write).await?;
    ///     Ok(())
    /// }
    ///
    /// # async fn example(mesh: Mesh) -> std::io::Result<()> {
    /// mesh.serve_tcp("0.0.0.0:7007", echo).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the address cannot be bound, and for the port of a trusted proxy that sends no PROXY
    /// header: it would name its callers in headers of HTTP. No client can make it fail.
    ///
    /// # Differences from Envoy/Istio
    /// - No provider is asked about a connection, so that one that a CUSTOM rule matches is refused,
    ///   also if the provider speaks HTTP (Istio lets such a connection pass).
    /// - A client has 60 s for its first byte, and is not judged before.
    /// - The bytes that count are those of the application, without TLS.
    pub fn serve_tcp<A, H, F>(
        &self,
        address: A,
        handler: H,
    ) -> impl Future<Output = io::Result<Drained>> + use<A, H, F>
    where
        A: ToSocketAddrs,
        H: Fn(TcpConnection) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let mesh = self.clone();
        async move {
            let socket = bind(address).await?;
            mesh.serve_tcp_on(socket, handler).await
        }
    }

    /// As [`serve_tcp`](Self::serve_tcp), on a socket that listens already.
    ///
    /// # Errors
    /// When the socket has no local address, and for the port of a trusted proxy that sends no PROXY
    /// header.
    pub fn serve_tcp_on<H, F>(
        &self,
        socket: TcpListener,
        handler: H,
    ) -> impl Future<Output = io::Result<Drained>> + use<H, F>
    where
        H: Fn(TcpConnection) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let mesh = self.clone();
        async move {
            let local = socket.local_addr()?;
            refuse_silent_proxy(&mesh, local)?;
            let listener = mesh.listen_for_tcp(socket)?;
            let parts = mesh.parts();
            let service = Arc::new(Service {
                inbound: Arc::clone(parts.server.inbound()),
                options: mesh.tcp_options(),
                refused: RefusedCounts::new(&parts.registry),
                handler,
            });
            warn_of_custom(&parts.cells.inbound.load().engine, local.port());
            let serving = mesh.serving();
            let serve_one =
                |incoming, stop, cut| accepted::serve(Arc::clone(&service), incoming, stop, cut);
            let drained = mesh.accept(listener, None, serve_one).await;
            mesh.ends(serving).await;
            Ok(drained)
        }
    }
}

/// Refuses the port of a trusted proxy that names its callers in headers of HTTP.
fn refuse_silent_proxy(mesh: &Mesh, local: SocketAddr) -> io::Result<()> {
    let proxy = mesh.parts().trusted_proxies.on_port(local.port());
    if proxy.is_none_or(|proxy| proxy.has_header) {
        return Ok(());
    }
    let what = format!(
        "cannot serve on {local}: the trusted proxy of this port names its callers in headers of \
         HTTP, of which there are none here: let it send the PROXY protocol, and say so with \
         TrustedProxy::proxy_protocol"
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}
