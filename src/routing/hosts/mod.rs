//! From services and VirtualServices to the virtual hosts of each port, and from a call to its
//! virtual host and route.

mod build;
mod choice;
mod l4;
mod lookup;
mod names;
mod owners;
mod table;
mod unknown;
mod virtual_host;

pub(super) use build::{Parts, table, table_of_address};
pub use choice::{Choice, Drawn};
pub use l4::{L4Route, L4Routes, SniHosts};
pub(super) use lookup::{rank, without_port};
pub use table::RouteTable;
pub use unknown::Unknown;
pub use virtual_host::VirtualHost;
