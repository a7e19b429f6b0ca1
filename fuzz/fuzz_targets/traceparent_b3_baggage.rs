//! Trace headers: whatever they say, a request has a context, and what is sent on reads back.
//! Twin: `src/propagation/tests/any_headers.rs`, `any_headers_give_a_context_that_reads_back`.

#![no_main]

use std::time::SystemTime;

use http::{HeaderName, HeaderValue, Request};
use libfuzzer_sys::fuzz_target;
use tower_mesh::context::Exchange;
use tower_mesh::propagation::Propagation;

const NAMES: [&str; 10] = [
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "x-request-id",
];

/// Each line is a header: its first byte picks the name.
fuzz_target!(|text: &[u8]| {
    let (mut inbound, ()) = Request::new(()).into_parts();
    for line in text.split(|byte| *byte == b'\n').take(64) {
        let Some((first, value)) = line.split_first() else {
            continue;
        };
        let name = HeaderName::from_static(NAMES[usize::from(*first) % NAMES.len()]);
        if let Ok(value) = HeaderValue::from_bytes(value) {
            inbound.headers.append(name, value);
        }
    }
    let propagation = Propagation::new();
    let (exchange, epoch) = (Exchange::default(), || SystemTime::UNIX_EPOCH);
    drop(propagation.begin(&mut inbound, &exchange, epoch));
    let here = exchange
        .trace()
        .expect("every request has a context")
        .clone();

    let (mut call, ()) = Request::new(()).into_parts();
    drop(propagation.begin_call(&mut call, Some(&exchange), epoch));
    let there = Exchange::default();
    drop(propagation.begin(&mut call, &there, epoch));
    let there = there.trace().expect("every request has a context");
    assert_eq!(here.trace_id, there.trace_id);
});
