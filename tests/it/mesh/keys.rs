//! Keys of a mesh whose configuration changes: a new address is asked before the rules that need it are in force.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use http::{Request, StatusCode};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower_mesh::context::Peer;
use tower_mesh::source::Directory;
use tower_mesh::testing::{Issuer, JwksServer, Pki};
use tower_mesh::tls::Mode;
use tower_mesh::{Mesh, MeshBuilder};

use crate::support::log::Log;
use crate::support::mesh::{
    ISSUER, app, build, lines, pass, policy, settle, until, until_status, write,
};

/// An address that hands connections on once it may, and counts those that came.
struct Door {
    address: SocketAddr,
    came: Arc<AtomicUsize>,
    go: Arc<Semaphore>,
}

impl Door {
    async fn to(server: SocketAddr) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Self {
            address: socket.local_addr().unwrap(),
            came: Arc::default(),
            go: Arc::new(Semaphore::new(0)),
        };
        let (came, go) = (Arc::clone(&door.came), Arc::clone(&door.go));
        tokio::spawn(async move {
            while let Ok((mut near, _)) = socket.accept().await {
                came.fetch_add(1, Ordering::SeqCst);
                let go = Arc::clone(&go);
                tokio::spawn(async move {
                    let _turn = go.acquire().await.unwrap();
                    let mut far = TcpStream::connect(server).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        door
    }

    fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }

    fn open(&self) {
        self.go.add_permits(1_000);
    }
}

/// Two servers of one issuer's keys, the old and the new, and a door before the new one.
struct World {
    pki: Pki,
    directory: TempDir,
    old: Issuer,
    new: Issuer,
    servers: [JwksServer; 2],
    addresses: [SocketAddr; 2],
    door: Door,
}

impl World {
    async fn new() -> Self {
        let pki = Pki::new("cluster.local").unwrap();
        let (old, new) = (Issuer::es256(ISSUER), Issuer::es256(ISSUER));
        let servers = [
            JwksServer::start(&pki, "old.test", &old).await.unwrap(),
            JwksServer::start(&pki, "new.test", &new).await.unwrap(),
        ];
        let door = Door::to(servers[1].address()).await;
        Self {
            directory: tempfile::tempdir().unwrap(),
            addresses: [servers[0].address(), door.address],
            servers,
            pki,
            old,
            new,
            door,
        }
    }

    fn configure(&self, text: &str) {
        write(self.directory.path(), text);
    }

    fn builder(&self) -> MeshBuilder {
        app(&self.pki)
            .mode(Mode::Permissive)
            .config(Directory::watch(self.directory.path()))
            .tokens(|tokens| {
                tokens
                    .jwks_roots(self.pki.root_pem())
                    .resolve("old.test:443", self.addresses[0])
                    .resolve("new.test:443", self.addresses[1])
            })
    }
}

fn users(host: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: users}}\nspec:\n  jwtRules:\n  - {{issuer: {ISSUER}, jwksUri: 'https://{host}/keys'}}\n---\n"
    )
}

fn deny(path: &str) -> String {
    let rules = format!("[{{to: [{{operation: {{paths: [{path}]}}}}]}}]");
    policy("p", "DENY", &rules)
}

async fn ask(mesh: &Mesh, path: &str, issuer: Option<&Issuer>) -> StatusCode {
    let mut request = Request::get(path).header("host", "app.default");
    if let Some(issuer) = issuer {
        let token = issuer.token().subject("u").sign();
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let peer = Peer::plaintext(
        "10.0.0.1:1".parse().unwrap(),
        "10.0.0.2:8443".parse().unwrap(),
    );
    let request = request.extension(peer).body(axum::body::Body::empty());
    let app = Router::new().fallback(any(|| async {}));
    let answer = mesh.protect(app).oneshot(request.unwrap()).await.unwrap();
    answer.status()
}

/// Lets the driver look again and again until something is so.
async fn look_until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..200 {
        if is_so().await {
            return;
        }
        pass(Duration::from_secs(1)).await;
        // Files are read on another thread, and servers answer in their own time.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        for _ in 0..30 {
            settle().await;
        }
    }
    panic!("waited too long for {what}");
}

