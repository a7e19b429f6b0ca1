//! A protocol that is not HTTP, between workloads of one mesh: a line goes in, and comes back with the name of who sent it.
//!
//! ```text
//! cargo run --example tcp
//! ```
//!
//! `ledger` lets `desk` in and nobody else. The table shows what each caller gets; the program fails if it is not what the policy says.

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, split};
use tokio::net::{TcpListener, TcpStream};
use tower_mesh::identity::SpiffeId;
use tower_mesh::mesh::TcpConnection;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder, Workload};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

const POLICY: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: ledger
  namespace: default
spec:
  rules:
    - from:
        - source:
            principals: ["cluster.local/ns/default/sa/desk"]
"#;

/// What the handler of a connection is: it reads lines until there are no more.
async fn lines(mut connection: TcpConnection) -> io::Result<()> {
    let caller = connection.peer().principal().unwrap_or("nobody").to_owned();
    let (read, mut write) = split(&mut connection);
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        write
            .write_all(format!("{caller} wrote {line}\n").as_bytes())
            .await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    // Certificates that live as long as this process; a workload of yours gets them from files or from the SPIFFE Workload API.
    let pki = Pki::new("cluster.local")?;
    let ledger = workload(&pki, "ledger")?.config(Fixed::yaml("policy.yaml", POLICY));
    let ledger = start(ledger).await?;
    let socket = TcpListener::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    tokio::spawn(ledger.serve_tcp_on(socket, lines));

    let mut is_as_expected = true;
    println!("{:<10} {:<44} {:<44}", "caller", "expected", "got");
    for (caller, expected) in [
        ("desk", "cluster.local/ns/default/sa/desk wrote 7"),
        ("intern", "nothing"),
        ("plaintext", "nothing"),
    ] {
        let got = match caller {
            "plaintext" => ask(TcpStream::connect(address).await?).await,
            caller => call(&pki, caller, address, ledger.spiffe_id()).await?,
        };
        println!("{caller:<10} {expected:<44} {got:<44}");
        is_as_expected &= got == expected;
    }
    Ok(match is_as_expected {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Calls the ledger as this workload.
async fn call(
    pki: &Pki,
    caller: &str,
    address: SocketAddr,
    ledger: SpiffeId,
) -> Result<String, BoxError> {
    let caller = workload(pki, caller)?.upstream("ledger.default", [address], [ledger]);
    let caller = start(caller).await?;
    let connection = caller.connect_tcp("ledger.default", 7007).await?;
    Ok(ask(connection).await)
}

/// Sends a line, and reads one.
async fn ask<S>(stream: S) -> String
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    let mut answer = String::new();
    let asked = stream.write_all(b"7\n").await;
    if asked.is_ok() && stream.flush().await.is_ok() {
        // A caller that is not let in finds the connection closed.
        let _ = stream.read_line(&mut answer).await;
    }
    match answer.trim_end() {
        "" => "nothing".to_owned(),
        answer => answer.to_owned(),
    }
}

fn workload(pki: &Pki, name: &str) -> Result<MeshBuilder, BoxError> {
    let workload = Workload::new("default", name).label("app", name);
    Ok(Mesh::builder(workload, pki.identity("default", name)?))
}

async fn start(builder: MeshBuilder) -> Result<Mesh, BoxError> {
    let (mesh, driver) = builder.build().await?;
    tokio::spawn(driver.run());
    Ok(mesh)
}
