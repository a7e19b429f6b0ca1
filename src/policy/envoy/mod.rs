//! Prints what the engine runs as Envoy's own configuration (proto3 JSON, field names as in the
//! `.proto` files), so that a real Envoy can run it and must answer the same.
//!
//! # Example
//! ```
//! use tower_mesh::Workload;
//! use tower_mesh::policy::{Engine, envoy};
//!
//! let engine = Engine::builder(&Workload::new("default", "patients")).yaml("
//! apiVersion: security.istio.io/v1
//! kind: AuthorizationPolicy
//! metadata: {name: readers}
//! spec: {rules: [{to: [{operation: {methods: [GET]}}]}]}
//! ").build()?;
//!
//! let filters = envoy::http_filters(engine.program().http.get(8080), None);
//! let rules = &filters[0]["typed_config"]["rules"];
//! assert_eq!(rules["action"], "ALLOW");
//! assert!(rules["policies"].get("ns[default]-policy[readers]-rule[0]").is_some());
//! # Ok::<(), tower_mesh::istio::Problems>(())
//! ```

mod chain;
mod external;
mod jwt;
mod protocol;
mod rules;

pub use chain::{http_filters, network_filters};
pub use jwt::{JwtAuthnError, jwt_authn};
