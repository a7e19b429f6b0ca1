use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::error::CustomTagError;
use super::formatted::TagFormat;
use crate::context::Hide;
use crate::matcher::header::holds_secret;
use crate::matcher::query;
use crate::propagation::format::headers::text;
use crate::propagation::span::finished::TagValue;
use crate::propagation::span::notes::{Tag, shorten_value};
use crate::propagation::span::target::hidden;

/// A tag that an operator adds to the spans of the mesh: a fixed text, a variable of the
/// environment, or a header of the request, as `customTags` of Istio's Telemetry API.
///
/// A tag whose value is empty is left out. One that has the name of a tag of the mesh replaces it, as
/// in Envoy.
///
/// ```
/// use tower_mesh::propagation::{CustomTag, Propagation};
///
/// let propagation = Propagation::new().custom_tags([
///     CustomTag::literal("ward", "west")?,
///     CustomTag::environment("region", "REGION", "unknown")?,
///     CustomTag::header("tenant", "x-tenant", "")?,
/// ]);
/// # drop(propagation);
/// let refused = CustomTag::header("session", "cookie", "").unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "the tag `session` cannot show the header `cookie`, which holds a secret: name another header"
/// );
/// # Ok::<(), tower_mesh::propagation::CustomTagError>(())
/// ```
#[derive(Clone, Debug)]
pub struct CustomTag {
    name: Box<str>,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Fixed(Arc<str>),
    Header {
        name: HeaderName,
        default: Arc<str>,
    },
    /// Known at the end.
    Format(Arc<dyn TagFormat>),
}

impl CustomTag {
    /// A tag with this value. Names and values are cut at 4 KiB.
    ///
    /// # Errors
    /// The name is empty.
    pub fn literal(
        name: impl Into<Box<str>>,
        value: impl Into<Arc<str>>,
    ) -> Result<Self, CustomTagError> {
        Self::new(name.into(), Source::Fixed(value.into()))
    }

    /// A tag with the value of a variable of this process's environment, or with `default` where the
    /// variable is not set or is not UTF-8. The variable is read now.
    ///
    /// # Errors
    /// The name of the tag or of the variable is empty, or the latter has a `=`.
    pub fn environment(
        name: impl Into<Box<str>>,
        variable: &str,
        default: impl Into<Arc<str>>,
    ) -> Result<Self, CustomTagError> {
        let name = name.into();
        if variable.is_empty() || variable.contains(['=', '\0']) {
            return Err(CustomTagError::new(format!(
                "the tag `{name}` names no variable of the environment: {variable:?}"
            )));
        }
        let value = std::env::var(variable).map_or_else(|_| default.into(), Arc::from);
        Self::new(name, Source::Fixed(value))
    }

    /// A tag with the value of a header of the request, or with `default` for a request without it:
    /// of a server span as the request came in, of a client span as the call goes out. The first of
    /// several headers of one name counts.
    ///
    /// A value is left out, without the default, when the application has marked it as sensitive,
    /// when it is not visible ASCII, or when it has the form of a signed token. Of a URL, query
    /// parameters that may hold a token are left out.
    ///
    /// # Errors
    /// The name is empty; the header's name is none; or the header holds a secret: `authorization`,
    /// `proxy-authorization`, `cookie` and `set-cookie` are not shown in spans.
    pub fn header(
        name: impl Into<Box<str>>,
        header: &str,
        default: impl Into<Arc<str>>,
    ) -> Result<Self, CustomTagError> {
        let name = name.into();
        let Ok(header_name) = HeaderName::from_bytes(header.as_bytes()) else {
            return Err(CustomTagError::new(format!(
                "the tag `{name}` names no header: {header:?}"
            )));
        };
        if holds_secret(header_name.as_str()) {
            return Err(CustomTagError::new(format!(
                "the tag `{name}` cannot show the header `{header_name}`, which holds a secret: name another header"
            )));
        }
        let source = Source::Header {
            name: header_name,
            default: default.into(),
        };
        Self::new(name, source)
    }

    /// A tag with a text that is made at the end of each exchange. The spans of single tries do not
    /// have it.
    ///
    /// # Errors
    /// The name is empty.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "for resources of a mesh")
    )]
    pub(crate) fn formatted(
        name: &str,
        format: impl TagFormat + 'static,
    ) -> Result<Self, CustomTagError> {
        Self::new(name.into(), Source::Format(Arc::new(format)))
    }

    fn new(name: Box<str>, source: Source) -> Result<Self, CustomTagError> {
        if name.is_empty() {
            return Err(CustomTagError::new("a tag has no name"));
        }
        Ok(Self { name, source })
    }

    /// The tag's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What makes its text, if that is known at the end alone.
    pub(in crate::propagation) fn format(&self) -> Option<&dyn TagFormat> {
        match &self.source {
            Source::Format(format) => Some(&**format),
            Source::Fixed(_) | Source::Header { .. } => None,
        }
    }

    /// The tag of a request with these headers; `None` where it has no value yet.
    pub(in crate::propagation) fn of(
        &self,
        headers: &HeaderMap,
        hide: Option<&Hide>,
    ) -> Option<Tag> {
        let value = match &self.source {
            Source::Fixed(value) => TagValue::Shared(Arc::clone(value)),
            Source::Header { name, default } => match headers.get(name) {
                Some(value) if *name == header::REFERER => shown(value, hide)?,
                Some(value) => shown(value, None)?,
                None => TagValue::Shared(Arc::clone(default)),
            },
            Source::Format(_) => return None,
        };
        let is_empty = value.as_str().is_empty();
        (!is_empty).then(|| {
            let name = Cow::Owned(self.name.clone().into_string());
            (name, shorten_value(value))
        })
    }
}

