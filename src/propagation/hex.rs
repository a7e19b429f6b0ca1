/// Reads exactly `2 * N` lower-case hex digits.
pub(super) fn lower<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    read(digits, |digit| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    })
}

/// Reads exactly `2 * N` hex digits of either case.
pub(super) fn any_case<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    read(digits, |digit| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    })
}

fn read<const N: usize>(digits: &[u8], nibble: impl Fn(u8) -> Option<u8>) -> Option<[u8; N]> {
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    let pairs: &[[u8; 2]; N] = pairs.try_into().ok()?;
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

/// Appends the bytes as lower-case hex.
pub(super) fn push(text: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
    text.extend(
        bytes
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0f)]),
    );
}
