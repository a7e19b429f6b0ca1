//! Normalizes the path of a request target before policy judges it.

use std::borrow::Cow;
use std::fmt;

use super::ascii::AsciiSet;
use super::authority;

/// How far paths are normalized (MeshConfig's `pathNormalization.normalization`; Istio's `DEFAULT`
/// is [`Base`](Self::Base)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Normalization {
    /// Not at all; a `#` is still refused.
    None,
    /// RFC 3986: removes dot segments, decodes unreserved escapes, and turns `\` into `/`.
    #[default]
    Base,
    /// As `Base`, and merges runs of `/`.
    MergeSlashes,
    /// As `MergeSlashes`, after decoding `%2F` and `%5C`.
    DecodeAndMergeSlashes,
}

/// Why a request target is answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathRefusal {
    /// It holds a `#`: two parsers could disagree about where the path ends.
    Fragment,
    /// It holds a byte that request targets may not hold: a control character, a space, or a byte
    /// beyond ASCII.
    IllegalByte,
    /// Its path holds `%00`.
    NulByte,
    /// It does not start with `/`.
    NotAbsolute,
    /// The host, in the target or in `:authority`, is not valid.
    Authority,
}

impl PathRefusal {
    /// Envoy's response code details.
    #[must_use]
    pub fn details(self) -> &'static str {
        match self {
            Self::Fragment | Self::NulByte | Self::NotAbsolute => "path_normalization_failed",
            Self::Authority | Self::IllegalByte => "http1.codec_error",
        }
    }
}

impl fmt::Display for PathRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fragment => "the request target holds a '#'",
            Self::IllegalByte => "the request target holds a byte that no target may",
            Self::NulByte => "the path holds %00",
            Self::NotAbsolute => "the request target does not start with '/'",
            Self::Authority => "the request names no host that could be one",
        })
    }
}

impl std::error::Error for PathRefusal {}

/// Normalizes a request target (path and query, as sent) as the sidecar does. Only the part before
/// `?` changes.
///
/// The result is borrowed, and nothing is allocated, if nothing changes.
///
/// # Errors
/// When Envoy answers 400; see [`PathRefusal`].
pub fn normalize(target: &str, how: Normalization) -> Result<Cow<'_, str>, PathRefusal> {
    if !target.starts_with('/') {
        return Err(PathRefusal::NotAbsolute);
    }
    if is_plain(target, &PLAIN) && !(how.merges() && target.contains("//")) {
        return Ok(Cow::Borrowed(target));
    }
    let mut query_at = target.len();
    for (at, byte) in target.bytes().enumerate() {
        match byte {
            b'?' => query_at = query_at.min(at),
            b'#' => return Err(PathRefusal::Fragment),
            0x21..=0x7e => {}
            _ => return Err(PathRefusal::IllegalByte),
        }
    }
    let (path, query) = target.split_at(query_at);
    if how == Normalization::None || !changes(path.as_bytes(), how) {
        return Ok(Cow::Borrowed(target));
    }
    let mut bytes = Cow::Borrowed(path.as_bytes());
    if how == Normalization::DecodeAndMergeSlashes {
        bytes = decode_slashes(&bytes).into();
    }
    let plain = without_dot_parameters(&bytes);
    let canonical = without_dot_segments(&canonical_bytes(&plain)?);
    let merged = match how {
        Normalization::MergeSlashes | Normalization::DecodeAndMergeSlashes => merge(canonical),
        Normalization::None | Normalization::Base => canonical,
    };
    let mut normalized = String::with_capacity(merged.len() + query.len());
    normalized.extend(merged.into_iter().map(char::from));
    normalized.push_str(query);
    Ok(Cow::Owned(normalized))
}

/// The parts of an absolute request target before its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin<'t> {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// `host[:port]`, which replaces the `Host` header.
    pub host: &'t str,
}

