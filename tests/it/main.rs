//! The crate from outside, through layers and over real sockets; a module per area.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_types,
    reason = "a test may panic"
)]

mod access_events;
mod build_mistakes;
mod client_errors;
mod client_hostile;
mod client_requests;
mod client_timeouts;
mod custom;
mod envoy_shape;
mod error_levels;
mod explain;
mod extractors;
mod golden;
mod guards;
mod jwt;
mod layers_alone;
mod legacy;
mod log;
mod log_limits;
mod mesh_again;
mod mesh_client;
mod mesh_counts;
mod mesh_faults;
mod mesh_keys;
mod mesh_limits;
mod mesh_mounted;
mod mesh_outside;
mod mesh_reload;
mod mesh_seen;
mod mesh_serve;
mod mesh_shutdown;
mod mesh_start;
mod mesh_support;
mod mesh_told;
mod mesh_trust_domain;
mod mesh_upgrades;
mod metrics;
mod metrics_bounds;
mod metrics_scrape;
mod mistakes;
mod nested;
mod one_host;
mod own_servers;
mod plaintext_mesh;
mod policy_laws;
mod policy_rows;
mod probe;
mod propagation;
mod quiet_streams;
mod rbac;
mod seen_headers;
mod semantic_conventions;
mod silent_clients;
mod tls;
mod trace_context;
mod upstream_names;
mod whole_target;
