//! Where configuration comes from: texts in memory, a file, a directory, or a watched directory.
//!
//! Every source gives a whole [`Configuration`], or a list of everything that is wrong with it; it
//! never gives half a configuration. A [`Directory`] reads the files `*.yaml`, `*.yml` and `*.json`
//! below a path in the byte order of their paths. It follows symbolic links, because a mounted
//! Kubernetes ConfigMap consists of them, and skips hidden entries. It also
//! [skips](Configuration::passed_over) files of kustomize and Helm that hold no resources, each
//! with a note.
//!
//! A [`Watch`] reads a directory again when it is asked to, and returns a configuration only if it
//! differs from the last one that it returned. It has no clock and no thread of its own. The
//! directory's [`OnOpening`] sets what a mesh does with a change that opens the workload.
//!
//! # Example
//!
//! ```
//! use tower_mesh::source::Fixed;
//!
//! let configuration = Fixed::yaml("ward.yaml", "
//! apiVersion: security.istio.io/v1
//! kind: AuthorizationPolicy
//! metadata: {name: readers}
//! spec:
//!   rules: [{to: [{operation: {methods: [GET]}}]}]
//! ").load("clinic")?;
//! assert_eq!(configuration.resources.authorization_policies.len(), 1);
//! # Ok::<(), tower_mesh::istio::Problems>(())
//! ```

#[cfg(feature = "tokio")]
mod channel;
mod configuration;
mod directory;
mod engine;
mod expressions;
mod files;
mod fixed;
#[cfg(feature = "tokio")]
mod followed;
mod holdings;
mod merged;
mod on_weaker_change;
mod once;
mod update;
mod watch;

#[cfg(test)]
mod tests;

#[cfg(feature = "tokio")]
pub use channel::{Channel, SendError, Sender, channel};
pub use configuration::Configuration;
pub use directory::Directory;
pub use fixed::Fixed;
pub use holdings::Holdings;
pub use merged::Merged;
pub use on_weaker_change::OnOpening;
pub use update::{ConfigSource, NextUpdate, Source, Update};
pub use watch::Watch;
