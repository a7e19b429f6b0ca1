//! Connections that stand when a certificate is revoked, a root goes, an id is struck off a list: all are closed within five seconds.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::{Router, routing};
use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tower_mesh::Workload;
use tower_mesh::mesh::{ClientBody, Mesh, MeshBuilder};
use tower_mesh::testing::{Authority, Issued, Leaf, Pki};
use tower_mesh::tls::{
    Acceptor, AllowedIds, Clock, CloseReason, Connector, Credentials, Destination, Files, Identity,
    Listener, Protocol, Reason, Rotation, Settings,
};

use crate::support::mesh::{build, pass, serve};
use crate::tls::support::{accept, chain, client_config, connect, id, server_config};

const APP: &str = "spiffe://cluster.local/ns/default/sa/app";
const DESK: &str = "spiffe://cluster.local/ns/default/sa/desk";

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

fn identity(pki: &Pki, issued: &Issued) -> Identity {
    Identity::new(issued.svid().unwrap(), pki.bundles().unwrap())
}

fn credentials(identity: &Identity) -> Credentials {
    Credentials::new(identity, Settings::default()).unwrap()
}

fn workload(name: &str, credentials: &Credentials) -> MeshBuilder {
    Mesh::builder(Workload::new("default", name), credentials.clone())
}

fn hello() -> Router {
    Router::new().fallback(routing::any(|| async { "hello" }))
}

