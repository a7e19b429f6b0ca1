//! A service whose access log is a file that SIGHUP opens again, as logrotate asks for.
//!
//! ```text
//! cargo run --example access_log -- /tmp/access.log 127.0.0.1:8080
//! curl -i 'http://127.0.0.1:8080/patients/7?name=Ada'
//! mv /tmp/access.log /tmp/access.log.1 && kill -HUP <the process that it prints>
//! ```
//!
//! `scripts/access-log.sh` does all of that. The mesh speaks plaintext, so that curl needs no certificate. The log is that of any other mesh.

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tower_mesh::access_log::{AccessLog, Filter, Sink};
use tower_mesh::{Mesh, Workload};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let path = words.next().unwrap_or_else(|| "access.log".to_owned());
    let address = words.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let socket = TcpListener::bind(address).await?;
    let address = socket.local_addr()?;
    let sink = Sink::file(&path)?;
    let log = AccessLog::text()
        .redact_path("/patients/{id}")?
        .only(Filter::not_health_checks(["/healthz"]))
        .to(sink.clone());

    let workload = Workload::new("default", "patients").service("patients", address.port());
    let (mesh, driver) = Mesh::danger()
        .plaintext(workload)
        .telemetry(|telemetry| telemetry.access_log(log))
        .build()
        .await?;
    tokio::spawn(driver.run());

    let reopened = sink.clone();
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            // If the new file cannot be opened, the old one stays in use.
            match reopened.reopen() {
                Ok(()) => println!("opened {path} again"),
                Err(error) => println!("cannot open {path}: {error}"),
            }
        }
    });

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stopped = mesh.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopped.shutdown(Duration::from_secs(5));
    });

    let app = Router::new()
        .route("/patients/{id}", get(async || "a patient"))
        .route("/healthz", get(async || "well"));
    println!("process {} serves {address}", std::process::id());
    mesh.serve_on(socket, app).await?;
    // The lines of the last requests may still be in the queue.
    let flushed = tokio::task::spawn_blocking(move || sink.flush(Duration::from_secs(1)));
    println!("all lines are written: {}", flushed.await?);
    Ok(())
}
