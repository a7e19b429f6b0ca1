//! What one call costs inside the process, in ns of thread CPU.
//!
//! peers micro                                         the building blocks
//! peers micro --stack LIST --sampling S --name NAME   one request through a router behind those layers
use crate::timing::{bench, bench_process};
use crate::{Args, app, stack};
use aws_lc_rs::signature as sig;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, request::Parts};
use http_body_util::BodyExt;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use opentelemetry::{KeyValue, metrics::MeterProvider, propagation::TextMapPropagator, trace::TraceContextExt};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality, data::ResourceMetrics, exporter::PushMetricExporter};
use prometheus_client::{encoding::EncodeLabelSet, metrics::counter::Counter, metrics::family::Family};
use std::collections::HashMap;
use std::future::Future;
use std::hint::black_box;
use std::path::PathBuf;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tower::{Service, ServiceExt};

/// Runs a future that never has to wait.
fn drive<F: Future>(f: F) -> F::Output {
    let mut f = pin!(f);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(v) = f.as_mut().poll(&mut cx) {
            return v;
        }
    }
}

macro_rules! label_sets {
    ($($k:ident),*) => {
        /// The twenty labels of Istio's standard metrics.
        #[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
        struct Labels { $($k: String),* }
        impl Labels { fn new() -> Self { Labels { $($k: format!("{}-value", stringify!($k))),* } } }
        const NAMES: &[&str] = &[$(stringify!($k)),*];
    };
}
label_sets!(
    reporter, source_workload, source_workload_namespace, source_principal, source_app, source_version, source_cluster,
    destination_workload, destination_workload_namespace, destination_principal, destination_app, destination_version,
    destination_service, destination_service_name, destination_service_namespace, destination_cluster, request_protocol,
    response_code, response_flags, connection_security_policy
);

