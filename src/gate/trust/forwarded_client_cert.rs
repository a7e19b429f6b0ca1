//! Reads and writes `x-forwarded-client-cert`, in which each proxy on the way says who called it.
//!
//! What the header says is hearsay: it never becomes the [`Peer`](crate::context::Peer).
//!
//! # Differences from Envoy/Istio
//!
//! - Envoy writes names from a certificate as they are, so that a certificate whose name holds `,`
//!   or `;` can forge elements. The writer quotes such names.
//! - Envoy writes the subject and the DNS names of a certificate if it is configured to. This crate
//!   writes an empty subject and no DNS names, because only the SPIFFE id is vouched for; Istio's
//!   certificates have neither.
//! - Envoy passes on any text. The reader refuses the whole header for one bad element.
//!
//! # Example
//! ```
//! use tower_mesh::gate::forwarded_client_cert::{Element, read};
//!
//! let mut element = Element::default();
//! element.subject = Some(String::new());
//! element.uris.push("spiffe://td/a,By=evil".to_owned());
//!
//! let value = element.write()?;
//! assert_eq!(value, r#"Subject="";URI="spiffe://td/a,By=evil""#);
//! assert_eq!(read([value.as_bytes()])?, [element]);
//! # Ok::<(), tower_mesh::gate::forwarded_client_cert::ForwardedClientCertError>(())
//! ```

use std::fmt::{self, Write};

use http::HeaderValue;

use crate::context::Peer;
use crate::matcher::header;

/// What one proxy says of the certificate of its caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Element {
    /// `By`: URIs in the certificate of the proxy itself.
    pub by: Vec<String>,
    /// `Hash`: SHA-256 of the caller's certificate (DER).
    pub hash: Option<[u8; 32]>,
    /// `Subject`: the caller's subject as RFC 2253 writes it. A certificate without a subject has
    /// an empty one.
    pub subject: Option<String>,
    /// `URI`: URIs in the caller's certificate.
    pub uris: Vec<String>,
    /// `DNS`: DNS names in the caller's certificate.
    pub dns: Vec<String>,
}

/// Reads the lines of the header, in the order in which they arrived, as one list. The last element
/// is the one that the nearest proxy wrote.
///
/// Keys may have any case; those that [`Element`] does not have are skipped, and so are an empty
/// `By`, `URI` and `DNS`. In quotes, `\"` and `\\` stand for `"` and `\`; any other `\` stays, as it
/// belongs to the subject.
///
/// # Errors
/// When one element is not well formed, says `Hash` or `Subject` twice, or holds control
/// characters; when there are more than 64 elements or 16 KiB. Nothing is returned of such a
/// header.
pub fn read<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Element>, ForwardedClientCertError> {
    let lines = lines.into_iter().map(<[u8]>::trim_ascii);
    let joined = header::joined(lines).unwrap_or_default();
    if joined.len() > LONGEST {
        return Err(ForwardedClientCertError::TooLong);
    }
    let text = std::str::from_utf8(&joined).map_err(|_| ForwardedClientCertError::NotText)?;
    let mut elements = Vec::new();
    if text.trim_matches(BLANK).is_empty() {
        return Ok(elements);
    }
    let mut element = Element::default();
    let mut rest = text;
    loop {
        let pair = Pair::read(rest)?;
        element.take(pair.key, pair.value)?;
        if pair.end != Some(';') {
            if elements.len() == MOST {
                return Err(ForwardedClientCertError::TooMany);
            }
            elements.push(std::mem::take(&mut element));
        }
        if pair.end.is_none() {
            return Ok(elements);
        }
        rest = pair.rest;
    }
}

