//! Which requests are health checks.

/// The paths of health checks: those that Kubernetes components use, and gRPC's.
pub(crate) const HEALTH_PATHS: [&str; 5] = [
    "/healthz",
    "/livez",
    "/readyz",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
];
