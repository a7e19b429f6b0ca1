//! `x-forwarded-client-cert` as Envoy and we make it.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::any;
use http::{HeaderMap, HeaderValue, Request, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower_mesh::gate::ForwardClientCert::{
    self, AlwaysForwardOnly, AppendForward, ForwardOnly, Sanitize, SanitizeSet,
};
use tower_mesh::gate::forwarded_client_cert::read;
use tower_mesh::identity::SpiffeId;
use tower_mesh::mesh::ClientBody;
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::{Identity, Mode};
use tower_mesh::{Mesh, Workload};

use super::config::{Cluster, Http, Listener};
use super::process::Envoy;
use crate::site::{OURS, THEIRS};
use crate::tool::{self, PATIENCE};

const CLIENT_CERT: &str = "x-forwarded-client-cert";
const DESK: &str = "spiffe://cluster.local/ns/default/sa/desk";

/// Our modes, and Envoy's names for them.
const MODES: [(ForwardClientCert, &str); 5] = [
    (Sanitize, "SANITIZE"),
    (ForwardOnly, "FORWARD_ONLY"),
    (AppendForward, "APPEND_FORWARD"),
    (SanitizeSet, "SANITIZE_SET"),
    (AlwaysForwardOnly, "ALWAYS_FORWARD_ONLY"),
];

/// What callers say of their own callers.
const SAID: [&[&str]; 5] = [
    &[],
    &["By=spiffe://td/a;URI=spiffe://td/b"],
    &[
        r#"By=spiffe://td/a;Hash=00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff;Subject="CN=b,O=\"c\"";URI=spiffe://td/b;DNS=b"#,
    ],
    &["URI=spiffe://td/a", "URI=spiffe://td/b,URI=spiffe://td/c"],
    &["", "URI=spiffe://td/a"],
];

/// H-01, H-02, H-03, H-04, H-05, H-06: in each mode our application sees, byte for byte, what Envoy shows for the same certificate and header, and
/// the same without a certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mode_shows_what_envoy_shows() {
    let Some(program) = tool::find("envoy") else {
        return;
    };
    let files = tempfile::tempdir().unwrap();
    let pki = Pki::new("cluster.local").unwrap();
    let mutual = |mode| Listener::client_cert(mode).mutual(&pki, THEIRS, OURS);
    let listeners: Vec<_> = MODES
        .iter()
        .flat_map(|(_, mode)| [mutual(mode), Listener::client_cert(mode)])
        .collect();
    let envoy = Envoy::start(&program, files.path(), &listeners).await;
    let client = as_istio_issues(&pki, OURS);
    for ((mode, name), ports) in MODES.into_iter().zip(envoy.ports.chunks(2)) {
        // As Envoy, so that it is called by the same name.
        let (own, _serving) = serve(&pki, "theirs", mode).await;
        for said in SAID {
            let [theirs, ours] = [ports[0], own.port()].map(|port| caller(&client, port, THEIRS));
            let (theirs, ours) = (theirs.await, ours.await);
            for version in [Version::HTTP_11, Version::HTTP_2] {
                let expected = shown(&theirs, version, said).await;
                let seen = shown(&ours, version, said).await;
                assert_eq!(seen, expected, "{name} {version:?} {said:?}");
            }
            let expected = shown_in_plaintext(ports[1], said).await;
            let seen = shown_in_plaintext(own.port(), said).await;
            assert_eq!(seen, expected, "{name} plaintext {said:?}");
        }
    }
}

