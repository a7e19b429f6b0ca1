//! What a line of the access log asks of the allocator.

use tower_mesh::access_log::{AccessLog, Filter, LineSink, Sink};

use super::fixture::{self, Fixture};
use super::{REQUESTS, allocations, unsampled};

struct Nothing;

impl LineSink for Nothing {
    fn take(&self, line: &[u8]) -> bool {
        line.ends_with(b"\n")
    }
}

/// What the line keeps, and the headers that its format names. The answer's header with its time is there already.
const LINE: u64 = 2;
/// The line itself, for the thread that writes.
const QUEUED: u64 = 1;

#[test]
fn a_line_allocates_what_it_keeps() {
    let fixture = Fixture::new();
    let mut without = fixture
        .mesh(|builder| builder)
        .protect(fixture::router())
        .of(fixture.peer.clone());
    let without = allocations(
        |request| fixture::send(&mut without, request),
        &fixture.head,
    );
    let never = Filter::status(..200).and(Filter::status(300..));
    let file = || Sink::file("/dev/null").unwrap();
    for (log, expected) in [
        (AccessLog::text().to(Sink::custom(Nothing)), LINE),
        (AccessLog::json().to(Sink::custom(Nothing)), LINE),
        (AccessLog::text().to(file()).only(never), LINE),
        (AccessLog::text().to(file()), LINE + QUEUED),
    ] {
        let mesh = fixture.mesh(|builder| builder.telemetry(|t| unsampled(t).access_log(log)));
        let mut guarded = mesh.protect(fixture::router()).of(fixture.peer.clone());
        let with = allocations(
            |request| fixture::send(&mut guarded, request),
            &fixture.head,
        );
        assert_eq!(with - without, REQUESTS * expected);
    }
}
