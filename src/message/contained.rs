//! Keeps a panic from spreading.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `run` and contains its panic; the panic hook of the process has reported it by then. A
/// panic of one observer thus neither robs other observers of their report nor aborts a thread that
/// is already unwinding.
pub fn contained(run: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(run));
}