/// An HTTP/2 connection to the application, on which a request was answered.
async fn connected(
    desk: &Credentials,
    address: SocketAddr,
) -> (SendRequest<Empty<Bytes>>, JoinHandle<hyper::Result<()>>) {
    let destination = Destination::new([id(APP)], "app", Protocol::Http2).unwrap();
    let connector = Connector::new(desk.clone());
    let (stream, _) = connector.connect(address, &destination).await.unwrap();
    let (mut sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("https://app/").body(Empty::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body().collect().await.unwrap();
    (sender, connection)
}

/// How many seconds pass until it is over; at most six are waited.
async fn seconds_until(is_over: impl Fn() -> bool) -> u32 {
    for second in 0..=6 {
        for _ in 0..1000 {
            if is_over() {
                return second;
            }
            tokio::task::yield_now().await;
        }
        pass(Duration::from_secs(1)).await;
    }
    7
}

/// M-42: the handshake is refused and the connection that stands is closed; others go on.
#[tokio::test]
async fn a_revoked_peer_is_cut_off_at_once() {
    let pki = pki();
    let issue = |uri| pki.issue(&Leaf::workload(uri)).unwrap();
    let app_issued = issue(APP);
    let app = credentials(&identity(&pki, &app_issued));
    let mesh = build(workload("app", &app)).await;
    let served = serve(&mesh, hello()).await;
    let bad = issue(DESK);
    let desk = credentials(&identity(&pki, &bad));
    let (_sender, connection) = connected(&desk, served.address).await;

    let soon = SystemTime::now() + Duration::from_secs(3600);
    let list = pki.revocation_list_pem(&[&bad], soon).unwrap();
    let bundles = pki.bundles().unwrap();
    let bundles = bundles.with_revoked_pem(pki.trust_domain(), list.as_bytes());
    let listed = Identity::new(app_issued.svid().unwrap(), bundles.unwrap());
    assert_eq!(app.replace(&listed), Ok(true));
    assert!(seconds_until(|| connection.is_finished()).await <= 5);
    let client = client_config(Some(chain(&bad)));
    let refused = accept(&Acceptor::new(app.clone()), client).await;
    assert_eq!(refused.unwrap_err().reason(), Reason::Revoked);
    let other = credentials(&identity(&pki, &issue(DESK)));
    connected(&other, served.address).await;
}

/// What revokes a certificate, with our own unchanged.
fn revoking(pki: &Pki, ours: &Issued, bad: &Issued) -> Identity {
    let soon = SystemTime::now() + Duration::from_secs(3600);
    let list = pki.revocation_list_pem(&[bad], soon).unwrap();
    let bundles = pki.bundles().unwrap();
    let bundles = bundles.with_revoked_pem(pki.trust_domain(), list.as_bytes());
    Identity::new(ours.svid().unwrap(), bundles.unwrap())
}

/// M-42, M-47: five seconds are five seconds with a request under way, in HTTP/1, and while a connection drains of a rotation already.
#[tokio::test]
async fn a_revoked_peer_is_cut_off_whatever_it_does() {
    let pki = pki();
    let issue = |uri| pki.issue(&Leaf::workload(uri)).unwrap();
    for (protocol, rotated) in [
        (Protocol::Http1, false),
        (Protocol::Http1, true),
        (Protocol::Http2, true),
    ] {
        let app = credentials(&identity(&pki, &issue(APP)));
        let mesh = build(workload("app", &app)).await;
        let never = routing::any(std::future::pending::<&str>);
        let served = serve(&mesh, Router::new().fallback(never)).await;
        let bad = issue(DESK);
        let destination = Destination::new([id(APP)], "app", protocol).unwrap();
        let connector = Connector::new(credentials(&identity(&pki, &bad)));
        let connected = connector.connect(served.address, &destination).await;
        let io = TokioIo::new(connected.unwrap().0);
        let request = Request::get("https://app/").header("host", "app");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let call = if protocol == Protocol::Http1 {
            let http1 = hyper::client::conn::http1::handshake(io).await;
            let (mut sender, connection) = http1.unwrap();
            tokio::spawn(connection);
            tokio::spawn(async move { sender.send_request(request).await.map(drop) })
        } else {
            let (mut sender, connection) = handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            tokio::spawn(async move { sender.send_request(request).await.map(drop) })
        };
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        if rotated {
            let now = SystemTime::now();
            let longer = Leaf::workload(APP).valid(now, now + Duration::from_secs(7200));
            let longer = pki.issue(&longer).unwrap();
            app.replace(&identity(&pki, &longer)).unwrap();
            assert_eq!(seconds_until(|| call.is_finished()).await, 7);
            app.replace(&revoking(&pki, &longer, &bad)).unwrap();
        } else {
            app.replace(&revoking(&pki, &issue(APP), &bad)).unwrap();
        }
        assert!(seconds_until(|| call.is_finished()).await <= 5);
        assert!(call.await.unwrap().is_err());
        served.serving.abort();
    }
}

/// M-42, M-47: bytes that are there to be read keep no connection, under a server that is not ours.
#[tokio::test]
async fn a_revoked_peer_is_not_read_on() {
    let pki = pki();
    let [ours, bad] = [APP, DESK].map(|uri| pki.issue(&Leaf::workload(uri)).unwrap());
    let app = credentials(&identity(&pki, &ours));
    let listener = Listener::bind("127.0.0.1:0", Acceptor::new(app.clone())).await;
    let mut listener = listener.unwrap();
    let address = listener.local_addr();
    let desk = Connector::new(credentials(&identity(&pki, &bad)));
    let destination = Destination::new([id(APP)], "app", Protocol::Http2).unwrap();
    let (accepted, connected) =
        tokio::join!(listener.accept(), desk.connect(address, &destination));
    let mut accepted = accepted.cut_when_no_longer_good();
    let (mut stream, _) = connected.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.flush().await.unwrap();
    app.replace(&revoking(&pki, &ours, &bad)).unwrap();
    assert_eq!(accepted.read_u8().await.unwrap(), b'h');
    pass(Duration::from_secs(5)).await;
    let refused = accepted.read_u8().await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionAborted);
    let refused = accepted.write_u8(0).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionAborted);
}

