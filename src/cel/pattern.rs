//! The regular expressions of `matches`.

use std::any::Any;

use cel::ExecutionError;
use cel::common::types::{CelBool, CelString, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use regex::{Regex, RegexBuilder};

/// The most memory of a compiled pattern, and of its cache in each thread, in bytes.
const MOST_MEMORY: usize = 1024 * 1024;

pub(super) static TYPE: Type = Type::new_unspecified_type("@pattern");

/// A compiled pattern. It matches anywhere in a text, as `matches` does in CEL.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Regex);

impl Pattern {
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        RegexBuilder::new(pattern)
            .size_limit(MOST_MEMORY)
            .dfa_size_limit(MOST_MEMORY)
            .build()
            .map(Self)
            .map_err(|error| error.to_string())
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// The interpreter's call: a text and a pattern.
    pub(super) fn call<'b, 'v>(
        arguments: Vec<CowVal<'b, 'v>>,
    ) -> Result<CowVal<'b, 'v>, ExecutionError> {
        let [text, pattern] = arguments.as_slice() else {
            return Err(ExecutionError::MissingArgumentOrTarget);
        };
        let text = text.downcast_ref::<CelString<'_>>();
        let pattern = pattern.downcast_ref::<Self>();
        let (Some(text), Some(pattern)) = (text, pattern) else {
            return Err(ExecutionError::MissingArgumentOrTarget);
        };
        Ok(CowVal::owned(CelBool::from(pattern.matches(text))))
    }
}

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &TYPE
    }

    fn cel_type() -> &'static Type {
        &TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}
