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
    let cut = note.strip_suffix('\n').unwrap();
    assert!(Checkpoint::parse_all(&format!("{note}{cut}")).is_err());
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