#[derive(Debug)]
struct NoopMetrics;
impl PushMetricExporter for NoopMetrics {
    async fn export(&self, m: &ResourceMetrics) -> OTelSdkResult {
        black_box(m);
        Ok(())
    }
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

fn request_parts(dir: &std::path::Path, sampled: bool) -> Parts {
    let tok = std::fs::read_to_string(dir.join("rs256.jwt")).unwrap();
    Request::builder()
        .uri("/patients/42")
        .header("host", "localhost")
        .header("user-agent", "bench/1")
        .header("accept", "application/json")
        .header("authorization", format!("Bearer {tok}"))
        .header("traceparent", format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0{}", sampled as u8))
        .body(())
        .unwrap()
        .into_parts()
        .0
}

fn stack(args: &Args) {
    let dir = PathBuf::from(args.get("dir", "keys"));
    let sampling = args.get("sampling", "never");
    let name = args.get("name", "stack");
    let with = app::features(&args.get("stack", ""));
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _in = rt.enter();
    let _provider = (!with.is_empty() && !with.contains("none")).then(|| stack::init_tracing(&sampling, &with));
    let _meters = with.contains("otel-metrics").then(|| {
        let p = SdkMeterProvider::builder().with_reader(PeriodicReader::builder(NoopMetrics).build()).build();
        opentelemetry::global::set_meter_provider(p.clone());
        p
    });
    let mut svc = app::router(&with, &dir, args.num("policies", 10) as usize).into_service::<Body>();
    let parts = request_parts(&dir, sampling == "always");
    let mut one = || {
        let req = Request::from_parts(parts.clone(), Body::empty());
        drive(async {
            let resp = svc.ready().await.unwrap().call(req).await.unwrap();
            assert_eq!(resp.status(), 200);
            resp.into_body().collect().await.unwrap().to_bytes().len()
        })
    };
    assert!(one() > 150);
    bench("stack", &name, &mut one);
    if sampling == "always" {
        bench_process("stack", &format!("{name} (with the export thread)"), &mut one);
    }
    if with.contains("otel") {
        let what = format!("span create+end, 8 fields, {sampling} sampled");
        let mut span = || {
            let s = tracing::trace_span!(target: "otel::tracing", "HTTP request", http.request.method = "GET", http.route = "/patients/{id}",
                network.protocol.version = "1.1", server.address = "localhost", user_agent.original = "bench/1",
                url.path = "/patients/42", url.scheme = "http", otel.kind = "server");
            let _e = s.enter();
            black_box(&s);
        };
        bench("tracing-opentelemetry", &what, &mut span);
        if sampling == "always" {
            bench_process("tracing-opentelemetry", &format!("{what} (with the export thread)"), &mut span);
        }
    }
}

fn jwt(dir: &std::path::Path, backend: &str) {
    for (file, alg) in [("rs256", Algorithm::RS256), ("es256", Algorithm::ES256), ("eddsa", Algorithm::EdDSA)] {
        let pem = std::fs::read(dir.join(format!("{file}.pub.pem"))).unwrap();
        let tok = std::fs::read_to_string(dir.join(format!("{file}.jwt"))).unwrap();
        let key = match alg {
            Algorithm::RS256 => DecodingKey::from_rsa_pem(&pem),
            Algorithm::ES256 => DecodingKey::from_ec_pem(&pem),
            _ => DecodingKey::from_ed_pem(&pem),
        }
        .unwrap();
        let mut v = Validation::new(alg);
        v.set_issuer(&[crate::genkeys::ISSUER]);
        v.set_audience(&[crate::genkeys::AUDIENCE]);
        bench("jwt", &format!("jsonwebtoken {backend} {alg:?}: header + decode to a struct"), || {
            black_box(jsonwebtoken::decode_header(&tok).unwrap());
            jsonwebtoken::decode::<stack::Claims>(&tok, &key, &v).unwrap().claims.exp
        });
        let (msg, s) = tok.rsplit_once('.').unwrap();
        bench("jwt", &format!("jsonwebtoken {backend} {alg:?}: signature only"), || {
            assert!(jsonwebtoken::crypto::verify(s, msg.as_bytes(), &key, alg).unwrap())
        });
    }
}

/// The same signatures through aws-lc-rs, with the key parsed once.
fn raw_crypto(dir: &std::path::Path) {
    use x509_parser::pem::Pem;
    let algs: [(&str, &'static dyn sig::VerificationAlgorithm); 3] =
        [("rs256", &sig::RSA_PKCS1_2048_8192_SHA256), ("es256", &sig::ECDSA_P256_SHA256_FIXED), ("eddsa", &sig::ED25519)];
    for (file, alg) in algs {
        let pem = std::fs::read(dir.join(format!("{file}.pub.pem"))).unwrap();
        let der = Pem::iter_from_buffer(&pem).next().unwrap().unwrap().contents;
        let tok = std::fs::read_to_string(dir.join(format!("{file}.jwt"))).unwrap();
        let (msg, s) = tok.rsplit_once('.').unwrap();
        let s = b64(s);
        let Ok(key) = sig::ParsedPublicKey::new(alg, &der) else {
            eprintln!("{file}: key not accepted");
            continue;
        };
        bench("jwt", &format!("yardstick: aws-lc-rs {file}, key parsed once, signature only"), || {
            key.verify_sig(msg.as_bytes(), &s).unwrap()
        });
    }
    let tok = std::fs::read_to_string(dir.join("rs256.jwt")).unwrap();
    let mut cache: HashMap<String, u64> = HashMap::new();
    cache.insert(tok.clone(), 1);
    let t = tok.clone();
    bench("jwt", &format!("yardstick: lookup of a verified token ({} bytes, SipHash)", tok.len()), || *cache.get(black_box(&t)).unwrap());
    bench("jwt", "yardstick: SHA-256 of the token (aws-lc-rs)", || {
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, black_box(t.as_bytes()))
    });
}

fn b64(s: &str) -> Vec<u8> {
    let val = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'-' => 62,
        _ => 63,
    };
    let mut out = Vec::new();
    for ch in s.as_bytes().chunks(4) {
        let n = ch.iter().enumerate().fold(0u32, |a, (i, c)| a | (val(*c) as u32) << (18 - 6 * i));
        out.extend_from_slice(&n.to_be_bytes()[1..ch.len()]);
    }
    out
}

fn metrics_libs() {
    let labels = Labels::new();
    let fam = Family::<Labels, Counter>::default();
    bench("metrics", "prometheus-client: build 20 labels, get_or_create, inc", || fam.get_or_create(&Labels::new()).inc());
    bench("metrics", "prometheus-client: clone 20 labels, get_or_create, inc", || fam.get_or_create(&black_box(labels.clone())).inc());
    bench("metrics", "prometheus-client: ready label set, get_or_create, inc", || fam.get_or_create(black_box(&labels)).inc());
    let held = fam.get_or_create(&labels).clone();
    bench("metrics", "prometheus-client: held counter, inc", || black_box(&held).inc());

    let rec = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    metrics::set_global_recorder(rec).ok().unwrap();
    let pairs: Vec<(&'static str, String)> = NAMES.iter().map(|n| (*n, format!("{n}-value"))).collect();
    bench("metrics", "metrics + prometheus exporter: 20 owned labels, lookup, inc", || {
        metrics::counter!("istio_requests_total", black_box(&pairs)).increment(1)
    });
    let ready: Vec<metrics::Label> = pairs.iter().map(|(k, v)| metrics::Label::new(*k, v.clone())).collect();
    bench("metrics", "metrics + prometheus exporter: clone of 20 labels, lookup, inc", || {
        metrics::counter!("istio_requests_total", black_box(&ready).clone()).increment(1)
    });
    let held = metrics::counter!("istio_requests_total", &pairs);
    bench("metrics", "metrics + prometheus exporter: held counter, inc", || black_box(&held).increment(1));

    let provider = SdkMeterProvider::builder()
        .with_reader(PeriodicReader::builder(NoopMetrics).with_interval(Duration::from_secs(3600)).build())
        .build();
    let counter = provider.meter("bench").u64_counter("istio_requests_total").build();
    let attrs: Vec<KeyValue> = NAMES.iter().map(|n| KeyValue::new(*n, format!("{n}-value"))).collect();
    bench("metrics", "opentelemetry SDK: ready slice of 20 attributes, add", || counter.add(1, black_box(&attrs)));
    bench("metrics", "opentelemetry SDK: build 20 attributes, add", || {
        let a: Vec<KeyValue> = NAMES.iter().map(|n| KeyValue::new(*n, black_box("value-of-some-length").to_string())).collect();
        counter.add(1, &a)
    });
    let atom = std::sync::atomic::AtomicU64::new(0);
    bench("metrics", "yardstick: one relaxed atomic add", || black_box(&atom).fetch_add(1, std::sync::atomic::Ordering::Relaxed));
}

fn hex<const N: usize>(s: &[u8]) -> Option<[u8; N]> {
    let d = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    for (i, o) in out.iter_mut().enumerate() {
        *o = d(s[2 * i])? << 4 | d(s[2 * i + 1])?;
    }
    Some(out)
}

// The Zipkin crate is on its way out, but its B3 propagator is what Rust has today.
#[allow(deprecated)]
fn propagators() {
    let mut h = HeaderMap::new();
    for (k, v) in [
        ("host", "localhost"),
        ("user-agent", "bench/1"),
        ("accept", "application/json"),
        ("x-request-id", "0b0f4b8e-6d6f-4f0e-9c7f-1f2f3f4f5f6f"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("x-b3-traceid", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("x-b3-spanid", "00f067aa0ba902b7"),
        ("x-b3-sampled", "1"),
    ] {
        h.insert(k, HeaderValue::from_static(v));
    }
    let mut single = h.clone();
    single.insert("b3", HeaderValue::from_static("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1"));
    let w3c = opentelemetry_sdk::propagation::TraceContextPropagator::new();
    let b3 = opentelemetry_zipkin::Propagator::new();
    let b3s = opentelemetry_zipkin::Propagator::with_encoding(opentelemetry_zipkin::B3Encoding::SingleHeader);
    let none = opentelemetry::Context::new();
    let cx = w3c.extract_with_context(&none, &HeaderExtractor(&h));
    assert!(cx.span().span_context().is_valid());
    assert!(b3.extract_with_context(&none, &HeaderExtractor(&h)).span().span_context().is_valid());
    bench("propagation", "opentelemetry W3C extract", || w3c.extract_with_context(&none, &HeaderExtractor(black_box(&h))));
    bench("propagation", "opentelemetry-zipkin B3 multi-header extract", || b3.extract_with_context(&none, &HeaderExtractor(black_box(&h))));
    bench("propagation", "opentelemetry-zipkin B3 single-header extract", || b3s.extract_with_context(&none, &HeaderExtractor(black_box(&single))));
    let mut out = HeaderMap::with_capacity(16);
    bench("propagation", "opentelemetry W3C inject", || w3c.inject_context(&cx, &mut HeaderInjector(black_box(&mut out))));
    bench("propagation", "opentelemetry-zipkin B3 multi-header inject", || b3.inject_context(&cx, &mut HeaderInjector(black_box(&mut out))));
    bench("propagation", "yardstick: traceparent looked up and parsed by hand", || {
        let v = black_box(&h).get("traceparent")?.as_bytes();
        if v.len() < 55 || v[2] != b'-' || v[35] != b'-' || v[52] != b'-' {
            return None;
        }
        Some((hex::<16>(&v[3..35])?, hex::<8>(&v[36..52])?, hex::<1>(&v[53..55])?))
    });
    bench("propagation", "yardstick: 9 mesh headers copied between maps (refcounted values)", || {
        let mut o = HeaderMap::with_capacity(16);
        for k in ["x-request-id", "traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"] {
            if let Some(v) = black_box(&h).get(k) {
                o.insert(k, v.clone());
            }
        }
        o
    });
    bench("clock", "yardstick: Instant::now", std::time::Instant::now);
}

pub fn run(args: &Args) {
    if args.has("stack") {
        return stack(args);
    }
    let dir = PathBuf::from(args.get("dir", "keys"));
    let backend = args.get("jwt-backend", "aws");
    jwt(&dir, &backend);
    if backend != "aws" {
        return;
    }
    raw_crypto(&dir);
    metrics_libs();
    propagators();
    // The parts that every stack row contains.
    let parts = request_parts(&dir, false);
    bench("stack", "build the request (part of every stack row)", || Request::from_parts(black_box(&parts).clone(), Body::empty()));
    let mut bare = tower::service_fn(|r: Request<Body>| async move { Ok::<_, std::convert::Infallible>(axum::response::Response::new(r.into_body())) });
    bench("stack", "tower service_fn, no router", || {
        let req = Request::from_parts(parts.clone(), Body::empty());
        drive(async { bare.ready().await.unwrap().call(req).await.unwrap() })
    });
}
