//! The configuration of a running mesh: its sources, what it compiles to, and how a change is
//! published.

pub(super) mod driver;
pub(super) mod fetch;
pub(super) mod first_answer;
pub(super) mod identity_source;
pub(super) mod keys;
pub(super) mod live;
pub(super) mod loading;
pub(super) mod policy_names;
pub(super) mod reading_log;
pub(super) mod reload;
pub(super) mod serving_log;
