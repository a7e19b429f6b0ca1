//! All of a workload's routing, behind one type.

mod routing;

pub use routing::{Routing, RoutingOptions};
