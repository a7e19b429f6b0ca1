//! What the gate reads in the headers, in one scan.

use http::HeaderMap;

use super::{Gate, Refusal};

/// Checks the headers, and removes those that may not pass.
///
/// # Errors
///
/// Too many headers, too large ones, several hosts, or a transfer encoding that is not `chunked`.
pub(super) fn check(gate: Gate, headers: &mut HeaderMap) -> Result<(), Refusal> {
    if headers.len() > MOST {
        return Err(Refusal::TooManyHeaders);
    }
    let (mut bytes, mut hosts, mut encodings, mut overrides) = (0, 0, 0, false);
    for (name, value) in headers.iter() {
        let name = name.as_str();
        bytes += name.len() + value.len();
        match name {
            "host" => hosts += 1,
            "transfer-encoding" => {
                encodings += 1;
                let encoding = value.as_bytes().trim_ascii();
                if !encoding.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::TransferEncoding);
                }
            }
            name => overrides |= name.starts_with("x-") && OVERRIDES.contains(&name),
        }
    }
    if bytes > MOST_BYTES {
        return Err(Refusal::HeadersTooLarge);
    }
    if hosts > 1 {
        return Err(Refusal::SeveralHosts);
    }
    if encodings > 1 {
        return Err(Refusal::TransferEncoding);
    }
    if overrides && gate.is_strict() {
        for name in OVERRIDES {
            headers.remove(name);
        }
    }
    Ok(())
}

/// The largest number of headers.
const MOST: usize = 100;

/// The most bytes that the names and values of headers may have together.
const MOST_BYTES: usize = 64 * 1024;

/// Headers by which frameworks take another method or path than the one that was judged (rule
/// B-37).
const OVERRIDES: [&str; 5] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];
