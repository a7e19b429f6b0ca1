//! Hex digits, eight at a time: each in its byte of one number, so that an operation on the number
//! is one on all eight. No sum overflows a byte, so none reaches the next digit.

/// Reads exactly `2 * N` lower-case hex digits.
pub(in crate::propagation) fn lower<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    read(digits, |digits| digits)
}

/// Reads exactly `2 * N` hex digits of either case.
pub(in crate::propagation) fn any_case<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    // Sets the bit that makes letters lower-case in all bytes above `9`. No other byte becomes a
    // letter of hex by it.
    read(digits, |digits| {
        digits | (at_least(digits, b'9' + 1) & HIGH) >> 2
    })
}

fn read<const N: usize>(digits: &[u8], fold: impl Fn(u64) -> u64) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    if let ([byte], [high, low]) = (bytes.as_mut_slice(), digits) {
        let (value, is_good) = parse([b'0', b'0', b'0', b'0', b'0', b'0', *high, *low], fold);
        let [.., value] = value;
        *byte = value;
        return (is_good == HIGH).then_some(bytes);
    }
    let (eights, rest) = digits.as_chunks::<8>();
    let (fours, left) = bytes.as_chunks_mut::<4>();
    let mut good = HIGH;
    for (digits, bytes) in eights.iter().zip(fours) {
        let (value, is_good) = parse(*digits, &fold);
        *bytes = value;
        good &= is_good;
    }
    if !left.is_empty() {
        let mut padded = [b'0'; 8];
        copy_end(rest, &mut padded);
        let (value, is_good) = parse(padded, &fold);
        copy_end(&value, left);
        good &= is_good;
    }
    (good == HIGH).then_some(bytes)
}

/// The value of eight digits, and a number whose bytes have the high bit set where a digit is good.
fn parse(digits: [u8; 8], fold: impl Fn(u64) -> u64) -> ([u8; 4], u64) {
    let digits = u64::from_be_bytes(digits);
    let is_ascii = !digits;
    let digits = fold(digits & !HIGH);
    let is_number = at_least(digits, b'0') & !at_least(digits, b'9' + 1);
    let is_letter = at_least(digits, b'a') & !at_least(digits, b'f' + 1) & HIGH;
    // Letters have bit 6, and numbers do not.
    let letters = (digits >> 6) & all(1);
    let nibbles = (digits & all(0x0f)) + (letters << 3) + letters;
    let bytes = (nibbles | nibbles >> 4) & 0x00ff_00ff_00ff_00ff;
    let pairs = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    let [_, _, _, _, value @ ..] = (pairs | pairs >> 16).to_be_bytes();
    (value, (is_number | is_letter) & is_ascii & HIGH)
}

/// Writes bytes as lower-case digits, as many as there is room for.
#[inline]
pub(in crate::propagation) fn write<const N: usize>(bytes: [u8; N], room: &mut [u8]) {
    let (fours, rest) = bytes.as_chunks::<4>();
    let (eights, left) = room.as_chunks_mut::<8>();
    for (bytes, digits) in fours.iter().zip(eights) {
        *digits = print(*bytes);
    }
    let (pairs, _) = left.as_chunks_mut::<2>();
    for (byte, pair) in rest.iter().zip(pairs) {
        let [.., high, low] = print([0, 0, 0, *byte]);
        *pair = [high, low];
    }
}

#[inline]
fn print(bytes: [u8; 4]) -> [u8; 8] {
    let value = u64::from(u32::from_be_bytes(bytes));
    let pairs = (value | value << 16) & 0x0000_ffff_0000_ffff;
    let bytes = (pairs | pairs << 8) & 0x00ff_00ff_00ff_00ff;
    let nibbles = (bytes | bytes << 4) & all(0x0f);
    let is_letter = (at_least(nibbles, 10) & HIGH) >> 7;
    (nibbles + all(b'0') + is_letter * u64::from(b'a' - b'9' - 1)).to_be_bytes()
}

/// Copies the end of one text over the end of another.
fn copy_end(from: &[u8], to: &mut [u8]) {
    for (to, from) in to.iter_mut().rev().zip(from.iter().rev()) {
        *to = *from;
    }
}

/// Sets the high bit of each byte that is at least so much. All bytes are below 0x80.
const fn at_least(bytes: u64, least: u8) -> u64 {
    bytes + all(0x80 - least)
}

const fn all(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

const HIGH: u64 = all(0x80);