/// A new `jwksUri` is asked before its rule is in force.
#[tokio::test]
async fn new_keys_are_there_before_the_rule_that_needs_them() {
    let world = World::new().await;
    world.configure(&deny("/a"));
    let mesh = build(world.builder()).await;
    assert_eq!(ask(&mesh, "/a", None).await, 403);
    world.configure(&(deny("/b") + &users("new.test")));
    look_until("the fetch", async || world.door.came() > 0).await;
    settle().await;
    assert_eq!(ask(&mesh, "/a", None).await, 403, "not in force yet");
    world.door.open();
    // From here on no time passes: what comes now comes because the keys do.
    until("the rule", || {
        !mesh.engine().authentication(8443).rules.is_empty()
    })
    .await;
    assert_eq!(ask(&mesh, "/a", Some(&world.new)).await, 200);
    assert_eq!(ask(&mesh, "/b", None).await, 403);
}

/// A key server that hangs holds up one change, for five seconds, and not the next.
#[tokio::test]
async fn a_key_server_that_hangs_holds_up_changes_for_a_bounded_time() {
    let world = World::new().await;
    world.configure(&(deny("/a") + &users("old.test")));
    let mesh = build(world.builder()).await;
    assert_eq!(ask(&mesh, "/x", Some(&world.old)).await, 200);
    let others = "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: others}\nspec:\n  jwtRules:\n  - {issuer: other, jwksUri: 'https://new.test/keys?key=hunter2'}\n---\n";
    let (log, _guard) = Log::listen(tracing::Level::TRACE);
    for path in ["/b", "/c"] {
        world.configure(&(deny(path) + &users("old.test") + others));
        if path == "/b" {
            look_until("the fetch", async || world.door.came() > 0).await;
            // Other keys come and go meanwhile.
            let rotated = Issuer::es256(ISSUER).with_key_id("rotated");
            world.servers[0].answer(rotated.jwks());
            until_status("rotated keys", 200, async || {
                ask(&mesh, "/x", Some(&rotated)).await
            })
            .await;
            assert_eq!(ask(&mesh, path, None).await, 200, "not in force yet");
            world.servers[0].answer(world.old.jwks());
        }
        let mut passed = 0;
        look_until("the change", async || {
            passed += 1;
            ask(&mesh, path, None).await == 403
        })
        .await;
        let most = if path == "/b" { 12 } else { 6 };
        assert!(passed <= most, "{path}: {passed} s");
    }
    let text = log.text();
    // Whichever bound ended it, the fetch's own or that of all together.
    assert!(text.contains("https://new.test/keys"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    assert!(world.door.came() > 0);
}

/// J-48
#[tokio::test]
async fn a_moved_address_keeps_the_old_keys_and_says_so() {
    let world = World::new().await;
    world.configure(&users("old.test"));
    let mesh = build(world.builder()).await;
    let moved = |count: u32| {
        let lines = lines(&mesh, "mesh_jwt_moved_key_sets", &[]);
        lines == [format!("mesh_jwt_moved_key_sets {count}")]
    };
    assert_eq!(ask(&mesh, "/", Some(&world.old)).await, 200);
    assert!(moved(0), "none has moved");
    world.configure(&(users("new.test") + &deny("/b")));
    look_until("the change", async || ask(&mesh, "/b", None).await == 403).await;
    assert_eq!(ask(&mesh, "/", Some(&world.old)).await, 200);
    assert_eq!(ask(&mesh, "/", Some(&world.new)).await, 401);
    assert!(moved(1), "the new address has not answered");
    world.door.open();
    let came = world.door.came();
    // The try that is under way gets through now, or another is made.
    look_until("a try", async || {
        world.door.came() > came || ask(&mesh, "/", Some(&world.new)).await == 200
    })
    .await;
    // No time passes while the servers work: a busy machine would let the try run out of it.
    until_status("the new keys", 200, async || {
        ask(&mesh, "/", Some(&world.new)).await
    })
    .await;
    assert_eq!(ask(&mesh, "/", Some(&world.old)).await, 401);
    assert!(moved(0), "it has");
}
