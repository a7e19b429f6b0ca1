//! What the engine asks of a call.

/// The head of a call, as far as routes look at it.
pub trait CallHead {
    /// `http` or `https`.
    fn scheme(&self) -> &str;
    /// The host and, where there is one, the port, as the call names them.
    fn authority(&self) -> &str;
    /// The path without the query, normalized.
    fn path(&self) -> &str;
    /// The query, without its `?`, as it is sent; `None` without a `?`.
    fn query(&self) -> Option<&str>;
    /// The method.
    fn method(&self) -> &str;
    /// Calls `visit` with each line of the header of this name, in lower case, until it returns
    /// `true`, and returns whether it did.
    fn any_header(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool;
    /// Calls `visit` with each text of the claim that these keys lead to, until it returns `true`.
    /// Only calls at a gateway have claims.
    fn any_claim(&self, keys: &[String], visit: &mut dyn FnMut(&str) -> bool) -> bool {
        let _ = (keys, visit);
        false
    }
}

/// A [`CallHead`] for tests and tools.
///
/// ```
/// use tower_mesh::routing::route::{Call, CallHead};
///
/// let call = Call::get("http://patients:8080/charts/7?open=1").header("x-user", "nurse");
/// assert_eq!(call.authority(), "patients:8080");
/// assert_eq!(call.path(), "/charts/7");
/// assert_eq!(call.query(), Some("open=1"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    scheme: String,
    authority: String,
    path: String,
    query: Option<String>,
    method: String,
    headers: Vec<(String, String)>,
}

impl Call {
    /// A GET of a URI. One without a scheme and an authority is a path.
    #[must_use]
    pub fn get(uri: &str) -> Self {
        Self::new("GET", uri)
    }

    /// A call with this method. One without a scheme and an authority is a path.
    #[must_use]
    pub fn new(method: &str, uri: &str) -> Self {
        let (scheme, rest) = uri.split_once("://").unwrap_or(("http", uri));
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        Self {
            scheme: scheme.to_owned(),
            authority: authority.to_owned(),
            path: if path.is_empty() { "/" } else { path }.to_owned(),
            query,
            method: method.to_owned(),
            headers: Vec::new(),
        }
    }

    /// Adds a line of a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers
            .push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }
}

impl CallHead for Call {
    fn scheme(&self) -> &str {
        &self.scheme
    }

    fn authority(&self) -> &str {
        &self.authority
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    fn method(&self) -> &str {
        &self.method
    }

    fn any_header(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let mut lines = self.headers.iter();
        lines.any(|(of_line, value)| of_line == name && visit(value.as_bytes()))
    }
}
