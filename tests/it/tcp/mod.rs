//! Connections that carry no HTTP: who gets in, how they end, and what is told of them.

mod connect;
mod ends;
mod first_byte;
mod policy;
mod told;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tower_mesh::access_log::{AccessLog, LineSink, Sink};
use tower_mesh::mesh::{Drained, TcpConnection, TcpOptions};
use tower_mesh::testing::Pki;
use tower_mesh::tls::{Protocol, Stream};
use tower_mesh::{Mesh, MeshBuilder};

use crate::support::mesh::{Still, app, build, dial, lines, settle, until};

/// The lines of an access log, and how many connections the handler has seen.
#[derive(Clone, Default)]
struct Seen {
    lines: Arc<Mutex<Vec<String>>>,
    handled: Arc<AtomicUsize>,
}

impl LineSink for Seen {
    fn take(&self, line: &[u8]) -> bool {
        let line = String::from_utf8(line.to_vec()).unwrap();
        self.lines.lock().unwrap().push(line.trim_end().to_owned());
        true
    }
}

impl Seen {
    fn sink(&self) -> Sink {
        Sink::custom(self.clone())
    }

    fn handled(&self) -> usize {
        self.handled.load(Ordering::Relaxed)
    }

    /// All lines, once there are so many, and nothing else is to come.
    async fn lines(&self, count: usize) -> Vec<String> {
        until("lines", || self.lines.lock().unwrap().len() >= count).await;
        settle().await;
        let lines = std::mem::take(&mut *self.lines.lock().unwrap());
        assert_eq!(lines.len(), count, "{lines:?}");
        lines
    }

    async fn line(&self) -> String {
        self.lines(1).await.remove(0)
    }
}

/// A workload that serves TCP.
struct Site {
    pki: Pki,
    mesh: Mesh,
    address: SocketAddr,
    serving: JoinHandle<io::Result<Drained>>,
    seen: Seen,
}

/// How the connection of each line ended.
const SHORT: &str =
    "%RESPONSE_FLAGS% %CONNECTION_TERMINATION_DETAILS% %BYTES_RECEIVED%/%BYTES_SENT%";

impl Site {
    /// An echo, behind what `with` adds to the workload.
    async fn echo(with: impl FnOnce(MeshBuilder) -> MeshBuilder) -> Self {
        Self::start(with, TcpOptions::default(), echo).await
    }

    async fn start<F>(
        with: impl FnOnce(MeshBuilder) -> MeshBuilder,
        options: TcpOptions,
        handler: impl Fn(TcpConnection) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let (pki, seen) = (Pki::new("cluster.local").unwrap(), Seen::default());
        let log = AccessLog::format(SHORT).unwrap().to(seen.sink());
        let builder = with(app(&pki)).telemetry(|telemetry| telemetry.access_log(log));
        let mesh = build(builder).await;
        let served = mesh
            .with_listener(|listener| listener.tcp(options))
            .unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let count = Arc::clone(&seen.handled);
        let serving = served.serve_tcp_on(socket, move |connection| {
            count.fetch_add(1, Ordering::Relaxed);
            handler(connection)
        });
        Self {
            pki,
            mesh,
            address,
            serving: tokio::spawn(serving),
            seen,
        }
    }

    /// A connection with the certificate of this service account.
    async fn dial(&self, account: &str) -> Stream<TcpStream> {
        dial(&self.pki, account, self.address, Protocol::Tcp).await
    }

    async fn plain(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The value of this metric, of all its series with these labels.
    fn count(&self, metric: &str, labels: &[&str]) -> u64 {
        let lines = lines(&self.mesh, metric, labels);
        let values = lines.iter().filter_map(|line| line.rsplit(' ').next());
        values.filter_map(|value| value.parse::<u64>().ok()).sum()
    }
}

async fn echo(mut connection: TcpConnection) -> io::Result<()> {
    let (mut read, mut write) = split(&mut connection);
    copy(&mut read, &mut write).await?;
    Ok(())
}

/// Sends a word and the end, and returns what comes back until the end; `None` if nothing does.
async fn ask<S>(mut stream: S, word: impl AsRef<[u8]>) -> Option<String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(word.as_ref()).await.ok()?;
    let _ = stream.shutdown().await;
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    Some(answer).filter(|answer| !answer.is_empty())
}

/// Waits until the other end has ended the connection, in whatever way.
async fn ended<S: AsyncRead + Unpin>(stream: &mut S) -> bool {
    !matches!(stream.read(&mut [0; 16]).await, Ok(1..))
}

/// The clock that stood goes on.
fn go_on(clock: Still) {
    drop(clock);
    tokio::time::resume();
}
