//! processes that are killed.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use super::*;
use crate::audit::verify::tests::Kept;
use crate::audit::{Durability, SigningKey, Trail};

const FOLDER: &str = "AUDIT_CRASH_FOLDER";

/// Not a test by itself: the process that the next one kills. Each line that it prints is the number
/// of an event that was durable before.
#[test]
fn a23_child() {
    let Some(folder) = env::var_os(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    let key = SigningKey::from_file("k", folder.join("key.pem")).unwrap();
    let trail = Trail::folder(folder)
        .durability(Durability::Strict)
        .signer(key)
        .checkpoint_every(50, LONG)
        .segments(64 * 1024, LONG);
    let audit = start(trail);
    let base: u64 = env::var("AUDIT_CRASH_BASE").unwrap().parse().unwrap();
    runtime().block_on(async {
        let mut number = base;
        loop {
            // Load, of which a crash may lose the last.
            for _ in 0..20 {
                audit.submit(Event::application("load").subject("x"));
            }
            audit.submit_durable(event(number)).await.unwrap();
            let mut out = std::io::stdout().lock();
            writeln!(out, "durable {number}").unwrap();
            out.flush().unwrap();
            number += 1;
        }
    });
}

#[test]
fn a23_no_durable_event_is_lost_when_the_process_is_killed() {
    let kills = env::var("AUDIT_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(25);
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::create_file("k", folder.path().join("key.pem")).unwrap();
    let keys = crate::audit::PublicKeys::from_iter([key.public()]);
    let mut durable = Vec::new();
    let mut random = fastrand::Rng::with_seed(7);
    // The name of a test has no name of its crate.
    let (_, child) = concat!(module_path!(), "::a23_child")
        .split_once("::")
        .unwrap();
    for kill in 0..kills {
        let base = kill * 1_000_000;
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture", child])
            .env(FOLDER, folder.path())
            .env("AUDIT_CRASH_BASE", base.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        // It dies after so many events, wherever its thread then is.
        let most = random.u64(1..12);
        let mut line = String::new();
        let mut seen = 0;
        while seen < most && out.read_line(&mut line).unwrap() > 0 {
            seen += u64::from(line.starts_with("durable "));
            line.clear();
        }
        for _ in 0..random.u32(0..2000) {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(seen == most, "the child has ended by itself");
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        // What it has printed after the kill was sent is durable, too.
        let rest = rest
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        let more = rest.filter(|line| line.starts_with("durable ")).count() as u64;
        durable.extend(base..base + seen + more);
        let report = Verify::new(folder.path()).keys(keys.clone()).run().unwrap();
        assert!(report.is_whole(), "after {kill} kills: {report}");
    }
    // One more start, which cuts off what the last kill has left.
    let audit = start(Trail::folder(folder.path()).signer(key));
    assert!(audit.shutdown(LONG));
    let report = Verify::new(folder.path()).keys(keys).run().unwrap();
    assert!(
        report.is_whole() && report.torn_tails().is_empty(),
        "{report}"
    );
    let mut kept = lines(folder.path());
    kept.retain(|line| line["name"] == "test");
    let kept: std::collections::BTreeSet<u64> = kept
        .iter()
        .map(|line| line["subject"].as_str().unwrap().parse().unwrap())
        .collect();
    for number in &durable {
        assert!(
            kept.contains(number),
            "event {number} was durable and is lost"
        );
    }
    assert!(durable.len() as u64 >= kills);
}

#[test]
fn a23_a_write_that_was_cut_off_at_any_byte_loses_only_its_last_line() {
    let mut kept = Kept::new();
    kept.stream(3);
    let file = kept.files().remove(0);
    let name = file.file_name().unwrap().to_owned();
    let whole = fs::read(&file).unwrap();
    for cut in 0..=whole.len() {
        // Only some of the cuts within the records between, so that the test stays short.
        if cut % 17 != 0 && cut > 300 && cut + 300 < whole.len() {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(&name), &whole[..cut]).unwrap();
        let lines = whole[..cut].iter().filter(|byte| **byte == b'\n').count() as u64;
        let report = Verify::new(folder.path())
            .keys(kept.keys.clone())
            .run()
            .unwrap();
        assert!(report.is_whole(), "{cut}: {report}");
        assert_eq!(report.records(), lines, "{cut}");
        let audit = start(Trail::folder(folder.path()));
        assert!(audit.shutdown(LONG));
        let report = Verify::new(folder.path())
            .keys(kept.keys.clone())
            .run()
            .unwrap();
        assert!(report.is_whole(), "{cut}: {report}");
        assert_eq!(report.records(), lines + 2, "{cut}");
        assert!(report.torn_tails().is_empty());
        let is_torn = cut > 0 && whole[cut - 1] != b'\n';
        assert_eq!(
            report.torn_files().len(),
            usize::from(is_torn || cut == 0),
            "{cut}"
        );
    }
}
