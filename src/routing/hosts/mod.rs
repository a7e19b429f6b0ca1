//! From services and VirtualServices to the virtual hosts of each port, and from a call to its
//! virtual host and route.

mod build;
mod choice;
mod l4;
mod lookup;
mod names;
mod owners;
mod table;
#[cfg(test)]
mod tests;
mod unknown;
mod world;

pub use choice::{Choice, Drawn};
pub use l4::{L4Route, L4Routes, SniHosts};
pub use table::{RouteTable, VirtualHost};
pub use unknown::Unknown;
pub use world::{Routing, RoutingOptions};