/// H-06, H-08: behind Envoy, in each mode, its element is read, and names Envoy, its caller and the caller's certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_envoy_says_of_its_caller_is_read() {
    let Some(program) = tool::find("envoy") else {
        return;
    };
    let files = tempfile::tempdir().unwrap();
    let pki = Pki::new("cluster.local").unwrap();
    let (own, _serving) = serve(&pki, "ours", ForwardOnly).await;
    let cluster = || Cluster::to(own.port(), &pki, "istio-h2,istio,h2", Http::Two);
    let listeners: Vec<_> = MODES
        .iter()
        .map(|(_, mode)| {
            let listener = Listener::client_cert(mode).mutual(&pki, THEIRS, DESK);
            listener.passed_on(cluster())
        })
        .collect();
    let envoy = Envoy::start(&program, files.path(), &listeners).await;
    let client = as_istio_issues(&pki, DESK);
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &client.svid().chain()[0]);
    for ((mode, name), port) in MODES.into_iter().zip(&envoy.ports) {
        let caller = caller(&client, *port, THEIRS).await;
        for said in [&[][..], &["By=spiffe://td/a;URI=spiffe://td/b"]] {
            let kept = match mode {
                ForwardOnly | AppendForward | AlwaysForwardOnly => said.len(),
                _ => 0,
            };
            let adds = matches!(mode, AppendForward | SanitizeSet);
            let seen = shown(&caller, Version::HTTP_11, said).await;
            let elements = read([seen.as_bytes()]).unwrap();
            assert_eq!(elements.len(), kept + usize::from(adds), "{name}: {seen}");
            if let Some(first) = elements.first().filter(|_| kept == 1) {
                assert_eq!(first.by, ["spiffe://td/a"], "{name}");
            }
            if let Some(last) = elements.last().filter(|_| adds) {
                assert_eq!(last.by, [THEIRS], "{name}");
                assert_eq!(last.uris, [DESK], "{name}");
                assert_eq!(last.subject.as_deref(), Some(""), "{name}");
                assert_eq!(last.hash.unwrap(), hash.as_ref(), "{name}");
            }
        }
    }
}

/// A workload of ours that tells each caller what it sees; it takes plaintext, too.
async fn serve(pki: &Pki, account: &str, mode: ForwardClientCert) -> (SocketAddr, JoinHandle<()>) {
    let identity = pki.identity("default", account).unwrap();
    let builder = Mesh::builder(Workload::new("default", account), identity);
    let builder = builder.mode(Mode::Permissive);
    let builder = match mode {
        AlwaysForwardOnly => builder.danger().always_forward_client_cert(),
        mode => builder.listener(|listener| listener.forward_client_cert(mode)),
    };
    let (mesh, driver) = builder.build().await.unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let app = Router::new().fallback(any(|headers: HeaderMap| async move {
        let lines: Vec<_> = headers.get_all(CLIENT_CERT).iter().cloned().collect();
        let seen = match lines.as_slice() {
            [] => HeaderValue::from_static(""),
            [seen] => seen.clone(),
            several => panic!("{several:?}"),
        };
        [("x-seen", seen)]
    }));
    let serving = tokio::spawn(async move {
        tokio::select! {
            served = mesh.serve_on(socket, app) => drop(served.unwrap()),
            () = driver.run() => {}
        }
    });
    (address, serving)
}

/// With no name but the id.
fn as_istio_issues(pki: &Pki, id: &str) -> Identity {
    let issued = pki.issue(&Leaf::workload(id)).unwrap();
    Identity::new(issued.svid().unwrap(), pki.bundles().unwrap())
}

/// A caller with this very certificate, of `server` at this port.
async fn caller(identity: &Identity, port: u16, server: &str) -> Mesh {
    let account = identity.svid().spiffe_id().service_account().unwrap();
    let workload = Workload::new("default", account);
    let builder = Mesh::builder(workload, identity.clone()).upstream(
        "theirs:8080",
        [SocketAddr::from(([127, 0, 0, 1], port))],
        [SpiffeId::new(server).unwrap()],
    );
    let (mesh, _driver) = builder.build().await.unwrap();
    mesh
}

async fn shown(caller: &Mesh, version: Version, said: &[&str]) -> String {
    let mut request = Request::get("http://theirs:8080/").version(version);
    for said in said {
        request = request.header(CLIENT_CERT, *said);
    }
    let request = request.body(ClientBody::empty()).unwrap();
    let call = timeout(PATIENCE, caller.client().request(request)).await;
    let answer = call.unwrap().unwrap();
    assert_eq!(answer.status(), 200, "{said:?}");
    answer.headers()["x-seen"].to_str().unwrap().to_owned()
}

async fn shown_in_plaintext(port: u16, said: &[&str]) -> String {
    let lines = said.iter().map(|said| format!("{CLIENT_CERT}: {said}\r\n"));
    let lines: String = lines.collect();
    let question = format!("GET / HTTP/1.1\r\nhost: theirs\r\nconnection: close\r\n{lines}\r\n");
    let asking = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(question.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = timeout(PATIENCE, asking).await.unwrap().unwrap();
    let mut lines = answer.lines();
    let seen = lines.find_map(|line| line.strip_prefix("x-seen:"));
    let seen = seen.unwrap_or_else(|| panic!("{said:?}: {answer}"));
    seen.trim().to_owned()
}
