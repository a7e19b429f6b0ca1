//! Reads a trail for a person: chosen records, and the answers to an auditor's standing questions.

mod activity;
mod filter;
mod line;
mod show;
#[cfg(test)]
mod tests;

pub use activity::{Access, ActivityReport, Change, Refusals};
pub use filter::RecordFilter;
pub use show::{Form, Show, Shown};
