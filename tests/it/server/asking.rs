//! Guards of the application that ask before they judge: what a request that waits may meet, over
//! both versions of HTTP.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower_mesh::context::{self, Exchange};
use tower_mesh::guard::{Answer, Guard, Question, Verdict};
use tower_mesh::message::{EndKind, LocalReply, ResponseFlags};
use tower_mesh::source::{Directory, Fixed, Watch};
use tower_mesh::testing::Pki;
use tower_mesh::tls::Protocol;
use tower_mesh::{Mesh, MeshBuilder};
use tracing::Level;

use crate::support::log::Log as Lines;
use crate::support::mesh::{
    Fed, Log, Seen, Served, app, build, dial, get, get2, http1, http2, lines, pass_until, policy,
    read, reader, serve, until, write,
};

const BOTH: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks the test about every request.
struct Clerk(mpsc::UnboundedSender<Asked>);

/// The questions of a [`Clerk`], as they come.
struct Desk(mpsc::UnboundedReceiver<Asked>);

/// A request that waits.
struct Asked {
    path: String,
    answer: oneshot::Sender<Answer>,
    /// The trace that the question was polled in.
    trace: oneshot::Receiver<Option<String>>,
}

impl Clerk {
    fn new() -> (Self, Desk) {
        let (asks, asked) = mpsc::unbounded_channel();
        (Self(asks), Desk(asked))
    }
}

impl Guard for Clerk {
    fn judge(&self, head: &mut Parts, _: &Exchange) -> Verdict {
        let (answer, answered) = oneshot::channel();
        let (told, trace) = oneshot::channel();
        let path = head.uri.path().to_owned();
        let asked = Asked {
            path,
            answer,
            trace,
        };
        self.0.send(asked).ok().unwrap();
        Verdict::Ask(Question::new(async move {
            let trace = context::current_trace();
            let _ = told.send(trace.map(|trace| trace.trace_id.to_string()));
            answered.await.unwrap()
        }))
    }
}

impl Desk {
    async fn next(&mut self) -> Asked {
        let asked = timeout(PATIENCE, self.0.recv()).await;
        asked.expect("nobody asks").unwrap()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Asked {
    fn answer(self, answer: Answer) {
        self.answer.send(answer).expect("nobody waits");
    }

    /// The question has been dropped.
    async fn dropped(mut self) {
        let dropped = timeout(PATIENCE, self.answer.closed()).await;
        dropped.expect("the question is still there");
    }
}

fn refusal() -> LocalReply {
    LocalReply::new(StatusCode::TOO_MANY_REQUESTS, "come back", "quota_exceeded")
        .flags(ResponseFlags::RATE_LIMITED)
}

/// A caller of either version.
enum Caller<B> {
    Http1(http1::SendRequest<B>),
    Http2(http2::SendRequest<B>),
}

impl<B> Caller<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static,
{
    async fn new(ward: &Ward, protocol: Protocol) -> Self {
        let address = ward.served.address;
        match protocol {
            Protocol::Http1 => Self::Http1(http1(&ward.pki, "desk", address).await),
            _ => Self::Http2(http2(&ward.pki, "desk", address).await),
        }
    }

    /// Sends a request, which waits in a task of its own.
    fn send(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: B,
    ) -> JoinHandle<hyper::Result<Response<Incoming>>> {
        let builder = match self {
            Self::Http1(_) => get(path),
            Self::Http2(_) => get2(path),
        };
        let named = |request: http::request::Builder, (name, value): &(&str, &str)| {
            request.header(*name, *value)
        };
        let request: Request<B> = headers
            .iter()
            .fold(builder, named)
            .method("POST")
            .body(body)
            .unwrap();
        match self {
            Self::Http1(sender) => tokio::spawn(sender.send_request(request)),
            Self::Http2(sender) => tokio::spawn(sender.send_request(request)),
        }
    }
}

impl Caller<Full<Bytes>> {
    fn ask(&mut self, path: &str) -> JoinHandle<hyper::Result<Response<Incoming>>> {
        self.send(path, &[], Full::default())
    }
}

async fn answered(
    asking: JoinHandle<hyper::Result<Response<Incoming>>>,
) -> (u16, HeaderMap, String) {
    let answer = timeout(PATIENCE, asking).await;
    read(answer.expect("no answer").unwrap().unwrap()).await
}

/// A workload whose application counts its calls and shows a header that guards may add.
struct Ward {
    pki: Pki,
    mesh: Mesh,
    served: Served,
    log: Log,
    calls: Arc<AtomicUsize>,
}

impl Ward {
    async fn new(with: impl FnOnce(MeshBuilder) -> MeshBuilder) -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&calls);
        let router = Router::new().fallback(any(move |headers: HeaderMap| async move {
            count.fetch_add(1, Ordering::Relaxed);
            let plan = headers.get("x-plan").map(HeaderValue::as_bytes);
            String::from_utf8_lossy(plan.unwrap_or(b"hello")).into_owned()
        }));
        let ward = Self::serving(router, with).await;
        Self { calls, ..ward }
    }

