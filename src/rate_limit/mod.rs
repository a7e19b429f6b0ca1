//! Rate limits.

mod actions;
