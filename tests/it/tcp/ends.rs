//! How connections end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tower_mesh::mesh::{Drained, TcpConnection, TcpOptions};
use tower_mesh::testing::Pki;

use super::{Site, ask, echo, ended, go_on};
use crate::support::mesh::{pass, seconds, settle, still, until};

/// Opens a connection whose handler runs: a byte has come back.
async fn open(site: &Site) -> tower_mesh::tls::Stream<TcpStream> {
    let mut open = site.dial("desk").await;
    open.write_all(b"x").await.unwrap();
    open.read_exact(&mut [0]).await.unwrap();
    open
}

#[tokio::test]
async fn either_side_may_end_what_it_sends_and_go_on_reading() {
    // The client ends first, and the server speaks afterwards.
    async fn count(mut connection: TcpConnection) -> io::Result<()> {
        let mut all = Vec::new();
        connection.read_to_end(&mut all).await?;
        connection
            .write_all(format!("{} bytes", all.len()).as_bytes())
            .await
    }
    let site = Site::start(|app| app, TcpOptions::default(), count).await;
    let answer = ask(site.dial("desk").await, "ping").await;
    assert_eq!(answer.as_deref(), Some("4 bytes"));
    assert_eq!(site.seen.line().await, "- - 4/7");

    // The server ends first, and the client speaks afterwards.
    let (sender, mut rest) = mpsc::unbounded_channel();
    let first = move |mut connection: TcpConnection| {
        let sender = sender.clone();
        async move {
            connection.read_exact(&mut [0]).await?;
            connection.write_all(b"bye").await?;
            connection.shutdown().await?;
            let mut rest = String::new();
            connection.read_to_string(&mut rest).await?;
            sender.send(rest).unwrap();
            Ok(())
        }
    };
    let site = Site::start(|app| app, TcpOptions::default(), first).await;
    let mut client = site.dial("desk").await;
    client.write_all(b"x").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "bye");
    client.write_all(b"more").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest.recv().await.unwrap(), "more");
    assert_eq!(site.seen.line().await, "- - 5/3");
}

#[tokio::test]
async fn an_answer_arrives_whole_although_nobody_reads_the_question() {
    async fn answer(mut connection: TcpConnection) -> io::Result<()> {
        connection.write_all(&vec![b'a'; 100_000]).await
    }
    let site = Site::start(|app| app, TcpOptions::default(), answer).await;
    let mut client = site.dial("desk").await;
    client.write_all(&vec![b'q'; 50_000]).await.unwrap();
    let mut answer = Vec::new();
    // Without an error: the server has said that this is the end.
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer.len(), 100_000);
}

#[tokio::test]
async fn a_panic_and_an_error_of_the_handler_end_their_connection_alone() {
    async fn odd(mut connection: TcpConnection) -> io::Result<()> {
        match connection.read_u8().await? {
            b'p' => panic!("the handler panics"),
            b'e' => Err(io::Error::other("the handler fails")),
            _ => connection.write_all(b"well").await,
        }
    }
    let site = Site::start(|app| app, TcpOptions::default(), odd).await;
    let other = site.dial("desk").await;
    for (word, line) in [
        ("p", "UC handler_panicked 1/0"),
        ("e", "UC handler_failed 1/0"),
    ] {
        let mut client = site.dial("desk").await;
        client.write_all(word.as_bytes()).await.unwrap();
        // It was cut short, and its client can tell.
        let cut = client.read_to_end(&mut Vec::new()).await;
        assert!(cut.is_err(), "{word}");
        assert_eq!(site.seen.line().await, line);
    }
    assert_eq!(ask(other, "x").await.as_deref(), Some("well"));
    assert_eq!(site.seen.line().await, "- - 1/4");
    assert_eq!(site.count("istio_tcp_connections_closed_total", &[]), 3);
    let flags = ["response_flags=\"UC\""];
    assert_eq!(site.count("istio_tcp_connections_closed_total", &flags), 2);
}

#[tokio::test]
async fn a_client_that_vanishes_is_told_by_its_flag() {
    let site = Site::echo(|app| app).await;
    // Neither the end of TLS nor that of the bytes.
    drop(open(&site).await);
    assert_eq!(site.seen.line().await, "DC - 1/1");
}

/// The handler knows nothing of it: it has written what it had to say, and is done.
#[tokio::test]
async fn an_end_that_cannot_be_sent_is_told() {
    let vanished = Arc::new(Notify::new());
    let gone = Arc::clone(&vanished);
    let handler = move |mut connection: TcpConnection| {
        let gone = Arc::clone(&gone);
        async move {
            let byte = connection.read_u8().await?;
            connection.write_all(&[byte]).await?;
            gone.notified().await;
            Ok(())
        }
    };
    let site = Site::start(|app| app, TcpOptions::default(), handler).await;
    let client = open(&site).await;
    // Its close is a reset.
    client.transport().set_zero_linger().unwrap();
    drop(client);
    vanished.notify_one();
    assert_eq!(site.seen.line().await, "DC - 1/1");
}