impl Element {
    /// What a server, whose id is `by`, says of its caller: what the handshake has proven. `None`
    /// for a caller that has shown no certificate.
    ///
    /// After a handshake of this crate the subject is empty and there are no DNS names, because
    /// nobody vouches for those of a certificate: see
    /// [`TlsFacts::certificate`](crate::context::TlsFacts::certificate).
    #[must_use]
    pub fn of_caller(by: &str, peer: &Peer) -> Option<Self> {
        let facts = peer.tls_facts()?;
        let certificate = facts.certificate.as_ref()?;
        Some(Self {
            by: vec![by.to_owned()],
            hash: facts.certificate_sha256,
            subject: Some(certificate.subject.clone()),
            uris: certificate.uri_sans.clone(),
            dns: certificate.dns_sans.clone(),
        })
    }

    /// The element as a proxy writes it: `By=..;Hash=..;Subject="..";URI=..;DNS=..`.
    ///
    /// Values that hold `,`, `;`, `=`, `"` or `\`, or begin or end with a blank, are quoted; the
    /// subject always is.
    ///
    /// # Errors
    /// When a value holds control characters, and when the element says nothing or more than fits.
    pub fn write(&self) -> Result<HeaderValue, ForwardedClientCertError> {
        let mut text = String::new();
        push_all(&mut text, "By", &self.by)?;
        if let Some(hash) = &self.hash {
            begin(&mut text, "Hash");
            for byte in hash {
                // Writing to a string does not fail.
                let _ = write!(text, "{byte:02x}");
            }
        }
        if let Some(subject) = &self.subject {
            begin(&mut text, "Subject");
            refuse_controls(subject)?;
            push_quoted(&mut text, subject);
        }
        push_all(&mut text, "URI", &self.uris)?;
        push_all(&mut text, "DNS", &self.dns)?;
        if text.is_empty() {
            return Err(ForwardedClientCertError::Empty);
        }
        if text.len() > LONGEST {
            return Err(ForwardedClientCertError::TooLong);
        }
        HeaderValue::try_from(text).map_err(|_| ForwardedClientCertError::NotText)
    }

    fn take(&mut self, key: &str, value: String) -> Result<(), ForwardedClientCertError> {
        let is = |known: &str| key.eq_ignore_ascii_case(known);
        let was_said = if is("hash") {
            let hash = sha256(&value).ok_or(ForwardedClientCertError::Hash)?;
            self.hash.replace(hash).is_some()
        } else if is("subject") {
            self.subject.replace(value).is_some()
        } else {
            let names = [
                ("by", &mut self.by),
                ("uri", &mut self.uris),
                ("dns", &mut self.dns),
            ];
            let list = names.into_iter().find(|(known, _)| is(known));
            if let Some((_, list)) = list.filter(|_| !value.is_empty()) {
                list.push(value);
            }
            false
        };
        if was_said {
            return Err(ForwardedClientCertError::Repeated);
        }
        Ok(())
    }
}

/// One `key=value` of an element.
struct Pair<'t> {
    key: &'t str,
    value: String,
    /// `;` before another pair, `,` before another element.
    end: Option<char>,
    rest: &'t str,
}

impl<'t> Pair<'t> {
    fn read(text: &'t str) -> Result<Self, ForwardedClientCertError> {
        let malformed = ForwardedClientCertError::Malformed;
        let (key, rest) = text.split_once('=').ok_or(malformed)?;
        let key = key.trim_matches(BLANK);
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if key.is_empty() || !key.bytes().all(is_name) {
            return Err(malformed);
        }
        let rest = rest.trim_start_matches(BLANK);
        let (value, rest) = match rest.strip_prefix('"') {
            Some(rest) => quoted(rest).ok_or(malformed)?,
            None => bare(rest).ok_or(malformed)?,
        };
        refuse_controls(&value)?;
        let mut rest = rest.trim_start_matches(BLANK).chars();
        let end = rest.next();
        match end {
            None | Some(';' | ',') => Ok(Self {
                key,
                value,
                end,
                rest: rest.as_str(),
            }),
            Some(_) => Err(malformed),
        }
    }
}

/// The value up to the closing quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.chars();
    loop {
        match letters.next()? {
            '"' => return Some((value, letters.as_str())),
            '\\' => match letters.next()? {
                escaped @ ('"' | '\\') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            letter => value.push(letter),
        }
    }
}

