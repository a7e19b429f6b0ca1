//! Keys: fetched, replaced, moved, and which of them may verify.

mod key_rules;
mod key_uris;
mod moved;
mod remote;
mod stampede;
mod vectors;
