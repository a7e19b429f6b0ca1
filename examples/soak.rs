//! Steady traffic over HTTP/1.1 and HTTP/2 while every identity rotates each second, and the root once.
//!
//! ```text
//! cargo run --release --example soak                    # ten seconds
//! cargo run --release --example soak -- --seconds 120
//! ```
//!
//! Two meshes call over loopback. Their certificates last five seconds and are replaced every second, through a source that the driver
//! follows. Half-way the root is replaced in the only order that breaks no call: everybody trusts both roots, then everybody shows a
//! certificate of the new one, then the old one goes. Some calls last longer than a certificate is in use; others are made each over a
//! connection of its own, and the server rotates once more in between, so that handshakes and rotations of either side meet.
//!
//! Ends with `requests=N failed=0 expired=0 rotations=M`; the exit code is 1 when a call failed or met a certificate that had ended.
//! Rule M-46 and M-48 of the project's security rules.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "an example may stop at the first surprise, and prints"
)]

use std::error::Error;
use std::future::pending;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::{Router, routing::get};
use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tower_mesh::context::Peer;
use tower_mesh::mesh::{Client, ClientBody};
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::{
    Connector, Credentials, Destination, Identity, NextIdentity, Protocol, Source, TrustBundles,
};
use tower_mesh::{Mesh, Workload};

