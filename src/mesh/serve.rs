use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_service::Service;

use super::Mesh;
use super::farewell::Farewell;
use super::opening::Opening;
use super::shutdown::Signal;
use crate::message::CountingBody;
use crate::tls::{Connection, Lifetime};

impl Mesh {
    /// Serves an application on an address: TLS, telemetry and guards, then the application.
    ///
    /// HTTP/1.1 and HTTP/2 are both spoken, as the client asks. The *finished* service is wrapped, so that no route, fallback or
    /// nested router is left outside. Runs until [`shutdown`](Self::shutdown), then drains; dropping the future ends every connection
    /// at once.
    ///
    /// # Errors
    /// When the address cannot be listened on. No client can make it fail.
    pub async fn serve<S, B>(&self, address: impl ToSocketAddrs, service: S) -> io::Result<Drained>
    where
        S: Service<Request<CountingBody<Incoming>>, Response = Response<B>>
            + Clone
            + Send
            + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.serve_on(TcpListener::bind(address).await?, service)
            .await
    }

    /// As [`serve`](Self::serve), on a socket that listens already.
    ///
    /// # Errors
    /// When the socket has no local address.
    pub async fn serve_on<S, B>(&self, socket: TcpListener, service: S) -> io::Result<Drained>
    where
        S: Service<Request<CountingBody<Incoming>>, Response = Response<B>>
            + Clone
            + Send
            + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut listener = self.listen_on(socket)?;
        let service = self.protect(service);
        let http = http();
        let mut connections = JoinSet::new();
        let mut shutdown = self.shutdown_signal();
        loop {
            tokio::select! {
                connection = listener.accept() => {
                    let service = service.clone().of(connection.peer().clone());
                    let ending = Ending::of(&connection);
                    let service = Farewell::new(service, Arc::clone(&ending.told));
                    let serving = http
                        .serve_connection_with_upgrades(TokioIo::new(Opening::new(connection)), TowerToHyperService::new(service))
                        .into_owned();
                    connections.spawn(serve_until(serving, ending, self.shutdown_signal()));
                }
                Some(_) = connections.join_next() => {}
                grace = shutdown.requested() => {
                    drop(listener);
                    return Ok(drained(connections, grace).await);
                }
            }
        }
    }
}

/// When a connection should end, and how that is said on it.
struct Ending {
    lifetime: Lifetime,
    is_http2: bool,
    /// HTTP/1 responses say so.
    told: Arc<AtomicBool>,
}

impl Ending {
    fn of(connection: &Connection) -> Self {
        Self {
            lifetime: connection.stream().lifetime(),
            is_http2: connection.stream().is_http2(),
            told: Arc::default(),
        }
    }
}

/// Serves a connection to its end: its client's, that of its certificates, or ours. The last two let it finish what it is doing.
async fn serve_until<C, E>(serving: C, ending: Ending, mut shutdown: Signal)
where
    C: GracefulConnection<Error = E>,
    E: fmt::Display,
{
    let mut serving = pin!(serving);
    let end = tokio::select! {
        ended = serving.as_mut() => return told(ended),
        end = ending.lifetime.ended() => Some(end),
        // Whoever drains them all cuts them all, and counts.
        _ = shutdown.requested() => None,
    };
    ending.told.store(true, Ordering::Relaxed);
    let Some(end) = end else {
        serving.as_mut().graceful_shutdown();
        return told(serving.await);
    };
    tracing::debug!(target: "tower_mesh::serve", reason = %end, "draining a connection");
    if ending.is_http2 {
        serving.as_mut().graceful_shutdown();
    }
    // An HTTP/1 connection goes with its next response; one that stays idle goes when the time is over.
    match timeout(end.grace(), serving.as_mut()).await {
        Ok(ended) => told(ended),
        Err(_) if ending.is_http2 => {}
        Err(_) => {
            serving.as_mut().graceful_shutdown();
            let _ = timeout(LAST_RESPONSE, serving).await;
        }
    }
}

fn told<E: fmt::Display>(ended: Result<(), E>) {
    // What a client does to its own connection is the client's business, counted where it matters.
    if let Err(error) = ended {
        tracing::debug!(target: "tower_mesh::serve", %error, "connection ended");
    }
}

/// How the connections ended after a shutdown was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Connections that were cut, as the time for draining was over.
    pub cut: usize,
}

/// Lets connections finish what they are doing, then cuts those that have not.
async fn drained(mut connections: JoinSet<()>, grace: Duration) -> Drained {
    let finishing = async { while connections.join_next().await.is_some() {} };
    if timeout(grace, finishing).await.is_ok() {
        return Drained { cut: 0 };
    }
    while connections.try_join_next().is_some() {}
    let cut = connections.len();
    connections.shutdown().await;
    Drained { cut }
}

/// HTTP with bounds on what a client can make us hold (security rules ).
fn http() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .max_header_list_size(MAX_HEADER_LIST)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    builder
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// For the response that was under way when an HTTP/1 connection had to go.
const LAST_RESPONSE: Duration = Duration::from_secs(5);
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_HEADER_BYTES: usize = 64 * 1024;
const MAX_HEADER_LIST: u32 = 64 * 1024;
const MAX_STREAMS: u32 = 100;
const MAX_PENDING_RESETS: usize = 20;
const MAX_LOCAL_RESETS: usize = 1024;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
