//! `tower-mesh audit show` and `audit report`.

use std::fs;

use tower_mesh::audit::{Actor, Event, Outcome, Resource};

use super::kept::{Kept, access, said};
use crate::program::{run, text};

/// One stream of the first of March, and one of the second.
fn kept() -> Kept {
    let mut kept = Kept::new();
    kept.stream([
        access(1),
        access(9),
        Event::application("chart.export")
            .actor(Actor::user("https://idp", "dr-1"))
            .subject("yearly"),
    ]);
    kept.now = "2026-03-02T08:00:00Z";
    kept.stream([
        Event::break_glass()
            .actor(Actor::user("https://idp", "dr-4"))
            .action("GET")
            .resource(Resource::route("/patients/{id}"))
            .outcome(Outcome::Allow),
        Event::config("old", "new", "policies/", "published"),
    ]);
    kept
}

#[test]
fn each_filter_chooses_records() {
    let kept = kept();
    let seqs = |words: &[&str]| kept.audit("show", &[words, &["--json"]].concat()).seqs();
    // Both streams begin with a `start`, and end with a `stop` and a checkpoint.
    assert_eq!(seqs(&[]), [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5]);
    for (words, expected) in [
        (&["--who", "dr-1"][..], &[2, 4][..]),
        (&["--who", "sa/desk"], &[2, 3]),
        (&["--what", "/patients/{id}"], &[2, 3, 2]),
        (&["--what", "chart.export"], &[4]),
        (&["--decision", "deny"], &[3]),
        (&["--trace", "00000000000000000000000000000001"], &[2]),
        (&["--type", "break_glass"], &[2]),
        (&["--type", "config"], &[3]),
        (&["--from", "2026-03-02"], &[1, 2, 3, 4, 5]),
        (&["--to", "2026-03-02"], &[1, 2, 3, 4, 5, 6]),
        (
            &[
                "--from",
                "2026-03-01T12:00:00Z",
                "--to",
                "2026-03-01T12:00:00.000001Z",
                "--decision",
                "allow",
            ],
            &[2],
        ),
        (&["--from", "2026-03-03"], &[]),
        (&["--who", "dr-"], &[2, 3, 4, 2]),
        (&["--who", "dr-", "--exact"], &[]),
        (&["--who", "dr-1", "--what", "GET", "--exact"], &[2]),
        (&["--who", "anonymous"], &[]),
    ] {
        assert_eq!(seqs(words), expected, "{words:?}");
    }
    // The records as they are, and a line for a person.
    let line = kept.audit("show", &["--decision", "deny", "--json"]).out;
    let first = fs::read_to_string(&kept.files()[0]).unwrap();
    assert!(first.contains(&line), "{line}");
    let shown = kept.audit("show", &["--decision", "deny"]).out;
    let person = "2026-03-01T12:00:00.000000Z access deny status 403 GET /patients/{id} \
                  by dr-9 at spiffe://td/ns/default/sa/desk policy ns[default]-policy[charts]-rule[0] \
                  trace 00000000000000000000000000000009 [";
    assert!(shown.starts_with(person), "{shown}");
}

#[test]
fn a_wrong_filter_is_an_error_and_shows_nothing() {
    let kept = kept();
    for words in [
        ["--decision", "denied"],
        ["--type", "acess"],
        ["--from", "yesterday"],
        ["--to", "2026-02-30"],
    ] {
        let said = kept.audit("show", &words);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{words:?}");
        assert!(said.err.contains(words[1]), "{}", said.err);
    }
    let empty = kept.audit("show", &["--from", "2026-03-02", "--to", "2026-03-01"]);
    assert_eq!(
        (empty.code, empty.err.as_str()),
        (2, "error: --to is not after --from: the period is empty\n")
    );
    let none = kept.audit("show", &["--who", "nobody"]);
    assert_eq!(
        (none.code, none.out.as_str(), none.err.as_str()),
        (0, "", "note: no record passes all filters\n")
    );
}

/// What stops reading early is no panic, and no success.
#[test]
fn a_pipe_that_closes_ends_the_command() {
    use std::process::{Command, Stdio};

    let kept = Kept::hundred();
    for command in ["show", "verify", "report"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tower-mesh"))
            .args(["audit", command, &kept.at("trail"), "--json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command}: {told}");
        assert!(!told.contains("error") && !told.contains("panic"), "{told}");
    }
}

#[test]
fn lines_that_are_no_records_are_counted() {
    let kept = kept();
    let mut lines = kept.lines();
    lines.insert(1, "{}".to_owned());
    kept.write_lines(&lines);
    let said = kept.audit("show", &["--json"]);
    assert_eq!((said.code, said.seqs().len()), (0, 11));
    assert_eq!(
        said.err,
        "note: lines that are no records were left out: 1; audit verify says more\n"
    );
}

#[test]
fn a_report_answers_the_standing_questions_of_a_period() {
    let kept = kept();
    let (key, notes) = (kept.at("audit.pub"), kept.at("checkpoints.txt"));
    let with = ["--key", key.as_str(), "--checkpoints", notes.as_str()];
    let report = |words: &[&str]| kept.audit("report", &[&with, words].concat());
    let all = report(&[]);
    assert_eq!((all.code, all.err.as_str()), (0, ""));
    for told in [
        "from the beginning to the end: 11 records",
        "       1  dr-1 at spiffe://td/ns/default/sa/desk  GET /patients/{id}",
        "       1  ns[default]-policy[charts]-rule[0]    GET /patients/{id}",
        "emergency access: 1 uses\n  2026-03-02T08:00:00.000000Z  dr-4  GET /patients/{id}",
        "configuration: 1 changes\n  2026-03-02T08:00:00.000000Z    policies/: published, old to new",
        "       1  chart.export",
        "not in the trail: 0 events, in 0 gaps",
        "whole: 11 records hold",
    ] {
        assert!(all.out.contains(told), "{told}: {}", all.out);
    }
    let march = report(&["--from", "2026-03-02", "--to", "2026-03-03", "--json"]).json();
    assert_eq!(march["records"], 5);
    assert_eq!(march["break_glass_uses"], 1);
    assert_eq!(march["refusals"]["counts"].as_array().unwrap().len(), 0);
    assert_eq!(march["verification"]["records"], 11);

    let empty = report(&["--from", "2026-03-02", "--to", "2026-03-02"]);
    assert_eq!((empty.code, empty.out.as_str()), (2, ""));

    // Of a trail that is not whole, its answers are printed, and its status says so.
    let mut lines = kept.lines();
    lines.remove(1);
    kept.write_lines(&lines);
    let tampered = report(&[]);
    assert_eq!(tampered.code, 1);
    assert!(tampered.out.contains(": missing: "), "{}", tampered.out);
}

#[test]
fn its_own_commands_have_pages_and_examples() {
    for command in ["key", "prune", "pseudonym", "report", "show", "verify"] {
        let help = said(&["audit", command, "--help"], "").out;
        assert!(help.contains("Examples:\n  tower-mesh audit "), "{help}");
        assert!(help.contains("Exit status: 0"), "{help}");
        let page = run(&["man", "audit", command], "");
        assert_eq!(page.status.code(), Some(0));
        assert!(text(&page.stdout).contains("Exit status: 0"));
    }
    let none = run(&["man", "audit", "verifies"], "");
    assert_eq!(
        text(&none.stderr),
        "error: there is no command `verifies`\n"
    );
}
