//! `tower-mesh audit prune`.

use std::fs;

use super::kept::{Kept, Said, access, name};

/// A stream of 2015, one of 2016, and one of now.
fn kept() -> Kept {
    let mut kept = Kept::new();
    for now in [
        "2015-03-01T12:00:00Z",
        "2016-03-01T12:00:00Z",
        "2026-03-01T12:00:00Z",
    ] {
        kept.now = now;
        kept.stream([access(1)]);
    }
    kept
}

fn prune(kept: &Kept, words: &[&str]) -> Said {
    let (pem, public) = (kept.at("audit.pem"), kept.at("audit.pub"));
    let with = [
        "--signing-key",
        pem.as_str(),
        "--name",
        "test",
        "--key",
        public.as_str(),
    ];
    kept.audit("prune", &[&with, words].concat())
}

#[test]
fn old_segments_go_and_the_rest_is_whole() {
    let kept = kept();
    let files: Vec<_> = kept.files().iter().map(|file| name(file)).collect();
    let pruned = prune(&kept, &["--before", "2016-01-01"]);
    assert_eq!((pruned.code, pruned.err.as_str()), (0, ""));
    assert_eq!(pruned.out, format!("removed {}\n", files[0]));
    let pruned = prune(&kept, &["--before", "2017-01-01", "--json"]).json();
    assert_eq!(pruned["removed"][0], files[1].as_str());
    let pruned = prune(&kept, &["--before", "2017-01-01"]);
    assert_eq!(
        (pruned.code, pruned.out.as_str()),
        (0, "nothing was removed\n")
    );

    let whole = kept.verify_all(&[]);
    assert_eq!(whole.code, 0, "{}", whole.out);
    assert!(
        whole.out.contains("of 2 streams records were removed"),
        "{}",
        whole.out
    );
    let told = kept.audit("show", &["--type", "prune", "--json"]);
    assert_eq!(told.out.lines().count(), 2);
}

#[test]
fn a_dry_run_prints_what_would_go_and_removes_nothing() {
    let kept = kept();
    let files: Vec<_> = kept.files().iter().map(|file| name(file)).collect();
    let before = ["--before", "2016-01-01", "--dry-run"];
    let told = prune(&kept, &before);
    assert_eq!(
        (told.code, told.err.as_str(), told.out),
        (0, "", format!("would remove {}\n", files[0]))
    );
    let told = prune(&kept, &[&before[..], &["--json"]].concat()).json();
    assert_eq!(
        told,
        serde_json::json!({"would_remove": [files[0]], "unsigned": []})
    );
    let nothing = prune(&kept, &["--before", "2014-01-01", "--dry-run"]);
    assert_eq!(
        (nothing.code, nothing.out.as_str()),
        (0, "nothing would be removed\n")
    );
    assert_eq!(kept.files().len(), 3);
    let entries = fs::read_dir(kept.at("trail")).unwrap();
    let locks = entries.filter(|entry| entry.as_ref().unwrap().file_name() == "prune.lock");
    assert_eq!(locks.count(), 0);
}

#[test]
fn a_mistake_is_told_with_its_remedy_and_removes_nothing() {
    let kept = kept();
    let old = ["--before", "2016-01-01"];
    let wrong = |words: &[&str], code: i32, told: &str| {
        let said = kept.audit("prune", &[&old, words].concat());
        assert_eq!((said.code, said.out.as_str()), (code, ""));
        assert!(said.err.contains(told), "{}", said.err);
        assert_eq!(kept.files().len(), 3);
    };
    let (pem, public) = (kept.at("audit.pem"), kept.at("audit.pub"));
    wrong(
        &["--signing-key", &kept.at("none"), "--name", "test"],
        2,
        "; --signing-key is the file that `tower-mesh audit key` has made",
    );
    wrong(
        &["--signing-key", &public, "--name", "test"],
        2,
        "has no private key",
    );
    // Another name is another key.
    wrong(
        &["--signing-key", &pem, "--name", "other"],
        1,
        "note: a file with the wrong public keys looks like this, too",
    );
    wrong(
        &["--signing-key", &pem, "--name", "other", "--key", &public],
        1,
        "the signing key other is not one of the public keys",
    );
    let lock = fs::File::create(kept.at("trail/prune.lock")).unwrap();
    lock.lock().unwrap();
    wrong(
        &["--signing-key", &pem, "--name", "test"],
        2,
        "another process prunes the trail",
    );
    drop(lock);
    assert_eq!(prune(&kept, &old).code, 0);
}

#[test]
fn what_must_be_kept_and_what_is_not_whole_stays() {
    let kept = kept();
    let young = prune(&kept, &["--before", "2025-01-01"]);
    assert_eq!((young.code, young.out.as_str()), (2, ""));
    assert!(young.err.contains("kept for six years"), "{}", young.err);

    // A key that who verifies does not know.
    let other = Kept::new();
    let unknown = prune(
        &kept,
        &["--before", "2016-01-01", "--key", &other.at("audit.pem")],
    );
    assert_eq!(unknown.code, 2);
    fs::rename(other.at("audit.pem"), kept.at("other.pem")).unwrap();
    let (pem, public) = (kept.at("other.pem"), kept.at("audit.pub"));
    let words = [
        "--before",
        "2016-01-01",
        "--signing-key",
        &pem,
        "--name",
        "other",
        "--key",
        &public,
    ];
    assert_eq!(kept.audit("prune", &words).code, 1);

    let oldest = &kept.files()[0];
    let text = fs::read_to_string(oldest).unwrap();
    fs::write(oldest, text.replace("dr-1", "dr-2")).unwrap();
    let tampered = prune(&kept, &["--before", "2016-01-01"]);
    assert_eq!((tampered.code, tampered.out.as_str()), (1, ""));
    assert!(
        tampered
            .err
            .contains("a trail that is not whole is not pruned"),
        "{}",
        tampered.err
    );
    assert!(tampered.err.contains(": edited: "), "{}", tampered.err);
    assert_eq!(kept.files().len(), 3);
}
