//! The attributes that a rule can read.

/// An attribute of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    /// A text.
    Text(Text),
    /// The lines of a header, by its name in lower case, joined with `,`.
    Header(Box<str>),
    /// `destination.port`.
    DestinationPort,
    /// `connection.mtls`.
    Mtls,
    /// `auth.audiences`.
    Audiences,
    /// The claims, or what is at this path in them.
    Claims(Box<[Box<str>]>),
}

/// An attribute that is a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Method,
    Path,
    UrlPath,
    Query,
    Host,
    Scheme,
    SourceIp,
    SourcePrincipal,
    SourceNamespace,
    SourceServiceAccount,
    SourceTrustDomain,
    RemoteIp,
    DestinationIp,
    DestinationAddress,
    Sni,
    UriSan,
    DnsSan,
    Subject,
    RequestPrincipal,
    Presenter,
}

/// The type of an attribute, as far as it is known before a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Null,
    Bool,
    Int,
    UInt,
    Double,
    Text,
    Bytes,
    List,
    Map,
    /// Nanoseconds.
    Duration,
    /// Nanoseconds since 1970.
    Timestamp,
    /// Known only with a request.
    Any,
}

impl Attribute {
    pub(super) fn value_type(&self) -> Type {
        match self {
            Self::Text(_) | Self::Header(_) => Type::Text,
            Self::DestinationPort => Type::Int,
            Self::Mtls => Type::Bool,
            Self::Audiences => Type::List,
            Self::Claims(path) if path.is_empty() => Type::Map,
            Self::Claims(_) => Type::Any,
        }
    }

    /// Whether the value comes from a token.
    pub(super) fn is_claim(&self) -> bool {
        match self {
            Self::Text(text) => matches!(text, Text::RequestPrincipal | Text::Presenter),
            Self::Audiences | Self::Claims(_) => true,
            Self::Header(_) | Self::DestinationPort | Self::Mtls => false,
        }
    }
}
