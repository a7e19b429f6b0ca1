use super::*;
use crate::audit::proof::{Algorithm, PublicKey, SigningKey};

fn sign(signer: &dyn Signer) -> String {
    let time = parse_timestamp("2026-01-02T03:04:05Z").unwrap();
    Checkpoint::sign("s-0001", 3, &[1; 32], &[2; 32], time, signer).unwrap()
}

fn keys(keys: &[&SigningKey]) -> PublicKeys {
    let text: String = keys
        .iter()
        .map(|key| format!("{}\n", key.public()))
        .collect();
    PublicKeys::parse(&text).unwrap()
}

#[test]
fn a04_a_checkpoint_is_a_signed_note() {
    let key = SigningKey::random("patients").unwrap();
    let note = sign(&key);
    let lines: Vec<_> = note.split('\n').collect();
    assert_eq!(lines[0], "tower-mesh/audit/s-0001");
    assert_eq!(lines[1], "3");
    assert_eq!(lines[2], BASE64_STANDARD.encode([1; 32]));
    assert_eq!(lines[3], "02".repeat(32));
    assert_eq!(lines[4], "2026-01-02T03:04:05.000000Z");
    assert_eq!(lines[5], "");
    let signature = BASE64_STANDARD
        .decode(lines[6].strip_prefix("— patients ").unwrap())
        .unwrap();
    assert_eq!(signature.len(), 4 + 64);
    assert_eq!(lines[7..], [""]);

    let read = Checkpoint::parse(&note).unwrap();
    assert_eq!((read.stream(), read.size()), ("s-0001", 3));
    assert_eq!((read.root(), read.head()), (&[1; 32], &[2; 32]));
    assert_eq!(read.to_string(), note);
    assert_eq!(read.judge(&keys(&[&key])), Ok(()));
}

#[test]
fn a04_forged_checkpoints_are_told_apart() {
    let key = SigningKey::random("patients").unwrap();
    let other = SigningKey::random("patients").unwrap();
    let renamed = SigningKey::random("others").unwrap();
    let note = sign(&key);
    let judge = |note: &str, keys: &PublicKeys| Checkpoint::parse(note).unwrap().judge(keys);
    let forged = note.replacen("\n3\n", "\n4\n", 1);
    assert_eq!(judge(&forged, &keys(&[&key])), Err(SignatureFault::Bad));
    for unknown in [keys(&[&other, &renamed]), PublicKeys::default()] {
        assert_eq!(judge(&note, &unknown), Err(SignatureFault::UnknownKey));
    }
    // A key that was retired before signs nothing later.
    let retired = |time| PublicKeys::parse(&format!("{} until {time}\n", key.public())).unwrap();
    assert_eq!(
        judge(&note, &retired("2026-01-01T00:00:00Z")),
        Err(SignatureFault::Retired)
    );
    assert_eq!(judge(&note, &retired("2026-01-03T00:00:00Z")), Ok(()));
    // A second signature, as of a witness, does no harm.
    let witnessed = sign(&renamed);
    let (_, line) = witnessed.split_once("\n\n").unwrap();
    assert_eq!(judge(&format!("{note}{line}"), &keys(&[&key])), Ok(()));
}

#[test]
fn a04_an_es256_key_of_a_signer_is_verified_too() {
    let key = SigningKey::random_es256("hsm").unwrap();
    let note = sign(&key);
    let public: PublicKey = key.public().to_string().parse().unwrap();
    assert_eq!(public.algorithm(), Algorithm::Es256);
    let keys = PublicKeys::from_iter([public]);
    assert_eq!(Checkpoint::parse(&note).unwrap().judge(&keys), Ok(()));
    let forged = note.replacen("\n3\n", "\n4\n", 1);
    let forged = Checkpoint::parse(&forged).unwrap();
    assert_eq!(forged.judge(&keys), Err(SignatureFault::Bad));
}

#[test]
fn notes_in_a_row_are_read() {
    let key = SigningKey::random("patients").unwrap();
    let note = sign(&key);
    assert_eq!(Checkpoint::parse_all("").unwrap(), []);
    for text in [
        note.repeat(3),
        [note.as_str(); 3].join("\n"),
        format!("\n{}\n\n", note.repeat(3)),
    ] {
        assert_eq!(Checkpoint::parse_all(&text).unwrap().len(), 3, "{text}");
    }
}

#[test]
fn what_is_wrong_in_a_row_of_notes_is_told_with_its_line() {
    let key = SigningKey::random("patients").unwrap();
    let note = sign(&key);
    let cut = |from: &str| note.split_once(from).unwrap().0.to_owned();
    // A note has seven lines.
    for (text, told) in [
        (
            "\nmany notes\n".to_owned(),
            "line 2: no checkpoint: its first line is not `tower-mesh/",
        ),
        (
            format!("{note}\n{}", cut("\n3\n")),
            "line 9: no checkpoint: it has no empty line",
        ),
        (
            format!("{note}{note}").replacen("\n3\n", "\n03\n", 1),
            "line 2: no checkpoint: its size",
        ),
        (
            format!("{note}{}", note.replace("\n02", "\n0")),
            "line 11: no checkpoint: its head",
        ),
        (
            format!("{note}\n{}", note.trim_end()),
            "line 15: no checkpoint: its last line has no end",
        ),
        (
            "{}\n".repeat(10_000),
            "line 1: no checkpoint: its first line is not `tower-mesh/",
        ),
        (
            format!("{note}{}", note.replacen("\n3\n", &"\n3".repeat(8192), 1)),
            "line 8: no checkpoint: it is longer",
        ),
        (
            note.replace('\n', "\r\n"),
            "line 1: no checkpoint: its lines end in CR LF",
        ),
        (
            format!("{note}— witness\n"),
            "line 8: no checkpoint: a signature has not the form",
        ),
    ] {
        let error = Checkpoint::parse_all(&text).unwrap_err().to_string();
        assert!(error.starts_with(told), "{error}");
        assert!(error.contains("; take the notes anew"), "{error}");
    }
}

#[test]
fn other_texts_are_no_checkpoints() {
    let key = SigningKey::random("patients").unwrap();
    let note = sign(&key);
    for (from, to) in [
        ("tower-mesh/audit/", "x/"),
        ("\n3\n", "\n03\n"),
        ("\n3\n", "\nx\n"),
        ("\n02", "\n0"),
        ("2026", "226"),
        ("\n\n", "\n"),
        ("\n\n", "\nmore\n\n"),
        ("— ", "- "),
        ("— patients ", "— patients "),
    ] {
        assert!(
            Checkpoint::parse(&note.replacen(from, to, 1)).is_err() || from == to,
            "{to}"
        );
    }
    assert!(Checkpoint::parse(&format!("{note}x")).is_err());
    assert!(Checkpoint::parse(&"x".repeat(10_000)).is_err());
}
