//! A SPIRE server and one agent of it: started in a directory of their own, ended with the value.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Duration, Instant, sleep};

use crate::tool::{self, PATIENCE};

pub(super) const DOMAIN: &str = "spire.test";

pub(super) struct Spire {
    server_program: PathBuf,
    agent_program: PathBuf,
    directory: TempDir,
    _server: Child,
    agent: Option<Child>,
}

impl Spire {
    /// Returns when the agent has proven itself to the server and answers; `None` when they are not on this machine.
    pub(super) async fn start() -> Option<Self> {
        let server_program = tool::find("spire-server")?;
        let agent_program = tool::find("spire-agent")?;
        let directory = TempDir::new().unwrap();
        let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let port = {
            let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            held.local_addr().unwrap().port()
        };
        let config = server_config(&at("server.sock"), &at("server"), port);
        std::fs::write(at("server.conf"), config).unwrap();
        let server = run(&server_program, directory.path(), "server");
        let mut spire = Self {
            server_program,
            agent_program,
            directory,
            _server: server,
            agent: None,
        };
        spire.wait_for_server().await;

        let bundle = spire.ask(&["bundle", "show"]).await;
        std::fs::write(spire.path("bundle.pem"), bundle).unwrap();
        let agent_id = format!("spiffe://{DOMAIN}/agent");
        let printed = spire
            .ask(&["token", "generate", "-spiffeID", &agent_id])
            .await;
        let token = printed
            .lines()
            .find_map(|line| line.strip_prefix("Token: "));
        let token = token.unwrap_or_else(|| panic!("no token in {printed}"));
        let config = agent_config(
            &spire.path("agent.sock"),
            &spire.path("agent"),
            &spire.path("bundle.pem"),
            port,
            token.trim(),
        );
        std::fs::write(spire.path("agent.conf"), config).unwrap();
        spire.start_agent().await;
        Some(spire)
    }

    /// The Workload API, as [`WorkloadApi::at`](tower_mesh::tls::WorkloadApi::at) takes it.
    pub(super) fn address(&self) -> String {
        format!("unix://{}", self.path("agent.sock"))
    }

    /// Lets this very user be a workload; the id of the entry.
    pub(super) async fn register(&self, id: &str, hint: &str, seconds: u32) -> String {
        let agent_id = format!("spiffe://{DOMAIN}/agent");
        let selector = format!("unix:uid:{}", user());
        let seconds = seconds.to_string();
        let printed = self
            .ask(&[
                "entry",
                "create",
                "-parentID",
                &agent_id,
                "-spiffeID",
                id,
                "-selector",
                &selector,
                "-hint",
                hint,
                "-x509SVIDTTL",
                &seconds,
            ])
            .await;
        let entry = printed
            .lines()
            .find_map(|line| line.strip_prefix("Entry ID"))
            .and_then(|rest| rest.split(':').nth(1));
        let entry = entry.unwrap_or_else(|| panic!("no entry in {printed}"));
        entry.trim().to_owned()
    }

    pub(super) async fn forget(&self, entry: &str) {
        self.ask(&["entry", "delete", "-entryID", entry]).await;
    }

    /// Replaces the root in SPIRE's order: both are trusted, then the new one signs.
    pub(super) async fn replace_root(&self) {
        let printed = self.ask(&["localauthority", "x509", "prepare"]).await;
        let authority = printed
            .lines()
            .find_map(|line| line.trim().strip_prefix("Authority ID: "));
        let authority = authority.unwrap_or_else(|| panic!("no authority in {printed}"));
        let activate = [
            "localauthority",
            "x509",
            "activate",
            "-authorityID",
            authority.trim(),
        ];
        self.ask(&activate).await;
    }

    /// Ends the agent as a crash does.
    pub(super) async fn stop_agent(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().await.unwrap();
        let _ = std::fs::remove_file(self.path("agent.sock"));
    }

    pub(super) async fn start_agent(&mut self) {
        self.agent = Some(run(&self.agent_program, self.directory.path(), "agent"));
        let socket = self.path("agent.sock");
        let healthy = ["healthcheck", "-socketPath", &socket];
        let program = self.agent_program.clone();
        self.until("the agent to answer", || tool::run(&program, &healthy, ""))
            .await;
    }

    async fn wait_for_server(&self) {
        let socket = self.path("server.sock");
        let healthy = ["healthcheck", "-socketPath", &socket];
        self.until("the server to answer", || {
            tool::run(&self.server_program, &healthy, "")
        })
        .await;
    }

    async fn until<F: Future<Output = tool::Said>>(&self, what: &str, ask: impl Fn() -> F) {
        let start = Instant::now();
        while ask().await.code != Some(0) {
            assert!(
                start.elapsed() < PATIENCE,
                "waiting for {what}:\n{}",
                self.logs()
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// A command for the server, which answers it.
    async fn ask(&self, command: &[&str]) -> String {
        let socket = self.path("server.sock");
        let mut arguments = command.to_vec();
        arguments.extend_from_slice(&["-socketPath", &socket]);
        let said = tool::run(&self.server_program, &arguments, "").await;
        assert_eq!(said.code, Some(0), "{command:?}: {said:?}\n{}", self.logs());
        said.text
    }

    fn path(&self, name: &str) -> String {
        let path = self.directory.path().join(name);
        path.to_str().unwrap().to_owned()
    }

    /// What both wrote.
    pub(super) fn logs(&self) -> String {
        ["server.log", "agent.log"]
            .map(|name| std::fs::read_to_string(self.path(name)).unwrap_or_default())
            .join("\n")
    }
}

fn run(program: &Path, directory: &Path, name: &str) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(directory.join(format!("{name}.log")))
        .unwrap();
    Command::new(program)
        .args(["run", "-config"])
        .arg(directory.join(format!("{name}.conf")))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Whose processes these are, as the agent will see them: the owner of what this process has just made.
fn user() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid()
}

fn server_config(socket: &str, data: &str, port: u16) -> String {
    format!(
        r#"server {{
    bind_address = "127.0.0.1"
    bind_port = "{port}"
    socket_path = "{socket}"
    trust_domain = "{DOMAIN}"
    data_dir = "{data}"
    log_level = "INFO"
    ca_ttl = "24h"
    ca_subject {{ country = [], organization = ["peers"], common_name = "" }}
}}
plugins {{
    DataStore "sql" {{ plugin_data {{ database_type = "sqlite3", connection_string = "{data}/entries.sqlite3" }} }}
    KeyManager "memory" {{ plugin_data {{}} }}
    NodeAttestor "join_token" {{ plugin_data {{}} }}
}}
"#
    )
}

/// The key is kept on disk: a join token is good once, and a restarted agent goes on with what it has.
fn agent_config(socket: &str, data: &str, bundle: &str, port: u16, token: &str) -> String {
    format!(
        r#"agent {{
    server_address = "127.0.0.1"
    server_port = "{port}"
    socket_path = "{socket}"
    trust_domain = "{DOMAIN}"
    trust_bundle_path = "{bundle}"
    data_dir = "{data}"
    join_token = "{token}"
    log_level = "INFO"
    experimental {{ sync_interval = "1s" }}
}}
plugins {{
    KeyManager "disk" {{ plugin_data {{ directory = "{data}" }} }}
    NodeAttestor "join_token" {{ plugin_data {{}} }}
    WorkloadAttestor "unix" {{ plugin_data {{}} }}
}}
"#
    )
}
