//! Whether a point lies on a curve of NIST's (SP 800-186): a few additions and multiplications, of
//! public numbers, once for each key.

/// The number, little end first.
type Number = [u64; 6];

/// `y² = x³ - 3x + b` over the numbers below `p`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Curve {
    p: Number,
    b: Number,
}

pub(super) const P256: Curve = Curve {
    p: [
        0xffff_ffff_ffff_ffff,
        0x0000_0000_ffff_ffff,
        0,
        0xffff_ffff_0000_0001,
        0,
        0,
    ],
    b: [
        0x3bce_3c3e_27d2_604b,
        0x651d_06b0_cc53_b0f6,
        0xb3eb_bd55_7698_86bc,
        0x5ac6_35d8_aa3a_93e7,
        0,
        0,
    ],
};

pub(super) const P384: Curve = Curve {
    p: [
        0x0000_0000_ffff_ffff,
        0xffff_ffff_0000_0000,
        0xffff_ffff_ffff_fffe,
        u64::MAX,
        u64::MAX,
        u64::MAX,
    ],
    b: [
        0x2a85_c8ed_d3ec_2aef,
        0xc656_398d_8a2e_d19d,
        0x0314_088f_5013_875a,
        0x181d_9c6e_fe81_4112,
        0x988e_056b_e3f8_2d19,
        0xb331_2fa7_e23e_e7e4,
    ],
};

impl Curve {
    /// Whether both coordinates, big end first, are below `p` and their point is on the curve.
    pub(super) fn has(&self, x: &[u8], y: &[u8]) -> bool {
        let (x, y) = (number(x), number(y));
        if !is_below(&x, &self.p) || !is_below(&y, &self.p) {
            return false;
        }
        let cube = self.times(&self.times(&x, &x), &x);
        let threefold = self.plus(&self.plus(&x, &x), &x);
        self.plus(&self.times(&y, &y), &threefold) == self.plus(&cube, &self.b)
    }

    /// The sum of two numbers below `p`.
    fn plus(&self, a: &Number, b: &Number) -> Number {
        let (sum, carried) = add(a, b);
        let (reduced, borrowed) = subtract(&sum, &self.p);
        if carried || !borrowed { reduced } else { sum }
    }

    /// The product of two numbers below `p`, by doubling.
    fn times(&self, a: &Number, b: &Number) -> Number {
        let mut product = Number::default();
        for limb in b.iter().rev() {
            for bit in (0..u64::BITS).rev() {
                product = self.plus(&product, &product);
                if limb >> bit & 1 == 1 {
                    product = self.plus(&product, a);
                }
            }
        }
        product
    }
}

fn number(bytes: &[u8]) -> Number {
    let mut number = Number::default();
    for (limb, chunk) in number.iter_mut().zip(bytes.rchunks(8)) {
        *limb = chunk
            .iter()
            .fold(0, |limb, byte| limb << 8 | u64::from(*byte));
    }
    number
}

fn is_below(a: &Number, b: &Number) -> bool {
    subtract(a, b).1
}

fn add(a: &Number, b: &Number) -> (Number, bool) {
    limb_by_limb(a, b, u64::overflowing_add)
}

fn subtract(a: &Number, b: &Number) -> (Number, bool) {
    limb_by_limb(a, b, u64::overflowing_sub)
}

/// Applies `step` to the limbs, with the carry or the borrow of those below.
fn limb_by_limb(a: &Number, b: &Number, step: fn(u64, u64) -> (u64, bool)) -> (Number, bool) {
    let (mut result, mut over) = (Number::default(), false);
    for ((result, a), b) in result.iter_mut().zip(a).zip(b) {
        let (half, first) = step(*a, *b);
        let (whole, second) = step(half, u64::from(over));
        (*result, over) = (whole, first || second);
    }
    (result, over)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let pairs = hex.as_bytes().chunks(2);
        pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// The generators of SP 800-186, and the same points turned over.
    #[test]
    fn generators_are_on_their_curves_and_their_neighbours_are_not() {
        let p256 = (
            "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
            "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
        );
        let p384 = (
            "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7",
            "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f",
        );
        for (curve, (x, y)) in [(P256, p256), (P384, p384)] {
            let (x, y) = (bytes(x), bytes(y));
            assert!(curve.has(&x, &y));
            let over = subtract(&curve.p, &number(&y)).0;
            let over: Vec<u8> = over
                .iter()
                .rev()
                .flat_map(|limb| limb.to_be_bytes())
                .collect();
            assert!(curve.has(&x, &over));
            assert!(!curve.has(&y, &x));
            let mut next = x.clone();
            *next.last_mut().unwrap() ^= 1;
            assert!(!curve.has(&next, &y));
            // The same point, written with a coordinate that is not reduced.
            let (sum, carried) = add(&curve.p, &number(&y));
            let unreduced: Vec<u8> = sum
                .iter()
                .rev()
                .flat_map(|limb| limb.to_be_bytes())
                .collect();
            assert!(carried || !curve.has(&x, &unreduced));
            assert!(!curve.has(&[], &[]));
        }
    }
}
