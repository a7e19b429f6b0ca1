//! A Workload API of our own over a Unix socket.

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
use tower_mesh::testing::{Leaf, Pki};

/// An agent that gives the answers that a test sends.
pub(crate) struct Agent {
    directory: TempDir,
    /// To the question for certificates.
    pub(crate) answers: mpsc::Sender<Bytes>,
    /// To the question for keys of JWT-SVIDs.
    pub(crate) bundles: mpsc::Sender<Bytes>,
    /// How often the agent was asked for certificates, and for keys of JWT-SVIDs.
    pub(crate) asked: Arc<AtomicUsize>,
    pub(crate) asked_bundles: Arc<AtomicUsize>,
    serving: tokio::task::JoinHandle<()>,
}

impl Agent {
    pub(crate) fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let socket = UnixListener::bind(directory.path().join("agent.sock")).unwrap();
        let (answers, certificates) = mpsc::channel(8);
        let (bundles, keys) = mpsc::channel(8);
        let [certificates, keys] = [certificates, keys].map(|list| Arc::new(Mutex::new(list)));
        let [asked, asked_bundles] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let counts = (Arc::clone(&asked), Arc::clone(&asked_bundles));
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                let (certificates, keys) = (Arc::clone(&certificates), Arc::clone(&keys));
                let counts = counts.clone();
                let answer = move |request: Request<Incoming>| {
                    let (receiver, count) = match request.uri().path() {
                        "/SpiffeWorkloadAPI/FetchX509SVID" => (&certificates, &counts.0),
                        "/SpiffeWorkloadAPI/FetchJWTBundles" => (&keys, &counts.1),
                        other => panic!("nobody asks for {other}"),
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                    answer(request, Arc::clone(receiver))
                };
                let service = hyper::service::service_fn(answer);
                let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(http2.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self {
            directory,
            answers,
            bundles,
            asked,
            asked_bundles,
            serving,
        }
    }

    pub(crate) fn address(&self) -> String {
        address(self.directory.path())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub(crate) fn address(directory: &Path) -> String {
    format!("unix://{}", directory.join("agent.sock").display())
}

type Receiver = Arc<Mutex<mpsc::Receiver<Bytes>>>;

async fn answer(
    request: Request<Incoming>,
    receiver: Receiver,
) -> Result<Response<Answers>, Infallible> {
    assert_eq!(request.headers()["workload.spiffe.io"], "true");
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

/// An answer that ends the stream.
pub(crate) const HANG_UP: &[u8] = b"hang up";
/// PERMISSION_DENIED, as SPIRE says that it has nothing for us.
pub(crate) const DENY: &[u8] = b"deny";

/// X509SVIDResponse: `svids` = 1, `federated_bundles` = 3.
pub(crate) fn response(svids: &[Bytes], federated: &[(&str, &Pki)]) -> Bytes {
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
pub(crate) fn svid(pki: &Pki, id: &str, hint: &str) -> Bytes {
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
pub(crate) fn field(message: &mut BytesMut, number: u8, value: &[u8]) {
    message.put_u8(number << 3 | 2);
    let mut length = value.len();
    while length >= 0x80 {
        message.put_u8(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    message.put_u8(u8::try_from(length).unwrap());
    message.put_slice(value);
}

/// JWTBundlesResponse: `bundles` = 1, a map.
pub(crate) fn jwt_bundles(bundles: &[(&str, &str)]) -> Bytes {
    let mut message = BytesMut::new();
    for (domain, jwks) in bundles {
        let mut entry = BytesMut::new();
        field(&mut entry, 1, domain.as_bytes());
        field(&mut entry, 2, jwks.as_bytes());
        field(&mut message, 1, &entry);
    }
    message.freeze()
}
