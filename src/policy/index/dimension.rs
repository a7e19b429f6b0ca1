use std::net::IpAddr;

use serde_json::Value;

use super::view::View;
use crate::matcher::Cidr;

/// A side of a request under which rules are posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dimension {
    /// In lower case: hosts are compared without case, and a hint may be wider than the test.
    Authority,
    /// A top-level or nested claim, and each element of a list of them.
    Claim(Vec<String>),
    DirectIp,
    Header(String),
    Method,
    Path,
    Peer,
    Port,
    RemoteIp,
    Sni,
    UrlPath,
}

/// How a posted text relates to the request's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum KeyKind {
    Exact,
    Prefix,
    Suffix,
    /// `/ns/X` or `/sa/X` as whole path segments somewhere in a peer's name.
    Marker,
    /// A range of addresses, as [`range_text`] writes it.
    Range,
}

impl Dimension {
    /// Calls `visit` with each text the request has here.
    pub(super) fn each_text(&self, view: &View<'_>, mut visit: impl FnMut(&[u8])) {
        let one = match self {
            Self::Authority => return folded(view.authority(), visit),
            Self::Method => view.method,
            Self::Path => view.path,
            Self::Sni => Some(view.sni),
            Self::UrlPath => view.url_path,
            Self::Peer => {
                view.any_peer_name(|name| {
                    visit(name);
                    false
                });
                None
            }
            Self::Header(name) => {
                view.request.any_header(name, &mut |value| {
                    visit(value);
                    false
                });
                None
            }
            Self::Claim(path) => {
                each_claim(view, path, &mut visit);
                None
            }
            Self::Port => {
                if let Some(port) = view.request.destination_port() {
                    visit(&port.to_be_bytes());
                }
                None
            }
            // Addresses are looked up by range, not by text.
            Self::DirectIp | Self::RemoteIp => None,
        };
        if let Some(text) = one {
            visit(text);
        }
    }

    /// The address the request has here.
    pub(super) fn address(&self, view: &View<'_>) -> Option<IpAddr> {
        match self {
            Self::DirectIp => view.request.direct_remote_ip(),
            Self::RemoteIp => view.request.remote_ip(),
            _ => None,
        }
    }
}

/// Calls `visit` with the text in lower case.
fn folded(text: Option<&[u8]>, mut visit: impl FnMut(&[u8])) {
    let Some(text) = text else { return };
    // Without a way out of the loop the compiler looks at many bytes at once.
    let upper = |found, byte: &u8| found | byte.is_ascii_uppercase();
    if !text.iter().fold(false, upper) {
        return visit(text);
    }
    let mut buffer = [0; 256];
    match buffer.get_mut(..text.len()) {
        Some(copy) => {
            copy.copy_from_slice(text);
            copy.make_ascii_lowercase();
            visit(copy);
        }
        None => visit(&text.to_ascii_lowercase()),
    }
}

fn each_claim(view: &View<'_>, path: &[String], visit: &mut dyn FnMut(&[u8])) {
    let Some((last, inner)) = path.split_last() else {
        return;
    };
    let mut object = view.request.claims();
    for key in inner {
        object = object.and_then(|object| object.get(key)?.as_object());
    }
    match object.and_then(|object| object.get(last)) {
        Some(Value::String(text)) => visit(text.as_bytes()),
        Some(Value::Array(items)) => {
            for text in items.iter().filter_map(Value::as_str) {
                visit(text.as_bytes());
            }
        }
        _ => {}
    }
}

/// Calls `visit` with each `/ns/X` and `/sa/X` of a peer's name.
pub(super) fn each_marker(name: &[u8], visit: &mut dyn FnMut(&[u8])) {
    let mut rest = name;
    while let Some(at) = rest.iter().position(|byte| *byte == b'/') {
        let from = rest.get(at..).unwrap_or_default();
        let account = || from.strip_prefix(b"/sa/");
        if let Some(value) = from.strip_prefix(b"/ns/").or_else(account) {
            let end = value.iter().position(|byte| *byte == b'/');
            let length = end.unwrap_or(value.len());
            visit(from.get(..MARKER + length).unwrap_or_default());
        }
        rest = from.get(1..).unwrap_or_default();
    }
}

/// A range as a text: family and length, then the address.
pub(super) fn range_text(range: &Cidr) -> [u8; 18] {
    let mut text = [0; 18];
    let octets = match range.address() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    let head = [u8::from(range.address().is_ipv4()), range.prefix()];
    for (slot, byte) in text.iter_mut().zip(head.iter().chain(&octets)) {
        *slot = *byte;
    }
    text
}

/// Bytes of `/ns/`.
pub(super) const MARKER: usize = 4;