/// Numbers beyond every bound mean that there is none.
#[tokio::test]
async fn a_mesh_without_bounds_serves_and_ends() {
    let pki = pki();
    let issue = |uri| pki.issue(&Leaf::workload(uri)).unwrap();
    let mut limits = tower_mesh::tls::Limits::default();
    (limits.connections, limits.handshakes) = (usize::MAX, usize::MAX);
    limits.handshakes_per_source = usize::MAX;
    let mesh = workload("app", &credentials(&identity(&pki, &issue(APP))))
        .listener(|listener| listener.limits(limits));
    let mesh = build(mesh).await;
    let served = serve(&mesh, hello()).await;
    let desk = credentials(&identity(&pki, &issue(DESK)));
    let (_sender, connection) = connected(&desk, served.address).await;
    mesh.shutdown_after(Duration::MAX, Duration::MAX);
    mesh.shutdown(Duration::MAX);
    connection.await.unwrap().unwrap();
    assert_eq!(served.serving.await.unwrap().unwrap().cut, 0);
}

/// M-42: a list that cannot be read, or that refuses us ourselves, leaves the last good ones in place.
#[tokio::test(start_paused = true)]
async fn a_bad_list_keeps_the_last_good_one() {
    let pki = pki();
    let [ours, bad] = [APP, DESK].map(|uri| pki.issue(&Leaf::workload(uri)).unwrap());
    let directory = tempfile::TempDir::new().unwrap();
    let file = |name: &str| directory.path().join(name);
    std::fs::write(file("tls.crt"), ours.chain_pem()).unwrap();
    std::fs::write(file("tls.key"), ours.key_pem().as_bytes()).unwrap();
    std::fs::write(file("ca.crt"), pki.root_pem()).unwrap();
    let soon = SystemTime::now() + Duration::from_secs(3600);
    let good = pki.revocation_list_pem(&[&bad], soon).unwrap();
    std::fs::write(file("crl.pem"), &good).unwrap();
    let source =
        Files::watch(directory.path()).revoked(pki.trust_domain().clone(), file("crl.pem"));
    let (app, mut rotation) = Rotation::start(source, Settings::default()).await.unwrap();
    let tally = rotation.stats();
    let suicidal = pki.revocation_list_pem(&[&ours], soon).unwrap();
    for (errors, wrong) in [
        (1, "garbage"),
        (2, &good[..good.len() / 2]),
        (3, suicidal.as_str()),
    ] {
        std::fs::write(file("crl.pem"), wrong).unwrap();
        rotation.step().await;
        assert_eq!((tally.errors(), app.generation()), (errors, 1));
    }
    assert_eq!(tally.rejected(Reason::Revoked), 1);
    tokio::time::resume();
    let client = client_config(Some(chain(&bad)));
    let refused = accept(&Acceptor::new(app), client).await;
    assert_eq!(refused.unwrap_err().reason(), Reason::Revoked);
}

/// M-42: where that is asked for, what no list knows passes, and what is on one that has ended does not.
#[tokio::test]
async fn unknown_status_passes_only_where_that_is_asked_for() {
    let pki = pki();
    let [ours, bad, good] = [APP, DESK, DESK].map(|uri| pki.issue(&Leaf::workload(uri)).unwrap());
    let past = SystemTime::now() - Duration::from_secs(60);
    let ended = pki.revocation_list_pem(&[&bad], past).unwrap();
    let bundles = pki.bundles().unwrap();
    let strict = bundles
        .clone()
        .with_revoked_pem(pki.trust_domain(), ended.as_bytes());
    let refused = Credentials::new(
        &Identity::new(ours.svid().unwrap(), strict.unwrap()),
        Settings::default(),
    );
    assert_eq!(refused.unwrap_err().reason(), Reason::Revocation);
    let lax = bundles.with_revoked_pem_if_known(pki.trust_domain(), ended.as_bytes());
    let ours = credentials(&Identity::new(ours.svid().unwrap(), lax.unwrap()));
    for (shown, wanted) in [(&bad, Err(Reason::Revoked)), (&good, Ok(()))] {
        let client = client_config(Some(chain(shown)));
        let accepted = accept(&Acceptor::new(ours.clone()), client).await;
        assert_eq!(accepted.map(drop).map_err(|error| error.reason()), wanted);
        let server = server_config(chain(shown));
        let connected = connect(&Connector::new(ours.clone()), server, &[id(DESK)]).await;
        assert_eq!(connected.map(drop).map_err(|error| error.reason()), wanted);
    }
}

