//! Codes and notes, and how a resource silences them.

pub(super) mod code;
pub(super) mod explain;
pub(super) mod findings;
pub(super) mod note;
pub(super) mod notes;
pub(super) mod silence;
