//! Why a mesh could not be built: all faults of options, configuration and identity together.

use std::error::Error;
use std::fmt;

use crate::error_chain::ErrorChain;
use crate::istio::Problems;
use crate::tls::{IdentityError, SourceError};

/// Why a mesh, or guards without one, could not be built: everything that is wrong with the
/// options, the configuration and our own identity, except for what can be checked only after
/// another fault is mended.
///
/// `Display` shows one level, and [`source`](Error::source) returns the next. `Debug`, which
/// `unwrap` and a `main` that returns an error print, shows all levels, one line for each fault.
pub struct BuildError(Box<Faults>);

/// All faults found so far. As an error it is the level below a [`BuildError`] with several causes.
#[derive(Debug)]
pub(super) struct Faults {
    builder: &'static str,
    mistakes: Vec<String>,
    identity: Option<IdentityFault>,
    configuration: Option<Problems>,
}

#[derive(Debug)]
pub(super) enum IdentityFault {
    Refused(IdentityError),
    Unavailable(SourceError),
}

/// The level that a [`BuildError`] has below it.
enum Cause<'a> {
    /// The error itself shows its one mistake.
    None,
    One(&'a (dyn Error + 'static)),
    /// An error has at most one source, so this one lists all faults.
    Several(&'a Faults),
}

impl BuildError {
    /// The options that are wrong, each with the method of
    /// [`MeshBuilder`](crate::mesh::MeshBuilder) and a remedy. A missing identity is one of them.
    #[must_use]
    pub fn mistakes(&self) -> &[String] {
        &self.0.mistakes
    }

    /// What is wrong with the configuration, if anything.
    #[must_use]
    pub fn problems(&self) -> Option<&Problems> {
        self.0.configuration.as_ref()
    }

    /// Why our own identity is refused, if the source gave one and it is refused.
    #[must_use]
    pub fn identity(&self) -> Option<&IdentityError> {
        match &self.0.identity {
            Some(IdentityFault::Refused(error)) => Some(error),
            Some(IdentityFault::Unavailable(_)) | None => None,
        }
    }

    /// Why the [source](crate::tls::Source) of our own identity gave none, if it failed.
    #[must_use]
    pub fn identity_source(&self) -> Option<&SourceError> {
        match &self.0.identity {
            Some(IdentityFault::Unavailable(error)) => Some(error),
            Some(IdentityFault::Refused(_)) | None => None,
        }
    }

    fn cause(&self) -> Cause<'_> {
        let Faults {
            mistakes,
            identity,
            configuration,
            ..
        } = &*self.0;
        match (mistakes.as_slice(), identity, configuration) {
            ([_], None, None) => Cause::None,
            ([], Some(fault), None) => Cause::One(fault.error()),
            ([], None, Some(problems)) => Cause::One(problems),
            _ => Cause::Several(&self.0),
        }
    }
}

impl Faults {
    /// No faults yet, for the builder of this name.
    pub(super) fn new(builder: &'static str) -> Self {
        Self {
            builder,
            mistakes: Vec::new(),
            identity: None,
            configuration: None,
        }
    }

    /// Adds the mistakes of the group of options that has this name.
    pub(super) fn mistakes(&mut self, group: &str, mistakes: &[String]) {
        for mistake in mistakes {
            self.mistake(&format!("{group}{mistake}"));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.mistakes.is_empty() && self.identity.is_none() && self.configuration.is_none()
    }

    /// Adds a mistake of an option: the name of the builder's method, what is wrong, and a remedy.
    pub(super) fn mistake(&mut self, mistake: &str) {
        self.mistakes.push(format!("{}::{mistake}", self.builder));
    }

    /// Returns the value of an option, or adds its mistake.
    pub(super) fn option<T>(&mut self, result: Result<T, String>) -> Option<T> {
        result.map_err(|mistake| self.mistake(&mistake)).ok()
    }

    /// As [`option`](Self::option), for a mistake that names its own method.
    pub(super) fn foreign_option<T>(&mut self, result: Result<T, String>) -> Option<T> {
        result.map_err(|mistake| self.mistakes.push(mistake)).ok()
    }

    /// Returns what the configuration gives, or adds its problems to those of earlier steps.
    pub(super) fn configuration<T>(&mut self, result: Result<T, Problems>) -> Option<T> {
        let problems = match result {
            Ok(good) => return Some(good),
            Err(problems) => problems,
        };
        let known = self.configuration.take();
        let all = known.into_iter().flatten().chain(problems);
        self.configuration = Problems::from_list(all.collect());
        None
    }

    /// Returns the identity, or adds why it is refused or the source gave none.
    pub(super) fn identity<T>(&mut self, result: Result<T, IdentityFault>) -> Option<T> {
        result.map_err(|fault| self.identity = Some(fault)).ok()
    }
}

impl From<Faults> for BuildError {
    fn from(faults: Faults) -> Self {
        Self(Box::new(faults))
    }
}

impl IdentityFault {
    fn says(&self) -> &'static str {
        match self {
            Self::Refused(_) => "the identity is refused",
            Self::Unavailable(_) => "the identity cannot be had",
        }
    }

    fn error(&self) -> &(dyn Error + 'static) {
        match self {
            Self::Refused(error) => error,
            Self::Unavailable(error) => error,
        }
    }
}

impl From<IdentityError> for IdentityFault {
    fn from(error: IdentityError) -> Self {
        Self::Refused(error)
    }
}

impl From<SourceError> for IdentityFault {
    fn from(error: SourceError) -> Self {
        Self::Unavailable(error)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Faults {
            mistakes,
            identity,
            configuration,
            ..
        } = &*self.0;
        match (mistakes.as_slice(), identity, configuration) {
            ([mistake], None, None) => f.write_str(mistake),
            ([], Some(fault), None) => f.write_str(fault.says()),
            ([], None, Some(_)) => f.write_str("the configuration is refused"),
            (several, None, None) => write!(f, "{} options are wrong", several.len()),
            (several, identity, configuration) => {
                let mut wrong = match several.len() {
                    0 => Vec::new(),
                    1 => vec!["an option".to_owned()],
                    count => vec![format!("{count} options")],
                };
                wrong.extend(identity.is_some().then(|| "the identity".to_owned()));
                wrong.extend(
                    configuration
                        .is_some()
                        .then(|| "the configuration".to_owned()),
                );
                write!(f, "{} are wrong", wrong.join(" and "))
            }
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.cause() {
            Cause::None => None,
            Cause::One(error) => Some(error),
            Cause::Several(faults) => Some(faults),
        }
    }
}

impl fmt::Debug for BuildError {
    /// All levels, for human readers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let Some(cause) = self.source() else {
            return Ok(());
        };
        f.write_str(":")?;
        for line in ErrorChain(cause).to_string().lines() {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Faults {
    /// One line for each fault.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.mistakes.clone();
        if let Some(fault) = &self.identity {
            lines.push(format!("{}: {}", fault.says(), ErrorChain(fault.error())));
        }
        if let Some(problems) = &self.configuration {
            lines.push(problems.to_string());
        }
        f.write_str(&lines.join("\n"))
    }
}

impl Error for Faults {}
