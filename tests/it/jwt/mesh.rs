//! Tokens in the composed mesh: what it shows of them, and what it counts.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use tower::{ServiceExt, service_fn};
use tower_mesh::context::Peer;
use tower_mesh::metrics::Format;
use tower_mesh::propagation::{FinishedSpan, Propagation, SpanSink};
use tower_mesh::source::Fixed;
use tower_mesh::testing::{Issuer, Pki};
use tower_mesh::{Mesh, Workload};

#[derive(Debug)]
struct Kept(Sender<String>);

impl SpanSink for Kept {
    fn export(&self, span: FinishedSpan) {
        self.0.send(format!("span: {span:?}")).unwrap();
    }
}

/// What is logged, at every level.
#[derive(Clone)]
struct Log(Sender<String>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self
            .0
            .send(format!("log: {}", String::from_utf8_lossy(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn policies(issuer: &Issuer, forwards: bool) -> Fixed {
    let text = format!(
        "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: users}}
spec:
  jwtRules:
  - issuer: {}
    jwks: '{}'
    fromParams: [access_token]
    forwardOriginalToken: {forwards}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: plain}}
spec: {{mtls: {{mode: PERMISSIVE}}}}
",
        issuer.name(),
        issuer.jwks()
    );
    Fixed::yaml("policies.yaml", text)
}

fn request(uri: &str) -> Request<Empty<Bytes>> {
    let local: SocketAddr = (Ipv4Addr::LOCALHOST, 8443).into();
    let mut request = Request::get(uri).body(Empty::new()).unwrap();
    request
        .extensions_mut()
        .insert(Peer::plaintext((Ipv4Addr::LOCALHOST, 9).into(), local));
    request
}

/// J-25, J-26: a token in the query reaches the application at most.
#[tokio::test]
async fn a_token_in_the_query_shows_nowhere() {
    let (shown, seen) = channel();
    let log = Log(shown.clone());
    let _guard = tracing::subscriber::set_default(
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || log.clone())
            .finish(),
    );
    let issuer = Issuer::es256("https://issuer.example");
    let pki = Pki::new("cluster.local").unwrap();
    for forwards in [false, true] {
        let observed = shown.clone();
        let (mesh, _driver) = Mesh::builder(
            Workload::new("default", "patients"),
            pki.identity("default", "patients").unwrap(),
        )
        .config(policies(&issuer, forwards))
        .telemetry(|telemetry| {
            {
                telemetry.propagation(
                    Propagation::new()
                        .sample_percent(100.0)
                        .export_to(Kept(shown.clone())),
                )
            }
            .record_allows()
            .on_complete(move |request| {
                let target = request.exchange.unwrap().target().unwrap();
                observed
                    .send(format!("observer: {target} {request:?}"))
                    .unwrap();
            })
        })
        .build()
        .await
        .unwrap();
        let good = issuer.token().subject("alice").sign();
        let bad = issuer.token().tampered();
        for (token, status) in [(&good, StatusCode::OK), (&bad, StatusCode::UNAUTHORIZED)] {
            for name in ["access_token", "access%5Ftoken"] {
                let sent = Arc::new(OnceLock::new());
                let kept = Arc::clone(&sent);
                let app = service_fn(move |request: Request<_>| {
                    kept.set(request.uri().to_string()).unwrap();
                    drop::<Request<_>>(request);
                    async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
                });
                let uri = format!("/charts?page=2&{name}={token}&full");
                let answer = mesh.protect(app).oneshot(request(&uri)).await.unwrap();
                assert_eq!(answer.status(), status, "{name}");
                shown.send(format!("head: {:?}", answer.headers())).unwrap();
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                shown.send(format!("body: {body:?}")).unwrap();
                let sent = sent.get().map(String::as_str);
                match (status.is_success(), forwards) {
                    (true, false) => assert_eq!(sent, Some("/charts?page=2&full")),
                    (true, true) => assert_eq!(sent, Some(uri.as_str())),
                    (false, _) => assert_eq!(sent, None),
                }
            }
        }
        let metrics = mesh.metrics().render(Format::Text);
        for line in [
            "mesh_jwt_tokens_total{result=\"verified\"} 1\n",
            "mesh_jwt_tokens_total{result=\"remembered\"} 1\n",
            "mesh_jwt_refusals_total{reason=\"signature\"} 2\n",
            "mesh_jwt_refusals_total{reason=\"expired\"} 0\n",
        ] {
            assert!(metrics.contains(line), "{line} in {metrics}");
        }
        shown.send(metrics).unwrap();
        let all: Vec<_> = seen.try_iter().collect();
        for kind in ["span: ", "observer: /charts?page=2&full "] {
            let count = all.iter().filter(|text| text.starts_with(kind)).count();
            assert_eq!(count, 4, "{kind}");
        }
        let canaries = [&good, &bad].map(|token| token.rsplit('.').next().unwrap().to_owned());
        for text in &all {
            let shows = canaries.iter().any(|canary| text.contains(canary));
            assert!(!shows && !text.contains("access_token"), "{text}");
            assert!(
                !text.contains("http.url") || text.contains("/charts?page=2&full"),
                "{text}"
            );
        }
    }
}
