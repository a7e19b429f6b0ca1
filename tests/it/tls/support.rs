//! Both ends of a handshake, one of them a bare rustls that shows whatever certificate it is given.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tower_mesh::context::Peer;
use tower_mesh::identity::SpiffeId;
use tower_mesh::testing::{Issued, Pki};
use tower_mesh::tls::{
    Acceptor, Connector, Credentials, Destination, HandshakeError, Protocol, Reason, Settings,
};

pub(crate) type Chain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

pub(crate) fn chain(issued: &Issued) -> Chain {
    (issued.chain().to_vec(), issued.key())
}

pub(crate) fn credentials(pki: &Pki, account: &str) -> Credentials {
    let identity = pki.identity("default", account).unwrap();
    Credentials::new(&identity, Settings::default()).unwrap()
}

pub(crate) fn id(text: &str) -> SpiffeId {
    SpiffeId::new(text).unwrap()
}

/// A bare client that trusts anybody, and shows a certificate if it has one.
pub(crate) fn client_config(shown: Option<Chain>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(trust_anyone());
    let mut config = match shown {
        Some(shown) => builder.with_client_cert_resolver(resolver(shown)),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// A bare server that asks nobody for a certificate.
pub(crate) fn server_config(shown: Chain) -> ServerConfig {
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(resolver(shown))
}

/// Shows a chain unread, so that it may be as wrong as it likes.
fn resolver((chain, key): Chain) -> Arc<SingleCertAndKey> {
    let key = provider().key_provider.load_private_key(key).unwrap();
    Arc::new(CertifiedKey::new(chain, key).into())
}

/// What our acceptor says to a bare client.
pub(crate) async fn accept(
    acceptor: &Acceptor,
    client: ClientConfig,
) -> Result<Peer, HandshakeError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = tokio::spawn(async move {
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(client));
        // In TLS 1.3 a client learns that it was refused only when it reads.
        if let Ok(mut stream) = connector.connect(name, tcp).await {
            let _ = stream.read_u8().await;
        }
    });
    let (tcp, remote) = listener.accept().await.unwrap();
    let accepted = acceptor.accept(tcp, remote, address).await;
    let result = match accepted {
        Ok((mut stream, peer)) => {
            stream.write_u8(1).await.unwrap();
            stream.flush().await.unwrap();
            Ok(peer)
        }
        Err(error) => Err(error),
    };
    client.await.unwrap();
    result
}

/// What our connector says to a bare server.
pub(crate) async fn connect(
    connector: &Connector,
    server: ServerConfig,
    expected: &[SpiffeId],
) -> Result<Peer, HandshakeError> {
    let (address, server) = serve_once(server).await;
    let destination =
        Destination::new(expected.iter().cloned(), "localhost", Protocol::Either).unwrap();
    let connected = connector.connect(address, &destination).await;
    drop(server);
    connected.map(|(_, peer)| peer)
}

pub(crate) async fn serve_once(server: ServerConfig) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        if let Ok(mut stream) = TlsAcceptor::from(Arc::new(server)).accept(tcp).await {
            let _ = stream.read_u8().await;
        }
    });
    (address, task)
}

/// A client certificate judged by our server, and the same as a server's judged by our client: both must say the same.
pub(crate) async fn both_ways(trusting: &Pki, shown: &Chain) -> Result<(), Reason> {
    let ours = credentials(trusting, "ours");
    let copy = || (shown.0.clone(), shown.1.clone_key());
    let at_server = accept(&Acceptor::new(ours.clone()), client_config(Some(copy()))).await;
    let expected = [id("spiffe://td/ns/default/sa/peer")];
    let at_client = connect(&Connector::new(ours), server_config(copy()), &expected).await;
    let reason = |result: Result<Peer, HandshakeError>| result.map(drop).map_err(|e| e.reason());
    let (at_server, at_client) = (reason(at_server), reason(at_client));
    assert_eq!(at_server, at_client, "server and client disagree");
    at_server
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

pub(crate) fn trust_anyone() -> Arc<dyn ServerCertVerifier> {
    Arc::new(TrustAnyone)
}

#[derive(Debug)]
struct TrustAnyone;

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
