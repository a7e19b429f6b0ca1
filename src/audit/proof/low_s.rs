//! The one form of an ECDSA signature.
//!
//! Whoever has a signature (r, s) can make (r, n - s) of it without the key, and that holds, too. In a
//! trail only the one with the lower s is written, so that no byte of it can be changed unseen.

/// The same signature, in DER, with the lower s; as it is if it has another form.
pub(super) fn with_low_s(signature: Vec<u8>) -> Vec<u8> {
    match parts(&signature) {
        Some((r, s)) if s > HALF => {
            let r = integer(r);
            let s = integer(&negative(&s));
            let length = u8::try_from(r.len() + s.len()).unwrap_or_default();
            [&[0x30, length], r.as_slice(), s.as_slice()].concat()
        }
        _ => signature,
    }
}

/// Whether it is no ECDSA signature, or the one with the lower s.
pub(super) fn is_low_s(signature: &[u8]) -> bool {
    // One of Ed25519 has 64 bytes, and only one form.
    signature.len() == 64 || parts(signature).is_some_and(|(_, s)| s <= HALF)
}

/// r as it is, and s.
fn parts(signature: &[u8]) -> Option<(&[u8], [u8; 32])> {
    let [0x30, length, rest @ ..] = signature else {
        return None;
    };
    if usize::from(*length) != rest.len() {
        return None;
    }
    let (r, rest) = integer_of(rest)?;
    let (s, rest) = integer_of(rest)?;
    let digits = s.strip_prefix(&[0]).unwrap_or(s);
    let mut wide = [0; 32];
    let from = 32_usize.checked_sub(digits.len())?;
    wide.get_mut(from..)?.copy_from_slice(digits);
    rest.is_empty().then_some((r, wide))
}

/// The bytes of an integer, and what follows it.
fn integer_of(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let [2, length, rest @ ..] = der else {
        return None;
    };
    rest.split_at_checked(usize::from(*length))
}

/// An integer in DER, of bytes that have its sign already.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap_or_default();
    [&[2, length], bytes].concat()
}

/// n - s, as DER has it: without leading zeros, but for one before a first bit that is set.
fn negative(s: &[u8; 32]) -> Vec<u8> {
    let mut out = [0; 32];
    let mut borrow = false;
    for ((out, n), s) in out.iter_mut().zip(ORDER).zip(s).rev() {
        let (first, is_below) = n.overflowing_sub(*s);
        let (second, is_still) = first.overflowing_sub(u8::from(borrow));
        *out = second;
        borrow = is_below || is_still;
    }
    let zeros = out.iter().take(31).take_while(|byte| **byte == 0).count();
    let mut digits = out.get(zeros..).unwrap_or_default().to_vec();
    if digits.first().is_some_and(|byte| *byte >= 0x80) {
        digits.insert(0, 0);
    }
    digits
}

/// The order of P-256 (FIPS 186-5), and half of it.
#[rustfmt::skip]
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
#[rustfmt::skip]
const HALF: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
];

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair,
        UnparsedPublicKey,
    };

    use super::*;

    #[test]
    fn of_two_signatures_that_hold_one_is_taken() {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public_key().as_ref());
        for _ in 0..200 {
            let signature = key.sign(&random, b"x").unwrap().as_ref().to_vec();
            let low = with_low_s(signature.clone());
            public.verify(b"x", &low).unwrap();
            assert!(is_low_s(&low));
            assert_eq!(is_low_s(&signature), low == signature);
            let (r, s) = parts(&low).unwrap();
            let high = negative(&s);
            let (r, s) = (integer(r), integer(&high));
            let length = u8::try_from(r.len() + s.len()).unwrap();
            let high = [&[0x30, length], r.as_slice(), s.as_slice()].concat();
            public.verify(b"x", &high).unwrap();
            assert!(!is_low_s(&high));
            assert_eq!(with_low_s(high), low);
        }
        for other in [&[][..], &[0x30], &[0x30, 2, 2, 9], &[0; 70]] {
            assert_eq!(with_low_s(other.to_vec()), other);
        }
    }
}