/// M-42: each authority keeps its own list, and each may come in a file of its own.
#[tokio::test]
async fn lists_of_several_files_count_together() {
    let pki = pki();
    let below = pki.intermediate(&Authority::new("below")).unwrap();
    let [ours, bad] = [APP, DESK].map(|uri| below.issue(&Leaf::workload(uri)).unwrap());
    let soon = SystemTime::now() + Duration::from_secs(3600);
    let directory = tempfile::TempDir::new().unwrap();
    let file = |name: &str| directory.path().join(name);
    std::fs::write(file("tls.crt"), ours.chain_pem()).unwrap();
    std::fs::write(file("tls.key"), ours.key_pem().as_bytes()).unwrap();
    std::fs::write(file("ca.crt"), pki.root_pem()).unwrap();
    let list = |issuer: &Pki, of: &[&Issued]| issuer.revocation_list_pem(of, soon).unwrap();
    std::fs::write(file("below.pem"), list(&below, &[&bad])).unwrap();
    std::fs::write(file("root.pem"), list(&pki, &[])).unwrap();
    let domain = || pki.trust_domain().clone();
    for names in [["below.pem", "root.pem"], ["root.pem", "below.pem"]] {
        let [first, second] = names.map(file);
        let files = || Files::watch(directory.path());
        for files in [
            files().revoked(domain(), &first).revoked(domain(), &second),
            files()
                .revoked_if_known(domain(), &first)
                .revoked_if_known(domain(), &second),
        ] {
            let identity = files.load().await.unwrap();
            // Roots that are read anew leave the lists where they are.
            let bundles = identity.bundles().clone();
            let again = bundles.with_pem(domain(), pki.root_pem().as_bytes());
            for bundles in [identity.bundles().clone(), again.unwrap()] {
                let ours = credentials(&Identity::new(identity.svid().clone(), bundles));
                let client = client_config(Some(chain(&bad)));
                let refused = accept(&Acceptor::new(ours), client).await;
                assert_eq!(refused.unwrap_err().reason(), Reason::Revoked, "{names:?}");
            }
        }
    }
}

/// M-04: OpenSSL, Envoy and Go look at a root's end, too; the path builder does not.
#[tokio::test]
async fn a_root_that_has_ended_vouches_for_nobody() {
    let ended = pki();
    let year = Duration::from_secs(365 * 24 * 3600);
    let later = SystemTime::now() + 20 * year;
    let leaf = Leaf::workload(APP).valid(later - year, later + year);
    let ours = identity(&ended, &ended.issue(&leaf).unwrap());
    let settings = Settings::default().clock(Clock::from_fn(move || later));
    let refused = Credentials::new(&ours, settings).unwrap_err();
    assert_eq!(refused.reason(), Reason::Expired);
}

/// M-47: the server's side of a root that goes.
#[tokio::test]
async fn a_root_that_goes_takes_its_connections_along() {
    let (old, new) = (pki(), pki());
    let both = |pki: &Pki, uri| {
        let svid = pki.issue(&Leaf::workload(uri)).unwrap().svid().unwrap();
        let roots = [old.root().clone(), new.root().clone()];
        let bundles = old.bundles().unwrap();
        Identity::new(
            svid,
            bundles.with(old.trust_domain().clone(), roots).unwrap(),
        )
    };
    let app = credentials(&both(&new, APP));
    let mesh = build(workload("app", &app)).await;
    let served = serve(&mesh, hello()).await;
    let desk = credentials(&both(&old, DESK));
    let (_sender, connection) = connected(&desk, served.address).await;
    let issued = new.issue(&Leaf::workload(APP)).unwrap();
    app.replace(&identity(&new, &issued)).unwrap();
    assert!(seconds_until(|| connection.is_finished()).await <= 5);
    let ended = r#"mesh_connections_ended_total{side="inbound",reason="peer_untrusted""#;
    let text = mesh.metrics().render(tower_mesh::metrics::Format::Text);
    assert!(text.contains(ended), "{text}");
}

