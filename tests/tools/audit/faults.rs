//! `tower-mesh audit verify`: each kind of tampering is told with its file, line and record.

use std::fs;

use tower_mesh::audit::{SigningKey, Trail};

use super::kept::{Kept, Said, access, intent};

/// Changes the lines of a segment.
type Change<'a> = Box<dyn Fn(&mut Vec<String>) + 'a>;

/// The first fault, in both forms: its kind, the record and the line.
#[track_caller]
fn assert_fault(run: impl Fn(&[&str]) -> Said, kind: &str, seq: u64, line: u64) {
    let json = run(&["--json"]);
    let report = json.json();
    assert_eq!(json.code, 1, "{report}");
    assert_eq!(report["whole"], false, "{report}");
    let fault = &report["faults"][0];
    assert_eq!(fault["kind"], kind.replace(' ', "_"), "{fault}");
    assert_eq!((&fault["seq"], &fault["line"]), (&seq.into(), &line.into()));

    let text = run(&[]);
    assert_eq!(text.code, 1);
    let first = text.out.lines().next().unwrap();
    let file = fault["file"].as_str().unwrap();
    let stream = fault["stream"].as_str().unwrap();
    let place = format!("{file}:{line}: stream {stream}, record {seq}");
    assert!(first.starts_with(&place), "{first}");
    assert!(first.contains(&format!(": {kind}: ")), "{first}");
    let what = fault["what"].as_str().unwrap();
    assert!(!what.is_empty() && first.ends_with(what), "{first}");
}

