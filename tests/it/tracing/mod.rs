//! Traces between meshes: who forces one, and what the standard's cases come to.

mod deadlines;
mod forced;
