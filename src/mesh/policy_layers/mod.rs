//! Guards without a mesh: token rules and policies for layers that an application composes itself.

mod builder;
mod handle;
mod order;
mod parts;
mod pinned;

pub use builder::GuardsBuilder;
pub use handle::Guards;
