use std::collections::HashSet;
use std::thread;

use crate::propagation::ids::text::Text;
use crate::propagation::ids::{hex, random};

#[test]
fn hex_digits_are_those_and_no_other_bytes() {
    for byte in 0..=u8::MAX {
        let text = [b'1', byte];
        let digit = char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok());
        let expected = digit.map(|digit| [0x10 | digit]);
        assert_eq!(hex::any_case::<1>(&text), expected, "{byte}");
        let is_upper = byte.is_ascii_uppercase();
        assert_eq!(
            hex::lower::<1>(&text),
            expected.filter(|_| !is_upper),
            "{byte}"
        );
    }
    assert_eq!(hex::lower::<1>(b"1"), None);
    assert_eq!(hex::lower::<1>(b"111"), None);
}

#[test]
fn bytes_are_written_as_they_are_read() {
    for byte in 0..=u8::MAX {
        let bytes = [byte, !byte, 0x0f, 0xf0, byte, byte ^ 0x5a];
        let mut text = Text::new();
        text.push_hex(bytes);
        text.push_hex([byte]);
        let text = text.freeze();
        let expected: Vec<_> = bytes
            .iter()
            .chain([&byte])
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(text, expected.concat());
        assert_eq!(hex::lower(&text[..12]), Some(bytes));
        assert_eq!(hex::lower(&text[12..]), Some([byte]));
    }
    let digits = b"0af7651916cd43dd8448eb211c80319c";
    let id: [u8; 16] = hex::lower(digits).unwrap();
    assert_eq!(
        u128::from_be_bytes(id),
        0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c
    );
    for place in 0..32 {
        for bad in [b'g', b'/', b':', b'`', b'@', b' ', 0, 0x80, 0xb0, 0xff] {
            let mut digits = *digits;
            digits[place] = bad;
            assert_eq!(hex::lower::<16>(&digits), None, "{bad} at {place}");
            assert_eq!(hex::any_case::<16>(&digits), None, "{bad} at {place}");
        }
    }
}

/// Threads have generators of their own, and no two of them follow each other.
#[test]
fn ids_of_many_threads_differ() {
    let draw = || {
        (0..1_000)
            .map(|_| (random::trace_id(), random::span_id()))
            .collect::<Vec<_>>()
    };
    let threads: Vec<_> = (0..8).map(|_| thread::spawn(draw)).collect();
    let drawn: Vec<_> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    let traces: HashSet<_> = drawn.iter().map(|(trace, _)| trace).collect();
    let spans: HashSet<_> = drawn.iter().map(|(_, span)| span).collect();
    assert_eq!((traces.len(), spans.len()), (8_000, 8_000));
}
