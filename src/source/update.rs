//! The trait of a configuration source, and the updates that it delivers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::{Configuration, OnOpening};
use crate::istio::Problems;

/// A source of configuration: it gives the current configuration, and later each change of it.
///
/// A mesh asks for the first [`Update`] while it is built. Its [`Driver`](crate::Driver) asks for
/// the later ones, one after the other. The mesh judges each update as a whole: it publishes the
/// update, or refuses it and keeps the previous configuration. In both cases it calls
/// [`answered`](Self::answered) with the verdict before it asks for the next update.
///
/// The sources of this crate are [`Fixed`](super::Fixed), [`Directory`](super::Directory),
/// [`Watch`](super::Watch), [`Merged`](super::Merged) and [`channel`](super::channel()). A source
/// of your own sets its own pace: it waits in [`next`](Self::next) until something has changed.
///
/// # Example
///
/// A source of one configuration, which logs the verdict on it.
///
/// ```
/// use tower_mesh::istio::Problems;
/// use tower_mesh::source::{Configuration, NextUpdate, Source, Update};
///
/// struct Once(Option<Configuration>);
///
/// impl Source for Once {
///     fn next<'a>(&'a mut self, _namespace: &'a str) -> NextUpdate<'a> {
///         Box::pin(async move {
///             match self.0.take() {
///                 Some(configuration) => Some(Update::from(configuration)),
///                 None => std::future::pending().await,
///             }
///         })
///     }
///
///     fn answered(&mut self, verdict: Result<(), &Problems>) {
///         println!("{verdict:?}");
///     }
/// }
/// ```
pub trait Source: Send {
    /// Returns the next update. The first call returns the current configuration; each later call
    /// waits for a change.
    ///
    /// Resources without a namespace belong to `namespace`. `None` means that the source has ended
    /// and that there will be no more changes; the mesh logs this at ERROR and reports it as
    /// [`Readiness::unattended`](crate::mesh::Readiness::unattended). A source that has given its
    /// only configuration has not ended; it waits forever.
    ///
    /// The mesh may drop the future and call the method again; the source must not lose an update
    /// then.
    fn next<'a>(&'a mut self, namespace: &'a str) -> NextUpdate<'a>;

    /// Called with the verdict on the last update: the mesh uses it, or refused it for these
    /// problems. Does nothing by default.
    fn answered(&mut self, verdict: Result<(), &Problems>) {
        let _ = verdict;
    }

    /// Whether there may be another update. After `false` the mesh need not follow the source.
    fn may_change(&self) -> bool {
        true
    }
}

/// The future of [`Source::next`].
pub type NextUpdate<'a> = Pin<Box<dyn Future<Output = Option<Update>> + Send + 'a>>;

/// One delivery of a [`Source`]: a whole configuration, or everything that is wrong with it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Update {
    /// The configuration, or what is wrong with it.
    pub configuration: Result<Configuration, Problems>,
    /// What a mesh does if the update is damaged or opens the workload.
    pub on_opening: OnOpening,
}

impl Update {
    /// An update that the mesh refuses if it opens the workload.
    #[must_use]
    pub fn new(configuration: Result<Configuration, Problems>) -> Self {
        Self {
            configuration,
            on_opening: OnOpening::default(),
        }
    }

    /// Sets what a mesh does if the update is damaged or opens the workload.
    #[must_use]
    pub fn on_opening(mut self, on_opening: OnOpening) -> Self {
        self.on_opening = on_opening;
        self
    }
}

impl From<Configuration> for Update {
    fn from(configuration: Configuration) -> Self {
        Self::new(Ok(configuration))
    }
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn next<'a>(&'a mut self, namespace: &'a str) -> NextUpdate<'a> {
        (**self).next(namespace)
    }

    fn answered(&mut self, verdict: Result<(), &Problems>) {
        (**self).answered(verdict);
    }

    fn may_change(&self) -> bool {
        (**self).may_change()
    }
}

/// Any source of configuration, boxed. It is made from a [`Source`], or from a value that is turned
/// into one.
pub struct ConfigSource(pub(super) Box<dyn Source>);

impl ConfigSource {
    pub(super) fn boxed(source: impl Source + 'static) -> Self {
        Self(Box::new(source))
    }

    /// The boxed source.
    pub fn as_source(&mut self) -> &mut dyn Source {
        &mut *self.0
    }
}

impl<S: Source + 'static> From<S> for ConfigSource {
    fn from(source: S) -> Self {
        Self::boxed(source)
    }
}

impl fmt::Debug for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigSource").finish_non_exhaustive()
    }
}
