//! The rules under check: their fields as written, their values, and their compiled form.

pub(super) mod candidates;
pub(super) mod carried;
pub(super) mod compiled;
pub(super) mod lists;
pub(super) mod names;
pub(super) mod refused;
pub(super) mod written;
