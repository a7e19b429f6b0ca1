//! A Workload API of our own over a Unix socket, and what our source makes of its answers.

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::{Mutex, mpsc};
use tower_mesh::identity::TrustDomain;
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::{Rotation, Settings, Source, WorkloadApi};

const OURS: &str = "spiffe://td/ns/default/sa/ours";

struct Agent {
    directory: TempDir,
    answers: mpsc::Sender<Bytes>,
    asked: Arc<AtomicUsize>,
    serving: tokio::task::JoinHandle<()>,
}

impl Agent {
    fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let socket = UnixListener::bind(directory.path().join("agent.sock")).unwrap();
        let (answers, receiver) = mpsc::channel(8);
        let receiver = Arc::new(Mutex::new(receiver));
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                let (receiver, count) = (Arc::clone(&receiver), Arc::clone(&count));
                let answer = move |request| {
                    count.fetch_add(1, Ordering::Relaxed);
                    answer(request, Arc::clone(&receiver))
                };
                let service = hyper::service::service_fn(answer);
                let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(http2.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self {
            directory,
            answers,
            asked,
            serving,
        }
    }

    fn address(&self) -> String {
        address(self.directory.path())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn address(directory: &Path) -> String {
    format!("unix://{}", directory.join("agent.sock").display())
}

type Receiver = Arc<Mutex<mpsc::Receiver<Bytes>>>;

async fn answer(
    request: Request<Incoming>,
    receiver: Receiver,
) -> Result<Response<Answers>, Infallible> {
    assert_eq!(request.headers()["workload.spiffe.io"], "true");
    assert_eq!(request.uri().path(), "/SpiffeWorkloadAPI/FetchX509SVID");
    let answers = Answers(receiver.try_lock_owned().ok());
    let response = Response::builder().header("content-type", "application/grpc");
    Ok(response.body(answers).unwrap())
}

/// One gRPC message for each answer; ends when there are no more, or with an empty one.
struct Answers(Option<tokio::sync::OwnedMutexGuard<mpsc::Receiver<Bytes>>>);

impl Body for Answers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(receiver) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let frame = match std::task::ready!(receiver.poll_recv(cx)) {
            Some(message) if message != HANG_UP && message != DENY => {
                let mut framed = BytesMut::new();
                framed.put_u8(0);
                framed.put_u32(u32::try_from(message.len()).unwrap());
                framed.put_slice(&message);
                Frame::data(framed.freeze())
            }
            last => {
                self.0 = None;
                let code = if last.is_some_and(|last| last == DENY) {
                    "7"
                } else {
                    "14"
                };
                let status = ("grpc-status", HeaderValue::from_static(code));
                let trailers = HeaderMap::from_iter([(status.0.parse().unwrap(), status.1)]);
                Frame::trailers(trailers)
            }
        };
        Poll::Ready(Some(Ok(frame)))
    }
}

const HANG_UP: &[u8] = b"hang up";
/// PERMISSION_DENIED, as SPIRE says that it has nothing for us.
const DENY: &[u8] = b"deny";

/// X509SVIDResponse: `svids` = 1, `federated_bundles` = 3.
fn response(svids: &[Bytes], federated: &[(&str, &Pki)]) -> Bytes {
    let mut message = BytesMut::new();
    for svid in svids {
        field(&mut message, 1, svid);
    }
    for (domain, pki) in federated {
        let mut entry = BytesMut::new();
        field(&mut entry, 1, domain.as_bytes());
        field(&mut entry, 2, pki.root());
        field(&mut message, 3, &entry);
    }
    message.freeze()
}

/// X509SVID: `spiffe_id`, `x509_svid`, `x509_svid_key`, `bundle`, `hint`.
fn svid(pki: &Pki, id: &str, hint: &str) -> Bytes {
    let issued = pki.issue(&Leaf::workload(id)).unwrap();
    let chain: Vec<u8> = issued.chain().iter().flat_map(|der| der.to_vec()).collect();
    let mut message = BytesMut::new();
    field(&mut message, 1, id.as_bytes());
    field(&mut message, 2, &chain);
    field(&mut message, 3, issued.key().secret_der());
    field(&mut message, 4, pki.root());
    field(&mut message, 5, hint.as_bytes());
    message.freeze()
}

