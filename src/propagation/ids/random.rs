//! Random ids. They are not secret, but must not repeat in a fleet.
//!
//! `fastrand`'s generator has 64 bits of state. One of them alone would not do: all of them walk
//! the same cycle of 2⁶⁴ states, so two threads of a large fleet could come to repeat each other's
//! trace ids in a row, and its own seed is the clock. Each thread has two instead, both seeded from
//! the operating system's randomness, and an id of 128 bits takes one half from each: 128 bits of
//! state, in which two threads meet with a chance of 2⁻⁶⁴ for each pair of threads.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};

use fastrand::Rng;

use crate::context::{SpanId, TraceId};

thread_local! {
    static GENERATORS: RefCell<[Rng; 2]> = RefCell::new([seeded(), seeded()]);
}

/// The keys of the standard library's hash maps come from the operating system.
fn seeded() -> Rng {
    Rng::with_seed(RandomState::new().hash_one(0_u64))
}

/// Two halves of 64 random bits each.
pub(in crate::propagation) fn halves() -> [u64; 2] {
    GENERATORS.with_borrow_mut(|generators| generators.each_mut().map(|half| half.u64(..)))
}

/// A new trace id, all 16 bytes random.
pub(in crate::propagation) fn trace_id() -> TraceId {
    loop {
        let [high, low] = halves();
        let bytes = u128::from(high) << 64 | u128::from(low);
        if let Some(id) = TraceId::from_bytes(bytes.to_be_bytes()) {
            return id;
        }
    }
}

/// A new span id.
pub(in crate::propagation) fn span_id() -> SpanId {
    loop {
        let [_, bits] = halves();
        if let Some(id) = SpanId::from_bytes(bits.to_be_bytes()) {
            return id;
        }
    }
}
