//! The provider as a process: started on a port of its own, told what to do, ended with the value.

use std::fs::File;
use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
use tower_mesh::testing::{Leaf, Pki};

use crate::tool::{self, PATIENCE};

/// The name of the provider that speaks TLS.
const HOST: &str = "issuer.test";

/// Where keys come from.
pub(super) const DISCOVERY: &str = "/.well-known/openid-configuration";
pub(super) const KEYS: &str = "/jwks";

pub(super) struct Provider {
    pub(super) issuer: String,
    pub(super) address: SocketAddr,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    commands: u64,
    /// What happened since the answers last changed.
    events: Vec<Event>,
    files: TempDir,
    _process: Child,
}

/// What happened to a question for keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Asked,
    Answered,
    /// The client went before it had the answer.
    Left,
}

#[derive(Debug)]
struct Event {
    what: What,
    at: String,
    fault: Option<String>,
    set: u64,
}

impl Provider {
    /// With one key, `first`; `None` when it is not on this machine. It speaks TLS with a certificate of this authority, or plain HTTP.
    pub(super) async fn start(authority: Option<&Pki>) -> Option<Self> {
        let library = tool::find("oidc-provider")?;
        let node = tool::find("node")?;
        let files = TempDir::new().unwrap();
        let mut command = Command::new(node);
        command
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/peers/oidc/provider.mjs"
            ))
            .env("OIDC_PROVIDER", library)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(files.path().join("log")).unwrap())
            .kill_on_drop(true);
        if let Some(authority) = authority {
            let issued = authority.issue(&Leaf::without_uri().dns(HOST)).unwrap();
            command.arg(format!("https://{HOST}"));
            for (name, text) in [
                ("certificate", issued.chain_pem()),
                ("key", issued.key_pem().to_string()),
                ("root", authority.root_pem()),
            ] {
                let path = files.path().join(name);
                std::fs::write(&path, text).unwrap();
                command.arg(path);
            }
        }
        let mut process = command.spawn().unwrap();
        let mut provider = Self {
            issuer: String::new(),
            address: ([127, 0, 0, 1], 0).into(),
            input: process.stdin.take().unwrap(),
            output: BufReader::new(process.stdout.take().unwrap()).lines(),
            commands: 0,
            events: Vec::new(),
            files,
            _process: process,
        };
        let start = provider.line().await;
        provider.issuer = start["issuer"].as_str().unwrap().to_owned();
        let port = start["port"].as_u64().unwrap();
        provider.address.set_port(port.try_into().unwrap());
        Some(provider)
    }

    /// Where [`TokenOptions::resolve`](tower_mesh::mesh::TokenOptions::resolve) finds the provider that speaks TLS.
    pub(super) fn host_and_port() -> String {
        format!("{HOST}:443")
    }

    /// Signs with one key and publishes that and others; the number of this set.
    pub(super) async fn rotate(&mut self, sign: &str, publish: &[String]) -> u64 {
        let told = json!({"do": "keys", "sign": sign, "publish": publish});
        let set = self.tell(told).await["set"].as_u64().unwrap();
        self.events.clear();
        set
    }

    /// Fresh tokens, signed with the key of now.
    pub(super) async fn tokens(&mut self, count: usize) -> Vec<String> {
        let told = self.tell(json!({"do": "tokens", "count": count})).await;
        serde_json::from_value(told["tokens"].clone()).unwrap()
    }

    pub(super) async fn token(&mut self) -> String {
        self.tokens(1).await.remove(0)
    }

    /// Answers like this at a path from now on.
    pub(super) async fn fail(&mut self, at: &str, how: Option<&str>) {
        self.tell(json!({"do": "fail", "at": at, "how": how})).await;
        self.events.clear();
    }

    /// How often this has happened since the answers last changed, as far as it has been told.
    pub(super) fn count(&self, what: What, at: &str, fault: Option<&str>) -> usize {
        let alike = self.events.iter().filter(|event| {
            (event.what, event.at.as_str(), event.fault.as_deref()) == (what, at, fault)
        });
        alike.count()
    }

    /// Waits until it has.
    pub(super) async fn until(&mut self, count: usize, what: What, at: &str, fault: Option<&str>) {
        while self.count(what, at, fault) < count {
            let line = self.line().await;
            self.note(&line);
        }
    }

    /// How often this set was handed out, as far as it has been told.
    pub(super) fn handed_out(&self, set: u64) -> usize {
        let alike = self.events.iter().filter(|event| {
            (event.what, event.at.as_str(), event.set) == (What::Answered, KEYS, set)
        });
        alike.count()
    }

    async fn tell(&mut self, mut command: Value) -> Value {
        self.commands += 1;
        command["id"] = self.commands.into();
        let line = format!("{command}\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
        loop {
            let line = self.line().await;
            if line["id"] == command["id"] {
                return line;
            }
            self.note(&line);
        }
    }

    fn note(&mut self, line: &Value) {
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        self.events.push(Event {
            what: match line["event"].as_str().unwrap() {
                "asked" => What::Asked,
                "answered" => What::Answered,
                "left" => What::Left,
                other => panic!("{other}"),
            },
            at: text("at").unwrap(),
            fault: text("how"),
            set: line["set"].as_u64().unwrap(),
        });
    }

    /// The next line for us: the provider writes some of its own.
    async fn line(&mut self) -> Value {
        loop {
            let line = timeout(PATIENCE, self.output.next_line()).await;
            let Ok(Ok(Some(line))) = line else {
                let log = std::fs::read_to_string(self.files.path().join("log"));
                panic!("the provider says nothing: {line:?}\n{}", log.unwrap());
            };
            if line.starts_with('{') {
                return serde_json::from_str(&line).unwrap();
            }
        }
    }
}
