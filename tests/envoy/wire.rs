//! Sends a request that is told in words over a socket, and reads what comes back.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use serde_json::Value;
use tower_mesh::testing::{Leaf, Pki};

use crate::world::Issuers;

/// The callers: their certificates and tokens.
pub(crate) struct Callers {
    pki: Pki,
    issuers: Issuers,
    /// TLS settings by the certificate's names.
    known: BTreeMap<String, Arc<ClientConfig>>,
    runtime: tokio::runtime::Runtime,
}

impl Callers {
    pub(crate) fn new() -> Self {
        Self {
            pki: Pki::new("cluster.local").unwrap(),
            issuers: Issuers::new(),
            known: BTreeMap::new(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
        }
    }

    pub(crate) fn pki(&self) -> &Pki {
        &self.pki
    }

    pub(crate) fn issuers(&self) -> &Issuers {
        &self.issuers
    }

    /// Sends an HTTP request, `id` in `x-case`, and gives the status of the reply; 0 when none comes.
    pub(crate) fn send(&mut self, request: &Value, port: u16, id: usize) -> u16 {
        let mut stream = self.connect(request, port);
        let method = request["method"].as_str().unwrap();
        let path = request["path"].as_str().unwrap();
        let authority = request["authority"].as_str().unwrap_or("app.example");
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {authority}\r\nx-case: {id}\r\n");
        for (name, lines) in request["headers"].as_object().into_iter().flatten() {
            let lines = match lines {
                Value::Array(lines) => lines.as_slice(),
                line => std::slice::from_ref(line),
            };
            for line in lines {
                head += &format!("{name}: {}\r\n", line.as_str().unwrap());
            }
        }
        if let Some(claims) = request["claims"].as_object() {
            head += &format!("authorization: Bearer {}\r\n", self.issuers.sign(claims));
        }
        head += "content-length: 0\r\n\r\n";
        if stream.write_all(head.as_bytes()).is_err() {
            return 0;
        }
        status(&mut *stream)
    }

    /// Opens a raw connection and sends a few bytes; whether they came back.
    pub(crate) fn is_echoed(&mut self, request: &Value, port: u16) -> bool {
        let mut stream = self.connect(request, port);
        let mut answer = [0; 5];
        stream.write_all(b"hello").is_ok() && stream.read_exact(&mut answer).is_ok()
    }

    fn connect(&mut self, request: &Value, port: u16) -> Box<dyn Stream> {
        let source = &request["source"];
        let from: IpAddr = source["ip"]
            .as_str()
            .map_or_else(|| Ipv4Addr::LOCALHOST.into(), |ip| ip.parse().unwrap());
        let tcp = self.runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::new(from, 0)).unwrap();
            let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
            socket.connect(to).await.unwrap().into_std().unwrap()
        });
        tcp.set_nonblocking(false).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        tcp.set_nodelay(true).unwrap();
        let Some(config) = self.tls(source, request["sni"].is_string()) else {
            return Box::new(tcp);
        };
        let name = request["sni"].as_str().unwrap_or("unsent.example");
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let tls = ClientConnection::new(config, name).unwrap();
        Box::new(StreamOwned::new(tls, tcp))
    }

    /// TLS settings with a certificate of these names; `None` on plaintext.
    fn tls(&mut self, source: &Value, with_sni: bool) -> Option<Arc<ClientConfig>> {
        let names = |key: &str| -> Vec<String> {
            let list = source[key].as_array().into_iter().flatten();
            list.map(|name| name.as_str().unwrap().to_owned()).collect()
        };
        let mut uris = names("uri_sans");
        if let Some(principal) = source["principal"].as_str() {
            uris.insert(0, format!("spiffe://{principal}"));
        }
        let dns = names("dns_sans");
        let subject = source["subject"].as_str();
        if uris.is_empty() && dns.is_empty() && subject.is_none() {
            return None;
        }
        let key = format!("{uris:?} {dns:?} {subject:?} {with_sni}");
        if let Some(config) = self.known.get(&key) {
            return Some(Arc::clone(config));
        }
        let mut leaf = uris.into_iter().fold(Leaf::without_uri(), Leaf::uri);
        leaf = dns.into_iter().fold(leaf, Leaf::dns);
        if let Some(subject) = subject {
            leaf = leaf.common_name(subject.strip_prefix("CN=").unwrap());
        }
        let issued = self.pki.issue(&leaf).unwrap();
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer))
            .with_client_auth_cert(issued.chain().to_vec(), issued.key())
            .unwrap();
        config.enable_sni = with_sni;
        let config = Arc::new(config);
        self.known.insert(key, Arc::clone(&config));
        Some(config)
    }
}

/// TLS settings of a caller with this identity, who takes every server for the right one.
pub(crate) fn any_server(pki: &Pki, uri: &str, alpn: &[u8]) -> Arc<ClientConfig> {
    let issued = pki.issue(&Leaf::workload(uri)).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_client_auth_cert(issued.chain().to_vec(), issued.key())
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config)
}

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The status of a reply, once its head is whole.
fn status(stream: &mut dyn Stream) -> u16 {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) => return 0,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return 0,
        }
    }
    let head = String::from_utf8_lossy(&bytes);
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Takes every server for the right one.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
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
