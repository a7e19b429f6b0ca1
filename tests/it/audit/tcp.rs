//! Connections without HTTP: what is recorded before their handlers run, and at their ends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tower_mesh::MeshBuilder;
use tower_mesh::mesh::{AuditOptions, Drained, TcpConnection, TcpOptions};
use tower_mesh::source::{self, Fixed};
use tower_mesh::tls::{Protocol, Stream};
use tracing::Level;

use super::{Audited, fields, rows};
use crate::support::log::Log;
use crate::support::mesh::{dial, lines, policy, seconds, still, until};

const DESK: &str = "[{from: [{source: {principals: [cluster.local/ns/default/sa/desk]}}]}]";
const WEB: &str = "[{from: [{source: {principals: [cluster.local/ns/default/sa/web]}}]}]";

/// A workload that serves TCP, with a trail.
struct Site {
    audited: Audited,
    address: SocketAddr,
    handled: Arc<AtomicUsize>,
    serving: JoinHandle<io::Result<Drained>>,
}

impl Site {
    async fn start(
        options: impl FnOnce(AuditOptions) -> AuditOptions,
        set: impl FnOnce(MeshBuilder) -> MeshBuilder,
    ) -> Self {
        let audited = Audited::new(Router::new(), options, set).await;
        let mut tcp = TcpOptions::default();
        tcp.judge_again = true;
        let mesh = audited.mesh.with_listener(|listener| listener.tcp(tcp));
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let handled = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&handled);
        let serving = mesh.unwrap().serve_tcp_on(socket, move |connection| {
            count.fetch_add(1, Ordering::Relaxed);
            obeys(connection)
        });
        Self {
            audited,
            address,
            handled,
            serving: tokio::spawn(serving),
        }
    }

    async fn policies(
        options: impl FnOnce(AuditOptions) -> AuditOptions,
        text: impl Into<String>,
    ) -> Self {
        let config = Fixed::yaml("p.yaml", text);
        Self::start(options, |builder| builder.config(config)).await
    }

    /// A connection that has sent this.
    async fn send(&self, account: &str, word: &[u8; 4]) -> Stream<TcpStream> {
        let dialled = dial(&self.audited.pki, account, self.address, Protocol::Tcp);
        let mut stream = dialled.await;
        stream.write_all(word).await.unwrap();
        stream
    }

    /// A connection whose handler runs.
    async fn open(&self, account: &str) -> Stream<TcpStream> {
        let mut stream = self.send(account, b"ping").await;
        stream.read_exact(&mut [0; 4]).await.unwrap();
        stream
    }

    /// Whether a connection is closed without an answer.
    async fn is_refused(&self, account: &str) -> bool {
        let mut answer = Vec::new();
        let mut stream = self.send(account, b"done").await;
        let _ = stream.read_to_end(&mut answer).await;
        answer.is_empty()
    }

    fn handled(&self) -> usize {
        self.handled.load(Ordering::Relaxed)
    }

    /// The records of connections, once there are so many.
    async fn access(&self, count: usize) -> Vec<serde_json::Value> {
        let records = &self.audited.records;
        until("the records", || {
            records.text().matches("\"type\":\"access\"").count() >= count
        })
        .await;
        let access = self.audited.access().await;
        assert_eq!(access.len(), count, "{access:?}");
        access
    }
}

/// Does what its client says, and repeats it; `ping` waits for more.
async fn obeys(mut connection: TcpConnection) -> io::Result<()> {
    loop {
        let mut word = [0; 4];
        connection.read_exact(&mut word).await?;
        match &word {
            b"fail" => return Err(io::ErrorKind::Other.into()),
            b"fall" => panic!("told to panic"),
            _ => connection.write_all(&word).await?,
        }
        if &word == b"done" {
            return Ok(());
        }
    }
}

