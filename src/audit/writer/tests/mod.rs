//! Trails under load and under faults.

mod crash;
mod durable;
mod faults;
mod floods;
mod load;
mod remains;
mod sinks;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::audit::store::segments;
use crate::audit::{
    Audit, AuditBuilder, AuditUnavailable, Clock, Event, Outcome, Recorded, Trail, Verify,
    VerifyReport,
};

/// Long enough for any test, and never waited for when all is well.
const LONG: Duration = Duration::from_secs(60);

/// A clock that a test sets.
#[derive(Clone, Debug, Default)]
struct TestClock {
    elapsed: Arc<AtomicU64>,
    /// What the time of day is ahead of the other clock, in microseconds.
    ahead: Arc<AtomicU64>,
}

impl TestClock {
    fn new() -> Self {
        let clock = Self::default();
        clock.elapsed.store(10_000_000, Ordering::SeqCst);
        clock.ahead.store(1_700_000_000_000_000, Ordering::SeqCst);
        clock
    }

    fn pass(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap();
        self.elapsed.fetch_add(micros, Ordering::SeqCst);
    }

    fn set_back(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap();
        self.ahead.fetch_sub(micros, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        let ahead = self.ahead.load(Ordering::SeqCst);
        UNIX_EPOCH + self.elapsed() + Duration::from_micros(ahead)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.elapsed.load(Ordering::SeqCst))
    }
}

/// With one trail, and a deadline that no test reaches.
fn builder(trail: Trail) -> AuditBuilder {
    Audit::builder().deadline(LONG).trail(trail)
}

fn start(trail: Trail) -> Audit {
    builder(trail).start().unwrap()
}

/// With the clock of the test.
fn start_at(clock: &TestClock, trail: Trail) -> Audit {
    builder(trail).clock(clock.clone()).start().unwrap()
}

/// The answer to an event that must be durable.
fn durable(audit: &Audit, number: u64) -> Result<Recorded, AuditUnavailable> {
    runtime().block_on(audit.submit_durable(event(number)))
}

fn event(number: u64) -> Event {
    Event::application("test")
        .subject(number.to_string())
        .outcome(Outcome::Allow)
}

fn text(folder: &Path) -> String {
    let names = segments(folder).unwrap();
    let read = |name: String| fs::read_to_string(folder.join(name)).unwrap();
    names.iter().map(|name| read(name.to_string())).collect()
}

fn lines(folder: &Path) -> Vec<serde_json::Value> {
    let text = text(folder);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The subjects of the events, in the order of the trail.
fn subjects(folder: &Path) -> Vec<u64> {
    let lines = lines(folder);
    let events = lines.iter().filter(|line| line["type"] == "event");
    events
        .map(|line| line["subject"].as_str().unwrap().parse().unwrap())
        .collect()
}

fn verify(folder: &Path) -> VerifyReport {
    Verify::new(folder).run().unwrap()
}

fn written(audit: &Audit) -> u64 {
    audit.counters().next().unwrap().written()
}

/// The sum of what `gap` records stand for.
fn gap(folder: &Path) -> u64 {
    let lines = lines(folder);
    let gaps = lines.iter().filter(|line| line["type"] == "gap");
    gaps.map(|line| line["n"].as_u64().unwrap()).sum()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
