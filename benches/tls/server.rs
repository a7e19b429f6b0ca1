//! The servers that are compared: each in a process of its own, with the same application.

use std::convert::Infallible;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tower_mesh::source::Fixed;
use tower_mesh::tls::{Acceptor, Credentials, Files, Listener, Settings};
use tower_mesh::{Mesh, Workload};

use crate::child::tell;

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// rustls as it comes, one byte to whoever has made the handshake.
    Rustls,
    /// The same with this crate's listener.
    Listener,
    /// rustls and hyper as they come.
    RustlsHyper,
    /// The same with this crate's listener.
    ListenerHyper,
    /// The whole mesh: `Mesh::serve_on`.
    Mesh,
    /// The same with ten thousand policies.
    MeshOfPolicies,
}

impl Server {
    pub(crate) const ALL: [Self; 6] = [
        Self::Rustls,
        Self::Listener,
        Self::RustlsHyper,
        Self::ListenerHyper,
        Self::Mesh,
        Self::MeshOfPolicies,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rustls => "rustls alone",
            Self::Listener => "tls::Listener",
            Self::RustlsHyper => "rustls and hyper",
            Self::ListenerHyper => "tls::Listener and hyper",
            Self::Mesh => "Mesh::serve",
            Self::MeshOfPolicies => "Mesh::serve, 10,000 policies",
        }
    }

    /// Serves until nobody is left who started it.
    pub(crate) fn run(self, directory: &Path) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            tokio::select! {
                () = self.serve(directory) => {}
                () = orphaned() => {}
            }
        });
        runtime.shutdown_background();
    }

    async fn serve(self, directory: &Path) {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        match self {
            Self::Rustls => {
                tell(address);
                accept(socket, tls(directory), |stream| async move {
                    greet(stream).await
                })
                .await;
            }
            Self::RustlsHyper => {
                tell(address);
                accept(socket, tls(directory), |stream| async move {
                    http(stream).await
                })
                .await;
            }
            Self::Listener | Self::ListenerHyper => {
                let identity = Files::watch(directory).load().await.unwrap();
                let credentials = Credentials::new(&identity, Settings::default()).unwrap();
                let mut listener = Listener::new(socket, Acceptor::new(credentials)).unwrap();
                tell(address);
                loop {
                    let handshake = listener.incoming().await.handshake();
                    tokio::spawn(async move {
                        let Some(connection) = handshake.await else {
                            return;
                        };
                        if self == Self::Listener {
                            greet(connection).await;
                        } else {
                            http(connection).await;
                        }
                    });
                }
            }
            Self::Mesh | Self::MeshOfPolicies => {
                let mut builder = Mesh::builder(
                    Workload::new("default", "patients"),
                    Files::watch(directory),
                );
                if self == Self::MeshOfPolicies {
                    builder = builder.config(Fixed::yaml("bench.yaml", policies(10_000)));
                }
                let (mesh, driver) = builder.build().await.unwrap();
                tokio::spawn(driver.run());
                tell(address);
                let service =
                    tower::service_fn(|_| std::future::ready(Ok::<_, Infallible>(answer())));
                mesh.serve_on(socket, service).await.unwrap();
            }
        }
    }
}

/// Accepts as everybody does by hand: a task for each connection, nothing bounded.
async fn accept<F>(
    socket: TcpListener,
    acceptor: TlsAcceptor,
    serve: impl Fn(tokio_rustls::server::TlsStream<TcpStream>) -> F + Copy + Send + 'static,
) where
    F: Future<Output = ()> + Send,
{
    loop {
        let Ok((stream, _)) = socket.accept().await else {
            continue;
        };
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream).await;
            }
        });
    }
}

async fn greet(mut stream: impl AsyncWrite + Unpin) {
    let _ = stream.write_all(b".").await;
    let _ = stream.shutdown().await;
}

/// With timers, as no server should be without; bounds are left as hyper has them.
async fn http(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    let service = tower::service_fn(|_: Request<hyper::body::Incoming>| {
        std::future::ready(Ok::<_, Infallible>(answer()))
    });
    let serving = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
    let _ = serving.await;
}

fn answer() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(&[b'x'; 200])));
    let json = http::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, json);
    response
}

/// rustls with a certificate demanded of every client; sessions are not resumed, as ours are not.
fn tls(directory: &Path) -> TlsAcceptor {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = Arc::new(roots(directory));
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
    let (chain, key) = chain_and_key(directory, "tls");
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

pub(crate) fn roots(directory: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_file(directory.join("ca.crt")).unwrap();
    roots.add(root).unwrap();
    roots
}

pub(crate) fn chain_and_key(
    directory: &Path,
    name: &str,
) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let file = |end: &str| directory.join(format!("{name}.{end}"));
    let chain = CertificateDer::pem_file_iter(file("crt")).unwrap();
    let chain = chain.map(Result::unwrap).collect();
    (chain, PrivateKeyDer::from_pem_file(file("key")).unwrap())
}

/// Policies of which the first allows the callers of this bench.
fn policies(count: usize) -> String {
    let mut yaml = String::new();
    for index in 0..count {
        let caller = match index {
            0 => "check-in".to_owned(),
            _ => format!("caller-{index}"),
        };
        writeln!(
            yaml,
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p{index}, namespace: default}}\nspec: {{rules: [{{from: [{{source: {{principals: [cluster.local/ns/default/sa/{caller}]}}}}], to: [{{operation: {{methods: [GET], paths: [/, \"/api/{index}/*\"]}}}}]}}]}}"
        )
        .unwrap();
    }
    yaml
}

/// Returns when the process that started this one has nothing more to say.
async fn orphaned() {
    let mut nothing = Vec::new();
    let _ = tokio::io::stdin().read_to_end(&mut nothing).await;
}