/// The value up to a separator, and what follows it.
fn bare(text: &str) -> Option<(String, &str)> {
    let end = text.find([';', ',']).unwrap_or(text.len());
    let (value, rest) = text.split_at_checked(end)?;
    (!value.contains('"')).then(|| (value.trim_end_matches(BLANK).to_owned(), rest))
}

fn sha256(digits: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if pairs.len() != hash.len() || !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(hash)
}

fn push_all(
    text: &mut String,
    key: &str,
    values: &[String],
) -> Result<(), ForwardedClientCertError> {
    for value in values.iter().filter(|value| !value.is_empty()) {
        refuse_controls(value)?;
        begin(text, key);
        if value.contains([',', ';', '=', '"', '\\']) || value.trim_matches(BLANK) != value {
            push_quoted(text, value);
        } else {
            text.push_str(value);
        }
    }
    Ok(())
}

fn begin(text: &mut String, key: &str) {
    if !text.is_empty() {
        text.push(';');
    }
    text.push_str(key);
    text.push('=');
}

fn push_quoted(text: &mut String, value: &str) {
    text.push('"');
    for letter in value.chars() {
        if matches!(letter, '"' | '\\') {
            text.push('\\');
        }
        text.push(letter);
    }
    text.push('"');
}

fn refuse_controls(value: &str) -> Result<(), ForwardedClientCertError> {
    if value.chars().any(char::is_control) {
        return Err(ForwardedClientCertError::NotText);
    }
    Ok(())
}

/// Whitespace that may stand around keys, values and separators.
const BLANK: [char; 2] = [' ', '\t'];

/// The most elements that are read.
pub(super) const MOST: usize = 64;

/// The most bytes that are read or written.
pub(super) const LONGEST: usize = 16 * 1024;

/// Why a header was not read or written. It repeats nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardedClientCertError {
    /// More than 16 KiB.
    TooLong,
    /// More than 64 elements.
    TooMany,
    /// Not UTF-8, or with control characters.
    NotText,
    /// Not `key=value`, or a quote that is not closed or stands inside a value.
    Malformed,
    /// `Hash` is not SHA-256 in hexadecimal digits.
    Hash,
    /// An element says `Hash` or `Subject` twice.
    Repeated,
    /// Nothing to write.
    Empty,
}

impl fmt::Display for ForwardedClientCertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "x-forwarded-client-cert is longer than 16 KiB",
            Self::TooMany => "x-forwarded-client-cert has more than 64 elements",
            Self::NotText => "x-forwarded-client-cert is not UTF-8 or has control characters",
            Self::Malformed => "x-forwarded-client-cert is not a list of key=value",
            Self::Hash => "a Hash of x-forwarded-client-cert is not SHA-256 in hexadecimal",
            Self::Repeated => "an element of x-forwarded-client-cert says Hash or Subject twice",
            Self::Empty => "an element of x-forwarded-client-cert says nothing",
        })
    }
}

