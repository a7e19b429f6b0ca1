//! Removes the headers that a `Connection` header names: they are for one hop, which ends at this
//! server.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::Refusal;

/// Removes the headers that `connection` names (RFC 9110 §7.6.1), before any guard reads them. A
/// proxy behind the guards that removed them later would change what the guards have judged or set
/// (rule H-17).
///
/// Headers that frame the body stay, as the server has read them already; `te` has rules of its
/// own. A gate alone `keeps_client_cert`: behind it may be a mesh that learns its caller from
/// `x-forwarded-client-cert`, and a caller that could have it removed would lose its identity.
///
/// # Errors
///
/// When the header names `host`, one of the `x-forwarded-*` headers of the caller or a
/// pseudo-header, or has more elements than Envoy accepts.
pub(super) fn take_off_named(
    headers: &mut HeaderMap,
    keeps_client_cert: bool,
) -> Result<(), Refusal> {
    let (mut named, mut options) = (Vec::new(), Vec::new());
    let lines = headers.get_all(header::CONNECTION).iter();
    let elements = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let elements = elements.map(<[u8]>::trim_ascii);
    for (index, element) in elements.filter(|element| !element.is_empty()).enumerate() {
        let name = HeaderName::from_bytes(element).ok();
        let is_taboo = name.as_ref().is_some_and(|name| TABOO.contains(name));
        if is_taboo || element.starts_with(b":") || index >= MOST {
            return Err(Refusal::ConnectionHeader);
        }
        let Some(name) = name else { continue };
        match name == CLIENT_CERT && keeps_client_cert || KEPT.contains(&name) {
            true => options.push(name),
            false => named.push(name),
        }
    }
    if named.is_empty() {
        return Ok(());
    }
    for name in named {
        headers.remove(name);
    }
    // A guard may set one of these headers, and the next hop must not remove it.
    options.retain(|option| *option != CLIENT_CERT);
    let options: Vec<_> = options.iter().map(HeaderName::as_str).collect();
    match HeaderValue::from_str(&options.join(", ")) {
        Ok(left) if !left.is_empty() => drop(headers.insert(header::CONNECTION, left)),
        _ => drop(headers.remove(header::CONNECTION)),
    }
    Ok(())
}

/// The most elements of the header.
const MOST: usize = 9;

/// Headers that identify the caller or name the target: a request that wants them removed is
/// refused.
const TABOO: [HeaderName; 4] = [
    header::HOST,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
];

/// Options of the connection, and headers that are handled elsewhere.
const KEPT: [HeaderName; 8] = [
    HeaderName::from_static("close"),
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

const CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
