//! The answers of authorizers.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value};

use crate::context::Placement;

/// What a provider decided about a request.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a decision that is dropped refuses nothing"]
pub enum Authorization {
    /// The request goes on, with these changes.
    Allowed(Changes),
    /// The request is refused with this answer.
    Denied(Denial),
}

impl Authorization {
    /// The request goes on as it is.
    pub fn allow() -> Self {
        Self::Allowed(Changes::new())
    }

    /// The request is refused with 403 and an empty body. [`Denial`] makes other answers.
    pub fn deny() -> Self {
        Self::Denied(Denial::forbidden())
    }

    /// Whether the request goes on.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

impl From<Changes> for Authorization {
    fn from(changes: Changes) -> Self {
        Self::Allowed(changes)
    }
}

impl From<Denial> for Authorization {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

/// What a provider changes about a request that it allows.
///
/// The application sees the changed request. A change that a provider may not make counts as an
/// error of the provider: of `host` and pseudo headers, of headers that name the caller
/// (`x-forwarded-client-cert`), of hop-by-hop headers and of `x-envoy-*`.
///
/// ```
/// use http::header::{HeaderName, HeaderValue};
/// use serde_json::json;
/// use tower_mesh::external::{Authorization, Changes};
///
/// let changes = Changes::new()
///     .set_header(HeaderName::from_static("x-ward"), HeaderValue::from_static("7"))
///     .remove_header(HeaderName::from_static("cookie"))
///     .metadata("plan", json!("gold"));
/// assert!(!changes.is_empty());
/// assert!(Authorization::from(changes).is_allowed());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct Changes {
    headers: Vec<HeaderChange>,
    response_headers: Vec<(HeaderName, HeaderValue, Placement)>,
    query: Vec<QueryChange>,
    metadata: Map<String, Value>,
}

/// One change of a request's headers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderChange {
    /// Replaces all values of the header.
    Set(HeaderName, HeaderValue),
    /// Adds a value to those that are there.
    Append(HeaderName, HeaderValue),
    /// Adds a value if the header is there, and does nothing otherwise: Envoy's `append` in an
    /// answer over gRPC.
    AppendIfPresent(HeaderName, HeaderValue),
    /// Removes the header.
    Remove(HeaderName),
}

impl HeaderChange {
    /// The header.
    #[must_use]
    pub fn name(&self) -> &HeaderName {
        match self {
            Self::Set(name, _)
            | Self::Append(name, _)
            | Self::AppendIfPresent(name, _)
            | Self::Remove(name) => name,
        }
    }
}

/// One change of the query in a request's target.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryChange {
    /// Replaces all values of the parameter, or adds it. Both texts are plain; what needs an escape
    /// gets one.
    Set(String, String),
    /// Removes the parameter.
    Remove(String),
}

impl Changes {
    /// No change.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces all values of a request header.
    pub fn set_header(self, name: HeaderName, value: HeaderValue) -> Self {
        self.change_header(HeaderChange::Set(name, value))
    }

    /// Adds a value to a request header.
    pub fn append_header(self, name: HeaderName, value: HeaderValue) -> Self {
        self.change_header(HeaderChange::Append(name, value))
    }

    /// Removes a request header.
    pub fn remove_header(self, name: HeaderName) -> Self {
        self.change_header(HeaderChange::Remove(name))
    }

    /// Adds one change of the request's headers. Changes apply in their order.
    pub fn change_header(mut self, change: HeaderChange) -> Self {
        self.headers.push(change);
        self
    }

    /// Adds a header to the response of the application, next to those of the same name.
    pub fn add_response_header(self, name: HeaderName, value: HeaderValue) -> Self {
        self.place_response_header(name, value, Placement::Add)
    }

    /// Adds a header to the response of the application, with a choice of how.
    pub fn place_response_header(
        mut self,
        name: HeaderName,
        value: HeaderValue,
        placement: Placement,
    ) -> Self {
        self.response_headers.push((name, value, placement));
        self
    }

    /// Replaces all values of a query parameter, or adds it.
    pub fn set_query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let change = QueryChange::Set(name.into(), value.into());
        self.query.push(change);
        self
    }

    /// Removes a query parameter.
    pub fn remove_query(mut self, name: impl Into<String>) -> Self {
        self.query.push(QueryChange::Remove(name.into()));
        self
    }

    /// Adds a fact for the guards that follow, such as a limit per plan. The application does not
    /// see it.
    pub fn metadata(mut self, key: impl Into<String>, value: Value) -> Self {
        self.metadata.insert(key.into(), value);
        self
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty()
            && self.response_headers.is_empty()
            && self.query.is_empty()
            && self.metadata.is_empty()
    }

    /// The changes of the request's headers, in their order.
    #[must_use]
    pub fn header_changes(&self) -> &[HeaderChange] {
        &self.headers
    }

    /// The headers for the response.
    #[must_use]
    pub fn response_headers(&self) -> &[(HeaderName, HeaderValue, Placement)] {
        &self.response_headers
    }

    /// The changes of the query, in their order.
    #[must_use]
    pub fn query_changes(&self) -> &[QueryChange] {
        &self.query
    }

    /// The facts for the guards that follow.
    #[must_use]
    pub fn facts(&self) -> &Map<String, Value> {
        &self.metadata
    }
}

/// The answer to a caller that a provider refuses.
///
/// A gRPC caller gets the gRPC status for the HTTP status, and the body as message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Denial {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Denial {
    /// An answer with this status and an empty body.
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// An answer with 403 and an empty body.
    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN)
    }

    /// Adds a header, next to those of the same name.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Sets the body. It is sent as `text/plain` unless a header says another type.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// The bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> &Bytes {
        &self.body
    }
}