/// M-47, M-29: the client's side of an id that is struck off a list: its connection is used no more after five seconds, and no other is made.
#[tokio::test]
async fn an_id_that_is_struck_off_answers_no_more() {
    let pki = pki();
    let issue = |uri| pki.issue(&Leaf::workload(uri)).unwrap();
    let mesh = build(workload("app", &credentials(&identity(&pki, &issue(APP))))).await;
    let served = serve(&mesh, hello()).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let list = Arc::new(Mutex::new(vec![id(APP)]));
        let asked = Arc::clone(&list);
        let accepted = AllowedIds::listed_by(move || asked.lock().unwrap().clone());
        let desk = workload("desk", &credentials(&identity(&pki, &issue(DESK))));
        let desk = build(desk.upstream_accepting("app.default", [served.address], accepted)).await;
        let ask = async || {
            let request = Request::get("http://app.default/").version(version);
            let request = request.body(ClientBody::empty()).unwrap();
            let response = desk.client().request(request).await?;
            response.into_body().collect().await.unwrap();
            Ok::<_, tower_mesh::mesh::ClientError>(())
        };
        ask().await.unwrap();
        *list.lock().unwrap() = vec![id(DESK)];
        for _ in 0..5 {
            pass(Duration::from_secs(1)).await;
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        }
        let refused = ask().await.unwrap_err();
        let reason = refused.handshake().map(|error| error.reason());
        assert_eq!(reason, Some(Reason::IdNotAllowed), "{version:?}: {refused}");
    }
}

/// M-47: a connection of the client's ends of age without a call that fails, and the next call has another.
#[tokio::test]
async fn a_connection_of_the_client_ends_of_age_and_no_call_fails() {
    let pki = pki();
    let issue = |uri| pki.issue(&Leaf::workload(uri)).unwrap();
    let mesh = build(workload("app", &credentials(&identity(&pki, &issue(APP))))).await;
    let whence = |peer: tower_mesh::Peer| async move { peer.remote_addr().to_string() };
    let app = Router::new().fallback(routing::any(whence));
    let served = serve(&mesh, app).await;
    let mut lifetimes = tower_mesh::tls::Lifetimes::default();
    lifetimes.max_age = Duration::from_secs(600);
    let desk = workload("desk", &credentials(&identity(&pki, &issue(DESK)))).lifetimes(lifetimes);
    let desk = build(desk.upstream("app.default", [served.address], [id(APP)])).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let ask = async || {
            let request = Request::get("http://app.default/").version(version);
            let request = request.body(ClientBody::empty()).unwrap();
            let response = desk.client().request(request).await.unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            body
        };
        let first = ask().await;
        let mut seconds = 0;
        // A call every ten seconds keeps the connection in use.
        while ask().await == first {
            assert!(seconds <= 680, "{version:?}: still the first connection");
            pass(Duration::from_secs(10)).await;
            seconds += 10;
        }
        assert!(seconds >= 530, "{version:?}: gone after {seconds} s");
    }
}

/// M-42, M-47: what a listener alone tells.
#[tokio::test(start_paused = true)]
async fn a_lifetime_tells_of_a_revocation() {
    let pki = pki();
    let [ours, bad] = [APP, DESK].map(|uri| pki.issue(&Leaf::workload(uri)).unwrap());
    let app = credentials(&identity(&pki, &ours));
    let mut listener = Listener::bind("127.0.0.1:0", Acceptor::new(app.clone()))
        .await
        .unwrap();
    let address = listener.local_addr();
    let desk = Connector::new(credentials(&identity(&pki, &bad)));
    let destination = Destination::new([id(APP)], "app", Protocol::Http2).unwrap();
    tokio::time::resume();
    let (accepted, _connected) =
        tokio::join!(listener.accept(), desk.connect(address, &destination));
    let mut lifetime = accepted.stream().lifetime();
    let soon = SystemTime::now() + Duration::from_secs(3600);
    let list = pki.revocation_list_pem(&[&bad], soon).unwrap();
    let bundles = pki.bundles().unwrap();
    let bundles = bundles.with_revoked_pem(pki.trust_domain(), list.as_bytes());
    let listed = Identity::new(ours.svid().unwrap(), bundles.unwrap());
    app.replace(&listed).unwrap();
    let ended = lifetime.ended().await;
    assert_eq!(ended.reason, CloseReason::PeerUntrusted);
    assert!(ended.grace <= Duration::from_secs(5));
}

