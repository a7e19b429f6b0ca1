//! Prints routes and clusters as Envoy's own configuration (proto3 JSON, field names as in the `.proto` files),
//! in the shape that Istio gives it.
//!
//! # Example
//! ```
//! use tower_mesh::Workload;
//! use tower_mesh::istio::MeshConfig;
//! use tower_mesh::istio::traffic::TrafficResources;
//! use tower_mesh::routing::{Routing, RoutingOptions, envoy};
//!
//! let workload = Workload::new("ward", "nurse");
//! let (mesh, resources) = (MeshConfig::default(), TrafficResources::default());
//! let routing = Routing::new(&workload, &mesh, &resources, &(), &RoutingOptions::default())?;
//!
//! let table = routing.table(80).expect("port 80 is always known");
//! let printed = envoy::route_configuration(table);
//! let unknown = &printed["virtual_hosts"][0];
//! assert_eq!(unknown["domains"][0], "*");
//! assert_eq!(unknown["routes"][0]["route"]["cluster"], "PassthroughCluster");
//! # Ok::<(), tower_mesh::istio::Problems>(())
//! ```

mod action;
mod clusters;
mod endpoints;
mod json;
mod matches;
mod policies;
mod table;
mod transport;
mod unknown;

pub use clusters::cluster;
pub use endpoints::load_assignment;
pub use table::{route, route_configuration};
pub use unknown::unknown_clusters;
