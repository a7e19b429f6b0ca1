//! Applies what Telemetry resources and MeshConfig say to a running mesh.
//!
//! ```text
//! applied        compiles one configuration, and puts it to use
//!  ├ spans       options of traces
//!  ├ metrics     what is shown of metrics
//!  │  └ tags     the values of labels with an expression
//!  ├ logs        access logs
//!  │  └ line_counts  the counts of their lines
//!  └ reports     what a request or a call reads of it, once
//! facts          what expressions read
//! exporter       where spans go, if the application does not say it
//! service_time   how long the application took, for callers of the mesh
//! ```

mod applied;
mod exporter;
#[cfg(feature = "cel")]
mod facts;
mod line_counts;
mod logs;
mod metrics;
mod reports;
mod service_time;
mod spans;
#[cfg(feature = "cel")]
mod tags;

pub(in crate::mesh) use applied::{CompiledTelemetry, OwnTelemetry, TelemetryCompiler};
pub(in crate::mesh) use exporter::exporter;
pub(in crate::mesh) use reports::Reports;
pub(in crate::mesh) use service_time::ServiceTime;
#[cfg(feature = "cel")]
pub(in crate::mesh) use tags::{Measuring, Tags};
