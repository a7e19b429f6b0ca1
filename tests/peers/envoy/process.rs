//! Envoy's process: started on free ports, ended with the value.

use std::borrow::Borrow;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;

use serde_json::json;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Duration, Instant, sleep};

use super::config::Listener;
use crate::tool::PATIENCE;

pub(super) struct Envoy {
    /// The port of each listener, in their order.
    pub(super) ports: Vec<u16>,
    process: Child,
}

impl Envoy {
    /// Returns when every listener answers.
    pub(super) async fn start(
        program: &Path,
        directory: &Path,
        listeners: &[impl Borrow<Listener>],
    ) -> Self {
        // All are held until all are known, so that no port is given twice.
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let held: Vec<_> = listeners.iter().map(|_| bind()).collect();
        let ports = held.iter().map(|held| held.local_addr().unwrap().port());
        let ports: Vec<_> = ports.collect();
        let printed = ports.iter().zip(listeners);
        let printed = printed.map(|(port, listener)| listener.borrow().listener(*port));
        let clusters = ports.iter().zip(listeners);
        let clusters = clusters.filter_map(|(port, listener)| listener.borrow().cluster(*port));
        let config = json!({
            "static_resources": {
                "listeners": printed.collect::<Vec<_>>(),
                "clusters": clusters.collect::<Vec<_>>(),
            },
        });
        let file = directory.join("envoy.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let log = directory.join("envoy.log");
        drop(held);
        let process = Command::new(program)
            .args(["--concurrency", "1", "--disable-hot-restart"])
            .args(["-l", "warning", "--config-path"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut envoy = Self { ports, process };
        envoy.wait(&log).await;
        envoy
    }

    async fn wait(&mut self, log: &Path) {
        let start = Instant::now();
        let log = || std::fs::read_to_string(log).unwrap_or_default();
        for port in &self.ports {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, *port))
                .await
                .is_err()
            {
                let ended = self.process.try_wait().unwrap();
                assert!(
                    ended.is_none(),
                    "Envoy refused its configuration:\n{}",
                    log()
                );
                assert!(start.elapsed() < PATIENCE, "{}", log());
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
}
