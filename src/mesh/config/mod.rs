//! The configuration of a running mesh: its sources, what it compiles to, and how a change is
//! published.

pub(super) mod announce;
pub(super) mod applying;
pub(super) mod driver;
pub(super) mod fetch;
pub(super) mod first_answer;
pub(super) mod keys;
pub(super) mod live;
pub(super) mod loading;
pub(super) mod reload;
pub(super) mod resources;
pub(super) mod sources;
