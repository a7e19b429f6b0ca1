//! Decides what the application sees of `x-forwarded-client-cert`.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::forwarded_client_cert::{ForwardedClientCertError, LONGEST, MOST, read};
use super::strip;
use crate::matcher::header;

/// What becomes of the `x-forwarded-client-cert` of a request: Envoy's modes.
///
/// # Differences from Envoy/Istio
///
/// - The default is [`Sanitize`](Self::Sanitize); an Istio sidecar has
///   [`AppendForward`](Self::AppendForward).
/// - [`AppendForward`](Self::AppendForward) refuses a header that cannot be read. A quote that it
///   leaves open would swallow what is appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ForwardClientCert {
    /// Removes the header.
    #[default]
    Sanitize,
    /// Keeps the header of a caller that has shown a certificate.
    ForwardOnly,
    /// Keeps the header of a caller that has shown a certificate, and appends what that says.
    AppendForward,
    /// Replaces the header by what the caller's certificate says.
    SanitizeSet,
    /// Keeps the header of any caller, also one that may say what it likes.
    AlwaysForwardOnly,
}

impl ForwardClientCert {
    /// The header that the application sees.
    ///
    /// `lines` are those of the request in the order in which they arrived. `own` is what this
    /// server says of its caller, an [`Element`](super::forwarded_client_cert::Element) that was
    /// written; `None` for a caller that has shown no certificate.
    ///
    /// # Errors
    /// When a header to which something is appended cannot be read. The request must then be
    /// refused.
    pub fn seen<'l>(
        self,
        lines: impl IntoIterator<Item = &'l [u8]>,
        own: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, ForwardedClientCertError> {
        let lines = lines.into_iter().map(<[u8]>::trim_ascii);
        let incoming = || header::joined(lines).filter(|joined| !joined.is_empty());
        match (self, own) {
            (Self::Sanitize, _) => Ok(None),
            (Self::ForwardOnly | Self::AppendForward | Self::SanitizeSet, None) => Ok(None),
            (Self::SanitizeSet, Some(own)) => Ok(Some(own.clone())),
            (Self::ForwardOnly, Some(_)) | (Self::AlwaysForwardOnly, _) => {
                incoming().map(|joined| to_value(&joined)).transpose()
            }
            (Self::AppendForward, Some(own)) => {
                let value = match incoming() {
                    Some(incoming) => append(&incoming, own)?,
                    None => own.clone(),
                };
                Ok(Some(value))
            }
        }
    }

    /// Makes the headers of a request say what [`seen`](Self::seen) returns, and nothing if that is
    /// an error. Headers that are spelled with `_` are removed: some applications take one for the
    /// other.
    ///
    /// # Errors
    /// Those of [`seen`](Self::seen).
    pub fn settle(
        self,
        headers: &mut HeaderMap,
        own: Option<&HeaderValue>,
    ) -> Result<(), ForwardedClientCertError> {
        let lines = headers.get_all(NAME).iter().map(HeaderValue::as_bytes);
        let seen = self.seen(lines, own);
        strip::remove_every_spelling(headers, NAME.as_str());
        if let Some(seen) = seen? {
            headers.insert(NAME, seen);
        }
        Ok(())
    }
}

/// The callers before, and then the caller: no more than the next server reads.
fn append(incoming: &[u8], own: &HeaderValue) -> Result<HeaderValue, ForwardedClientCertError> {
    if read([incoming])?.len() == MOST {
        return Err(ForwardedClientCertError::TooMany);
    }
    let joined = [incoming, own.as_bytes()].join(&b',');
    if joined.len() > LONGEST {
        return Err(ForwardedClientCertError::TooLong);
    }
    to_value(&joined)
}

fn to_value(joined: &[u8]) -> Result<HeaderValue, ForwardedClientCertError> {
    HeaderValue::from_bytes(joined).map_err(|_| ForwardedClientCertError::NotText)
}

const NAME: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

#[cfg(test)]
mod tests {
    use super::ForwardClientCert::{
        AlwaysForwardOnly, AppendForward, ForwardOnly, Sanitize, SanitizeSet,
    };
    use super::*;

    fn own() -> HeaderValue {
        HeaderValue::from_static(OWN)
    }

    const OWN: &str = r#"Subject="";URI=spiffe://td/a"#;
    const BOTH: &str = r#"URI=b,By=c;URI=d,Subject="";URI=spiffe://td/a"#;
    const INCOMING: &str = "URI=b,By=c;URI=d";

    fn settled(
        mode: ForwardClientCert,
        lines: &[&str],
        own: Option<&HeaderValue>,
    ) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(NAME, HeaderValue::from_str(line).unwrap());
        }
        headers.append("x_forwarded_client-cert", HeaderValue::from_static("URI=e"));
        headers.append("x-role", HeaderValue::from_static("kept"));
        mode.settle(&mut headers, own).unwrap();
        assert_eq!(headers.remove("x-role").unwrap(), "kept");
        let seen = headers.remove(NAME);
        assert!(headers.is_empty(), "{headers:?}");
        seen.map(|seen| seen.to_str().unwrap().to_owned())
    }

    /// Each mode with: a certificate and a header, a certificate alone, a header alone.
    fn holds(mode: ForwardClientCert, cells: [Option<&str>; 3]) {
        let own = own();
        let lines = ["URI=b", "", "By=c;URI=d"];
        let [both, certificate, header] = cells;
        for (lines, own, expected) in [
            (&lines[..], Some(&own), both),
            (&[], Some(&own), certificate),
            (&[""], Some(&own), certificate),
            (&lines, None, header),
            (&[], None, None),
        ] {
            let found = settled(mode, lines, own);
            assert_eq!(found.as_deref(), expected, "{mode:?} {lines:?} {own:?}");
        }
    }

    /// H-01.
    #[test]
    fn sanitize_shows_nothing() {
        assert_eq!(ForwardClientCert::default(), Sanitize);
        holds(Sanitize, [None, None, None]);
    }

    /// H-02.
    #[test]
    fn forward_only_needs_a_certificate() {
        holds(ForwardOnly, [Some(INCOMING), None, None]);
    }

    /// H-03.
    #[test]
    fn append_forward_adds_the_caller() {
        holds(AppendForward, [Some(BOTH), Some(OWN), None]);
    }

    /// H-03: nothing that the caller sends swallows or splits what is appended.
    #[test]
    fn append_forward_refuses_what_cannot_be_read() {
        let many = vec!["URI=a"; MOST].join(",");
        let long = format!("URI={}", "a".repeat(LONGEST - OWN.len() - 4));
        for bad in [r#"URI="a"#, "a", "URI=a;", &many, &long] {
            let mut headers = HeaderMap::new();
            headers.append(NAME, HeaderValue::from_str(bad).unwrap());
            let refused = AppendForward.settle(&mut headers, Some(&own()));
            assert!(refused.is_err(), "{bad}");
            assert!(headers.is_empty(), "{bad}");
        }
        let shorter = long.trim_end_matches("a").to_owned() + &"a".repeat(LONGEST - OWN.len() - 5);
        for good in [&many[6..], &shorter] {
            let seen = AppendForward.seen([good.as_bytes()], Some(&own()));
            assert_eq!(seen.unwrap().unwrap(), format!("{good},{OWN}"));
        }
    }

    /// H-04.
    #[test]
    fn sanitize_set_shows_the_caller_alone() {
        holds(SanitizeSet, [Some(OWN), Some(OWN), None]);
    }

    /// H-05.
    #[test]
    fn always_forward_only_believes_anybody() {
        holds(AlwaysForwardOnly, [Some(INCOMING), None, Some(INCOMING)]);
    }
}
