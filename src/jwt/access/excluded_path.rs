//! Paths where a token guard reads no token.

use std::fmt;
use std::str::FromStr;

use super::request_path::is_normal;

/// Paths where tokens are neither demanded nor read: `/healthz` is this path alone, and `/public/*`
/// every path that begins with `/public/`.
///
/// It is compared with the path that policy judges: the whole one, whatever nested routers have left
/// of it, and normalized where the mesh normalizes. A path that further normalization would change
/// is never excluded, so neither `/public/..%2fadmin` nor `/public//a` is. Where a layer sees the
/// path as it was sent, `/healthz/../healthz` is not, either. Paths are compared byte by byte:
/// `/healthz/` and `/Healthz` are other paths.
///
/// ```
/// use tower_mesh::jwt::ExcludedPath;
///
/// assert!("/healthz".parse::<ExcludedPath>().is_ok());
/// assert!("/grpc.health.v1.Health/*".parse::<ExcludedPath>().is_ok());
/// // It would exclude `/healthz-admin`, too.
/// assert!("/healthz*".parse::<ExcludedPath>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExcludedPath {
    /// The path, or what paths begin with.
    text: Box<str>,
    is_prefix: bool,
}

errors! {
    /// Why a text is no [`ExcludedPath`].
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum ExcludedPathError {
        /// It does not begin with `/`.
        NotAbsolute = "the path does not begin with `/`",
        /// It is `/*`.
        Everything = "`/*` leaves no path where tokens are read",
        /// It has a `*` that is not the whole last segment.
        Star = "`*` is allowed as the last segment only, as in `/public/*`",
        /// Normalization changes or refuses it, so no path that policy judges would ever be equal
        /// to it.
        NotNormal = "no request has this path once it is normalized: write it without dot \
                     segments, `//`, escapes of plain characters, `?` and `#`",
    }
}

impl FromStr for ExcludedPath {
    type Err = ExcludedPathError;

    fn from_str(path: &str) -> Result<Self, ExcludedPathError> {
        if !path.starts_with('/') {
            return Err(ExcludedPathError::NotAbsolute);
        }
        let prefix = path.strip_suffix("/*");
        if prefix.is_some_and(str::is_empty) {
            return Err(ExcludedPathError::Everything);
        }
        let text = match prefix {
            Some(_) => path.trim_end_matches('*'),
            None => path,
        };
        if text.contains('*') {
            return Err(ExcludedPathError::Star);
        }
        if text.contains('?') || !is_normal(text) {
            return Err(ExcludedPathError::NotNormal);
        }
        Ok(Self {
            text: text.into(),
            is_prefix: prefix.is_some(),
        })
    }
}

impl fmt::Display for ExcludedPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        f.write_str(if self.is_prefix { "*" } else { "" })
    }
}

impl ExcludedPath {
    pub(super) fn matches(&self, path: &str) -> bool {
        match self.is_prefix {
            true => path.starts_with(&*self.text),
            false => *path == *self.text,
        }
    }
}
