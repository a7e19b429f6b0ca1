//! A route as routers write it: a method, and a path with parameters.

use std::fmt;

use fastrand::Rng;
use http::Method;
use http::uri::PathAndQuery;

/// A method and a path template, such as `GET /patients/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Template {
    path: String,
    /// As text, because methods have no order.
    method: String,
}

impl Template {
    /// Reads `METHOD /path`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is no route; write a method and a path, as in GET /patients/{{id}}")
        };
        let (method, path) = text.trim().split_once(' ').ok_or_else(wrong)?;
        let path = path.trim();
        let is_method = Method::from_bytes(method.as_bytes()).is_ok();
        if !is_method || !path.starts_with('/') || fill(path, &mut Rng::with_seed(0)).is_none() {
            return Err(wrong());
        }
        Ok(Self::new(method, path))
    }

    pub(super) fn new(method: &str, path: &str) -> Self {
        Self {
            path: path.to_owned(),
            method: method.to_owned(),
        }
    }

    pub(super) fn method(&self) -> Option<Method> {
        Method::from_bytes(self.method.as_bytes()).ok()
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The path with its parameters filled in.
    pub(super) fn fill(&self, rng: &mut Rng) -> Option<PathAndQuery> {
        fill(&self.path, rng)
    }

    /// The templates above this one, and itself: `/a` and `/a/{b}` for `/a/{b}`. A router may be
    /// nested at each, with a fallback of its own.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = &str> {
        let path = self.path.trim_end_matches('/');
        let inner = path.match_indices('/').map(|(at, _)| at).skip(1);
        let ends = inner.chain([path.len()]);
        let prefixes = ends.filter_map(|end| path.get(..end));
        prefixes.filter(|prefix| !prefix.is_empty())
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// A path in which parameters are words at random; `{{` and `}}` are braces. `None` when it is not
/// a path.
pub(super) fn fill(template: &str, rng: &mut Rng) -> Option<PathAndQuery> {
    let mut path = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let (text, found) = rest.split_at(at);
        path += text;
        let escaped = [("{{", '{'), ("}}", '}')];
        let escaped = escaped
            .into_iter()
            .find_map(|(two, one)| Some((one, found.strip_prefix(two)?)));
        rest = match escaped {
            Some((brace, after)) => {
                path.push(brace);
                after
            }
            None => {
                let (name, after) = found.strip_prefix('{')?.split_once('}')?;
                path += &word(rng);
                if name.starts_with('*') {
                    path = path + "/" + &word(rng);
                }
                after
            }
        };
    }
    path += rest;
    path.parse().ok()
}

/// A word that is not likely to be one of the application's.
pub(super) fn word(rng: &mut Rng) -> String {
    let length = rng.usize(3..9);
    (0..length).map(|_| rng.lowercase()).collect()
}
