//! What the gate reads in the headers, in one scan.

use http::HeaderMap;
use http::header::HeaderValue;

use super::{Gate, Refusal, strip};
use crate::matcher::{authority, header};

/// What one scan of the headers finds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    /// The length of all names and values.
    bytes: usize,
    hosts: u32,
    /// Whether the last `Host` is a plain [name](authority::is_name).
    is_host_plain: bool,
    pub(super) has_connection: bool,
    encodings: u32,
    /// Whether a `transfer-encoding` is something else than `chunked`.
    is_otherwise_encoded: bool,
    overrides: bool,
    /// Whether a name may be one of Envoy's own, in some spelling.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "only the mesh removes them all")
    )]
    pub(super) may_be_envoys: bool,
    /// Whether a value has whitespace around it.
    pub(super) is_padded: bool,
    /// The [ranks](header::changing_rank) of the headers that Envoy may remove or repair, a bit for
    /// each.
    pub(super) changing: u32,
}

impl Scan {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut scan = Self::default();
        for (name, value) in headers {
            scan.add(name.as_str(), value);
        }
        scan
    }

    fn add(&mut self, name: &str, value: &HeaderValue) {
        self.bytes += name.len() + value.len();
        self.is_padded |= is_padded(value);
        if LENGTHS >> name.len().min(63) & 1 == 1
            || matches!(name.as_bytes(), [b'x', b'-' | b'_', ..])
        {
            self.add_known(name, value);
        }
    }

    /// Adds a header that the gate may know by its name.
    fn add_known(&mut self, name: &str, value: &HeaderValue) {
        self.may_be_envoys |= strip::may_be_envoys(name);
        if let Some(rank) = header::changing_rank(name) {
            self.changing |= 1 << rank;
        }
        match name {
            "host" => {
                self.hosts += 1;
                self.is_host_plain = authority::is_name(value.as_bytes());
            }
            "connection" => self.has_connection = true,
            "transfer-encoding" => {
                self.encodings += 1;
                let encoding = value.as_bytes().trim_ascii();
                self.is_otherwise_encoded |= !encoding.eq_ignore_ascii_case(b"chunked");
            }
            name => self.overrides |= strip::is_override(name),
        }
    }

    /// Whether there is one `Host`, a plain name without a port, in which no rule finds a fault.
    pub(super) fn names_plain_host(self) -> bool {
        self.hosts == 1 && self.is_host_plain
    }

    pub(super) fn names_host(self) -> bool {
        self.hosts > 0
    }
}

/// Checks the headers, and removes those that may not pass.
///
/// # Errors
///
/// Too many headers, too large ones, several hosts, or a transfer encoding that is not `chunked`.
pub(super) fn check(
    gate: Gate,
    scan: Scan,
    pseudo_headers: usize,
    headers: &mut HeaderMap,
) -> Result<(), Refusal> {
    if headers.len() + pseudo_headers > MOST {
        return Err(Refusal::TooManyHeaders);
    }
    if scan.bytes > MOST_BYTES {
        return Err(Refusal::HeadersTooLarge);
    }
    if scan.is_otherwise_encoded || scan.encodings > 1 {
        return Err(Refusal::TransferEncoding);
    }
    if scan.hosts > 1 {
        return Err(Refusal::SeveralHosts);
    }
    if scan.overrides && gate.is_strict() {
        strip::overrides(headers);
    }
    Ok(())
}

/// Whether a value has whitespace around it, which HTTP/2 lets through.
pub(super) fn is_padded(value: &HeaderValue) -> bool {
    // Of blanks and what sorts before them, values hold only spaces and tabs.
    match value.as_bytes() {
        [first, .., last] => *first <= b' ' || *last <= b' ',
        [only] => *only <= b' ',
        [] => false,
    }
}

/// A bit for each length of a name that the gate knows, if the name does not begin with `x-` or
/// `x_`. Most headers of most requests are skipped by it.
const LENGTHS: u64 = header::LENGTHS_OF_ONE_HOP | 1 << "host".len();

/// The largest number of headers, as Envoy has it.
const MOST: usize = 100;

/// The most bytes that the names and values of headers may have together: Envoy's bound.
const MOST_BYTES: usize = 60 * 1024;
