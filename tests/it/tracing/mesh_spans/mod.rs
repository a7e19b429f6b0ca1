//! Spans of a composed mesh, of both sides of a call.

mod facts;
mod names;
mod resources;
pub(super) mod site;
mod tries;
