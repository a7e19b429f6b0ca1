//! Helpers for tests: requests to policies, a proof that no route is unguarded, a throw-away PKI, a
//! token issuer, a key server.
//!
//! [`policy`] comes with the feature `policy-testing` and needs nothing else: no TLS, no runtime, no C compiler. The rest comes with
//! `testing`, which includes it. [`Pki`] also comes with `pki`, the feature of the command
//! `tower-mesh pki`.
//!
//! # Example
//!
//! ```
//! use tower_mesh::Workload;
//! use tower_mesh::testing::policy::{Policies, request};
//!
//! let patients = Policies::parse(&Workload::new("default", "patients"), "
//! apiVersion: security.istio.io/v1
//! kind: AuthorizationPolicy
//! metadata: {name: nobody}
//! spec: {}
//! ");
//! patients.expect(request().get("/patients/7")).to_be_denied();
//! ```

#[cfg(any(feature = "testing", feature = "pki"))]
mod certificate;
#[cfg(feature = "testing")]
mod issuer;
#[cfg(feature = "testing")]
mod jwks_server;
#[cfg(any(feature = "testing", feature = "pki"))]
mod pki;
#[cfg(any(feature = "testing", feature = "pki"))]
mod pki_error;
#[cfg(feature = "policy-testing")]
pub mod policy;
#[cfg(feature = "testing")]
pub mod routes;

#[cfg(any(feature = "testing", feature = "pki"))]
pub use certificate::{Authority, Leaf};
#[cfg(feature = "testing")]
pub use issuer::{Issuer, Token};
#[cfg(feature = "testing")]
pub use jwks_server::JwksServer;
#[cfg(any(feature = "testing", feature = "pki"))]
pub use pki::{Issued, Pki};
#[cfg(any(feature = "testing", feature = "pki"))]
pub use pki_error::PkiError;
