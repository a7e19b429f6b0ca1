//! Token rules and policies that are kept fresh for layers alone, without a mesh around them.

mod builder;
mod handle;
mod order;
mod parts;
mod pinned;

pub use builder::GuardsBuilder;
pub use handle::Guards;