/// Splits an absolute request target (`http://host/path`) into its origin, and its path and query.
/// Any other target is returned unchanged.
///
/// # Errors
/// [`PathRefusal::Authority`] if the host is invalid; see [`authority::of_target`].
pub fn split_absolute(target: &str) -> Result<(Option<Origin<'_>>, &str), PathRefusal> {
    let known = |(scheme, rest): (&str, _)| {
        let mut schemes = ["http", "https"].into_iter();
        let scheme = schemes.find(|known| scheme.eq_ignore_ascii_case(known))?;
        Some((scheme, rest))
    };
    let Some((scheme, rest)) = target.split_once("://").and_then(known) else {
        return Ok((None, target));
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority::of_target(authority).ok_or(PathRefusal::Authority)?;
    let origin = Origin { scheme, host };
    Ok((Some(origin), if path.is_empty() { "/" } else { path }))
}

impl Normalization {
    fn merges(self) -> bool {
        matches!(self, Self::MergeSlashes | Self::DecodeAndMergeSlashes)
    }
}

/// Whether a target (path and query) is legal, [`normalize`] leaves it as it is, and its path has
/// only bytes of [`is_path_byte`] and `;`. It may wrongly be `false`. Most targets are so, and this
/// looks at each byte once.
#[cfg(feature = "gate")]
pub(crate) fn is_settled(target: &str, how: Normalization) -> bool {
    target.starts_with('/')
        && is_plain(target, &SETTLED)
        && !(how.merges() && target.contains("//"))
}

/// Whether a target is legal, and its path has only these bytes.
fn is_plain(target: &str, bytes: &AsciiSet) -> bool {
    let target = target.as_bytes();
    let end = target.iter().position(|byte| !bytes.has(*byte));
    match end.and_then(|end| target.get(end..)) {
        None => true,
        Some([b'?', query @ ..]) => {
            let mut query = query.iter();
            query.all(|byte| byte.is_ascii_graphic() && *byte != b'#')
        }
        Some(_) => false,
    }
}

/// The bytes of a path that [`normalize`] does not change, and that do not change their neighbours,
/// except for a second `/`.
static PLAIN: AsciiSet = {
    let (mut plain, mut byte) = (AsciiSet::EMPTY, 0x21);
    while byte < 0x7f {
        if !matches!(byte, b'#' | b'?' | b'%' | b'\\' | b'.') && !must_escape(byte) {
            plain = plain.with(byte);
        }
        byte += 1;
    }
    plain
};

/// The bytes of [`is_settled`].
#[cfg(feature = "gate")]
static SETTLED: AsciiSet = {
    let (mut settled, mut byte) = (AsciiSet::EMPTY, 0x21);
    while byte < 0x7f {
        if PLAIN.has(byte) && !matches!(byte, b'[' | b']') {
            settled = settled.with(byte);
        }
        byte += 1;
    }
    settled
};

/// Whether a path may have this byte unescaped and without a second look: RFC 3986's `pchar`
/// without `%` and `;`, and `/`.
#[cfg(feature = "gate")]
pub(crate) fn is_path_byte(byte: u8) -> bool {
    PATH_BYTES.has(byte)
}

/// The bytes of [`is_path_byte`].
#[cfg(feature = "gate")]
static PATH_BYTES: AsciiSet = {
    let (mut bytes, mut byte) = (AsciiSet::EMPTY, 0x21);
    while byte < 0x7f {
        let is_special = matches!(byte, b'#' | b'?' | b'%' | b'\\' | b';' | b'[' | b']');
        if !is_special && !must_escape(byte) {
            bytes = bytes.with(byte);
        }
        byte += 1;
    }
    bytes
};

/// Whether normalization may change a path. It is never wrongly `false`.
fn changes(path: &[u8], how: Normalization) -> bool {
    let decodes = how == Normalization::DecodeAndMergeSlashes;
    let merges = how.merges();
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        let changed = match byte {
            b'/' => is_dot_segment(after) || (merges && after.first() == Some(&b'/')),
            b'%' => match escaped(after) {
                Some(b'/' | b'\\') => decodes,
                Some(byte) => byte == 0 || is_unreserved(byte),
                None => false,
            },
            byte => *byte == b'\\' || must_escape(*byte),
        };
        if changed {
            return true;
        }
        rest = after;
    }
    false
}

/// Whether the text starts with `.` or `..` as a whole segment, ignoring parameters.
fn is_dot_segment(text: &[u8]) -> bool {
    let after = text.strip_prefix(b"..").or_else(|| text.strip_prefix(b"."));
    after.is_some_and(|after| matches!(after.first(), None | Some(b'/' | b';' | b'\\')))
}

fn decode_slashes(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        match escaped(after) {
            Some(slash @ (b'/' | b'\\')) if *byte == b'%' => {
                decoded.push(slash);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                decoded.push(*byte);
                rest = after;
            }
        }
    }
    decoded
}

/// Turns `.;x` and `..;x` into `.` and `..`, because some servers remove parameters before they
/// resolve dots. At this point `\` does not end a segment.
fn without_dot_parameters(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(path.len());
    for segment in path.split_inclusive(|byte| *byte == b'/') {
        let name = segment.strip_suffix(b"/").unwrap_or(segment);
        let dots: &[u8] = if name.starts_with(b".;") {
            b"."
        } else if name.starts_with(b"..;") {
            b".."
        } else {
            name
        };
        plain.extend_from_slice(dots);
        plain.extend(segment.get(name.len()..).unwrap_or_default());
    }
    plain
}

