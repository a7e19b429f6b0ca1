//! Where configuration comes from: texts in memory, a file, a directory, a watched directory.
//!
//! Every source gives a whole [`Configuration`] or says everything that is wrong with it; there is
//! no half configuration. A
//! [`Directory`] reads the files `*.yaml`, `*.yml` and `*.json` below a path in the byte order of their paths, follows symbolic links
//! (a mounted Kubernetes ConfigMap is made of them) and skips hidden entries. Files of kustomize
//! and Helm that hold no resources are
//! [passed over](Configuration::passed_over), each with a note. A [`Watch`] over it looks again when it is asked to, and
//! hands out what it finds only when that differs from what it handed out before; it has no clock
//! and no thread of its own. What a mesh does with a change that opens the workload is the
//! directory's [`OnOpening`].
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
mod files;
mod fixed;
#[cfg(feature = "tokio")]
mod followed;
mod holdings;
mod merged;
mod on_opening;
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
pub use on_opening::OnOpening;
pub use update::{ConfigSource, NextUpdate, Source, Update};
pub use watch::Watch;
