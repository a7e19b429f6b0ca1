use std::fs;
use std::time::{Duration, SystemTime};

use super::*;
use crate::audit::verify::tests::Kept;
use crate::audit::{Durability, Prune, PublicKeys, SigningKey};

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

fn stream(kept: &Kept) -> String {
    let file = kept.files().pop().unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    name.split('-').nth(1).unwrap().to_owned()
}

fn kept() -> Kept {
    let mut kept = Kept::new();
    kept.stream_with(60, |trail| trail.checkpoint_every(10, YEAR));
    kept
}

#[test]
fn a03_each_record_of_a_trail_is_proved_without_the_trail() {
    let kept = kept();
    let (stream, lines) = (stream(&kept), kept.lines());
    let last = lines.len() as u64;
    for (index, line) in lines.iter().enumerate() {
        let seq = index as u64 + 1;
        let proof = Prove::new(kept.path()).record(&stream, seq);
        if seq == last {
            // It is the last checkpoint.
            assert!(matches!(proof, Err(ProveError::Unsigned)));
            continue;
        }
        let proof: InclusionProof = proof.unwrap().to_string().parse().unwrap();
        assert_eq!(proof.verify(&kept.keys), Ok(()));
        assert_eq!((proof.record(), proof.seq()), (line.as_str(), seq));
        assert!(proof.checkpoint().size() < seq + 13);
    }
    let prove = |stream: &str, seq| Prove::new(kept.path()).record(stream, seq);
    assert!(matches!(prove(&stream, 0), Err(ProveError::NoRecord)));
    assert!(matches!(
        prove(&stream, last + 1),
        Err(ProveError::NoRecord)
    ));
    assert!(matches!(prove("x", 1), Err(ProveError::NoStream)));
}

#[test]
fn a_proof_that_was_changed_does_not_hold() {
    let kept = kept();
    let (stream, keys) = (stream(&kept), &kept.keys);
    let proof = Prove::new(kept.path()).record(&stream, 20).unwrap();
    let text = proof.to_string();
    assert_eq!(
        proof.verify(&PublicKeys::default()),
        Err(InclusionError::NoKeys)
    );
    let other = SigningKey::random("test").unwrap().public();
    let other = PublicKeys::from_iter([other]);
    assert_eq!(proof.verify(&other), Err(InclusionError::UnknownKey));
    let key = SigningKey::from_file("test", kept.key_file()).unwrap();
    let until = format!("{} until 2026-01-01T00:00:00Z", key.public());
    let until = PublicKeys::parse(&until).unwrap();
    assert_eq!(proof.verify(&until), Err(InclusionError::RetiredKey));
    // Each byte: nothing else holds, and nothing panics.
    let mut bytes = text.clone().into_bytes();
    for at in 0..bytes.len() {
        let was = bytes[at];
        bytes[at] ^= 1;
        if let Ok(text) = std::str::from_utf8(&bytes)
            && let Ok(changed) = text.parse::<InclusionProof>()
        {
            assert_ne!(changed.verify(keys), Ok(()), "{text}");
        }
        bytes[at] = was;
    }
    for (from, to, what) in [
        ("\"v\":1", "\"v\":2", "`v`"),
        ("{\"checkpoint\"", "{\"x\":1,\"checkpoint\"", "`x`"),
        ("\"proof\"", "\"prof\"", "`proof`"),
        ("\"proof\":[\"", "\"proof\":[\"AAAA", "no hash"),
        ("tower-mesh/audit/", "x/", "its first line"),
        ("{\"checkpoint\"", "[", "JSON"),
    ] {
        let error = text.replacen(from, to, 1).parse::<InclusionProof>();
        let error = error.unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    let long = format!("{text}{}", " ".repeat(70_000));
    assert!(long.parse::<InclusionProof>().is_err());
}

#[test]
fn nothing_is_proved_of_a_stream_that_is_not_whole() {
    let kept = kept();
    let stream = stream(&kept);
    let mut lines = kept.lines();
    lines[4] = lines[4].replace("GET", "PUT");
    kept.write_lines(&lines);
    let error = Prove::new(kept.path()).record(&stream, 20).unwrap_err();
    let name = kept.files()[0].file_name().unwrap().to_owned();
    let place = format!("{}:6: ", name.to_str().unwrap());
    assert!(error.to_string().starts_with(&place), "{error}");
}

#[test]
fn a29_what_is_left_of_a_pruned_stream_is_proved() {
    let mut kept = Kept::new();
    kept.stream_with(300, |trail| {
        trail
            .segments(8 * 1024, YEAR)
            .durability(Durability::Strict)
    });
    let stream = stream(&kept);
    let last = crate::audit::Entry::parse(kept.lines()[0].as_bytes())
        .unwrap()
        .seq();
    let signer = SigningKey::from_file("test", kept.key_file()).unwrap();
    let later = SystemTime::now() + 8 * YEAR;
    let prune = Prune::before(kept.path(), later - 7 * YEAR, kept.keys.clone(), signer);
    assert!(!prune.at(later).run().unwrap().removed.is_empty());
    let prove = |seq| Prove::new(kept.path()).record(&stream, seq);
    assert_eq!(prove(last).unwrap().verify(&kept.keys), Ok(()));
    assert!(matches!(prove(last - 1), Err(ProveError::NoRecord)));
    let file = kept.files().pop().unwrap();
    assert!(file.to_str().unwrap().ends_with("-prune.jsonl"));
    fs::remove_file(file).unwrap();
    assert!(matches!(prove(last), Err(ProveError::Broken(..))));
}
