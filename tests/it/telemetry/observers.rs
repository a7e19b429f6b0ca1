//! What observers of requests and of calls are told, for each way that an exchange can end.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use tokio::sync::{Notify, mpsc};
use tower::{ServiceExt, service_fn};
use tower_mesh::context::Exchange;
use tower_mesh::message::Report;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder, Workload};

use crate::support::mesh::{Fed, app, build, lines, proven, serve, until};

type Observer = Box<dyn Fn(&Report<'_>) + Send + Sync>;

/// What observers were told, in order, each with its name.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn observer(&self, name: &'static str) -> Observer {
        let told = self.clone();
        Box::new(move |report| {
            let age = SystemTime::now().duration_since(report.started());
            assert!(age.unwrap() >= report.duration);
            let code = |status: Option<StatusCode>| status.map_or(0, |status| status.as_u16());
            let peer = report.peer.and_then(|peer| peer.principal());
            let account = peer.and_then(|peer| peer.rsplit('/').next());
            let details = report.exchange.and_then(Exchange::details);
            told.0.lock().unwrap().push(format!(
                "{name} {:?} {:?} {} {}{} {} {} {:?} {} {}/{} {} {}",
                report.direction,
                report.version,
                report.method,
                report.authority.unwrap_or("-"),
                report.path.unwrap_or("-"),
                code(report.status),
                code(report.counted_status),
                report.end.kind,
                report.flags,
                report.request_bytes,
                report.response_bytes(),
                account.unwrap_or("-"),
                details.map_or("-", |details| details),
            ));
        })
    }

    async fn wait(&self, count: usize) -> Vec<String> {
        until("exchanges to end", || self.0.lock().unwrap().len() >= count).await;
        let mut told = std::mem::take(&mut *self.0.lock().unwrap());
        told.sort();
        told
    }
}

fn panicking() -> Observer {
    Box::new(|_| panic!("an observer panics"))
}

/// Two observers, and one between them that panics.
fn observed(builder: MeshBuilder, told: &Told) -> MeshBuilder {
    builder.telemetry(|telemetry| {
        telemetry
            .on_complete(told.observer("1st"))
            .on_complete(panicking())
            .on_complete(told.observer("2nd"))
    })
}

fn desk(pki: &Pki, address: std::net::SocketAddr, told: &Told) -> MeshBuilder {
    let app = pki.identity("default", "app").unwrap();
    let identity = pki.identity("default", "desk").unwrap();
    Mesh::builder(Workload::new("default", "desk"), identity)
        .upstream("app.default", [address], [app.svid().spiffe_id().clone()])
        .telemetry(|telemetry| {
            telemetry
                .on_call_complete(told.observer("1st"))
                .on_call_complete(panicking())
                .on_call_complete(told.observer("2nd"))
        })
}

const POLICY: &str = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec: {action: DENY, rules: [{to: [{operation: {paths: [/refused]}}]}]}\n";

fn fed() -> (mpsc::UnboundedSender<http_body::Frame<Bytes>>, Body) {
    let (frames, fed) = mpsc::unbounded_channel();
    frames
        .send(http_body::Frame::data(Bytes::from_static(b"begun")))
        .unwrap();
    (frames, Body::new(Fed(fed)))
}

async fn panics() -> &'static str {
    panic!("a handler panics")
}

/// A body fails at `/broken` once its beginning is heard.
fn routes(heard: &Arc<Notify>) -> Router {
    let heard = Arc::clone(heard);
    let broken = || async move {
        let (pieces, piped) = mpsc::unbounded_channel();
        pieces.send(Ok(Bytes::from_static(b"some"))).unwrap();
        tokio::spawn(async move {
            heard.notified().await;
            pieces.send(Err("broken")).unwrap();
        });
        Body::from_stream(Piped(piped))
    };
    let endless = || async {
        let (frames, body) = fed();
        std::mem::forget(frames);
        body
    };
    let late = || std::future::pending::<&str>();
    let upgrade = || async {
        let head = Response::builder().status(101);
        let head = head
            .header("connection", "upgrade")
            .header("upgrade", "echo");
        head.body(Body::empty()).unwrap()
    };
    Router::new()
        .route(
            "/ok",
            any(|body: String| async move { format!("read {body}") }),
        )
        .route("/panic", any(panics))
        .route("/broken", get(broken))
        .route("/endless", get(endless))
        .route("/late", get(late))
        .route("/upgrade", get(upgrade))
}

