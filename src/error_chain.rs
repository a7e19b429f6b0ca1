//! Writes an error and its causes on one line, for logs. Each error's `Display` is one level, and
//! its `source()` is the next.

use std::error::Error;
use std::fmt;

/// Writes `error: its cause: the cause of that`. Skips a level that only repeats how the level
/// above it ends.
#[derive(Debug)]
pub(crate) struct ErrorChain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut above = self.0.to_string();
        f.write_str(&above)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !above.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            above = text;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Level(&'static str, Option<Box<Self>>);

    impl fmt::Display for Level {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Level {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|level| level as _)
        }
    }

    #[test]
    fn writes_every_level_once() {
        let inner = Level("refused", None);
        let middle = Level("refused", Some(Box::new(inner)));
        let outer = Level("no connection", Some(Box::new(middle)));
        assert_eq!(ErrorChain(&outer).to_string(), "no connection: refused");
        assert_eq!(ErrorChain(&Level("alone", None)).to_string(), "alone");
    }
}
