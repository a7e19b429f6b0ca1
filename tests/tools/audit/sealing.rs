//! `tower-mesh audit key --sealing`, and what its key verifies.

use std::fs;

use tower_mesh::audit::{SealingKey, Trail};

use super::kept::{Kept, access, said};

#[test]
fn a06_a_sealed_trail_is_verified_with_its_start_key() {
    let kept = Kept::new();
    let (start, now) = (kept.at("start.key"), kept.at("sealing.key"));
    let made = said(&["audit", "key", &start, "--sealing"], "");
    assert_eq!(
        (made.code, made.out.as_str(), made.err.as_str()),
        (0, "", "")
    );
    let again = said(&["audit", "key", &start, "--sealing"], "");
    assert_eq!(again.code, 2);
    assert!(again.err.contains("never overwritten"), "{}", again.err);
    fs::copy(&start, &now).unwrap();
    for _ in 0..2 {
        let key = SealingKey::from_file(&now).unwrap();
        kept.write(Trail::folder(kept.at("trail")).sealed(key), [access(0)]);
    }
    let words = ["--sealing-key", &start, "--sealing-now", &now];
    let verified = kept.audit("verify", &words);
    assert_eq!(verified.code, 0, "{}", verified.out);
    assert!(
        verified.out.contains("\n4 seals hold\n"),
        "{}",
        verified.out
    );
    let json = kept
        .audit("verify", &["--sealing-key", &start, "--json"])
        .json();
    assert_eq!(
        (&json["seals"], &json["seals_verified"]),
        (&4.into(), &true.into())
    );
    // Without it the report says that they were not judged.
    let verified = kept.audit("verify", &[]);
    assert_eq!(verified.code, 0);
    assert!(
        verified.out.contains("4 seals, not verified"),
        "{}",
        verified.out
    );
    // What the process has is no start key.
    let wrong = kept.audit("verify", &["--sealing-key", &now]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("this is sealing key 4"), "{}", wrong.err);
    // The newest stream is gone.
    fs::remove_file(kept.files().pop().unwrap()).unwrap();
    let verified = kept.audit("verify", &words);
    assert_eq!(verified.code, 1);
    assert!(
        verified.out.contains("truncated: the process has sealed"),
        "{}",
        verified.out
    );
}