/// Turns `\` into `/`, decodes unreserved escapes, and escapes unsafe bytes.
fn canonical_bytes(path: &[u8]) -> Result<Vec<u8>, PathRefusal> {
    let mut canonical = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, mut after)) = rest.split_first() {
        match (byte, escaped(after)) {
            (b'%', Some(0)) => return Err(PathRefusal::NulByte),
            (b'%', Some(decoded)) if is_unreserved(decoded) => {
                canonical.push(decoded);
                after = after.get(2..).unwrap_or_default();
            }
            (b'\\', _) => canonical.push(b'/'),
            (byte, _) if must_escape(*byte) => {
                let hex = |digit: u8| *b"0123456789ABCDEF".get(usize::from(digit)).unwrap_or(&b'0');
                canonical.extend([b'%', hex(byte >> 4), hex(byte & 15)]);
            }
            (byte, _) => canonical.push(*byte),
        }
        rest = after;
    }
    Ok(canonical)
}

/// Resolves `.` and `..`. Empty segments count as segments, and `..` at the root has no effect.
fn without_dot_segments(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut open = false;
    for segment in path.split(|byte| *byte == b'/').skip(1) {
        open = matches!(segment, b"." | b"..");
        match segment {
            b"." => {}
            b".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
    }
    if open {
        kept.push(b"");
    }
    let mut resolved = Vec::with_capacity(path.len());
    for segment in kept {
        resolved.push(b'/');
        resolved.extend_from_slice(segment);
    }
    resolved
}

/// Merges runs of `/`. A path of several slashes and nothing else keeps two: Envoy keeps the first
/// and the last `/`, which are different bytes there.
fn merge(mut path: Vec<u8>) -> Vec<u8> {
    let only_slashes = path.len() > 1 && path.iter().all(|byte| *byte == b'/');
    path.dedup_by(|a, b| *a == b'/' && *b == b'/');
    if only_slashes {
        path.push(b'/');
    }
    path
}

/// The byte that the two hex digits at the start of the text encode.
pub(crate) fn escaped(text: &[u8]) -> Option<u8> {
    let [high, low, ..] = text else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const fn must_escape(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Normalization::{Base, DecodeAndMergeSlashes, MergeSlashes, None as Raw};
    use super::*;

    /// The observed behaviour of Envoy 1.40.
    #[test]
    fn every_mode_does_what_envoy_does() {
        for (input, raw, base, merge, decode) in [
            (
                "/app/%2E./admin",
                "/app/%2E./admin",
                "/admin",
                "/admin",
                "/admin",
            ),
            ("/app//", "/app//", "/app//", "/app/", "/app/"),
            ("/app%2f/", "/app%2f/", "/app%2f/", "/app%2f/", "/app/"),
            (
                "/a/b%2f..%2fc",
                "/a/b%2f..%2fc",
                "/a/b%2f..%2fc",
                "/a/b%2f..%2fc",
                "/a/c",
            ),
            (
                "/app\\admin",
                "/app\\admin",
                "/app/admin",
                "/app/admin",
                "/app/admin",
            ),
            (
                "/a%5c..%5cb",
                "/a%5c..%5cb",
                "/a%5c..%5cb",
                "/a%5c..%5cb",
                "/b",
            ),
            ("/..;/admin", "/..;/admin", "/admin", "/admin", "/admin"),
            (
                "/a/%2e%2e;/b",
                "/a/%2e%2e;/b",
                "/a/..;/b",
                "/a/..;/b",
                "/a/..;/b",
            ),
            ("/%41%7e%2d", "/%41%7e%2d", "/A~-", "/A~-", "/A~-"),
            ("/a%zz", "/a%zz", "/a%zz", "/a%zz", "/a%zz"),
            ("/a%", "/a%", "/a%", "/a%", "/a%"),
            ("/a/..", "/a/..", "/", "/", "/"),
            ("/a/.", "/a/.", "/a/", "/a/", "/a/"),
            ("/../..", "/../..", "/", "/", "/"),
            ("/app//../x", "/app//../x", "/app/x", "/app/x", "/app/x"),
            (
                "/a\"<>^`{|}[]",
                "/a\"<>^`{|}[]",
                "/a%22%3C%3E%5E%60%7B%7C%7D[]",
                "/a%22%3C%3E%5E%60%7B%7C%7D[]",
                "/a%22%3C%3E%5E%60%7B%7C%7D[]",
            ),
            (
                "/x/%252e%252e/admin",
                "/x/%252e%252e/admin",
                "/x/%252e%252e/admin",
                "/x/%252e%252e/admin",
                "/x/%252e%252e/admin",
            ),
            (
                "/a/../b?x=/../y",
                "/a/../b?x=/../y",
                "/b?x=/../y",
                "/b?x=/../y",
                "/b?x=/../y",
            ),
            ("/.;x/a", "/.;x/a", "/a", "/a", "/a"),
            ("/...", "/...", "/...", "/...", "/..."),
            ("//", "//", "//", "//", "//"),
            ("///", "///", "///", "//", "//"),
            ("///.;a", "///.;a", "///", "//", "//"),
            ("/%5c?x", "/%5c?x", "/%5c?x", "/%5c?x", "//?x"),
            ("/\\..;x", "/\\..;x", "//..;x", "/..;x", "/..;x"),
            ("/b/..;x\\=/a", "/b/..;x\\=/a", "/a", "/a", "/a"),
            ("/a\\..;/b", "/a\\..;/b", "/a/..;/b", "/a/..;/b", "/a/..;/b"),
            ("/%2f..;/a", "/%2f..;/a", "/%2f..;/a", "/%2f..;/a", "/a"),
        ] {
            for (how, expected) in [
                (Raw, raw),
                (Base, base),
                (MergeSlashes, merge),
                (DecodeAndMergeSlashes, decode),
            ] {
                assert_eq!(
                    normalize(input, how).as_deref(),
                    Ok(expected),
                    "{input} {how:?}"
                );
            }
        }
    }

    /// B-27, B-28, B-64, and the bytes that the `http` crate lets through.
    #[test]
    fn refuses_what_envoy_refuses() {
        for how in [Raw, Base, MergeSlashes, DecodeAndMergeSlashes] {
            for (input, why) in [
                ("/a#f", PathRefusal::Fragment),
                ("/a?b#f", PathRefusal::Fragment),
                ("\\admin", PathRefusal::NotAbsolute),
                ("*", PathRefusal::NotAbsolute),
                ("", PathRefusal::NotAbsolute),
                ("/é", PathRefusal::IllegalByte),
                ("/a b", PathRefusal::IllegalByte),
                ("/a\t", PathRefusal::IllegalByte),
                ("/a\x7f", PathRefusal::IllegalByte),
                ("/a\0", PathRefusal::IllegalByte),
            ] {
                assert_eq!(normalize(input, how), Err(why), "{input:?} {how:?}");
            }
            let nul = normalize("/admin%00", how);
            assert_eq!(nul.is_ok(), how == Raw, "{how:?}");
        }
    }

    #[test]
    fn borrows_when_nothing_changes() {
        for (target, how) in [
            ("/a/b%20c/.x/..y?q=%41/../", DecodeAndMergeSlashes),
            ("/a//b%2f", Base),
            ("/a//b", Raw),
        ] {
            assert!(
                matches!(normalize(target, how), Ok(Cow::Borrowed(_))),
                "{target}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_target_is_refused_or_absolute_and_printable(target in prop_oneof![".{0,20}", "[/.;%a?\\\\{}\"]{0,20}"]) {
            let Ok((_, target)) = split_absolute(&target) else { return Ok(()) };
            for how in [Raw, Base, MergeSlashes, DecodeAndMergeSlashes] {
                let Ok(normal) = normalize(target, how) else { continue };
                prop_assert!(normal.starts_with('/'), "{} {:?} {}", target, how, normal);
                prop_assert!(normal.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(normal.len() <= 3 * target.len());
            }
        }

        /// Normalizing twice changes nothing more. The generated paths avoid the inputs for which a
        /// second run of Envoy, and of this code, does change something: `%2e%2e;` is a dot segment
        /// only after decoding, and a lone `%` can end up before escaped digits.
        #[test]
        fn what_is_normal_stays_as_it_is(target in "/([a-c./\\\\?<]|%2[eEfF]|%5[cC]|%41|%25a){0,14}", how in prop::sample::select(vec![Raw, Base, MergeSlashes, DecodeAndMergeSlashes])) {
            if let Ok(normal) = normalize(&target, how) {
                let again = normalize(&normal, how);
                prop_assert_eq!(again.as_deref(), Ok(&*normal));
            }
        }

        /// The check that skips normalization never hides a change.
        #[test]
        fn the_short_cut_hides_nothing(target in "/[a.;/%2eEfF5cC\\\\<?]{0,14}", how in prop::sample::select(vec![Base, MergeSlashes, DecodeAndMergeSlashes])) {
            if let Ok(Cow::Borrowed(same)) = normalize(&target, how) {
                let path = same.split('?').next().unwrap();
                let decoded = if how == DecodeAndMergeSlashes { decode_slashes(path.as_bytes()) } else { path.into() };
                let mut slow = without_dot_segments(&canonical_bytes(&without_dot_parameters(&decoded)).unwrap());
                if how != Base { slow = merge(slow); }
                prop_assert_eq!(slow, path.as_bytes());
            }
        }
    }
}
