//! Floods of refusals.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::*;
use crate::audit::store::fault::Faults;
use crate::audit::{Actor, Call, Durability, Trail};

#[test]
fn a27_a_flood_of_refusals_is_one_record_with_its_count() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let audit = Audit::builder()
        .trail(Trail::folder(folder.path()))
        .clock(clock.clone())
        .start()
        .unwrap();
    let refusal = |peer: &str| {
        Event::access()
            .actor(Actor::workload(peer.to_owned()))
            .outcome(Outcome::Deny)
            .reason("rbac")
    };
    for _ in 0..1000 {
        audit.submit(refusal("a"));
    }
    for _ in 0..7 {
        audit.submit(refusal("b"));
    }
    clock.pass(Duration::from_secs(1));
    for _ in 0..250 {
        audit.submit(refusal("a"));
    }
    clock.pass(Duration::from_secs(3));
    // What is allowed is never aggregated.
    (0..300).for_each(|number| audit.submit(event(number)));
    assert!(audit.shutdown(LONG));
    let lines = lines(folder.path());
    let of = |peer: &str| {
        let own = lines.iter().filter(|line| line["actor"]["spiffe"] == peer);
        own.map(|line| line["count"].as_u64().unwrap_or(1))
            .collect::<Vec<_>>()
    };
    let a = of("a");
    assert_eq!(a.len(), 100 + 1 + 100 + 1);
    assert_eq!(a.iter().sum::<u64>(), 1250);
    assert!(a.contains(&900) && a.contains(&150), "{a:?}");
    assert_eq!(of("b"), [1; 7]);
    assert_eq!(subjects(folder.path()).len(), 300);
    assert_eq!(audit.aggregated(), 899 + 149);
    assert_eq!(written(&audit), 1250 + 7 + 300);
    assert!(verify(folder.path()).is_whole());
}

#[test]
fn a27_each_end_of_an_access_has_its_record_also_in_a_flood_of_refusals() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let audit = Audit::builder()
        .trail(Trail::folder(folder.path()))
        .clock(clock)
        .start()
        .unwrap();
    let refused = |event: Event| event.outcome(Outcome::Deny).reason("limit");
    for _ in 0..300 {
        let call = Call::next();
        audit.submit(Event::intent(call).outcome(Outcome::Allow));
        audit.submit(refused(Event::access()));
        audit.submit(refused(Event::completion(call)));
    }
    assert!(audit.shutdown(LONG));
    let report = verify(folder.path());
    assert!(report.is_whole(), "{report}");
    assert_eq!(report.open_intents(), 0);
    let lines = lines(folder.path());
    let ends = lines.iter().filter(|line| line["phase"] == "completion");
    assert_eq!(ends.count(), 300);
    assert_eq!(audit.aggregated(), 199);
}

#[test]
fn a27_the_count_of_a_flood_is_in_the_gap_when_its_first_record_found_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, faults) = (TestClock::new(), Faults::default());
    let trail = Trail::folder(folder.path())
        .queue(50, u64::MAX)
        .durability(Durability::Strict)
        .storage(faults.clone());
    let audit = Audit::builder()
        .trail(trail)
        .clock(clock.clone())
        .start()
        .unwrap();
    faults.stick();
    audit.submit(event(0));
    runtime().block_on(faults.is_stuck());
    let refusal = || Event::access().outcome(Outcome::Deny).reason("rbac");
    (0..500).for_each(|_| audit.submit(refusal()));
    clock.pass(Duration::from_secs(5));
    faults.release();
    assert!(audit.shutdown(LONG));
    let lines = lines(folder.path());
    let refused = lines.iter().filter(|line| line["outcome"] == "deny");
    assert_eq!(refused.count(), 50);
    assert_eq!(gap(folder.path()), 450);
    let counters = audit.counters().next().unwrap();
    assert_eq!((counters.dropped(), counters.written()), (450, 51));
}

fn refusal() -> Event {
    Event::access().outcome(Outcome::Deny).reason("rbac")
}

fn strict(folder: &Path, faults: &Faults, clock: &TestClock) -> Audit {
    let trail = Trail::folder(folder)
        .durability(Durability::Strict)
        .storage(faults.clone());
    let audit = Audit::builder().clock(clock.clone()).deadline(LONG);
    audit.trail(trail).start().unwrap()
}