#[tokio::test]
async fn a_shutdown_waits_for_handlers_and_cuts_what_is_left() {
    // Nobody is told but by `draining`.
    async fn orderly(mut connection: TcpConnection) -> io::Result<()> {
        let draining = connection.draining();
        connection.write_all(b"x").await?;
        draining.await;
        connection.write_all(b"bye").await
    }
    let site = Site::start(|app| app, TcpOptions::default(), orderly).await;
    let mut client = open(&site).await;
    // One that was not judged yet is not worth waiting for.
    let mut silent = site.dial("web").await;
    settle().await;
    site.mesh.shutdown(Duration::from_secs(60));
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "bye");
    assert!(ended(&mut silent).await);
    drop((client, silent));
    assert_eq!(site.serving.await.unwrap().unwrap(), Drained::default());

    let site = Site::echo(|app| app).await;
    let mut client = open(&site).await;
    site.mesh.shutdown(Duration::from_secs(5));
    settle().await;
    assert!(!site.serving.is_finished(), "it has time");
    let clock = still();
    seconds(6).await;
    go_on(clock);
    let drained = site.serving.await.unwrap().unwrap();
    assert_eq!((drained.cut, drained.cut_streams), (1, 1));
    assert!(ended(&mut client).await);
    assert_eq!(site.seen.line().await, "- server_shutdown 1/1");
}

#[tokio::test]
async fn what_is_idle_or_lasts_too_long_is_cut() {
    let mut idle = TcpOptions::default();
    idle.idle = Duration::from_secs(30);
    let mut old = TcpOptions::default();
    old.max_duration = Some(Duration::from_secs(30));
    for (options, line) in [
        (idle, "- tcp_session_idle_timeout 1/1"),
        (old, "DT max_connection_duration_reached 1/1"),
    ] {
        let site = Site::start(|app| app, options, echo).await;
        let mut client = open(&site).await;
        let clock = still();
        seconds(28).await;
        assert_eq!(site.count("istio_tcp_connections_closed_total", &[]), 0);
        seconds(4).await;
        go_on(clock);
        assert!(ended(&mut client).await);
        assert_eq!(site.seen.line().await, line);
    }
}

/// M-47: the root that vouched for the client is gone. Age and a rotation leave it open.
#[tokio::test]
async fn an_identity_that_is_no_longer_good_ends_its_connections() {
    let site = Site::echo(|app| app).await;
    let mut client = open(&site).await;
    let credentials = site.mesh.credentials().unwrap();
    let rotated = site.pki.identity("default", "app").unwrap();
    credentials.replace(&rotated).unwrap();
    let clock = still();
    pass(Duration::from_secs(2 * 3600 / 3)).await;
    seconds(40).await;
    assert_eq!(site.count("istio_tcp_connections_closed_total", &[]), 0);
    let other = Pki::new("cluster.local").unwrap();
    let other = other.identity("default", "app").unwrap();
    credentials.replace(&other).unwrap();
    seconds(6).await;
    go_on(clock);
    assert!(ended(&mut client).await);
    assert_eq!(
        site.seen.line().await,
        "- no_longer_good{peer_untrusted} 1/1"
    );
}

/// A handler that waits for something else does not keep a connection that is over.
#[tokio::test]
async fn a_handler_that_does_not_look_is_dropped() {
    let gone = Arc::new(Notify::new());
    let told = Arc::clone(&gone);
    let stuck = move |mut connection: TcpConnection| {
        let told = Arc::clone(&told);
        async move {
            struct Dropped(Arc<Notify>);
            impl Drop for Dropped {
                fn drop(&mut self) {
                    self.0.notify_one();
                }
            }
            let _dropped = Dropped(told);
            connection.write_all(b"x").await?;
            std::future::pending().await
        }
    };
    let mut options = TcpOptions::default();
    options.max_duration = Some(Duration::from_secs(10));
    let site = Site::start(|app| app, options, stuck).await;
    let _client = open(&site).await;
    let clock = still();
    seconds(11).await;
    go_on(clock);
    gone.notified().await;
}

/// A connection that a handler has moved into a task of its own stays one until it is dropped there, and is cut there.
#[tokio::test]
async fn a_connection_in_another_task_is_still_one() {
    async fn elsewhere(connection: TcpConnection) -> io::Result<()> {
        tokio::spawn(echo(connection));
        Ok(())
    }
    let site = Site::start(|app| app, TcpOptions::default(), elsewhere).await;
    assert_eq!(
        ask(site.dial("desk").await, "ping").await.as_deref(),
        Some("ping")
    );
    assert_eq!(site.seen.line().await, "- - 4/4");

    let mut options = TcpOptions::default();
    options.max_duration = Some(Duration::from_secs(10));
    let site = Site::start(|app| app, options, elsewhere).await;
    let mut client = open(&site).await;
    let clock = still();
    seconds(11).await;
    go_on(clock);
    assert!(ended(&mut client).await);
    assert_eq!(
        site.seen.line().await,
        "DT max_connection_duration_reached 1/1"
    );
    until("the connection to close", || {
        site.count("envoy_listener_downstream_cx_active", &[]) == 0
    })
    .await;
}
