//! The proxies whose word about their callers a mesh believes.

use std::path::Path;

use crate::context::Via;
use crate::mesh::client::pool::address::UpstreamId;
use crate::mesh::server::Trusted;

/// Proxies whose word about their own callers a mesh believes:
/// [`trusted_proxy`](crate::mesh::DangerousMeshBuilder::trusted_proxy).
///
/// Such a proxy can name any caller. Name only proxies that verify certificates as strictly as the
/// mesh does, and that only the mesh's operators can configure.
#[derive(Clone, Debug)]
#[must_use = "a proxy is trusted only once a builder has it"]
pub struct TrustedProxy {
    pub(in crate::mesh) proxies: Vec<Trusted>,
    /// Mistakes found so far; each begins with the name of its method.
    pub(in crate::mesh) mistakes: Vec<String>,
}

impl TrustedProxy {
    /// Proxies that prove one of these SPIFFE ids by mutual TLS, such as the gateway of a mesh.
    /// The ids are exact: there are no patterns.
    ///
    /// The proxy names its caller in the last element of `x-forwarded-client-cert`, as Envoy does
    /// with `APPEND_FORWARD` and `SANITIZE_SET`. It must not pass on a header that it has not
    /// written (`FORWARD_ONLY`, `ALWAYS_FORWARD_ONLY`).
    ///
    /// ```
    /// # use tower_mesh::testing::Pki;
    /// use tower_mesh::mesh::TrustedProxy;
    /// use tower_mesh::{Mesh, Workload};
    ///
    /// # let identity = Pki::new("cluster.local")?.identity("default", "patients")?;
    /// let gateway = "spiffe://cluster.local/ns/istio-system/sa/gateway";
    /// let builder = Mesh::builder(Workload::new("default", "patients"), identity)
    ///     .danger()
    ///     .trusted_proxy(TrustedProxy::identities([gateway]));
    /// # let _ = builder;
    /// # Ok::<(), tower_mesh::testing::PkiError>(())
    /// ```
    pub fn identities<I: Into<UpstreamId>>(ids: impl IntoIterator<Item = I>) -> Self {
        let (mut proxies, mut mistakes) = (Vec::new(), Vec::new());
        for id in ids {
            match id.into().id() {
                Ok(id) => proxies.push(Trusted {
                    via: Via::Identity(id),
                    port: 0,
                    has_header: false,
                }),
                Err(mistake) => mistakes.push(format!("identities: {mistake}")),
            }
        }
        if proxies.is_empty() && mistakes.is_empty() {
            let mistake = "identities: the list is empty, so no proxy is trusted: name each proxy, \
                           or leave the option out";
            mistakes.push(mistake.to_owned());
        }
        Self { proxies, mistakes }
    }

    /// The proxy on this host that connects to this port of a loopback address in plaintext, such
    /// as the workload's sidecar. It names its caller in `x-forwarded-client-cert`, as a proxy of
    /// [`identities`](Self::identities) does; `By` names the workload's own id, which its sidecar
    /// shares.
    ///
    /// On this port every connection counts as the proxy's and is plaintext, whatever mode
    /// resources set. So a server on it must be bound to a loopback address:
    /// [`serve`](crate::Mesh::serve) and its kin return an error for any other. Every process that
    /// shares the loopback interface (in Kubernetes, each container of the pod) can name any
    /// caller; [`unix_socket`](Self::unix_socket) is narrower.
    ///
    /// If the port is STRICT, the proxy must prove what mutual TLS would: a request whose caller
    /// has no identity is refused with 403.
    pub fn loopback_port(port: u16) -> Self {
        let mut this = Self::socket(Via::LoopbackPort(port), port);
        this.check_port("loopback_port");
        this
    }

    /// The proxy on this host that connects to this Unix socket, which
    /// [`Mesh::serve_unix`](crate::Mesh::serve_unix) serves. Otherwise as
    /// [`loopback_port`](Self::loopback_port): who may connect is up to the permissions of the
    /// socket's directory.
    ///
    /// A Unix socket has no port, so `port` is the one that resources are written for:
    /// PeerAuthentication, and policies that name a port.
    ///
    /// The path must be absolute.
    pub fn unix_socket(path: impl AsRef<Path>, port: u16) -> Self {
        let path = path.as_ref();
        let mut this = Self::socket(Via::UnixSocket(path.into()), port);
        if !path.is_absolute() {
            this.mistakes.push(format!(
                "unix_socket: {path:?} is not absolute: write it from /"
            ));
        }
        this.check_port("unix_socket");
        this
    }

    /// Each connection of the proxy begins with a header of the [PROXY
    /// protocol](crate::tls::proxy_protocol), version 2, as a proxy of TCP sends it. It names the
    /// caller of all requests on the connection: its address, and its SPIFFE id in ztunnel's field
    /// 0xD0. A connection without the header is closed and counted
    /// (`mesh_tls_handshakes_total{reason="proxy_header"}`).
    ///
    /// `x-forwarded-client-cert` is then not read, because a proxy of TCP passes on what its caller
    /// writes.
    ///
    /// Only for [`unix_socket`](Self::unix_socket) and [`loopback_port`](Self::loopback_port).
    pub fn proxy_protocol(mut self) -> Self {
        let is_named = |proxy: &Trusted| matches!(proxy.via, Via::Identity(_));
        if self.proxies.iter().any(is_named) {
            let mistake = "proxy_protocol: a proxy that proves an identity begins with TLS: name a \
                           unix_socket or a loopback_port";
            self.mistakes.push(mistake.to_owned());
        }
        for proxy in &mut self.proxies {
            proxy.has_header = true;
        }
        self
    }

    fn socket(via: Via, port: u16) -> Self {
        let has_header = false;
        Self {
            proxies: vec![Trusted {
                via,
                port,
                has_header,
            }],
            mistakes: Vec::new(),
        }
    }

    fn check_port(&mut self, option: &str) {
        if self.proxies.iter().any(|proxy| proxy.port == 0) {
            let mistake = format!("{option}: nobody listens on port 0: write one from 1 to 65535");
            self.mistakes.push(mistake);
        }
    }
}
