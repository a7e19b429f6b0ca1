//! Other programs: found, run, and ended in time.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// The program of this name, if this machine has it; says so if not.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = match name {
        "envoy" => std::env::var_os("ENVOY").map(PathBuf::from),
        "h2spec" => std::env::var_os("H2SPEC").map(PathBuf::from),
        "openmetrics-python" => std::env::var_os("OPENMETRICS_PYTHON").map(PathBuf::from),
        "patients" => std::env::var_os("PATIENTS").map(PathBuf::from),
        "oidc-provider" => std::env::var_os("OIDC_PROVIDER").map(PathBuf::from),
        _ => std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .map(|directory| directory.join(name))
            .find(|path| path.is_file()),
    };
    if path.is_none() {
        let required = std::env::var_os("PEERS_REQUIRED").is_some();
        assert!(!required, "{name} is required but not here");
        let script = match name {
            "jaeger" | "opa" | "ratelimit" => format!("scripts/peers.sh {name}"),
            "spire-server" | "spire-agent" => "tests/peers/spire.sh".to_owned(),
            _ => "tests/peers/run.sh".to_owned(),
        };
        eprintln!("SKIPPED: no {name} to speak with; use {script}");
    }
    path
}

/// What a program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    /// Both outputs, one after the other.
    pub(crate) text: String,
}

impl Said {
    pub(crate) fn has(&self, text: &str) -> bool {
        self.text.contains(text)
    }
}

/// Runs a program to its end, which is this test's end when it takes too long.
pub(crate) async fn run(program: &Path, arguments: &[&str], input: &str) -> Said {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that was refused no longer reads.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let ended = timeout(PATIENCE, child.wait_with_output()).await;
    let output = ended
        .unwrap_or_else(|_| panic!("{} {arguments:?} does not end", program.display()))
        .unwrap();
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Said {
        code: output.status.code(),
        text,
    }
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
