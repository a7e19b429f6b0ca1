//! When a connection is judged.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower_mesh::mesh::{TcpConnection, TcpOptions};
use tower_mesh::source::Fixed;

use super::{Site, ask, echo, ended, go_on};
use crate::support::mesh::{policy, seconds, settle, still};

fn denying() -> Fixed {
    Fixed::yaml("p.yaml", policy("nobody", "DENY", "[{}]"))
}

#[tokio::test]
async fn a_client_that_says_nothing_is_not_judged() {
    let site = Site::echo(|app| app.config(denying())).await;
    let mut silent = site.dial("desk").await;
    settle().await;
    assert_eq!(site.count("istio_tcp_connections_opened_total", &[]), 1);
    assert_eq!(site.count("mesh_tcp_connections_refused_total", &[]), 0);
    silent.write_all(b"x").await.unwrap();
    assert!(ended(&mut silent).await);
    let label = "reason=\"policy\"";
    assert_eq!(
        site.count("mesh_tcp_connections_refused_total", &[label]),
        1
    );
    assert_eq!(site.seen.handled(), 0);
}

/// What it has to say is its end: a probe, or a client that only listens.
#[tokio::test]
async fn a_client_that_only_ends_its_side_is_judged() {
    async fn greet(mut connection: TcpConnection) -> io::Result<()> {
        let read = connection.read(&mut [0; 16]).await?;
        connection
            .write_all(format!("read {read}").as_bytes())
            .await
    }
    let site = Site::start(|app| app, TcpOptions::default(), greet).await;
    assert_eq!(
        ask(site.dial("desk").await, "").await.as_deref(),
        Some("read 0")
    );
    let site = Site::echo(|app| app.config(denying())).await;
    assert_eq!(ask(site.dial("desk").await, "").await, None);
    assert!(site.seen.line().await.contains("policy[nobody]"));
    assert_eq!(site.seen.handled(), 0);
}

#[tokio::test]
async fn a_client_that_stays_silent_is_closed() {
    let site = Site::echo(|app| app).await;
    let mut silent = site.dial("desk").await;
    settle().await;
    let clock = still();
    seconds(58).await;
    assert_eq!(site.count("mesh_tcp_connections_refused_total", &[]), 0);
    seconds(4).await;
    go_on(clock);
    assert!(ended(&mut silent).await);
    assert_eq!(site.seen.line().await, "- first_byte_timeout 0/0");
    let label = "reason=\"silent\"";
    assert_eq!(
        site.count("mesh_tcp_connections_refused_total", &[label]),
        1
    );
    assert_eq!(site.seen.handled(), 0);
}

/// MySQL, SMTP: the client waits for the server.
#[tokio::test]
async fn a_server_that_speaks_first_judges_at_once() {
    async fn greet(mut connection: TcpConnection) -> io::Result<()> {
        connection.write_all(b"220 ready\r\n").await?;
        echo(connection).await
    }
    let mut options = TcpOptions::default();
    options.server_first = true;
    options.first_byte = Duration::ZERO;
    let site = Site::start(|app| app, options, greet).await;
    let mut client = site.dial("desk").await;
    let mut greeting = [0; 11];
    client.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"220 ready\r\n");
    assert_eq!(ask(client, "x").await.as_deref(), Some("x"));

    let site = Site::start(|app| app.config(denying()), options, greet).await;
    assert!(ended(&mut site.dial("desk").await).await);
    assert_eq!(site.seen.handled(), 0);
}

/// More than was read to judge, and in pieces smaller than that.
#[tokio::test]
async fn no_byte_is_lost_or_told_twice() {
    async fn in_pieces(mut connection: TcpConnection) -> io::Result<()> {
        let mut piece = [0; 7];
        loop {
            let read = connection.read(&mut piece).await?;
            if read == 0 {
                return Ok(());
            }
            connection.write_all(&piece[..read]).await?;
        }
    }
    let site = Site::start(|app| app, TcpOptions::default(), in_pieces).await;
    let word: String = (0..5000)
        .map(|n| char::from(b'a' + (n % 26) as u8))
        .collect();
    let answer = ask(site.dial("desk").await, &word).await;
    assert_eq!(answer.as_deref(), Some(&*word));
    assert_eq!(site.seen.line().await, "- - 5000/5000");
}