/// The value, if it holds no secret; of a referrer without the parameters that paths do not show.
fn shown(value: &HeaderValue, hide: Option<&Hide>) -> Option<TagValue> {
    let text = text(value).filter(|_| !value.is_sensitive())?;
    if query::is_token(b"", text.as_bytes()) {
        return None;
    }
    // A referrer, say.
    let without = query::without(text, query::is_token);
    Some(match (without, hide) {
        (None, None) => TagValue::Header(value.clone()),
        (Some(shown), None) => shown.into(),
        (without, hide) => {
            let shown = without.map_or(Cow::Borrowed(text), Cow::from);
            hidden(hide, shown).into_owned().into()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(tag: &CustomTag, headers: &[(&'static str, HeaderValue)]) -> Option<String> {
        let headers = headers.iter().cloned();
        let headers = headers.map(|(name, value)| (HeaderName::from_static(name), value));
        let (name, value) = tag.of(&headers.collect(), None)?;
        assert_eq!(name, tag.name());
        Some(value.as_str().to_owned())
    }

    #[test]
    fn a_tag_is_a_text_a_variable_or_a_header() {
        let text = |text| Some(String::from(text));
        let value = HeaderValue::from_static;
        let literal = CustomTag::literal("ward", "west").unwrap();
        assert_eq!(shown(&literal, &[]), text("west"));
        assert_eq!(shown(&CustomTag::literal("ward", "").unwrap(), &[]), None);

        let package = CustomTag::environment("package", "CARGO_PKG_NAME", "none").unwrap();
        assert_eq!(shown(&package, &[]), text("tower-mesh"));
        let unset = CustomTag::environment("package", "TOWER_MESH_UNSET", "none").unwrap();
        assert_eq!(shown(&unset, &[]), text("none"));
        let unset = CustomTag::environment("package", "TOWER_MESH_UNSET", "").unwrap();
        assert_eq!(shown(&unset, &[]), None);

        let tenant = CustomTag::header("tenant", "X-Tenant", "nobody").unwrap();
        assert_eq!(shown(&tenant, &[]), text("nobody"));
        assert_eq!(shown(&tenant, &[("x-tenant", value("acme"))]), text("acme"));
        assert_eq!(shown(&tenant, &[("x-tenant", value(""))]), None);
    }

    #[test]
    fn a_header_that_holds_a_secret_is_not_shown() {
        let part = "eyJhbGciOiJFUzI1NiJ9";
        let token = HeaderValue::from_str(&format!("Bearer {part}.{part}.{part}")).unwrap();
        let mut sensitive = HeaderValue::from_static("acme");
        sensitive.set_sensitive(true);
        let tenant = CustomTag::header("tenant", "x-tenant", "nobody").unwrap();
        for value in [token, sensitive, HeaderValue::from_bytes(b"\xff").unwrap()] {
            assert_eq!(shown(&tenant, &[("x-tenant", value)]), None);
        }
        let referrer = HeaderValue::from_static("https://a.example/b?access_token=x&c=1");
        let referrer = shown(&tenant, &[("x-tenant", referrer)]);
        assert_eq!(referrer.as_deref(), Some("https://a.example/b?c=1"));
        for header in [
            "Authorization",
            "proxy-authorization",
            "Cookie",
            "set-cookie",
        ] {
            let error = CustomTag::header("t", header, "").unwrap_err();
            assert!(error.to_string().contains("holds a secret"), "{error}");
        }
    }

    #[test]
    fn what_can_be_no_tag_is_an_error_that_names_it() {
        for (made, expected) in [
            (CustomTag::literal("", "x"), "a tag has no name"),
            (CustomTag::header("", "x", ""), "a tag has no name"),
            (
                CustomTag::header("t", "a b", ""),
                "the tag `t` names no header: \"a b\"",
            ),
            (
                CustomTag::environment("t", "", ""),
                "the tag `t` names no variable of the environment: \"\"",
            ),
        ] {
            assert_eq!(made.unwrap_err().to_string(), expected);
        }
    }
}
