//! A real SPIRE server and agent give both ends of a call their identities.

mod process;

use std::future::Future;
use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use http::{Request, Version};
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, sleep, timeout};
use tower_mesh::context::Peer;
use tower_mesh::identity::TrustDomain;
use tower_mesh::mesh::ClientBody;
use tower_mesh::tls::{Rotation, Settings, Source, WorkloadApi};
use tower_mesh::{Mesh, Workload};

use crate::tool::PATIENCE;
use process::{DOMAIN, Spire};

const OURS: &str = "spiffe://spire.test/ns/default/sa/ours";
const THEIRS: &str = "spiffe://spire.test/ns/default/sa/theirs";

/// M-46, M-48, M-52: certificates of ten seconds, replaced before they end, then also under another root: a call at any time is answered
/// over both HTTP versions, by and for the very ids that SPIRE knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spire_issues_and_rotates_what_both_ends_of_a_call_show() {
    let Some(spire) = Spire::start().await else {
        return;
    };
    let not_registered = WorkloadApi::at(spire.address()).next().await;
    assert!(not_registered.is_err(), "nobody has registered us");

    spire.register(OURS, "ours", SECONDS).await;
    spire.register(THEIRS, "theirs", SECONDS).await;
    let server = Member::start(&spire, "ours", None).await;
    let client = Member::start(&spire, "theirs", Some(server.address)).await;
    client
        .calls_until("both have rotated twice", || {
            let generation = |member: &Member| member.mesh.credentials().unwrap().generation();
            generation(&server) > 2 && generation(&client) > 2
        })
        .await;

    let domain = TrustDomain::new(DOMAIN).unwrap();
    let roots = |member: &Member| {
        member
            .mesh
            .credentials()
            .unwrap()
            .bundles()
            .roots(&domain)
            .len()
    };
    assert_eq!((roots(&server), roots(&client)), (1, 1));
    spire.replace_root().await;
    client
        .calls_until("both trust both roots", || {
            roots(&server) == 2 && roots(&client) == 2
        })
        .await;
    let seen = [&server, &client].map(|member| member.mesh.credentials().unwrap().generation());
    client
        .calls_until("both show what the new root has signed", || {
            let now =
                [&server, &client].map(|member| member.mesh.credentials().unwrap().generation());
            now.iter().zip(seen).all(|(now, seen)| *now > seen)
        })
        .await;
}

/// M-45, M-52: an agent that is gone takes nothing away, and is found again; an entry that is gone takes the identity away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spire_may_be_gone_for_a_while_and_may_withdraw_an_identity() {
    let Some(mut spire) = Spire::start().await else {
        return;
    };
    let entry = spire.register(OURS, "ours", 3600).await;
    let source = || WorkloadApi::at(spire.address()).hint("ours");
    let (ours, mut rotation) = started(&spire, source).await;
    assert_eq!(ours.spiffe_id().as_str(), OURS);

    spire.stop_agent().await;
    within("the stream to end", rotation.step()).await;
    assert_eq!(rotation.stats().errors(), 1);
    assert!(ours.is_valid(), "the identity in use stays");
    spire.start_agent().await;
    within("another answer", async {
        while rotation.stats().rotations() == 0 {
            rotation.step().await;
        }
    })
    .await;
    assert!(ours.is_valid());

    spire.forget(&entry).await;
    within("the withdrawal", async {
        while ours.is_valid() {
            rotation.step().await;
        }
    })
    .await;
    spire.register(OURS, "ours", 3600).await;
    within("the next identity", async {
        while !ours.is_valid() {
            rotation.step().await;
        }
    })
    .await;
}

/// Asks until the agent has heard of the entry; the source paces itself.
async fn started(
    spire: &Spire,
    source: impl Fn() -> WorkloadApi,
) -> (tower_mesh::tls::Credentials, Rotation) {
    let start = Instant::now();
    loop {
        match Rotation::start(source(), Settings::default()).await {
            Ok(started) => return started,
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error}\n{}", spire.logs()),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| panic!("waiting for {what}"))
}

/// A workload that serves, and calls the other one if it has its address.
struct Member {
    mesh: Mesh,
    address: SocketAddr,
    running: [JoinHandle<()>; 2],
}

impl Member {
    async fn start(spire: &Spire, name: &str, calls: Option<SocketAddr>) -> Self {
        let start = Instant::now();
        let (mesh, driver) = loop {
            let source = WorkloadApi::at(spire.address()).hint(name);
            let mut builder = Mesh::builder(Workload::new("default", name), source);
            if let Some(address) = calls {
                let expected = tower_mesh::identity::SpiffeId::new(OURS).unwrap();
                builder = builder.upstream("ours.default", [address], [expected]);
            }
            match builder.build().await {
                Ok(built) => break built,
                Err(error) => assert!(start.elapsed() < PATIENCE, "{error}\n{}", spire.logs()),
            }
            sleep(Duration::from_millis(100)).await;
        };
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let serving = mesh.clone();
        let app = Router::new().fallback(get(caller));
        let running = [
            tokio::spawn(driver.run()),
            tokio::spawn(async move { drop(serving.serve_on(socket, app).await) }),
        ];
        Self {
            mesh,
            address,
            running,
        }
    }

    /// Calls all the while, and is answered each time.
    async fn calls_until(&self, what: &str, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            for version in [Version::HTTP_11, Version::HTTP_2] {
                let request = Request::get("http://ours.default/")
                    .version(version)
                    .body(ClientBody::empty())
                    .unwrap();
                let response = within("an answer", self.mesh.client().request(request)).await;
                let response = response.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                let server: &Peer = response.extensions().get().unwrap();
                assert_eq!(server.spiffe_id().map(|id| id.as_str()), Some(OURS));
                let body = response.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(body, THEIRS.as_bytes(), "whom it sees");
            }
            assert!(start.elapsed() < PATIENCE, "waiting until {what}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        for task in &self.running {
            task.abort();
        }
    }
}

async fn caller(peer: Peer) -> String {
    peer.spiffe_id().unwrap().as_str().to_owned()
}

/// SPIRE replaces a certificate when half of this is over.
const SECONDS: u32 = 10;
