//! `tower-mesh audit key` and `audit pseudonym`.

use std::fs;

use super::kept::{Kept, access, said};

#[test]
fn a_key_is_made_once_for_its_owner_alone() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("audit.pem");
    let path = file.to_str().unwrap();
    let made = said(&["audit", "key", path, "--name", "patients"], "");
    assert_eq!((made.code, made.err.as_str()), (0, ""));
    assert!(made.out.starts_with("patients+") && made.out.ends_with('\n'));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    let private = fs::read_to_string(&file).unwrap();
    assert!(!private.contains(made.out.trim_end()));

    let again = said(&["audit", "key", path, "--name", "patients"], "");
    assert_eq!((again.code, again.out.as_str()), (2, ""));
    assert_eq!(
        again.err,
        format!(
            "error: {path} is there already, and is never overwritten; --public prints its public key\n"
        )
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), private);

    let public = said(
        &["audit", "key", path, "--name", "patients", "--public"],
        "",
    );
    assert_eq!((public.code, public.out), (0, made.out));
    let named = said(&["audit", "key", path, "--name", "a b", "--public"], "");
    assert_eq!(named.code, 2);
    let none = said(
        &["audit", "key", "no/such/file", "--name", "a", "--public"],
        "",
    );
    assert_eq!(none.code, 2);
    assert_eq!(
        none.err,
        "error: no/such/file is not there; without --public it is made\n"
    );
    let none = said(&["audit", "key", "no/such/file", "--name", "a"], "");
    assert_eq!(
        none.err,
        "error: no/such/file cannot be made: its folder is not there; make that first\n"
    );
    let public = place.path().join("audit.pub");
    fs::write(&public, &again.out).unwrap();
    let public = public.to_str().unwrap();
    let said = said(&["audit", "key", public, "--name", "a", "--public"], "");
    assert!(said.err.contains("has no private key"), "{}", said.err);
}

#[cfg(unix)]
#[test]
fn a_key_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let kept = Kept::new();
    let file = kept.at("audit.pem");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = said(&["audit", "key", &file, "--name", "test", "--public"], "");
    assert_eq!((refused.code, refused.out.as_str()), (2, ""));
    assert!(refused.err.contains("chmod 600"), "{}", refused.err);
}

/// Another name is another key: who verifies would not know it.
#[test]
fn the_name_is_a_part_of_the_public_key() {
    let kept = Kept::hundred();
    let key = |name| {
        said(
            &[
                "audit",
                "key",
                &kept.at("audit.pem"),
                "--name",
                name,
                "--public",
            ],
            "",
        )
    };
    fs::write(kept.at("other.pub"), key("other").out).unwrap();
    fs::write(kept.at("test.pub"), key("test").out).unwrap();
    assert_eq!(
        kept.audit("verify", &["--key", &kept.at("other.pub")]).code,
        1
    );
    assert_eq!(
        kept.audit("verify", &["--key", &kept.at("test.pub")]).code,
        0
    );
    // Several files are one list.
    let both = [
        "--key",
        &kept.at("other.pub"),
        "--key",
        &kept.at("test.pub"),
    ];
    assert_eq!(kept.audit("verify", &both).code, 0);
}

#[test]
fn a_patient_is_found_by_the_pseudonym() {
    use tower_mesh::audit::PatientKey;

    let kept = Kept::new();
    let key = PatientKey::new("2026", &[b'k'; 32]).unwrap();
    let about = |number: u64, id: &str| access(number).patient(key.pseudonym(id));
    kept.stream([about(1, "MRN-1"), about(2, "MRN-12345"), about(3, "MRN-1")]);
    fs::write(kept.at("patients.key"), [b'k'; 32]).unwrap();
    let words = ["audit", "pseudonym", &kept.at("patients.key")];
    let pseudonyms = said(&words, "MRN-12345\nMRN-1\n");
    assert_eq!(pseudonyms.code, 0);
    let lines: Vec<_> = pseudonyms.out.lines().collect();
    assert_eq!(
        lines[0],
        "fecc013e136acf673224df5ab0294631dc2cbe9781e04b78a3cadf63802197db"
    );
    let seqs = |line| kept.audit("show", &["--json", "--patient", line]).seqs();
    assert_eq!((seqs(lines[0]), seqs(lines[1])), (vec![3], vec![2, 4]));

    for (ids, wrong) in [
        (
            "",
            "error: there is no id on stdin; write one in each line\n",
        ),
        (
            "MRN-1\n\n",
            "error: stdin: line 2: it is empty; write one id in each line\n",
        ),
    ] {
        let refused = said(&words, ids);
        assert_eq!(refused.code, 2);
        assert!(refused.err.ends_with(wrong), "{}", refused.err);
    }
    // What is probably not meant is told: the break at the end, and who may read it.
    fs::write(
        kept.at("patients.key"),
        [[b'k'; 32].as_slice(), b"\n"].concat(),
    )
    .unwrap();
    let other = said(&words, "MRN-1\n");
    assert!(other.err.contains("ends in a line break"), "{}", other.err);
    assert_eq!(other.err.contains("chmod 600"), cfg!(unix), "{}", other.err);

    fs::write(kept.at("patients.key"), "short").unwrap();
    let short = said(&words, "MRN-1\n");
    assert_eq!((short.code, short.out.as_str()), (2, ""));
    assert!(short.err.contains("at least 32 bytes"), "{}", short.err);
}