/// A policy for emergencies that lets the desk in.
fn emergency() -> String {
    policy("emergency", "ALLOW", DESK).replace(
        "{name: emergency}",
        "{name: emergency, annotations: {mesh.tower/break-glass: 'true'}}",
    )
}

#[tokio::test]
async fn a_policy_for_emergencies_is_recorded_before_a_connection_is_handled() {
    let text = emergency() + &policy("usual", "ALLOW", WEB);
    let site = Site::policies(|audit| audit, text).await;
    let (log, _guard) = Log::listen(Level::WARN);
    let usual = site.open("web").await;
    let open = site.open("desk").await;
    let records = &site.audited.records;
    let glass = records.of(&site.audited.mesh, "break_glass").await;
    let names = [
        "actor.spiffe",
        "policy",
        "outcome",
        "action",
        "generation",
        "dest",
    ];
    let record = "spiffe://cluster.local/ns/default/sa/desk,ns[default]-policy[emergency]-rule[0],\
                  allow,TCP,1,spiffe://cluster.local/ns/default/sa/app";
    assert_eq!(rows(&glass, &names), [record]);
    let alerts = log.with(&["break glass", "policy[emergency]", "sa/desk"]);
    assert_eq!(alerts.len(), 1, "{}", log.text());
    let counted = lines(&site.audited.mesh, "mesh_audit_break_glass_total", &[]);
    assert_eq!(counted, ["mesh_audit_break_glass_total 1"]);
    drop((open, usual));
    let access = site.access(2).await;
    let policy = "ns[default]-policy[emergency]-rule[0]";
    assert_eq!(
        rows(&access, &["phase", "action", "policy"]),
        [
            format!("intent,TCP,{policy}"),
            format!("completion,TCP,{policy}")
        ]
    );
    // It must be in the trail before the handler runs.
    records.fails_after("\"break_glass\"", 1);
    assert!(site.is_refused("desk").await);
    assert!(!site.is_refused("web").await);
    assert_eq!(site.handled(), 3, "the desk once, the web twice");
    let reason = [r#"reason="audit""#];
    let refused = lines(
        &site.audited.mesh,
        "mesh_tcp_connections_refused_total",
        &reason,
    );
    assert!(refused[0].ends_with(" 1"), "{refused:?}");
}

/// It may last for days, and a process that is killed meanwhile must leave a record.
#[tokio::test]
async fn a_connection_that_rules_for_audit_match_is_recorded_from_its_beginning() {
    for is_strict in [false, true] {
        let set = |audit: AuditOptions| match is_strict {
            true => audit.strict_audit_policies(),
            false => audit,
        };
        let site = Site::policies(set, policy("looks", "AUDIT", DESK)).await;
        let other = site.open("web").await;
        let open = site.open("desk").await;
        let names = ["phase", "action", "outcome", "policy", "actor.spiffe"];
        let of = |phase: &str| {
            let desk = "spiffe://cluster.local/ns/default/sa/desk";
            format!("{phase},TCP,allow,ns[default]-policy[looks]-rule[0],{desk}")
        };
        assert_eq!(rows(&site.access(1).await, &names), [of("intent")]);
        let mut open = open;
        open.write_all(b"done").await.unwrap();
        open.read_exact(&mut [0; 4]).await.unwrap();
        drop((open, other));
        let access = site.access(2).await;
        assert_eq!(rows(&access, &names), [of("intent"), of("completion")]);
        assert_eq!(access[0]["call"], access[1]["call"]);
        assert!(access[0]["call"].is_u64(), "{access:?}");
        let before = site.handled();
        site.audited.records.fails_after("\"intent\"", 1);
        assert_eq!(site.is_refused("desk").await, is_strict);
        assert_eq!(site.handled() - before, usize::from(!is_strict));
    }
}

#[tokio::test]
async fn however_a_connection_ends_it_has_a_completion() {
    for (word, outcome, reason) in [
        (b"done", "allow", ""),
        (b"fail", "error", "handler_failed"),
        (b"fall", "error", "handler_panicked"),
        (b"ping", "cancelled", "server_shutdown"),
    ] {
        let site = Site::policies(|audit| audit, policy("looks", "AUDIT", DESK)).await;
        let mut stream = site.send("desk", word).await;
        match word {
            b"ping" => drop(stream.read_exact(&mut [0; 4]).await.unwrap()),
            _ => drop(stream.read_to_end(&mut Vec::new()).await),
        }
        // Of `done`, the server now waits for the client's end.
        site.audited.mesh.shutdown(Duration::ZERO);
        site.serving.await.unwrap().unwrap();
        let records = site.audited.records.now();
        let (stop, rest) = records.split_last().unwrap();
        assert_eq!(stop["type"], "stop");
        let access: Vec<_> = rest.iter().filter(|one| one["type"] == "access").collect();
        assert_eq!(access.len(), 2, "{word:?}: {records:?}");
        assert_eq!(
            fields(access[1], &["phase", "outcome", "reason"]),
            format!("completion,{outcome},{reason}")
        );
    }
}

/// A change while it is open is not what has let it in; one that ends it is.
#[tokio::test]
async fn a_connection_is_recorded_with_the_configuration_that_decided() {
    let load = |text: String| Fixed::yaml("p.yaml", text).load("default").unwrap();
    let looks = policy("looks", "AUDIT", DESK);
    let (sender, channel) = source::channel(load(looks.clone()));
    let site = Site::start(|audit| audit, |builder| builder.config(channel)).await;
    let mut kept = site.open("desk").await;
    let more = looks.clone() + &policy("more", "DENY", WEB);
    sender.send(load(more)).await.unwrap();
    kept.write_all(b"done").await.unwrap();
    let _ = kept.read_to_end(&mut Vec::new()).await;
    drop(kept);
    let access = site.access(2).await;
    let config = site.audited.records.of(&site.audited.mesh, "config").await;
    let names = ["generation", "hash"];
    let first = fields(&config[0], &names);
    assert_ne!(first, fields(&config[1], &names));
    assert_eq!(rows(&access, &names), [first.clone(), first]);

    let cut = site.open("desk").await;
    let closed = looks + &policy("closed", "DENY", DESK);
    sender.send(load(closed)).await.unwrap();
    {
        let _still = still();
        seconds(6).await;
    }
    tokio::time::resume();
    let access = site.access(4).await;
    drop(cut);
    let names = ["phase", "outcome", "policy", "generation"];
    assert_eq!(
        rows(&access[2..], &names),
        [
            "intent,allow,ns[default]-policy[looks]-rule[0],2",
            "completion,deny,ns[default]-policy[closed]-rule[0],3"
        ]
    );
}

/// Also a connection that was let in before the policy for emergencies came.
#[tokio::test]
async fn a_connection_that_stays_open_by_a_policy_for_emergencies_is_recorded() {
    let load = |text: String| Fixed::yaml("p.yaml", text).load("default").unwrap();
    let usual = policy("usual", "ALLOW", DESK);
    let (sender, channel) = source::channel(load(usual));
    let site = Site::start(|audit| audit, |builder| builder.config(channel)).await;
    let open = site.open("desk").await;
    sender.send(load(emergency())).await.unwrap();
    {
        let _still = still();
        seconds(12).await;
    }
    tokio::time::resume();
    until("the record", || {
        site.audited.records.text().contains("break_glass")
    })
    .await;
    drop(open);
    let access = site.access(2).await;
    assert_eq!(
        rows(&access, &["phase", "policy", "generation"]),
        [
            "intent,ns[default]-policy[emergency]-rule[0],2",
            "completion,ns[default]-policy[emergency]-rule[0],2"
        ]
    );
    let records = &site.audited.records;
    let glass = records.of(&site.audited.mesh, "break_glass").await;
    assert_eq!(glass.len(), 1);
}
