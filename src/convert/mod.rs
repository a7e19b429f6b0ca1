//! Converts the resources of 2018 (`authentication.istio.io`, `rbac.istio.io`, both `v1alpha1`) to
//! today's form, with the same decisions.
//!
//! [`convert`] writes `security.istio.io/v1` for them; the command is `tower-mesh convert`. Where
//! today's resources can express the same, they do, if at greater length: a path that was compared
//! with its query becomes a condition on `request.headers[:path]`. A small difference is noted,
//! with file, line and column of the old resource, and in a comment above the new one. A resource
//! that would let in more, or has no counterpart, is refused, and nothing is written.
//! `docs/convert.md` lists every field.
//!
//! Old resources name services and new ones select by labels: [`Services`] maps services to labels
//! and ports. For a service that it does not know, the labels `app: NAME` are assumed, and a note
//! says so.
//!
//! Resources of today are refused where they replace a part of the old ones: they would not replace
//! the converted ones.
//!
//! # Example
//!
//! ```
//! use tower_mesh::convert::{Services, convert};
//! use tower_mesh::istio::{self, MeshConfig};
//!
//! let old = istio::parse("ward.yaml", "
//! apiVersion: rbac.istio.io/v1alpha1
//! kind: ClusterRbacConfig
//! metadata: {name: default}
//! spec: {mode: ON_WITH_INCLUSION, inclusion: {services: [ward.clinic.svc.cluster.local]}}
//! ---
//! apiVersion: rbac.istio.io/v1alpha1
//! kind: ServiceRole
//! metadata: {name: ward-reader, namespace: clinic}
//! spec: {rules: [{services: [ward.clinic.svc.cluster.local], methods: [GET, HEAD]}]}
//! ---
//! apiVersion: rbac.istio.io/v1alpha1
//! kind: ServiceRoleBinding
//! metadata: {name: ward-reader-desk, namespace: clinic}
//! spec:
//!   subjects: [{user: cluster.local/ns/clinic/sa/desk}]
//!   roleRef: {kind: ServiceRole, name: ward-reader}
//! ", "default")?;
//! let labels = [("app".to_owned(), "ward".to_owned())].into();
//! let services = Services::new().with("ward", Some("clinic".to_owned()), Some(8080), labels);
//!
//! let converted = convert(&old, &MeshConfig::default(), &services)?;
//! assert!(converted.notes.is_empty());
//! assert_eq!(converted.resources[1].to_string(), "\
//! apiVersion: security.istio.io/v1
//! kind: AuthorizationPolicy
//! metadata:
//!   name: ward-reader
//!   namespace: clinic
//! spec:
//!   selector:
//!     matchLabels:
//!       app: ward
//!   rules:
//!   - from:
//!     - source:
//!         principals: [cluster.local/ns/clinic/sa/desk]
//!     to:
//!     - operation:
//!         methods: [GET, HEAD]
//!         ports: [\"8080\"]
//! ");
//! # Ok::<(), istio::Problems>(())
//! ```

mod authentication;
mod comments;
mod conversion;
mod demand;
mod rbac;
mod role;
mod rule;
mod services;
mod subject;
mod text;
mod writer;
mod yaml;

pub use conversion::{Conversion, convert};
pub use services::Services;
pub use writer::Converted;
