//! Methods that describe a call: its URI, headers, body and timeout.

use std::fmt;
use std::future::IntoFuture;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, Response, Version};
use serde::Serialize;

use super::call::ResponseFuture;
use super::error::ClientError;
use super::head_timeout::Bound;
use super::into_uri::IntoUri;
use super::response_body::ResponseBody;
use super::service::Client;
use crate::mesh::ClientBody;

impl Client {
    /// Gets a URI: `client.get("http://charts.default/7").await?`.
    ///
    /// # Errors
    /// When the call is awaited: the URI cannot be parsed, its host is not configured, no server
    /// answers in time, or the server lacks the expected identity.
    pub fn get(&self, uri: impl IntoUri) -> RequestBuilder {
        RequestBuilder::new(self, Method::GET, uri)
    }

    /// Posts to a URI; errors as [`get`](Self::get).
    pub fn post(&self, uri: impl IntoUri) -> RequestBuilder {
        RequestBuilder::new(self, Method::POST, uri)
    }

    /// Puts to a URI; errors as [`get`](Self::get).
    pub fn put(&self, uri: impl IntoUri) -> RequestBuilder {
        RequestBuilder::new(self, Method::PUT, uri)
    }

    /// Patches a URI; errors as [`get`](Self::get).
    pub fn patch(&self, uri: impl IntoUri) -> RequestBuilder {
        RequestBuilder::new(self, Method::PATCH, uri)
    }

    /// Deletes a URI; errors as [`get`](Self::get).
    pub fn delete(&self, uri: impl IntoUri) -> RequestBuilder {
        RequestBuilder::new(self, Method::DELETE, uri)
    }
}

/// Describes a call, which is sent when it is awaited: see [`Client::get`] and [`Client::post`].
///
/// A mistake in the description, such as an invalid header, is an error when the call is awaited;
/// nothing is sent then.
///
/// # Example
///
/// ```no_run
/// # async fn f(client: tower_mesh::mesh::Client) -> Result<(), Box<dyn std::error::Error>> {
/// # #[derive(serde::Serialize)] struct Note { text: &'static str }
/// # #[derive(serde::Deserialize)] struct Added { id: u64 }
/// let response = client
///     .post("http://charts.default/7/notes")
///     .header("x-ward", "east")
///     .json(&Note { text: "slept well" })
///     .await?;
/// let added: Added = response.into_body().json().await?;
/// # let _ = added.id; Ok(()) }
/// ```
#[must_use = "a call is made when it is awaited"]
pub struct RequestBuilder {
    client: Client,
    request: Result<Request<ClientBody>, ClientError>,
    bound: Bound,
}

impl RequestBuilder {
    pub(super) fn new(client: &Client, method: Method, uri: impl IntoUri) -> Self {
        let request = uri.into_uri().map(|uri| {
            let mut request = Request::new(ClientBody::empty());
            *request.method_mut() = method;
            *request.uri_mut() = uri;
            request
        });
        Self {
            client: client.clone(),
            request,
            bound: Bound::Usual,
        }
    }

    /// Adds a header and keeps others of the same name.
    pub fn header<N, V>(self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        self.and(|request| {
            let Ok(name) = name.try_into() else {
                return Err(ClientError::malformed("the name of a header is not valid"));
            };
            // The value may be a secret, so the error does not repeat it.
            let Ok(value) = value.try_into() else {
                let mistake = format!("the value of the header {name} is not valid");
                return Err(ClientError::malformed(mistake));
            };
            request.headers_mut().append(name, value);
            Ok(())
        })
    }

    /// Sends this token as `authorization: Bearer …` and replaces any other `authorization`. The
    /// header is marked as sensitive, so `Debug` does not show it.
    pub fn bearer(self, token: impl AsRef<str>) -> Self {
        self.and(|request| {
            let value = HeaderValue::try_from(format!("Bearer {}", token.as_ref()));
            let Ok(mut value) = value else {
                return Err(ClientError::malformed("the token fits in no header"));
            };
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
            Ok(())
        })
    }

    /// Sets the body: a `&'static str`, `String`, `Vec<u8>`, `Bytes` or another [`ClientBody`]. No
    /// content type is set.
    pub fn body(self, body: impl Into<ClientBody>) -> Self {
        self.and(|request| {
            *request.body_mut() = body.into();
            Ok(())
        })
    }

    /// Sets the body to a value as JSON, with `content-type: application/json` unless one is set
    /// already.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Self {
        self.and(|request| {
            // serde's error may repeat parts of the value.
            let Ok(json) = serde_json::to_vec(value) else {
                let kind = std::any::type_name::<T>();
                let mistake = format!("a value of {kind} cannot be written as JSON");
                return Err(ClientError::malformed(mistake));
            };
            let json_type = HeaderValue::from_static("application/json");
            let headers = request.headers_mut();
            headers.entry(CONTENT_TYPE).or_insert(json_type);
            *request.body_mut() = json.into();
            Ok(())
        })
    }

    /// Sets the HTTP version: `HTTP/1.1` by default.
    pub fn version(self, version: Version) -> Self {
        self.and(|request| {
            *request.version_mut() = version;
            Ok(())
        })
    }

    /// Limits how long the call waits for the head of its response, in place of
    /// [`ClientOptions::response_timeout`](crate::mesh::ClientOptions::response_timeout). The limit
    /// includes connecting, sending the whole request, and resending it. Reading the response body
    /// is not limited. A deadline of the request for which the call is made limits it, too.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.bound = Bound::Exactly(timeout);
        self
    }

    /// Removes the limit on how long the call waits for its response, but for the deadline of the
    /// request for which it is made.
    pub fn no_timeout(mut self) -> Self {
        self.bound = Bound::Unbounded;
        self
    }

    /// Changes the request; only the first mistake is kept.
    fn and(
        mut self,
        change: impl FnOnce(&mut Request<ClientBody>) -> Result<(), ClientError>,
    ) -> Self {
        if let Ok(request) = &mut self.request
            && let Err(mistake) = change(request)
        {
            self.request = Err(mistake);
        }
        self
    }
}

impl IntoFuture for RequestBuilder {
    type Output = Result<Response<ResponseBody>, ClientError>;
    type IntoFuture = ResponseFuture;

    fn into_future(self) -> ResponseFuture {
        match self.request {
            Ok(request) => self.client.send(request, self.bound),
            Err(mistake) => ResponseFuture::mistaken(mistake),
        }
    }
}

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder").finish_non_exhaustive()
    }
}