/// Checks that each of so many refusals is in the trail, in a count or in a gap.
fn assert_all_are_told(folder: &Path, audit: &Audit, produced: u64) {
    let lines = lines(folder);
    let refused = lines.iter().filter(|line| line["outcome"] == "deny");
    let told: u64 = refused
        .map(|line| line["count"].as_u64().unwrap_or(1))
        .sum();
    let counters = audit.counters().next().unwrap();
    assert_eq!(told, counters.written());
    assert_eq!(told + gap(folder), produced);
    assert_eq!(gap(folder), counters.dropped() + counters.lost());
    let report = verify(folder);
    assert!(report.is_whole(), "{report}");
}

#[test]
fn a21_a_flood_while_the_disk_is_full_for_minutes_is_counted_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let (faults, clock) = (Faults::default(), TestClock::new());
    let audit = strict(folder.path(), &faults, &clock);
    faults.room(Some(0));
    assert!(runtime().block_on(audit.submit_durable(refusal())).is_err());
    let mut produced = 1;
    for _ in 0..90 {
        // A probe in vain ends the second before.
        faults.forget_writes();
        (0..250).for_each(|_| audit.submit(refusal()));
        produced += 250;
        clock.pass(Duration::from_secs(3));
        runtime().block_on(faults.has_written());
    }
    faults.room(None);
    clock.pass(Duration::from_secs(3));
    assert!(audit.shutdown(LONG));
    assert_all_are_told(folder.path(), &audit, produced);
}

#[test]
fn a21_a_flood_while_the_disk_hangs_for_minutes_is_counted_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let (faults, clock) = (Faults::default(), TestClock::new());
    let audit = strict(folder.path(), &faults, &clock);
    let mut produced = 0;
    for round in 0..3 {
        faults.stick();
        audit.submit(refusal());
        runtime().block_on(faults.is_stuck());
        produced += 1;
        for _ in 0..150 {
            (0..150 + round).for_each(|_| audit.submit(refusal()));
            produced += 150 + round;
            clock.pass(Duration::from_secs(1));
        }
        faults.release();
        clock.pass(Duration::from_secs(3));
        assert!(audit.flush(LONG));
    }
    assert!(audit.shutdown(LONG));
    assert_all_are_told(folder.path(), &audit, produced);
}

#[test]
fn a27_events_of_the_application_are_never_counted_together() {
    let folder = tempfile::tempdir().unwrap();
    let audit = strict(folder.path(), &Faults::default(), &TestClock::new());
    (0..300).for_each(|number| audit.submit(event(number).outcome(Outcome::Deny)));
    assert!(audit.shutdown(LONG));
    assert_eq!(subjects(folder.path()), (0..300).collect::<Vec<_>>());
    assert_eq!(audit.aggregated(), 0);
}

#[test]
fn a27_a_count_names_its_caller_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let trail = Trail::folder(folder.path()).queue(100_000, u64::MAX);
    let audit = Audit::builder().clock(TestClock::new());
    let audit = audit.trail(trail).start().unwrap();
    let callers = 400;
    let mut produced = 0;
    for caller in 0..callers {
        let address = Ipv4Addr::from_bits(0x0a00_0000 + caller);
        for _ in 0..110 {
            let actor = Actor::workload(format!("spiffe://td/{caller}"));
            audit.submit(refusal().actor(actor).source_ip(address.into()));
            produced += 1;
        }
    }
    assert!(audit.shutdown(LONG));
    assert_all_are_told(folder.path(), &audit, produced);
    let lines = lines(folder.path());
    let counted = lines.iter().filter(|line| line["count"].is_u64());
    let (mut named, mut others) = (BTreeSet::new(), 0);
    for line in counted {
        match line["reason"].as_str() {
            Some("others") => {
                assert!(line["actor"].is_null() && line["source_ip"].is_null());
                others += line["count"].as_u64().unwrap();
            }
            _ => {
                assert_eq!(line["count"], 10);
                assert!(named.insert(line["actor"]["spiffe"].to_string()));
            }
        }
    }
    assert!(named.len() <= 256 && others > 110 * 140, "{others}");
}
