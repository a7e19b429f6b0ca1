//! Turns a configuration that never changes into a source.

use std::future::pending;

use super::{ConfigSource, Configuration, Directory, Fixed, NextUpdate, Source, Update};

/// A source of one configuration, which is read at the first call.
struct Once<R> {
    read: R,
    is_given: bool,
}

impl<R> Source for Once<R>
where
    R: FnMut(&str) -> Update + Send,
{
    fn next<'a>(&'a mut self, namespace: &'a str) -> NextUpdate<'a> {
        Box::pin(async move {
            if self.is_given {
                return pending().await;
            }
            let update = (self.read)(namespace);
            self.is_given = true;
            Some(update)
        })
    }

    fn may_change(&self) -> bool {
        !self.is_given
    }
}

fn once(read: impl FnMut(&str) -> Update + Send + 'static) -> ConfigSource {
    ConfigSource::boxed(Once {
        read,
        is_given: false,
    })
}

impl Default for ConfigSource {
    /// A configuration without resources.
    fn default() -> Self {
        Configuration::default().into()
    }
}

impl From<Configuration> for ConfigSource {
    fn from(configuration: Configuration) -> Self {
        once(move |_| configuration.clone().into())
    }
}

impl From<Fixed> for ConfigSource {
    fn from(fixed: Fixed) -> Self {
        once(move |namespace| Update::new(fixed.load(namespace)))
    }
}

impl From<Directory> for ConfigSource {
    fn from(directory: Directory) -> Self {
        once(move |namespace| Update::new(directory.read(namespace)))
    }
}
