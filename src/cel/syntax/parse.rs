//! The syntax tree of a rule, from the parser of the crate `cel`.

use std::sync::{Arc, LazyLock};
use std::thread;

use cel::common::ast::{IdedExpr, SourceInfo};
use cel::common::types;
use cel::{Env, ParseErrors};

use super::bounds;
use crate::cel::error::CelError;
use crate::cel::pattern::{self, Pattern};

/// The function that stands for `matches` in an interpreted tree. Its second argument is a compiled
/// pattern.
pub(in crate::cel) const MATCHES: &str = "@matches";

/// The standard functions and macros, without optional values.
pub(in crate::cel) static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib().with_optional_support(false);
    let arguments = vec![types::STRING_TYPE, pattern::TYPE.to_owned()];
    // Without it, every `matches` in an interpreted tree is an error, and the rule denies.
    let _ = env.add_type(pattern::TYPE.to_owned());
    let _ = env.add_overload(MATCHES, MATCHES, arguments, Pattern::call);
    Arc::new(env)
});

/// The stack of the parser's thread, in bytes. Only what the parser uses is taken from memory.
const STACK: usize = 16 * 1024 * 1024;

/// A text and its syntax tree.
pub(in crate::cel) struct Parsed<'t> {
    pub(in crate::cel) text: &'t str,
    pub(in crate::cel) root: IdedExpr,
    places: SourceInfo,
}

impl<'t> Parsed<'t> {
    pub(in crate::cel) fn new(text: &'t str) -> Result<Self, CelError> {
        if text.trim().is_empty() {
            return Err(CelError::at(
                text,
                0,
                "the rule is empty; write a condition",
            ));
        }
        bounds::check(text)?;
        // The generated parser takes some 200 KiB of stack for a bracket in a build without
        // optimization, more than the thread of a server has for the brackets that a rule may nest.
        // A thread of its own also keeps a panic of foreign code from the caller.
        let parse = || ENV.parser().parse_with_source_info(text);
        let parsed = thread::scope(|scope| {
            let thread = thread::Builder::new()
                .name("cel parser".to_owned())
                .stack_size(STACK);
            thread.spawn_scoped(scope, parse).map(|parse| parse.join())
        });
        match parsed {
            Ok(Ok(Ok((root, places)))) => Ok(Self { text, root, places }),
            Ok(Ok(Err(errors))) => Err(first_error(text, &errors)),
            Ok(Err(_)) => Err(CelError::at(text, 0, "the parser cannot read this rule")),
            Err(error) => {
                let message = format!("cannot start a thread to read this rule: {error}");
                Err(CelError::at(text, 0, message))
            }
        }
    }

    /// An error at a node of the tree.
    pub(in crate::cel) fn error(&self, node: &IdedExpr, message: impl Into<String>) -> CelError {
        let start = self
            .places
            .offset_for(node.id)
            .map_or(0, |(start, _)| start);
        let offset = usize::try_from(start).unwrap_or(usize::MAX);
        CelError::at(self.text, self.name_before(offset), message)
    }

    /// The start of the name before a bracket: the parser places a call at its bracket.
    fn name_before(&self, bracket: usize) -> usize {
        let is_word = |letter: char| letter == '_' || letter.is_ascii_alphanumeric();
        match self.text.split_at_checked(bracket) {
            Some((before, rest)) if rest.starts_with('(') => {
                before.trim_end().trim_end_matches(is_word).len()
            }
            _ => bracket,
        }
    }
}

fn first_error(text: &str, errors: &ParseErrors) -> CelError {
    let Some(error) = errors.errors.first() else {
        return CelError::at(text, 0, "not an expression");
    };
    let (line, column) = error.pos;
    let line = usize::try_from(line).unwrap_or(1);
    let column = usize::try_from(column).unwrap_or(1);
    // The parser lists every token that could follow.
    let what = error.msg.split(" expecting ").next().unwrap_or_default();
    let what = what.strip_prefix("Syntax error: ").unwrap_or(what);
    let message = format!("not a CEL expression: {what}");
    CelError::at_column(text, line, column, message)
}
