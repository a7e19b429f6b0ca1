//! Spans of a composed mesh, of both sides of a call.

mod facts;
mod failed_calls;
mod faults;
mod formatters_of_calls;
mod headers;
mod names;
mod outcomes;
mod resources;
pub(super) mod site;
mod tries;
mod watched;