#[test]
fn a_whole_trail_is_whole_and_what_was_not_judged_is_told() {
    let kept = Kept::hundred();
    let said = kept.verify_all(&[]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(
        said.out,
        "whole: 100 records hold\n\
         1 streams, 1 segments\n\
         1 checkpoints in the trail, signed by known keys\n\
         1 checkpoints from elsewhere hold\n"
    );
    let report = kept.verify_all(&["--json"]).json();
    assert_eq!(report["whole"], true);
    assert_eq!(
        (&report["records"], &report["faults"]),
        (&100.into(), &serde_json::json!([]))
    );

    let without = kept.verify(&[]);
    assert_eq!(without.code, 0);
    assert!(
        without.err.starts_with("note: without --checkpoints"),
        "{}",
        without.err
    );
    let without = kept.audit("verify", &[]);
    assert_eq!(without.code, 0);
    assert!(
        without.out.contains("signatures not verified"),
        "{}",
        without.out
    );
    assert!(
        without.err.starts_with("note: without --key"),
        "{}",
        without.err
    );
}

#[test]
fn what_a_crash_leaves_is_told_and_no_fault() {
    let kept = Kept::new();
    kept.stream((0..5).map(|_| intent()));
    let whole = fs::read_to_string(&kept.files()[0]).unwrap();
    fs::write(&kept.files()[0], &whole[..whole.len() - 30]).unwrap();
    let said = kept.verify(&[]);
    assert_eq!(said.code, 0, "{}", said.out);
    for told in ["record 8 was cut off by a crash", "5 accesses have no end"] {
        assert!(said.out.contains(told), "{}", said.out);
    }
}

#[test]
fn records_that_were_changed_are_told_apart() {
    let (kept, other) = (Kept::hundred(), Kept::hundred());
    let (whole, foreign) = (kept.lines(), other.lines());
    let zeros = "0".repeat(64);
    let prev = &whole[41][whole[41].find("\"prev\":\"").unwrap() + 8..][..64];
    let stranger = whole[41].replace(prev, &zeros);
    let changes: [(&str, u64, u64, Change<'_>); 8] = [
        (
            "edited",
            41,
            42,
            Box::new(|lines| lines[40] = lines[40].replace("\"dr-39\"", "\"dr-93\"")),
        ),
        (
            "not canonical",
            41,
            41,
            Box::new(|lines| lines[40].insert(1, ' ')),
        ),
        ("missing", 41, 41, Box::new(|lines| drop(lines.remove(40)))),
        ("missing", 1, 1, Box::new(|lines| drop(lines.drain(..10)))),
        ("reordered", 41, 41, Box::new(|lines| lines.swap(40, 60))),
        (
            "duplicated",
            41,
            42,
            Box::new(|lines| lines.insert(41, lines[40].clone())),
        ),
        (
            "inserted",
            42,
            42,
            Box::new(|lines| lines.insert(41, stranger.clone())),
        ),
        (
            "spliced",
            41,
            41,
            Box::new(|lines| lines[40].clone_from(&foreign[40])),
        ),
    ];
    for (kind, seq, line, change) in changes {
        let mut lines = whole.clone();
        change(&mut lines);
        kept.write_lines(&lines);
        assert_fault(|words| kept.verify(words), kind, seq, line);
    }
}

#[test]
fn a_cut_end_is_found_with_the_checkpoints_of_a_second_place() {
    let kept = Kept::hundred();
    kept.write_lines(&kept.lines()[..60]);
    assert_eq!(kept.verify(&[]).code, 0);
    assert_fault(|words| kept.verify_all(words), "truncated", 61, 60);
    // All of it.
    fs::remove_file(&kept.files()[0]).unwrap();
    let said = kept.verify_all(&["--json"]).json();
    assert_eq!(said["faults"][0]["kind"], "missing", "{said}");
}

#[test]
fn two_futures_of_one_trail_are_a_fork() {
    let kept = Kept::new();
    kept.stream([access(1)]);
    let began = kept.files();
    kept.stream([access(2)]);
    let files = kept.files();
    let first = files.iter().find(|file| !began.contains(file)).unwrap();
    let aside = fs::read(first).unwrap();
    fs::remove_file(first).unwrap();
    kept.stream([access(3)]);
    fs::write(first, aside).unwrap();
    let said = kept.verify(&["--json"]);
    assert_eq!(said.code, 1);
    assert_eq!(said.json()["faults"][0]["kind"], "forked", "{}", said.out);
}

#[test]
fn signatures_and_keys_are_judged() {
    let kept = Kept::hundred();
    let whole = kept.lines();
    let public = fs::read_to_string(kept.at("audit.pub")).unwrap();
    let keys = |text: &str| fs::write(kept.at("audit.pub"), text).unwrap();

    keys(&SigningKey::random("test").unwrap().public().to_string());
    assert_fault(|words| kept.verify(words), "unknown key", 100, 100);
    let said = kept.verify(&[]);
    let hint = "note: a file with the wrong public keys looks like this, too";
    assert!(said.err.contains(hint), "{}", said.err);
    keys(&format!("{} until 2026-02-28\n", public.trim_end()));
    let said = kept.verify(&[]);
    assert_eq!(said.code, 2);
    let wrong = "line 2: after `until` there is no time as 2026-01-02T03:04:05Z\n";
    assert!(said.err.ends_with(wrong), "{}", said.err);
    keys(&format!(
        "{} until 2026-02-28T00:00:00Z\n",
        public.trim_end()
    ));
    assert_fault(|words| kept.verify(words), "retired key", 100, 100);

    // The first bytes of the signature, after those that name the key.
    keys(&public);
    let mut lines = whole;
    let at = lines[99].find("test ").unwrap() + 20;
    let other = if &lines[99][at..=at] == "A" { "B" } else { "A" };
    lines[99].replace_range(at..=at, other);
    kept.write_lines(&lines);
    assert_fault(|words| kept.verify(words), "bad signature", 100, 100);
}

#[test]
fn a_long_trail_that_nobody_has_signed_is_told() {
    let kept = Kept::new();
    let trail = Trail::folder(kept.at("trail")).queue(20_000, u64::MAX);
    kept.write(trail, (0..10_050).map(|_| intent()));
    let said = kept.verify(&["--json"]);
    assert_eq!(said.code, 1);
    assert_eq!(said.json()["faults"][0]["kind"], "unsigned", "{}", said.out);
    assert_eq!(kept.audit("verify", &[]).code, 0);
}

/// Whoever has changed the trail has put commands for a terminal in it.
#[test]
fn nothing_in_a_trail_can_change_a_terminal() {
    let kept = Kept::hundred();
    let mut lines = kept.lines();
    let at = lines[40].find("\"stream\":\"").unwrap() + 10;
    lines[40].replace_range(at..at + 4, "\\u001b[2J");
    lines[41] = lines[41].replace("dr-40", "\\u001b[2J");
    // What JSON needs no escape for: a control sequence in one character, and a change of direction.
    lines[42] = lines[42].replace("dr-41", "\u{9b}2J\u{202e}\u{7f}");
    kept.write_lines(&lines);
    let pem = kept.at("audit.pem");
    let prune = [
        "--before",
        "2016-01-01",
        "--signing-key",
        &pem,
        "--name",
        "test",
    ];
    for said in [
        kept.verify(&[]),
        kept.audit("show", &[]),
        kept.audit("report", &[]),
        kept.audit("prune", &prune),
    ] {
        for harmful in ['\u{1b}', '\u{9b}', '\u{202e}', '\u{7f}'] {
            assert!(!said.out.contains(harmful), "{:?}", said.out);
            assert!(!said.err.contains(harmful), "{:?}", said.err);
        }
    }
    let shown = kept.audit("show", &["--who", "2J"]).out;
    assert!(
        shown.contains("by \\u{9b}2J\\u{202e}\\u{7f} at "),
        "{shown}"
    );
}

#[test]
fn what_is_no_trail_is_an_error_and_not_whole() {
    let kept = Kept::new();
    for command in ["verify", "show", "report"] {
        let said = kept.audit(command, &[]);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{command}");
        assert!(
            said.err.contains("cannot be read: No such file"),
            "{}",
            said.err
        );
    }
    fs::create_dir(kept.at("trail")).unwrap();
    // Lines of something else, which are no trail that is whole.
    fs::write(kept.at("trail/access.jsonl"), "{}\n").unwrap();
    for command in ["verify", "show", "report"] {
        let said = kept.audit(command, &[]);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{command}");
        let none = format!(
            "error: there is no audit trail in {}: no file has the name of a segment, \
             TIME-STREAM-NUMBER.jsonl; name the folder that holds them\n",
            kept.at("trail")
        );
        assert_eq!(said.err, none);
    }
    for (file, text, wrong) in [
        ("audit.pem", None, "this is a private key, which signs"),
        ("empty.pub", Some("# none\n"), "there is no key in it"),
        (
            "bad.pub",
            Some("\nkey\n"),
            "bad.pub: line 2: a key has the form `name+id+key`",
        ),
    ] {
        if let Some(text) = text {
            fs::write(kept.at(file), text).unwrap();
        }
        let said = kept.audit("verify", &["--checkpoints", "x", "--key", &kept.at(file)]);
        assert_eq!(said.code, 2);
        assert!(said.err.contains("x: No such file"), "{}", said.err);
        kept.stream([]);
        let said = kept.audit("verify", &["--key", &kept.at(file)]);
        assert_eq!(said.code, 2);
        assert!(said.err.contains(wrong), "{}", said.err);
    }
    for (text, wrong) in [
        ("", "there is no checkpoint in it"),
        (
            "\nx\n",
            "notes: line 2: no checkpoint: its first line is not",
        ),
    ] {
        fs::write(kept.at("notes"), text).unwrap();
        let said = kept.verify(&["--checkpoints", &kept.at("notes")]);
        assert_eq!(said.code, 2);
        assert!(said.err.contains(wrong), "{}", said.err);
    }
}