fn main() -> ExitCode {
    let Some(seconds) = seconds(std::env::args().skip(1)) else {
        eprintln!("usage: soak [--seconds N], N from {LEAST} to {MOST}");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(soak(seconds)) {
        Ok(tally) => {
            let (failed, expired) = (read(&tally.failed), read(&tally.expired));
            println!(
                "requests={} failed={failed} expired={expired} rotations={}",
                read(&tally.requests),
                read(&tally.rotations),
            );
            if failed == 0 && expired == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

async fn soak(seconds: u32) -> Result<Arc<Tally>, BoxError> {
    let tally = Arc::new(Tally::default());
    let mut authority = Authority::new()?;

    let socket = TcpListener::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    let server = Member::start(&authority, "server", |builder| builder).await?;
    let serving = server.mesh.clone();
    let app = application(Arc::clone(&tally));
    tokio::spawn(async move { serving.serve_on(socket, app).await });
    let client = Member::start(&authority, "client", |builder| {
        builder.upstream("server.default", [address], [server.mesh.spiffe_id()])
    })
    .await?;

    let end = Instant::now() + Duration::from_secs(seconds.into());
    let mut callers = JoinSet::new();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for (path, count) in [("/", QUICK), ("/slow", SLOW)] {
            for _ in 0..count {
                let (client, tally) = (client.mesh.client().clone(), Arc::clone(&tally));
                callers.spawn(call_until(end, client, version, path, tally));
            }
        }
    }
    for _ in 0..VISITORS {
        let connector = Connector::new(client.mesh.credentials().expect("an identity").clone());
        let visitor = Visitor {
            connector,
            address,
            destination: Destination::new(
                [server.mesh.spiffe_id()],
                "server.default",
                Protocol::Http1,
            )?,
        };
        callers.spawn(visit_until(end, visitor, Arc::clone(&tally)));
    }
    // One rotation a second; the last second has none, so that what it did is seen.
    let mut each_second = interval(Duration::from_secs(1));
    each_second.tick().await;
    for rotation in 1..seconds {
        each_second.tick().await;
        authority.advance(rotation, seconds)?;
        for member in [&server, &client] {
            member.rotate(&authority, &tally).await?;
        }
        sleep(BETWEEN).await;
        server.rotate(&authority, &tally).await?;
    }
    while let Some(caller) = callers.join_next().await {
        caller?;
    }
    Ok(tally)
}

/// What happened.
#[derive(Default)]
struct Tally {
    requests: AtomicU64,
    failed: AtomicU64,
    expired: AtomicU64,
    rotations: AtomicU64,
}

impl Tally {
    /// Counts a peer whose certificate has ended.
    fn judge(&self, peer: Option<&Peer>) {
        let not_after = peer
            .and_then(Peer::tls_facts)
            .and_then(|facts| facts.not_after);
        if not_after.is_none_or(|not_after| SystemTime::now() > not_after) {
            self.expired.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn fail(&self, version: Version, path: &str, problem: &dyn std::fmt::Display) {
        // The first few say enough.
        if self.failed.fetch_add(1, Ordering::Relaxed) < 10 {
            eprintln!("{version:?} {path}: {problem}");
        }
    }
}

/// A workload, and where its next identity is handed over.
struct Member {
    mesh: Mesh,
    name: &'static str,
    handed: mpsc::Sender<Identity>,
}

impl Member {
    async fn start(
        authority: &Authority,
        name: &'static str,
        options: impl FnOnce(tower_mesh::mesh::MeshBuilder) -> tower_mesh::mesh::MeshBuilder,
    ) -> Result<Self, BoxError> {
        let (handed, source) = mpsc::channel(1);
        handed.send(authority.identity(name)?).await?;
        let builder = Mesh::builder(Workload::new("default", name), Handed(source));
        let (mesh, driver) = options(builder).build().await?;
        tokio::spawn(driver.run());
        Ok(Self { mesh, name, handed })
    }

    /// Hands the next identity over and waits until it is in use.
    async fn rotate(&self, authority: &Authority, tally: &Tally) -> Result<(), BoxError> {
        let generation = || self.mesh.credentials().map(Credentials::generation);
        let before = generation();
        self.handed.send(authority.identity(self.name)?).await?;
        let taken = async {
            while generation() == before {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, taken)
            .await
            .map_err(|_| format!("{} did not take its next identity", self.name))?;
        tally.rotations.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A source of the identities that are handed over.
struct Handed(mpsc::Receiver<Identity>);

impl Source for Handed {
    fn next(&mut self) -> NextIdentity<'_> {
        Box::pin(async {
            match self.0.recv().await {
                Some(identity) => Ok(identity),
                None => pending().await,
            }
        })
    }
}

/// Issues certificates, and hands its root over to a new one (M-48).
struct Authority {
    issuing: Pki,
    /// Trusted besides the one that issues.
    other: Option<Pki>,
}

impl Authority {
    fn new() -> Result<Self, BoxError> {
        Ok(Self {
            issuing: Pki::new(TRUST_DOMAIN)?,
            other: None,
        })
    }

    /// The root's turn comes half-way: trust both, issue from the new one, forget the old one; a rotation each.
    fn advance(&mut self, rotation: u32, rotations: u32) -> Result<(), BoxError> {
        let half = rotations / 2;
        if rotation == half {
            self.other = Some(Pki::new(TRUST_DOMAIN)?);
        } else if rotation == half + 1 {
            if let Some(new) = self.other.take() {
                self.other = Some(std::mem::replace(&mut self.issuing, new));
            }
        } else if rotation == half + 2 {
            self.other = None;
        }
        Ok(())
    }

    fn identity(&self, name: &str) -> Result<Identity, BoxError> {
        let now = SystemTime::now();
        let leaf = Leaf::workload(format!("spiffe://{TRUST_DOMAIN}/ns/default/sa/{name}"))
            .valid(now - Duration::from_secs(60), now + LIFETIME);
        let roots = [Some(&self.issuing), self.other.as_ref()];
        let roots = roots.into_iter().flatten().map(|pki| pki.root().clone());
        let bundles = TrustBundles::new().with(self.issuing.trust_domain().clone(), roots)?;
        Ok(Identity::new(self.issuing.issue(&leaf)?.svid()?, bundles))
    }
}

fn application(tally: Arc<Tally>) -> Router {
    Router::new()
        .route("/", get(answer))
        .route("/slow", get(answer_slowly))
        .with_state(tally)
}

async fn answer(State(tally): State<Arc<Tally>>, peer: Peer) -> &'static str {
    tally.judge(Some(&peer));
    ANSWER
}

async fn answer_slowly(tally: State<Arc<Tally>>, peer: Peer) -> &'static str {
    let answer = answer(tally, peer).await;
    sleep(Duration::from_millis(1500)).await;
    answer
}

/// One call after the other, so that no more are in flight than there are callers.
async fn call_until(
    end: Instant,
    client: Client,
    version: Version,
    path: &'static str,
    tally: Arc<Tally>,
) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while Instant::now() < end {
        pace.tick().await;
        tally.requests.fetch_add(1, Ordering::Relaxed);
        match timeout(PATIENCE, call(&client, version, path, &tally)).await {
            Ok(Ok(())) => {}
            Ok(Err(problem)) => tally.fail(version, path, &chain(&*problem)),
            Err(late) => tally.fail(version, path, &late),
        }
    }
}

async fn call(
    client: &Client,
    version: Version,
    path: &str,
    tally: &Tally,
) -> Result<(), BoxError> {
    let request = Request::get(format!("http://server.default{path}"))
        .version(version)
        .body(ClientBody::empty())?;
    let response = client.request(request).await?;
    tally.judge(response.extensions().get());
    if response.status() != StatusCode::OK || response.version() != version {
        return Err(format!("{:?} {}", response.version(), response.status()).into());
    }
    let body = response.into_body().collect().await?.to_bytes();
    expect_answer(&body)
}

/// Who comes with a new connection each time.
struct Visitor {
    connector: Connector,
    address: SocketAddr,
    destination: Destination,
}

async fn visit_until(end: Instant, visitor: Visitor, tally: Arc<Tally>) {
    while Instant::now() < end {
        tally.requests.fetch_add(1, Ordering::Relaxed);
        match timeout(PATIENCE, visitor.visit(&tally)).await {
            Ok(Ok(())) => {}
            Ok(Err(problem)) => tally.fail(Version::HTTP_11, "visit", &chain(&*problem)),
            Err(late) => tally.fail(Version::HTTP_11, "visit", &late),
        }
        sleep(PACE).await;
    }
}

impl Visitor {
    async fn visit(&self, tally: &Tally) -> Result<(), BoxError> {
        let connected = self.connector.connect(self.address, &self.destination);
        let (stream, peer) = connected.await?;
        tally.judge(Some(&peer));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::get("/")
            .header("host", "server.default")
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(response.status().to_string().into());
        }
        expect_answer(&response.into_body().collect().await?.to_bytes())
    }
}

fn expect_answer(body: &[u8]) -> Result<(), BoxError> {
    if body == ANSWER.as_bytes() {
        return Ok(());
    }
    Err(format!("{} bytes of another answer", body.len()).into())
}

/// An error with what caused it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn seconds(mut arguments: impl Iterator<Item = String>) -> Option<u32> {
    let seconds = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => LEAST * 2,
        (Some("--seconds"), Some(seconds)) => seconds.parse().ok()?,
        _ => return None,
    };
    let is_last = arguments.next().is_none();
    (is_last && (LEAST..=MOST).contains(&seconds)).then_some(seconds)
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

type BoxError = Box<dyn Error + Send + Sync>;

const TRUST_DOMAIN: &str = "cluster.local";
const ANSWER: &str = "still here";
/// How long a certificate lasts.
const LIFETIME: Duration = Duration::from_secs(5);
/// Between two calls of one caller.
const PACE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(10);
/// Callers of each version.
const QUICK: usize = 8;
const SLOW: usize = 8;
const VISITORS: usize = 4;
/// From a rotation of both sides to another of the server alone.
const BETWEEN: Duration = Duration::from_millis(450);
/// The root's turn takes three rotations.
const LEAST: u32 = 5;
const MOST: u32 = 3600;