/// M-47: what a rotation leaves under way is cut when its time is over, which is configured, and counted.
#[tokio::test]
async fn a_rotation_waits_as_long_as_it_is_told_and_counts_what_it_cuts() {
    let pki = pki();
    let issue = |uri| pki.issue(&Leaf::workload(uri)).unwrap();
    let app = credentials(&identity(&pki, &issue(APP)));
    let mut lifetimes = tower_mesh::tls::Lifetimes::default();
    lifetimes.drain = Duration::from_secs(3);
    let mesh = build(workload("app", &app).lifetimes(lifetimes)).await;
    let never = routing::any(std::future::pending::<&str>);
    let router = Router::new().route("/never", never).merge(hello());
    let served = serve(&mesh, router).await;
    let desk = credentials(&identity(&pki, &issue(DESK)));
    let (mut sender, connection) = connected(&desk, served.address).await;
    let request = Request::get("https://app/never")
        .body(Empty::new())
        .unwrap();
    let call = tokio::spawn(sender.send_request(request));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    app.replace(&identity(&pki, &issue(APP))).unwrap();
    let seconds = seconds_until(|| connection.is_finished()).await;
    assert!((3..=5).contains(&seconds), "{seconds} s");
    assert!(call.await.unwrap().is_err());
    let text = mesh.metrics().render(tower_mesh::metrics::Format::Text);
    let cut = text
        .lines()
        .find(|line| line.starts_with("mesh_requests_cut_total") && line.contains("inbound"));
    assert!(cut.unwrap().ends_with(" 1"), "{text}");
}

/// M-42, M-47: under a server that is not ours, too; a rotation alone costs it nothing.
#[tokio::test]
async fn a_foreign_server_loses_who_is_no_longer_good_and_nobody_else() {
    let pki = pki();
    let issue = |uri| pki.issue(&Leaf::workload(uri)).unwrap();
    let app_issued = issue(APP);
    let app = credentials(&identity(&pki, &app_issued));
    let mesh = build(workload("app", &app)).await;
    let listener = mesh.listen("127.0.0.1:0").await.unwrap();
    let (address, tally) = (listener.local_addr(), listener.stats());
    let serving = tokio::spawn({
        let service = mesh.make(hello());
        async move { axum::serve(listener, service).await }
    });
    let [bad, good] = [(); 2].map(|()| issue(DESK));
    let bad_desk = credentials(&identity(&pki, &bad));
    let good_desk = credentials(&identity(&pki, &good));
    let (_bad, bad_connection) = connected(&bad_desk, address).await;
    let (mut sender, good_connection) = connected(&good_desk, address).await;

    let now = SystemTime::now();
    let longer = Leaf::workload(APP).valid(now, now + Duration::from_secs(7200));
    let longer = pki.issue(&longer).unwrap();
    assert_eq!(app.replace(&identity(&pki, &longer)), Ok(true));
    assert_eq!(seconds_until(|| bad_connection.is_finished()).await, 7);

    let soon = now + Duration::from_secs(3600);
    let list = pki.revocation_list_pem(&[&bad], soon).unwrap();
    let bundles = pki.bundles().unwrap();
    let bundles = bundles.with_revoked_pem(pki.trust_domain(), list.as_bytes());
    let listed = Identity::new(longer.svid().unwrap(), bundles.unwrap());
    assert_eq!(app.replace(&listed), Ok(true));
    assert!(seconds_until(|| bad_connection.is_finished()).await <= 5);
    assert_eq!(tally.ended(CloseReason::PeerUntrusted), 1);
    assert!(!good_connection.is_finished());
    let request = Request::get("https://app/").body(Empty::new()).unwrap();
    assert_eq!(
        sender.send_request(request).await.unwrap().status(),
        StatusCode::OK
    );
    serving.abort();
}
