//! Rate limits: those that this process counts.

mod local;