impl std::error::Error for ForwardedClientCertError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ForwardedClientCertError::{
        Empty, Hash, Malformed, NotText, Repeated, TooLong, TooMany,
    };
    use super::*;

    const A_HASH: &str = "00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff";

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn of_uris(uris: &[&str]) -> Element {
        Element {
            uris: texts(uris),
            ..Element::default()
        }
    }

    /// H-06.
    #[test]
    fn an_element_is_written_as_envoy_writes_it() {
        let mut element = Element {
            by: texts(&["spiffe://td/ns/b/sa/b"]),
            hash: sha256(A_HASH),
            subject: Some(String::new()),
            uris: texts(&["spiffe://td/ns/a/sa/a"]),
            dns: texts(&["a.example", "b.example"]),
        };
        let rest = "URI=spiffe://td/ns/a/sa/a;DNS=a.example;DNS=b.example";
        let start = format!("By=spiffe://td/ns/b/sa/b;Hash={A_HASH}");
        let written = |element: &Element| element.write().unwrap();
        assert_eq!(written(&element), format!("{start};Subject=\"\";{rest}"));
        element.subject = Some(r#"CN=a\, "b",O=c"#.to_owned());
        let subject = r#"Subject="CN=a\\, \"b\",O=c""#;
        assert_eq!(written(&element), format!("{start};{subject};{rest}"));
        element.subject = None;
        assert_eq!(written(&element), format!("{start};{rest}"));
        assert_eq!(Element::default().write(), Err(Empty));
        assert_eq!(of_uris(&[&"a".repeat(LONGEST)]).write(), Err(TooLong));
    }

    /// H-06: lines are one list, in their order.
    #[test]
    fn lines_are_read_as_one_list() {
        let lines: [&[u8]; 4] = [b"URI=a", b"", b"URI=b,URI=c", b" "];
        assert_eq!(
            read(lines),
            Ok(vec![of_uris(&["a"]), of_uris(&["b"]), of_uris(&["c"])])
        );
        for nothing in [&[][..], &[&b""[..]], &[b"", b" \t"]] {
            assert_eq!(read(nothing.iter().copied()), Ok(vec![]));
        }
        // A quote that one line opens and the next one closes is one value.
        let lines: [&[u8]; 2] = [br#"URI="a"#, br#"b""#];
        assert_eq!(read(lines), Ok(vec![of_uris(&["a,b"])]));
    }

    /// H-07: a certificate cannot forge an element.
    #[test]
    fn a_certificate_cannot_forge_an_element() {
        let name = "spiffe://td/a,By=evil;URI=spiffe://td/admin";
        let value = of_uris(&[name]).write().unwrap();
        assert_eq!(value, format!("URI=\"{name}\""));
        assert_eq!(read([value.as_bytes()]), Ok(vec![of_uris(&[name])]));
        // As Envoy writes it, there are two elements.
        let forged = format!("URI={name}");
        assert_eq!(read([forged.as_bytes()]).unwrap().len(), 2);

        let name = r#"a",By="evil\"#;
        let value = of_uris(&[name]).write().unwrap();
        assert_eq!(read([value.as_bytes()]), Ok(vec![of_uris(&[name])]));
        for control in ["a\nb", "a\0", "\x7f", "a\tb", "\u{85}"] {
            assert_eq!(of_uris(&[control]).write(), Err(NotText));
            let element = Element {
                subject: Some(control.to_owned()),
                ..Element::default()
            };
            assert_eq!(element.write(), Err(NotText));
        }
    }

    /// H-08.
    #[test]
    fn an_element_is_read_in_all_its_spellings() {
        for (text, expected) in [
            ("URI=a;uri=b;Uri=c", of_uris(&["a", "b", "c"])),
            ("URI=a=b==", of_uris(&["a=b=="])),
            (r#"URI="a,b;c=d""#, of_uris(&["a,b;c=d"])),
            (r#"URI="a\"b\\c\,d""#, of_uris(&[r#"a"b\c\,d"#])),
            (r"URI=a\", of_uris(&[r"a\"])),
            (" URI = a ;\tURI=\"b\" ", of_uris(&["a", "b"])),
            (
                r#"Cert="-----BEGIN%20";Chain=x;URI=a;new_key-1=;Cert=y"#,
                of_uris(&["a"]),
            ),
            ("By=;URI=;DNS=\"\"", Element::default()),
            ("URI=ä", of_uris(&["ä"])),
            (
                "DNS=a;dns=b;BY=c;By=d;subject=",
                Element {
                    by: texts(&["c", "d"]),
                    dns: texts(&["a", "b"]),
                    subject: Some(String::new()),
                    ..Element::default()
                },
            ),
        ] {
            assert_eq!(read([text.as_bytes()]), Ok(vec![expected]), "{text}");
        }
        let upper = format!("hash={}", A_HASH.to_uppercase());
        assert_eq!(read([upper.as_bytes()]).unwrap()[0].hash, sha256(A_HASH));
    }

    /// H-08: one bad element refuses the whole header.
    #[test]
    fn one_bad_element_refuses_the_header() {
        let two_hashes = format!("Hash={A_HASH};Hash={A_HASH}");
        let short = format!("Hash={}", &A_HASH[1..]);
        let long = format!("Hash={A_HASH}0");
        for (bad, reason) in [
            ("a", Malformed),
            ("=a", Malformed),
            ("U RI=a", Malformed),
            ("URI=a;", Malformed),
            ("URI=a;;URI=b", Malformed),
            ("URI=a,,URI=b", Malformed),
            (r#"URI="a"#, Malformed),
            (r#"URI="a\"#, Malformed),
            (r#"URI="a\""#, Malformed),
            (r#"URI="a"b"#, Malformed),
            (r#"URI=a"b""#, Malformed),
            (r#""URI"=a"#, Malformed),
            ("URI=a\tb", NotText),
            ("other=\"a\tb\"", NotText),
            ("Hash=", Hash),
            ("Hash=zz", Hash),
            (&short, Hash),
            (&long, Hash),
            (&two_hashes, Repeated),
            ("Subject=a;subject=a", Repeated),
        ] {
            for text in [bad.to_owned(), format!("URI=good,{bad}")] {
                assert_eq!(read([text.as_bytes()]), Err(reason), "{text}");
            }
            let behind = [bad.as_bytes(), b"URI=good"];
            assert!(read(behind).is_err(), "{bad}");
        }
        assert_eq!(read([&b"URI=\xff"[..]]), Err(NotText));
        assert_eq!(read([&b","[..]]), Err(Malformed));
    }

    /// H-08: at most 64 elements and 16 KiB.
    #[test]
    fn a_header_is_bounded() {
        let lines = |count| std::iter::repeat_n(&b"URI=a"[..], count);
        assert_eq!(read(lines(MOST)).unwrap().len(), MOST);
        assert_eq!(read(lines(MOST + 1)), Err(TooMany));
        let long = |length: usize| format!("URI={}", "a".repeat(length - 4));
        assert!(read([long(LONGEST).as_bytes()]).is_ok());
        assert_eq!(read([long(LONGEST + 1).as_bytes()]), Err(TooLong));
    }

    fn value() -> impl Strategy<Value = String> {
        prop_oneof!["[ab,;=\"\\\\ ]{1,8}", "\\PC{1,8}"]
    }

    prop_compose! {
        fn element()(
            by in proptest::collection::vec(value(), 0..3),
            hash in any::<Option<[u8; 32]>>(),
            subject in proptest::option::of(prop_oneof![Just(String::new()), value()]),
            uris in proptest::collection::vec(value(), 1..3),
            dns in proptest::collection::vec(value(), 0..3),
        ) -> Element {
            Element { by, hash, subject, uris, dns }
        }
    }

    proptest! {
        /// H-08: what is written is read again.
        #[test]
        fn what_is_written_is_read_again(elements in proptest::collection::vec(element(), 0..4)) {
            let written: Vec<_> = elements.iter().map(|element| element.write().unwrap()).collect();
            prop_assert_eq!(read(written.iter().map(HeaderValue::as_bytes)), Ok(elements));
        }

        /// H-08: any text is read or refused, and what is read can be written.
        #[test]
        fn any_text_is_read_or_refused(
            lines in proptest::collection::vec(
                prop_oneof!["((URI|by|x)=(\"[ab,;=\\\\]{0,4}\"|[ab=\"\\\\ ]{0,2})[;,]){0,3}DNS=a", ".{0,20}"],
                0..3,
            ),
        ) {
            if let Ok(elements) = read(lines.iter().map(String::as_bytes)) {
                for element in elements.into_iter().filter(|element| *element != Element::default()) {
                    let written = element.write().unwrap();
                    prop_assert_eq!(read([written.as_bytes()]), Ok(vec![element]));
                }
            }
        }
    }
}
