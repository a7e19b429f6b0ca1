//! The service and its Redis: started in a directory of their own, ended with the value.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, Command};
use tokio::time::{Duration, Instant, sleep, timeout};

use super::between::Between;
use crate::tool::{self, PATIENCE};

pub(super) struct Service {
    /// Where it speaks gRPC.
    pub(super) address: SocketAddr,
    /// The way from it to Redis.
    pub(super) between: Between,
    program: PathBuf,
    service: Child,
    redis: Child,
    directory: TempDir,
}

impl Service {
    /// Returns when both answer; `None` when they are not on this machine.
    pub(super) async fn start(rules: &str) -> Option<Self> {
        let mut service = Self::launch(rules, Between::pass).await?;
        service.until_it_listens().await;
        Some(service)
    }

    /// As [`start`](Self::start), with a Redis that cannot be reached. Returns when the service has
    /// given up.
    pub(super) async fn start_without_redis(rules: &str) -> Option<Self> {
        let mut service = Self::launch(rules, Between::close).await?;
        let ended = timeout(PATIENCE, service.service.wait()).await;
        assert!(!ended.unwrap().unwrap().success());
        Some(service)
    }

    async fn launch(rules: &str, first: fn(&Between)) -> Option<Self> {
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
        let start = Instant::now();
        while UnixStream::connect(&socket).await.is_err() {
            assert!(start.elapsed() < PATIENCE, "{:?}", logs(directory.path()));
            sleep(Duration::from_millis(20)).await;
        }
        let between = Between::start(socket).await;
        first(&between);

        let config = directory.path().join("rules/config");
        std::fs::create_dir_all(&config).unwrap();
        std::fs::write(config.join("rules.yaml"), rules).unwrap();
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = held.local_addr().unwrap();
        drop(held);
        let service = run(&program, address, between.address, directory.path());
        Some(Self {
            address,
            between,
            program,
            service,
            redis,
            directory,
        })
    }

    /// Starts the service once more, at its address.
    pub(super) async fn again(&mut self) {
        let directory = self.directory.path();
        self.service = run(&self.program, self.address, self.between.address, directory);
        self.until_it_listens().await;
    }

    async fn until_it_listens(&mut self) {
        let start = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            let ended = self.service.try_wait().unwrap();
            assert!(
                ended.is_none() && start.elapsed() < PATIENCE,
                "{:?}",
                logs(self.directory.path())
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) async fn kill_redis(&mut self) {
        self.redis.kill().await.unwrap();
    }

    pub(super) async fn kill(&mut self) {
        self.service.kill().await.unwrap();
    }
}

fn run(program: &Path, address: SocketAddr, redis: SocketAddr, directory: &Path) -> Child {
    Command::new(program)
        .env_clear()
        .env("REDIS_SOCKET_TYPE", "tcp")
        .env("REDIS_URL", redis.to_string())
        .env("USE_STATSD", "false")
        .env("RUNTIME_ROOT", directory)
        .env("RUNTIME_SUBDIRECTORY", "rules")
        .env("RUNTIME_WATCH_ROOT", "false")
        .env("RUNTIME_IGNOREDOTFILES", "true")
        .envs([("HOST", "127.0.0.1"), ("PORT", "0")])
        .envs([("DEBUG_HOST", "127.0.0.1"), ("DEBUG_PORT", "0")])
        .env("GRPC_HOST", "127.0.0.1")
        .env("GRPC_PORT", address.port().to_string())
        .stdout(log(directory, "service.log"))
        .stderr(log(directory, "service.log"))
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn logs(directory: &Path) -> [String; 2] {
    let read = |name| std::fs::read_to_string(directory.join(name));
    ["redis.log", "service.log"].map(|name| read(name).unwrap_or_default())
}

fn log(directory: &Path, name: &str) -> File {
    let path = directory.join(name);
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap()
}
