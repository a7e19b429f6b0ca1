//! A process that is killed while its mesh answers over real sockets.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use tower_mesh::audit::{Durability, Entry, Trail, Verify};

use crate::audit::clinic::Clinic;
use crate::audit::faults::segments;

const FOLDER: &str = "AUDIT_KILLED_MESH";

/// Not a test by itself: the process that the next one kills. It prints a line for each request that was answered.
#[tokio::test]
async fn a23_child() {
    let Some(folder) = env::var_os(FOLDER) else {
        return;
    };
    let trail = Trail::folder(folder).durability(Durability::Strict);
    let clinic = Clinic::new(|audit| audit.trail(trail)).await;
    loop {
        assert_eq!(clinic.ask().await, 200);
        let mut out = std::io::stdout().lock();
        writeln!(out, "answered").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn a23_what_was_answered_is_in_the_trail_of_a_mesh_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    // The name of a test has no name of its crate.
    let (_, child) = concat!(module_path!(), "::a23_child")
        .split_once("::")
        .unwrap();
    let mut answered = 0;
    for most in [1, 3, 8] {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture", child])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let (mut line, mut seen) = (String::new(), 0);
        while seen < most && out.read_line(&mut line).unwrap() > 0 {
            seen += usize::from(line.contains("answered"));
            line.clear();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(seen, most, "the child has ended by itself");
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        answered += seen + rest.matches("answered\n").count();
        let report = Verify::new(folder.path()).run().unwrap();
        assert!(report.is_whole(), "{report}");
        let intents = intents(folder.path());
        assert!(intents >= answered, "{intents} of {answered}: {report}");
    }
}

fn intents(folder: &Path) -> usize {
    let texts = segments(folder).into_iter();
    let text: String = texts
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let lines = text
        .lines()
        .filter_map(|line| Entry::parse(line.as_bytes()).ok());
    lines
        .filter(|line| line.text("phase").as_deref() == Some("intent"))
        .count()
}
