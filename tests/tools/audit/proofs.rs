//! `tower-mesh audit prove` and `audit check`.

use std::fs;

use serde_json::Value;
use tower_mesh::audit::SigningKey;

use super::kept::{Kept, Said, name, said};

fn prove(kept: &Kept, seq: u64) -> Said {
    let stream = name(&kept.files()[0]).split('-').nth(1).unwrap().to_owned();
    kept.audit("prove", &["--stream", &stream, "--seq", &seq.to_string()])
}

fn check(kept: &Kept, proof: &str) -> Said {
    fs::write(kept.at("proof.json"), proof).unwrap();
    let (file, key) = (kept.at("proof.json"), kept.at("audit.pub"));
    said(&["audit", "check", &file, "--key", &key], "")
}

#[test]
fn a_record_is_proved_and_checked_without_the_trail() {
    let kept = Kept::hundred();
    let line = kept.lines()[41].clone();
    let proof = prove(&kept, 42);
    assert_eq!((proof.code, proof.err.as_str()), (0, ""));
    assert_eq!(proof.json()["record"], line.as_str());
    fs::remove_dir_all(kept.at("trail")).unwrap();

    let checked = check(&kept, &proof.out);
    assert_eq!((checked.code, checked.err.as_str()), (0, ""));
    let mut lines = checked.out.lines();
    let first = lines.next().unwrap();
    assert!(first.starts_with("record 42 of stream "), "{first}");
    let signed = "has signed its first 99 records at 2026-03-01T12:00:00.000000Z";
    assert!(first.ends_with(signed), "{first}");
    assert_eq!(lines.next(), Some(line.as_str()));

    // Another record, another key, and what is no proof.
    let other = proof.out.replace("dr-40", "dr-41");
    let refused = check(&kept, &other);
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    let wrong = "the record is not among those that the checkpoint signs\n";
    assert!(refused.err.ends_with(wrong), "{}", refused.err);
    let mut cut: Value = proof.json();
    cut["proof"].as_array_mut().unwrap().pop();
    assert_eq!(check(&kept, &cut.to_string()).code, 1);
    let malformed = check(&kept, "{}");
    assert_eq!(malformed.code, 2);
    let wrong = "proof.json: no proof of a record: its field `v` is not 1\n";
    assert!(malformed.err.ends_with(wrong), "{}", malformed.err);
    let key = SigningKey::random("test").unwrap().public().to_string();
    fs::write(kept.at("audit.pub"), key).unwrap();
    let unknown = check(&kept, &proof.out);
    assert_eq!(unknown.code, 1);
    assert!(
        unknown.err.contains("no known key has signed"),
        "{}",
        unknown.err
    );
}

#[test]
fn what_cannot_be_proved_is_said() {
    let kept = Kept::hundred();
    for (seq, what) in [
        (0, "the stream has no such record"),
        (100, "no checkpoint signs the record yet"),
        (101, "the stream has no such record"),
    ] {
        let said = prove(&kept, seq);
        assert_eq!((said.code, said.out.as_str()), (2, ""));
        let place = format!("record {seq} of stream ");
        assert!(
            said.err.contains(&place) && said.err.contains(what),
            "{}",
            said.err
        );
    }
    let said = kept.audit("prove", &["--stream", "x", "--seq", "1"]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("the trail has no such stream"),
        "{}",
        said.err
    );
    let mut lines = kept.lines();
    lines[40] = lines[40].replace("dr-39", "dr-93");
    kept.write_lines(&lines);
    let said = prove(&kept, 50);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains(".jsonl:42: the stream is not whole here"),
        "{}",
        said.err
    );
}
