//! Just enough of HTTP/2 to send what no client sends, and to read the status that comes back.

use super::message::Field;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The longest frame that every server takes (RFC 9113 §4.2).
const LONGEST: usize = 16 * 1024;

/// A connection with one request, on stream 1.
pub(crate) fn connection(fields: &[Field], body: &[u8]) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut bytes, SETTINGS, 0, 0, &[]);
    let mut block = Vec::new();
    for (name, value) in fields {
        // A literal without indexing and with a new name (RFC 7541 §6.2.2).
        block.push(0);
        string(&mut block, name);
        string(&mut block, value);
    }
    let ends = if body.is_empty() { END_STREAM } else { 0 };
    let mut pieces = block.chunks(LONGEST).peekable();
    let mut kind = HEADERS;
    // A request without any field has an empty block.
    let mut piece = pieces.next().unwrap_or_default();
    loop {
        let last = if pieces.peek().is_none() {
            END_HEADERS
        } else {
            0
        };
        let flags = if kind == HEADERS { ends | last } else { last };
        frame(&mut bytes, kind, flags, 1, piece);
        kind = CONTINUATION;
        match pieces.next() {
            Some(next) => piece = next,
            None => break,
        }
    }
    if !body.is_empty() {
        frame(&mut bytes, DATA, END_STREAM, 1, body);
    }
    bytes
}

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a short frame");
    bytes.extend_from_slice(&length.to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

/// A string without Huffman's code (RFC 7541 §5.2).
fn string(block: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        short @ 0..127 => block.push(u8::try_from(short).expect("below 127")),
        long => {
            block.push(127);
            let mut rest = long - 127;
            while rest >= 128 {
                block.push(u8::try_from(rest % 128).expect("below 128") | 128);
                rest /= 128;
            }
            block.push(u8::try_from(rest).expect("below 128"));
        }
    }
    block.extend_from_slice(text);
}

/// What a server has answered on stream 1 so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// More frames must come.
    Open,
    /// The stream has ended with this status.
    Status(u16),
    /// The stream was reset, or the connection ended, before any status.
    Refused,
}

/// Reads a server's frames. An incomplete last frame is left out.
pub(crate) fn reply(mut bytes: &[u8]) -> Reply {
    let mut status = None;
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let Some((payload, after)) = rest.split_at_checked(length) else {
            break;
        };
        bytes = after;
        let (kind, flags) = (head[3], head[4]);
        if kind == GOAWAY || (kind == RST_STREAM && stream == 1) {
            return status.map_or(Reply::Refused, Reply::Status);
        }
        if stream != 1 || !matches!(kind, DATA | HEADERS) {
            continue;
        }
        if kind == HEADERS && status.is_none() {
            // An interim response (RFC 9113 §8.1) is followed by the final one.
            status = Some(status_of(payload)).filter(|status| *status >= 200);
        }
        if flags & END_STREAM != 0 {
            return status.map_or(Reply::Refused, Reply::Status);
        }
    }
    Reply::Open
}

/// The `:status`, which is a block's first field.
fn status_of(mut block: &[u8]) -> u16 {
    // Updates of the dynamic table's size come first (RFC 7541 §4.2).
    while let [first, rest @ ..] = block
        && first >> 5 == 1
    {
        block = match first & 31 {
            31 => {
                let last = rest.iter().position(|byte| *byte < 128).expect("an end");
                &rest[last + 1..]
            }
            _ => rest,
        };
    }
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block {
        [first, ..] if first >> 7 == 1 => INDEXED[usize::from(first & 127) - 8],
        // A literal whose name is that of the entry 8, 9 .. of the static table.
        [_, length, value @ ..] => {
            let value = &value[..usize::from(length & 127)];
            let digits = match length >> 7 {
                1 => huffman_digits(value),
                _ => value.iter().map(|byte| byte - b'0').collect(),
            };
            let add = |number: u16, digit: u8| number * 10 + u16::from(digit);
            digits.into_iter().fold(0, add)
        }
        _ => panic!("a block without a status: {block:?}"),
    }
}

/// Digits in Huffman's code (RFC 7541, appendix B): 0, 1 and 2 have five bits, the others six.
fn huffman_digits(bytes: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
        .collect();
    let number = |bits: &[u8]| bits.iter().fold(0, |number, bit| number << 1 | bit);
    let (mut digits, mut rest) = (Vec::new(), &bits[..]);
    while rest.len() >= 5 {
        let (code, length) = match number(&rest[..5]) {
            short @ 0..=2 => (short, 5),
            _ if rest.len() >= 6 => (number(&rest[..6]), 6),
            _ => break,
        };
        digits.push(match (length, code) {
            (5, digit) => digit,
            (_, code @ 0b01_1001..=0b01_1111) => code - 0b01_1001 + 3,
            // The padding.
            _ => break,
        });
        rest = &rest[length..];
    }
    digits
}
