//! Converts the argument of `client.get(..)` and its siblings to a URI.

use http::Uri;

use super::error::ClientError;
use sealed::Sealed;

/// The target of a call: a [`Uri`] or its text, such as `http://charts.default/7`.
///
/// A text that is not a URI makes the call fail when it is awaited. This trait is sealed.
pub trait IntoUri: Sealed {}

mod sealed {
    use super::{ClientError, Uri};

    #[expect(unnameable_types, reason = "only the types of this file can be called")]
    pub trait Sealed {
        fn into_uri(self) -> Result<Uri, ClientError>;
    }
}

impl IntoUri for Uri {}

impl Sealed for Uri {
    fn into_uri(self) -> Result<Uri, ClientError> {
        Ok(self)
    }
}

impl IntoUri for &Uri {}

impl Sealed for &Uri {
    fn into_uri(self) -> Result<Uri, ClientError> {
        Ok(self.clone())
    }
}

impl IntoUri for String {}

impl Sealed for String {
    fn into_uri(self) -> Result<Uri, ClientError> {
        match without_scheme(&self) {
            Some(mistake) => Err(mistake),
            None => Self::try_into(self).map_err(ClientError::uri),
        }
    }
}

impl IntoUri for &String {}

impl Sealed for &String {
    fn into_uri(self) -> Result<Uri, ClientError> {
        self.as_str().into_uri()
    }
}

impl IntoUri for &str {}

impl Sealed for &str {
    fn into_uri(self) -> Result<Uri, ClientError> {
        match without_scheme(self) {
            Some(mistake) => Err(mistake),
            None => self.try_into().map_err(ClientError::uri),
        }
    }
}

/// The error for a text like `charts.default/7`, which lacks `http://`.
fn without_scheme(text: &str) -> Option<ClientError> {
    if text.contains("://") || text.starts_with('/') {
        return None;
    }
    // `http:/charts.default` and `http:charts.default` lack slashes; the part after them is meant.
    let text = match text.split_once(':') {
        Some((scheme, rest)) if is_web(scheme) => rest.trim_start_matches('/'),
        _ => text,
    };
    let whole: Uri = format!("http://{text}").parse().ok()?;
    Some(ClientError::no_scheme(Some(&whole)))
}

fn is_web(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}