/// A length-delimited field of a protobuf message.
fn field(message: &mut BytesMut, number: u8, value: &[u8]) {
    message.put_u8(number << 3 | 2);
    let mut length = value.len();
    while length >= 0x80 {
        message.put_u8(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    message.put_u8(u8::try_from(length).unwrap());
    message.put_slice(value);
}

/// M-52
#[tokio::test]
async fn takes_every_answer_of_the_agent_with_the_roots_of_friends() {
    let (pki, friend) = (Pki::new("td").unwrap(), Pki::new("friend").unwrap());
    let agent = Agent::start();
    let first = response(&[svid(&pki, OURS, "")], &[("spiffe://friend", &friend)]);
    agent.answers.send(first).await.unwrap();
    let source = WorkloadApi::at(agent.address());
    let (ours, mut rotation) = Rotation::start(source, Settings::default()).await.unwrap();
    assert_eq!(ours.spiffe_id().as_str(), OURS);
    let friends = TrustDomain::new("friend").unwrap();
    assert_eq!(ours.bundles().roots(&friends), [friend.root().clone()]);

    let second = response(&[svid(&pki, OURS, "")], &[]);
    agent.answers.send(second).await.unwrap();
    rotation.step().await;
    assert_eq!(ours.generation(), 2);
    assert_eq!(ours.bundles().roots(&friends), []);
    assert_eq!(
        agent.asked.load(Ordering::Relaxed),
        1,
        "one stream for both"
    );
}

/// M-52: an empty bundle takes the trust from its domain, and our own rotation goes on.
#[tokio::test]
async fn a_friend_without_roots_is_trusted_no_more() {
    let (pki, friend) = (Pki::new("td").unwrap(), Pki::new("friend").unwrap());
    let agent = Agent::start();
    let first = response(&[svid(&pki, OURS, "")], &[("spiffe://friend", &friend)]);
    agent.answers.send(first).await.unwrap();
    let source = WorkloadApi::at(agent.address());
    let (ours, mut rotation) = Rotation::start(source, Settings::default()).await.unwrap();

    let mut entry = BytesMut::new();
    field(&mut entry, 1, b"spiffe://friend");
    field(&mut entry, 2, b"");
    let mut second = BytesMut::from(&response(&[svid(&pki, OURS, "")], &[])[..]);
    field(&mut second, 3, &entry);
    agent.answers.send(second.freeze()).await.unwrap();
    rotation.step().await;
    assert_eq!(rotation.stats().errors(), 0);
    assert_eq!(ours.generation(), 2);
    let friends = TrustDomain::new("friend").unwrap();
    assert_eq!(ours.bundles().roots(&friends), []);
}

/// M-52
#[tokio::test]
async fn of_several_identities_takes_the_first_or_the_one_hinted_at() {
    let pki = Pki::new("td").unwrap();
    let other = "spiffe://td/ns/default/sa/other";
    for (hint, wanted) in [(None, OURS), (Some("inside"), other)] {
        let agent = Agent::start();
        let both = response(
            &[svid(&pki, OURS, "outside"), svid(&pki, other, "inside")],
            &[],
        );
        agent.answers.send(both).await.unwrap();
        let mut source = WorkloadApi::at(agent.address());
        if let Some(hint) = hint {
            source = source.hint(hint);
        }
        let identity = source.next().await.unwrap();
        assert_eq!(identity.svid().spiffe_id().as_str(), wanted);
    }
}

/// M-52
#[tokio::test]
async fn an_empty_answer_withdraws_the_identity_until_there_is_another() {
    let pki = Pki::new("td").unwrap();
    let agent = Agent::start();
    let full = || response(&[svid(&pki, OURS, "")], &[]);
    agent.answers.send(full()).await.unwrap();
    let source = WorkloadApi::at(agent.address());
    let (ours, mut rotation) = Rotation::start(source, Settings::default()).await.unwrap();
    assert!(ours.is_valid());
    agent.answers.send(response(&[], &[])).await.unwrap();
    rotation.step().await;
    assert!(!ours.is_valid());
    agent.answers.send(full()).await.unwrap();
    rotation.step().await;
    assert!(ours.is_valid());
}

/// M-52: as SPIRE says it; but not when it says so at the very beginning of a stream.
#[tokio::test]
async fn a_denial_withdraws_the_identity_that_the_same_stream_brought() {
    let pki = Pki::new("td").unwrap();
    let agent = Agent::start();
    let tell = async |answer: &Bytes| agent.answers.send(answer.clone()).await.unwrap();
    let full = response(&[svid(&pki, OURS, "")], &[]);
    let deny = Bytes::from_static(DENY);
    tell(&full).await;
    let source = WorkloadApi::at(agent.address());
    let (ours, mut rotation) = Rotation::start(source, Settings::default()).await.unwrap();
    tell(&Bytes::from_static(HANG_UP)).await;
    rotation.step().await;
    tell(&deny).await;
    rotation.step().await;
    assert!(ours.is_valid(), "said to a stream that knew nothing");
    assert_eq!(rotation.stats().errors(), 2);
    tell(&full).await;
    rotation.step().await;
    assert!(ours.is_valid());

    tell(&deny).await;
    rotation.step().await;
    assert!(!ours.is_valid());
    tell(&full).await;
    rotation.step().await;
    assert!(ours.is_valid());
}

/// M-52
#[tokio::test]
async fn a_lost_stream_keeps_the_identity_and_asks_again() {
    let pki = Pki::new("td").unwrap();
    let agent = Agent::start();
    let full = || response(&[svid(&pki, OURS, "")], &[]);
    agent.answers.send(full()).await.unwrap();
    let source = WorkloadApi::at(agent.address());
    let (ours, mut rotation) = Rotation::start(source, Settings::default()).await.unwrap();
    agent
        .answers
        .send(Bytes::from_static(HANG_UP))
        .await
        .unwrap();
    rotation.step().await;
    assert!(ours.is_valid(), "the identity in use stays");
    assert_eq!(rotation.stats().errors(), 1);
    agent.answers.send(full()).await.unwrap();
    rotation.step().await;
    assert_eq!(ours.generation(), 2);
    assert_eq!(agent.asked.load(Ordering::Relaxed), 2);
}

/// M-52
#[tokio::test(start_paused = true)]
async fn an_absent_agent_is_asked_less_and_less_often() {
    let directory = TempDir::new().unwrap();
    let mut source = WorkloadApi::at(address(directory.path()));
    let mut waits = Vec::new();
    for _ in 0..8 {
        let begun = tokio::time::Instant::now();
        assert!(source.next().await.is_err());
        waits.push(begun.elapsed().as_secs());
    }
    assert_eq!(waits, [0, 1, 2, 4, 8, 16, 30, 30]);
}

/// M-52, R-27: one that takes the connection and says nothing has failed, too, and holds up no start for ever.
#[tokio::test(start_paused = true)]
async fn an_agent_that_says_nothing_has_failed() {
    let directory = TempDir::new().unwrap();
    let address = address(directory.path());
    let path = address.strip_prefix("unix://").unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    let begun = tokio::time::Instant::now();
    let error = WorkloadApi::at(&address).next().await.unwrap_err();
    assert!(error.to_string().contains("does not answer"), "{error}");
    assert!(begun.elapsed().as_secs() <= 30);
}

/// M-52: keys do not travel over a network.
#[tokio::test]
async fn asks_over_unix_sockets_only() {
    let error = WorkloadApi::at("tcp://127.0.0.1:8081")
        .next()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("unix:"), "{error}");
}