    async fn serving(router: Router, with: impl FnOnce(MeshBuilder) -> MeshBuilder) -> Self {
        let pki = Pki::new("cluster.local").unwrap();
        let log = Log::default();
        let builder = app(&pki).telemetry(|telemetry| telemetry.on_complete(log.observe()));
        let mesh = build(with(builder)).await;
        let served = serve(&mesh, router).await;
        Self {
            pki,
            mesh,
            served,
            log,
            calls: Arc::default(),
        }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// How many requests are counted with all these labels.
    fn counted(&self, labels: &[&str]) -> u64 {
        let found = lines(&self.mesh, "istio_requests_total{", labels);
        let counts = found.iter().map(|line| line.rsplit_once(' ').unwrap().1);
        counts.map(|count| count.parse::<u64>().unwrap()).sum()
    }
}

fn seen(status: u16, flags: ResponseFlags, details: Option<&str>) -> Seen {
    Seen {
        status: Some(status),
        end: EndKind::Complete,
        flags,
        details: details.map(str::to_owned),
    }
}

#[tokio::test]
async fn a_request_passes_after_its_wait() {
    for protocol in BOTH {
        let (clerk, mut desk) = Clerk::new();
        let ward = Ward::new(|builder| builder.guard(clerk)).await;
        let mut caller = Caller::new(&ward, protocol).await;
        let trace = (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
        );
        let asking = caller.send("/a", &[trace], Full::default());
        let asked = desk.next().await;
        assert_eq!((asked.path.as_str(), ward.calls()), ("/a", 0));
        let Asked { answer, trace, .. } = asked;
        // What the question calls belongs to the trace of the request.
        let trace = timeout(PATIENCE, trace).await.unwrap().unwrap();
        assert_eq!(trace.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert!(!asking.is_finished() && ward.log.all().is_empty());
        answer.send(Answer::Pass).unwrap();
        let (status, _, body) = answered(asking).await;
        assert_eq!((status, body.as_str(), ward.calls()), (200, "hello", 1));
        let told = ward.log.wait(1).await;
        assert_eq!(told, [seen(200, ResponseFlags::none(), None)]);
        assert_eq!(ward.counted(&[]), 1);
    }
}

#[tokio::test]
async fn a_request_is_refused_after_its_wait() {
    for protocol in BOTH {
        let (clerk, mut desk) = Clerk::new();
        let ward = Ward::new(|builder| builder.guard(clerk)).await;
        let mut caller = Caller::new(&ward, protocol).await;
        let asking = caller.ask("/a");
        desk.next().await.answer(Answer::Refuse(refusal()));
        let (status, _, body) = answered(asking).await;
        assert_eq!((status, body.as_str()), (429, "come back"));
        let grpc = ("content-type", "application/grpc");
        let asking = caller.send("/a", &[grpc], Full::default());
        desk.next().await.answer(Answer::Refuse(refusal()));
        let (status, headers, body) = answered(asking).await;
        assert_eq!((status, body.as_str()), (200, ""));
        assert_eq!(headers["grpc-status"], "14");
        assert_eq!(headers["grpc-message"], "come back");
        // A change may refuse, too.
        let asking = caller.ask("/a");
        let changed = Answer::change(|_, _| Err(refusal()));
        desk.next().await.answer(changed);
        assert_eq!(answered(asking).await.0, 429);
        let told = ward.log.wait(3).await;
        let limited = |status| seen(status, ResponseFlags::RATE_LIMITED, Some("quota_exceeded"));
        assert_eq!(told, [limited(429), limited(200), limited(429)]);
        assert_eq!(ward.counted(&[r#"response_flags="RL""#]), 3);
        assert_eq!((ward.counted(&[]), ward.calls()), (3, 0));
    }
}

/// The limit of events is shared with every test of the process: a request whose event is left out
/// is sent again.
#[tokio::test]
async fn a_refusal_after_a_wait_leaves_its_event() {
    let (log, _guard) = Lines::listen(Level::INFO);
    let (clerk, mut desk) = Clerk::new();
    let ward = Ward::new(|builder| builder.guard(clerk)).await;
    let mut caller = Caller::new(&ward, Protocol::Http2).await;
    let event = &[
        "tower_mesh::access",
        "request refused",
        "reason=quota_exceeded",
    ];
    let told = timeout(PATIENCE, async {
        loop {
            let asking = caller.ask("/a?name=secret");
            desk.next().await.answer(Answer::Refuse(refusal()));
            answered(asking).await;
            if let Some(line) = log.with(event).pop() {
                break line;
            }
        }
    });
    let line = told.await.unwrap();
    for piece in [
        "peer=cluster.local/ns/default/sa/desk",
        "method=POST",
        "path=/a ",
        "status=429",
        "host=app.default",
    ] {
        assert!(line.contains(piece), "{piece}: {line}");
    }
    assert!(!line.contains("secret"), "{line}");
}

#[tokio::test]
async fn an_answer_may_change_the_request() {
    for protocol in BOTH {
        let (clerk, mut desk) = Clerk::new();
        let ward = Ward::new(|builder| builder.guard(clerk)).await;
        let mut caller = Caller::new(&ward, protocol).await;
        let asking = caller.send("/a", &[("x-plan", "forged")], Full::default());
        desk.next().await.answer(Answer::change(|head, exchange| {
            assert!(exchange.peer().is_some());
            assert!(context::current().is_some());
            let plan = HeaderValue::from_static("gold");
            head.headers.insert("x-plan", plan);
            Ok(())
        }));
        let (status, _, body) = answered(asking).await;
        assert_eq!((status, body.as_str()), (200, "gold"));
    }
}

#[tokio::test]
async fn two_guards_ask_one_after_the_other() {
    for protocol in BOTH {
        let ((first, mut first_desk), (second, mut second_desk)) = (Clerk::new(), Clerk::new());
        let ward = Ward::new(|builder| builder.guard(first).guard(second)).await;
        let mut caller = Caller::new(&ward, protocol).await;
        for (answer, status) in [(Answer::Pass, 200), (Answer::Refuse(refusal()), 429)] {
            let asking = caller.ask("/a");
            let asked = first_desk.next().await;
            assert!(second_desk.is_empty());
            asked.answer(Answer::Pass);
            let asked = second_desk.next().await;
            assert!(!asking.is_finished());
            asked.answer(answer);
            assert_eq!(answered(asking).await.0, status);
        }
        // One that refuses spares those behind it.
        let asking = caller.ask("/a");
        first_desk.next().await.answer(Answer::Refuse(refusal()));
        assert_eq!(answered(asking).await.0, 429);
        assert!(first_desk.is_empty() && second_desk.is_empty());
        assert_eq!((ward.calls(), ward.counted(&[])), (1, 3));
    }
}

#[tokio::test]
async fn a_guard_is_not_asked_when_the_rules_have_refused() {
    for protocol in BOTH {
        let (clerk, mut desk) = Clerk::new();
        let closed = policy("p", "DENY", "[{to: [{operation: {paths: [/closed]}}]}]");
        let config = Fixed::yaml("p.yaml", closed);
        let ward = Ward::new(|builder| builder.config(config).guard(clerk)).await;
        let mut caller = Caller::new(&ward, protocol).await;
        assert_eq!(answered(caller.ask("/closed")).await.0, 403);
        assert!(desk.is_empty());
        let asking = caller.ask("/open");
        let asked = desk.next().await;
        assert_eq!(asked.path, "/open");
        asked.answer(Answer::Pass);
        assert_eq!(answered(asking).await.0, 200);
    }
}

#[tokio::test]
async fn a_body_is_whole_after_the_wait() {
    for protocol in BOTH {
        let (clerk, mut desk) = Clerk::new();
        let ward = Ward::serving(reader(), |builder| builder.guard(clerk)).await;
        let mut caller = Caller::new(&ward, protocol).await;
        let (frames, body) = mpsc::unbounded_channel();
        let piece = || Frame::data(Bytes::from(vec![b'x'; 100_000]));
        frames.send(piece()).unwrap();
        let asking = caller.send("/a", &[], Fed(body));
        let asked = desk.next().await;
        frames.send(piece()).unwrap();
        asked.answer(Answer::Pass);
        frames.send(piece()).unwrap();
        drop(frames);
        let (status, _, text) = answered(asking).await;
        assert_eq!((status, text.as_str()), (200, "read 300000"));
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_its_question_along() {
    for protocol in BOTH {
        let (clerk, mut desk) = Clerk::new();
        let ward = Ward::new(|builder| builder.guard(clerk)).await;
        let mut other = Caller::new(&ward, Protocol::Http2).await;
        let waiting = match protocol {
            Protocol::Http1 => {
                let mut stream = dial(&ward.pki, "desk", ward.served.address, protocol).await;
                let request = b"GET /a HTTP/1.1\r\nhost: app.default\r\n\r\n";
                stream.write_all(request).await.unwrap();
                let asked = desk.next().await;
                drop(stream);
                asked
            }
            _ => {
                let asking = other.ask("/a");
                let asked = desk.next().await;
                asking.abort();
                asked
            }
        };
        waiting.dropped().await;
        let told = ward.log.wait(1).await;
        // On HTTP/2 the connection stays, so that the stream was reset.
        let (flags, name) = match protocol {
            Protocol::Http1 => (ResponseFlags::DOWNSTREAM_DISCONNECT, "DC"),
            _ => (ResponseFlags::DOWNSTREAM_RESET, "DR"),
        };
        let cancelled = Seen {
            status: None,
            end: EndKind::Cancelled,
            flags,
            details: None,
        };
        assert_eq!(told, [cancelled]);
        let flags = format!("response_flags=\"{name}\"");
        assert_eq!(ward.counted(&[&flags]), 1);
        // Another request is not harmed, on HTTP/2 on the same connection.
        let asking = other.ask("/b");
        desk.next().await.answer(Answer::Pass);
        assert_eq!(answered(asking).await.0, 200);
        assert_eq!((ward.calls(), ward.counted(&[])), (1, 2));
    }
}

/// Panics where the path says.
struct Careless;

/// A question that is answered at once, and panics when it is dropped.
struct Fragile;

impl Future for Fragile {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Answer> {
        Poll::Ready(Answer::Pass)
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        panic!("while dropped");
    }
}

impl Guard for Careless {
    fn judge(&self, head: &mut Parts, _: &Exchange) -> Verdict {
        let path = head.uri.path().to_owned();
        match path.as_str() {
            "/judge" => panic!("while judging"),
            "/drop" => return Verdict::Ask(Question::new(Fragile)),
            _ => {}
        }
        Verdict::Ask(Question::new(async move {
            tokio::task::yield_now().await;
            match path.as_str() {
                "/question" => panic!("while asking"),
                "/change" => Answer::change(|_, _| panic!("while changing")),
                _ => Answer::Pass,
            }
        }))
    }
}

#[tokio::test]
async fn a_panic_of_a_guard_harms_no_other_request() {
    for protocol in BOTH {
        let (clerk, mut desk) = Clerk::new();
        let ward = Ward::new(|builder| builder.guard(Careless).guard(clerk)).await;
        let mut caller = Caller::new(&ward, protocol).await;
        let mut other = Caller::new(&ward, Protocol::Http2).await;
        // One that waits at the second guard all the while; over HTTP/2 it shares a connection with
        // those that panic.
        let asking = match &mut caller {
            Caller::Http1(_) => other.ask("/waits"),
            Caller::Http2(_) => caller.ask("/waits"),
        };
        let waiting = desk.next().await;
        let paths = ["/judge", "/question", "/drop", "/change"];
        for path in paths {
            let (status, _, body) = answered(caller.ask(path)).await;
            assert_eq!((status, body.as_str()), (500, "internal error"), "{path}");
        }
        let grpc = ("content-type", "application/grpc");
        let panicked = caller.send("/question", &[grpc], Full::default());
        assert_eq!(answered(panicked).await.1["grpc-status"], "13");
        let told = ward.log.wait(paths.len()).await;
        for told in &told[..paths.len()] {
            let wanted = seen(500, ResponseFlags::none(), Some("handler_panicked"));
            assert_eq!(*told, wanted);
        }
        assert!(desk.is_empty() && !asking.is_finished());
        waiting.answer(Answer::Pass);
        assert_eq!(answered(asking).await.0, 200);
        assert_eq!((ward.calls(), ward.counted(&[])), (1, 6));
    }
}

/// One request is judged by one generation, also across a wait.
#[tokio::test]
async fn a_reload_does_not_change_what_a_waiting_request_is_judged_by() {
    for protocol in BOTH {
        let directory = tempfile::tempdir().unwrap();
        let allows = policy("p", "ALLOW", "[{}]");
        write(directory.path(), &allows);
        let watch = Watch::new(Directory::new(directory.path()));
        let ((first, mut first_desk), (second, mut second_desk)) = (Clerk::new(), Clerk::new());
        let ward = Ward::new(|builder| builder.config(watch).guard(first).guard(second)).await;
        let mut caller = Caller::new(&ward, protocol).await;
        let asking = caller.ask("/a");
        let asked = first_desk.next().await;
        let generation = ward.mesh.readiness().generation;
        write(directory.path(), &(allows + &policy("d", "DENY", "[{}]")));
        pass_until("the reload", || {
            ward.mesh.readiness().generation > generation
        })
        .await;
        let mut next = Caller::new(&ward, protocol).await;
        let refused = answered(next.ask("/a")).await;
        assert_eq!(
            (refused.0, refused.2.as_str()),
            (403, "RBAC: access denied")
        );
        asked.answer(Answer::Pass);
        second_desk.next().await.answer(Answer::Pass);
        assert_eq!(answered(asking).await.0, 200);
        assert!(first_desk.is_empty() && second_desk.is_empty());
    }
}

async fn shut(ward: &Ward, grace: Duration) {
    ward.mesh.shutdown(grace);
    until("the listener to close", || {
        std::net::TcpStream::connect(ward.served.address).is_err()
    })
    .await;
}

/// R-11: a request that waits is under way.
#[tokio::test]
async fn a_drain_lets_a_waiting_request_finish_and_then_closes() {
    for protocol in BOTH {
        let (clerk, mut desk) = Clerk::new();
        let ward = Ward::new(|builder| builder.guard(clerk)).await;
        let mut caller = Caller::new(&ward, protocol).await;
        let asking = caller.ask("/a");
        let asked = desk.next().await;
        shut(&ward, Duration::from_secs(300)).await;
        assert!(!ward.served.serving.is_finished() && !asking.is_finished());
        asked.answer(Answer::Pass);
        let (status, headers, _) = answered(asking).await;
        assert_eq!((status, ward.calls()), (200, 1));
        if let Protocol::Http1 = protocol {
            assert_eq!(headers[header::CONNECTION], "close");
        }
        let drained = timeout(PATIENCE, ward.served.serving).await.unwrap();
        let drained = drained.unwrap().unwrap();
        assert_eq!((drained.cut, drained.cut_streams), (0, 0));
    }
}

#[tokio::test]
async fn a_drain_cuts_a_request_that_waits_for_too_long() {
    for protocol in BOTH {
        let (clerk, mut desk) = Clerk::new();
        let ward = Ward::new(|builder| builder.guard(clerk)).await;
        let mut caller = Caller::new(&ward, protocol).await;
        let asking = caller.ask("/a");
        let asked = desk.next().await;
        shut(&ward, Duration::from_secs(300)).await;
        ward.mesh.shutdown(Duration::ZERO);
        asked.dropped().await;
        assert!(timeout(PATIENCE, asking).await.unwrap().unwrap().is_err());
        let drained = timeout(PATIENCE, ward.served.serving).await.unwrap();
        let drained = drained.unwrap().unwrap();
        assert_eq!((drained.cut, drained.cut_streams), (1, 1));
        let told = ward.log.wait(1).await;
        assert_eq!((told.len(), told[0].end), (1, EndKind::Cancelled));
        assert_eq!(ward.calls.load(Ordering::Relaxed), 0);
    }
}
