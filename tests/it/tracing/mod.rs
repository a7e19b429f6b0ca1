//! Traces between meshes: who forces one, and what the standard's cases come to.

mod deadlines;
mod forced;
mod rows;
mod w3c_cases;
