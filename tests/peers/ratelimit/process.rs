//! The service and its Redis: started in a directory of their own, ended with the value.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, Command};
use tokio::time::{Duration, Instant, sleep};

use crate::tool::{self, PATIENCE};

pub(super) struct Service {
    /// Where it speaks gRPC.
    pub(super) address: SocketAddr,
    service: Child,
    redis: Child,
    _directory: TempDir,
}

impl Service {
    /// Returns when both answer; `None` when they are not on this machine.
    pub(super) async fn start(rules: &str) -> Option<Self> {
        let program = tool::find("ratelimit")?;
        let server = tool::find("redis-server")?;
        let directory = TempDir::new().unwrap();
        let socket = directory.path().join("redis.sock");
        let redis = Command::new(server)
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--appendonly",
                "no",
                "--unixsocket",
            ])
            .arg(&socket)
            .current_dir(directory.path())
            .stdout(log(directory.path(), "redis.log"))
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let logs = || {
            let read = |name| std::fs::read_to_string(directory.path().join(name));
            ["redis.log", "service.log"].map(|name| read(name).unwrap_or_default())
        };
        let start = Instant::now();
        while UnixStream::connect(&socket).await.is_err() {
            assert!(start.elapsed() < PATIENCE, "{:?}", logs());
            sleep(Duration::from_millis(20)).await;
        }

        let config = directory.path().join("rules/config");
        std::fs::create_dir_all(&config).unwrap();
        std::fs::write(config.join("rules.yaml"), rules).unwrap();
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = held.local_addr().unwrap();
        drop(held);
        let mut service = Command::new(program)
            .env_clear()
            .env("REDIS_SOCKET_TYPE", "unix")
            .env("REDIS_URL", &socket)
            .env("USE_STATSD", "false")
            .env("RUNTIME_ROOT", directory.path())
            .env("RUNTIME_SUBDIRECTORY", "rules")
            .env("RUNTIME_WATCH_ROOT", "false")
            .env("RUNTIME_IGNOREDOTFILES", "true")
            .envs([("HOST", "127.0.0.1"), ("PORT", "0")])
            .envs([("DEBUG_HOST", "127.0.0.1"), ("DEBUG_PORT", "0")])
            .env("GRPC_HOST", "127.0.0.1")
            .env("GRPC_PORT", address.port().to_string())
            .stdout(log(directory.path(), "service.log"))
            .stderr(log(directory.path(), "service.log"))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        while TcpStream::connect(address).await.is_err() {
            let ended = service.try_wait().unwrap();
            assert!(
                ended.is_none() && start.elapsed() < PATIENCE,
                "{:?}",
                logs()
            );
            sleep(Duration::from_millis(20)).await;
        }
        Some(Self {
            address,
            service,
            redis,
            _directory: directory,
        })
    }

    pub(super) async fn kill_redis(&mut self) {
        self.redis.kill().await.unwrap();
    }

    pub(super) async fn kill(&mut self) {
        self.service.kill().await.unwrap();
    }
}

fn log(directory: &Path, name: &str) -> File {
    let path = directory.join(name);
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap()
}
