//! The servers that are called: the same for both parties.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower_mesh::testing::{Leaf, Pki};

use super::raw;
use crate::stub::closed_port;
use crate::telemetry::app::{Seen, answer};

/// Those of one party.
pub(super) struct Servers {
    pub(super) seen: Seen,
    /// Over mutual TLS, both versions of HTTP.
    pub(super) app: SocketAddr,
    /// Over mutual TLS, broken HTTP/1.
    pub(super) raw: SocketAddr,
    /// In plaintext, HTTP/1, good and broken.
    pub(super) plain: SocketAddr,
    /// Ports on which nothing listens.
    pub(super) closed: [SocketAddr; 2],
}

/// The identity of all servers that have one.
pub(super) const WEB: &str = "spiffe://cluster.local/ns/foo/sa/web";

impl Servers {
    pub(super) async fn start(pki: &Pki) -> Self {
        let seen = Seen::default();
        Self {
            app: app(pki, seen.clone()).await,
            raw: raw::serve(Some(tls(pki, &[b"http/1.1"])), seen.clone()).await,
            plain: raw::serve(None, seen.clone()).await,
            closed: [closed_port().await, closed_port().await],
            seen,
        }
    }

    /// The hosts of the mesh: their addresses, and who must answer there.
    pub(super) fn inside(&self) -> Vec<(String, Vec<SocketAddr>, &'static str)> {
        let [one, two] = self.closed;
        let host = |name: &str, addresses: &[SocketAddr], id| {
            let host = format!("{name}.foo.svc.cluster.local");
            (host, addresses.to_vec(), id)
        };
        vec![
            host("app", &[self.app], WEB),
            host("raw", &[self.raw], WEB),
            host("once", &[one], WEB),
            host("closed", &[one], WEB),
            host("both", &[one, two], WEB),
            host(
                "stranger",
                &[self.app],
                "spiffe://cluster.local/ns/foo/sa/other",
            ),
            host("plain", &[self.plain], WEB),
        ]
    }

    /// The hosts outside of it, which are called in plaintext.
    pub(super) fn outside(&self) -> Vec<(&'static str, SocketAddr)> {
        vec![("legacy.example", self.plain)]
    }

    /// What stands for their addresses.
    pub(super) fn names(&self) -> Vec<(String, &'static str)> {
        let [one, two] = self.closed;
        let names = [
            (self.app, "APP"),
            (self.raw, "RAW"),
            (self.plain, "PLAIN"),
            (one, "CLOSED"),
            // Which of two is tried last is a matter of turns.
            (two, "CLOSED"),
        ];
        names
            .map(|(address, name)| (address.to_string(), name))
            .into()
    }
}

/// A server over mutual TLS.
fn tls(pki: &Pki, protocols: &[&[u8]]) -> TlsAcceptor {
    let issued = pki.issue(&Leaf::workload(WEB)).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pki.root().clone()).unwrap();
    let callers = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(callers.build().unwrap())
        .with_single_cert(issued.chain().to_vec(), issued.key())
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

async fn app(pki: &Pki, seen: Seen) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let acceptor = tls(pki, &[b"h2", b"http/1.1"]);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = socket.accept().await {
            let (seen, acceptor) = (seen.clone(), acceptor.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(tcp).await else {
                    return;
                };
                let service = service_fn(move |request| {
                    let seen = seen.clone();
                    async move { respond(seen, request).await }
                });
                let serving = auto::Builder::new(TokioExecutor::new());
                let _ = serving
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

/// As the application of the other direction; and it resets streams.
async fn respond(
    seen: Seen,
    request: http::Request<hyper::body::Incoming>,
) -> Result<http::Response<crate::telemetry::app::AppBody>, h2::Error> {
    let case = request.headers().get("x-case").cloned();
    let case = case.map(|case| case.to_str().unwrap().to_owned());
    let path = request.uri().path().to_owned();
    let is_new = seen.of(&case.unwrap_or_default()).is_none();
    let answer = answer(seen, request).await;
    match path.as_str() {
        "/reset" => Err(h2::Reason::INTERNAL_ERROR.into()),
        "/cancel" => Err(h2::Reason::CANCEL.into()),
        "/refuse" => Err(h2::Reason::REFUSED_STREAM.into()),
        "/refuse-once" if is_new => Err(h2::Reason::REFUSED_STREAM.into()),
        _ => Ok(answer),
    }
}