/// A stream that is fed from outside.
struct Piped(mpsc::UnboundedReceiver<Result<Bytes, &'static str>>);

impl futures_core::Stream for Piped {
    type Item = Result<Bytes, &'static str>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

/// One call, and what the observers of both ends are told of it, without their names.
struct Row {
    path: &'static str,
    version: Version,
    inbound: &'static str,
    outbound: &'static str,
}

const ROWS: [Row; 9] = [
    Row {
        path: "/ok",
        version: Version::HTTP_11,
        inbound: "Inbound HTTP/1.1 POST app.default/ok 200 200 Complete - 5/10 desk -",
        outbound: "Outbound HTTP/1.1 POST app.default/ok 200 200 Complete - 5/10 app -",
    },
    Row {
        path: "/ok?access_token=secret",
        version: Version::HTTP_2,
        inbound: "Inbound HTTP/2.0 POST app.default/ok 200 200 Complete - 5/10 desk -",
        outbound: "Outbound HTTP/2.0 POST app.default/ok 200 200 Complete - 5/10 app -",
    },
    Row {
        path: "/refused",
        version: Version::HTTP_2,
        inbound: "Inbound HTTP/2.0 GET app.default/refused 403 403 Complete - 0/19 desk rbac_access_denied_matched_policy[ns[default]-policy[p]-rule[0]]",
        outbound: "Outbound HTTP/2.0 GET app.default/refused 403 403 Complete - 0/19 app -",
    },
    Row {
        path: "/panic",
        version: Version::HTTP_2,
        inbound: "Inbound HTTP/2.0 GET app.default/panic 500 500 Complete - 0/14 desk handler_panicked",
        outbound: "Outbound HTTP/2.0 GET app.default/panic 500 500 Complete - 0/14 app -",
    },
    Row {
        path: "/broken",
        version: Version::HTTP_2,
        inbound: "Inbound HTTP/2.0 GET app.default/broken 200 200 Failed UC 0/4 desk -",
        outbound: "Outbound HTTP/2.0 GET app.default/broken 200 200 Failed UR 0/4 app -",
    },
    Row {
        path: "/endless",
        version: Version::HTTP_2,
        inbound: "Inbound HTTP/2.0 GET app.default/endless 200 200 Cancelled DR 0/5 desk -",
        outbound: "Outbound HTTP/2.0 GET app.default/endless 200 200 Cancelled DC 0/5 app -",
    },
    Row {
        path: "/late",
        version: Version::HTTP_11,
        inbound: "Inbound HTTP/1.1 GET app.default/late 0 0 Cancelled DC 0/0 desk -",
        outbound: "Outbound HTTP/1.1 GET app.default/late 0 504 Failed UT 0/0 app -",
    },
    Row {
        path: "/late",
        version: Version::HTTP_2,
        inbound: "Inbound HTTP/2.0 GET app.default/late 0 0 Cancelled DR 0/0 desk -",
        outbound: "Outbound HTTP/2.0 GET app.default/late 0 504 Failed UT 0/0 app -",
    },
    Row {
        path: "/upgrade",
        version: Version::HTTP_11,
        inbound: "Inbound HTTP/1.1 GET app.default/upgrade 101 101 Complete - 0/0 desk -",
        outbound: "Outbound HTTP/1.1 GET app.default/upgrade 101 101 Complete - 0/0 app -",
    },
];

/// Each observer, in both directions, is told once of each end, whatever another one does.
#[tokio::test]
async fn every_observer_is_told_of_every_end() {
    let pki = Pki::new("cluster.local").unwrap();
    let (requests, calls) = (Told::default(), Told::default());
    let builder = app(&pki).config(Fixed::yaml("p.yaml", POLICY));
    let mesh = build(observed(builder, &requests)).await;
    let heard = Arc::default();
    let served = serve(&mesh, routes(&heard)).await;
    let desk = build(desk(&pki, served.address, &calls)).await;
    for row in ROWS {
        let (path, version) = (row.path, row.version);
        let (client, uri) = (desk.client(), format!("http://app.default{path}"));
        let call = match path.starts_with("/ok") {
            true => client.post(uri).body("hello"),
            false => client.get(uri),
        };
        let call = call.version(version);
        let call = match path {
            "/upgrade" => call
                .header("connection", "upgrade")
                .header("upgrade", "echo"),
            "/late" => call.timeout(Duration::from_millis(50)),
            _ => call,
        };
        match (path, call.await) {
            ("/endless" | "/broken", Ok(answer)) => {
                let mut body = answer.into_body();
                body.frame().await.unwrap().unwrap();
                if path == "/broken" {
                    heard.notify_one();
                    assert!(body.frame().await.unwrap().is_err());
                }
            }
            (_, Ok(answer)) => drop(answer.into_body().collect().await),
            (_, Err(error)) => assert!(error.is_timeout(), "{path}: {error}"),
        }
        let twice = |line: &str| [format!("1st {line}"), format!("2nd {line}")];
        assert_eq!(requests.wait(2).await, twice(row.inbound), "{version:?}");
        assert_eq!(calls.wait(2).await, twice(row.outbound), "{version:?}");
    }
    // The observers that panic have not cost the metrics anything, either.
    for mesh in [&mesh, &desk] {
        let count = |line: &String| line.rsplit(' ').next()?.parse::<usize>().ok();
        let counted = lines(mesh, "istio_requests_total", &[]);
        assert_eq!(counted.iter().filter_map(count).sum::<usize>(), ROWS.len());
    }
}

/// A second observer does not take the first one's place, and they are called in order.
#[tokio::test]
async fn observers_are_called_in_the_order_in_which_they_are_given() {
    let pki = Pki::new("cluster.local").unwrap();
    let told = Told::default();
    let names = ["1st", "2nd", "3rd"];
    let builder = names.iter().fold(app(&pki), |builder, name| {
        builder.telemetry(|telemetry| telemetry.on_complete(told.observer(name)))
    });
    let mesh = build(builder).await;
    let service = service_fn(|_: Request<_>| async {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let request = Request::get("/")
        .header("host", "app")
        .extension(proven("desk"));
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    drop(mesh.protect(service).oneshot(request).await.unwrap());
    let told = told.0.lock().unwrap().clone();
    assert_eq!(told.len(), 3, "{told:?}");
    for (line, name) in told.iter().zip(names) {
        assert!(line.starts_with(name), "{told:?}");
    }
}

/// A call that goes nowhere is told of, too, with the request during which it was made.
#[tokio::test]
async fn calls_that_fail_and_calls_within_requests_are_told() {
    let pki = Pki::new("cluster.local").unwrap();
    let (requests, calls) = (Told::default(), Told::default());
    let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let desk = build(desk(&pki, nowhere, &calls)).await;
    let client = desk.client();
    let unknown = client.get("http://unknown.default/x").await.unwrap_err();
    let refused = client.get("http://app.default/x").await.unwrap_err();
    let told = calls.wait(4).await;
    for (error, status) in [(unknown, 404), (refused, 503)] {
        assert_eq!(error.status().as_u16(), status);
        let flags = error.flags();
        let host = if flags.to_string() == "UF" {
            "app"
        } else {
            "unknown"
        };
        let line = told.iter().find(|line| line.contains(host));
        let line = line.cloned().unwrap_or_else(|| panic!("{told:?}"));
        let end = format!("GET {host}.default/x 0 {status} Failed {flags} 0/0 - -");
        assert!(line.ends_with(&end), "{told:?}");
    }

    let relay = client.clone();
    let service = service_fn(move |_: Request<_>| {
        let call = relay.get("http://unknown.default/within");
        async move {
            let failed = call.await.is_err();
            assert!(failed);
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let told = calls.clone();
    let mesh = build(observed(app(&pki), &requests)).await;
    let request = Request::get("/")
        .header("host", "app")
        .extension(proven("desk"));
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    drop(mesh.protect(service).oneshot(request).await.unwrap());
    assert_eq!(told.wait(2).await.len(), 2);
    assert_eq!(requests.wait(2).await.len(), 2);
}

/// A panic of an observer while a panic unwinds does not abort the process.
#[tokio::test]
async fn an_observer_may_panic_while_the_thread_unwinds() {
    let pki = Pki::new("cluster.local").unwrap();
    let told = Told::default();
    let mesh = build(observed(app(&pki), &told)).await;
    let service = service_fn(|_: Request<_>| async { Ok::<_, Infallible>(Response::new(fed().1)) });
    let request = Request::get("/")
        .header("host", "app")
        .extension(proven("desk"));
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let response = mesh.protect(service).oneshot(request).await.unwrap();
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _response = response;
        panic!("what holds the response panics")
    }));
    assert!(unwound.is_err());
    let line = "Inbound HTTP/1.1 GET app/ 200 200 Cancelled DC 0/0 desk -";
    let told = told.wait(2).await;
    assert_eq!(told, [format!("1st {line}"), format!("2nd {line}")]);
}
