//! Whether a point is on one of the three NIST curves (FIPS 186-4, D.1.2): OpenSSH takes no other ECDSA key.
//!
//! Public values only, so nothing here need be constant-time. Numbers are little-endian 64-bit limbs; products are
//! Montgomery's, since a start with 100,000 users checks as many points.

/// The curve y² = x³ - 3x + b over the integers modulo `p`, of prime order `n`.
pub(super) struct Curve<const L: usize> {
    p: [u64; L],
    b: [u64; L],
    n: [u64; L],
    /// -p⁻¹ modulo 2⁶⁴.
    p_inverse: u64,
    /// 2^(2·64·L) modulo p, which takes a number to Montgomery's form.
    r_squared: [u64; L],
    /// The length of a coordinate in bytes, and the curve's size in bits.
    bytes: usize,
    bits: usize,
}

pub(super) const P256: Curve<4> = Curve::new(
    256,
    [0xffff_ffff_ffff_ffff, 0x0000_0000_ffff_ffff, 0x0000_0000_0000_0000, 0xffff_ffff_0000_0001],
    [0x3bce_3c3e_27d2_604b, 0x651d_06b0_cc53_b0f6, 0xb3eb_bd55_7698_86bc, 0x5ac6_35d8_aa3a_93e7],
    [0xf3b9_cac2_fc63_2551, 0xbce6_faad_a717_9e84, 0xffff_ffff_ffff_ffff, 0xffff_ffff_0000_0000],
);

#[rustfmt::skip]
pub(super) const P384: Curve<6> = Curve::new(
    384,
    [
        0x0000_0000_ffff_ffff, 0xffff_ffff_0000_0000, 0xffff_ffff_ffff_fffe,
        0xffff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff,
    ],
    [
        0x2a85_c8ed_d3ec_2aef, 0xc656_398d_8a2e_d19d, 0x0314_088f_5013_875a,
        0x181d_9c6e_fe81_4112, 0x988e_056b_e3f8_2d19, 0xb331_2fa7_e23e_e7e4,
    ],
    [
        0xecec_196a_ccc5_2973, 0x581a_0db2_48b0_a77a, 0xc763_4d81_f437_2ddf,
        0xffff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff,
    ],
);

#[rustfmt::skip]
pub(super) const P521: Curve<9> = Curve::new(
    521,
    [
        0xffff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff,
        0xffff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff,
        0xffff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff, 0x0000_0000_0000_01ff,
    ],
    [
        0xef45_1fd4_6b50_3f00, 0x3573_df88_3d2c_34f1, 0x1652_c0bd_3bb1_bf07,
        0x5619_3951_ec7e_937b, 0xb8b4_8991_8ef1_09e1, 0xa2da_725b_99b3_15f3,
        0x929a_21a0_b685_40ee, 0x953e_b961_8e1c_9a1f, 0x0000_0000_0000_0051,
    ],
    [
        0xbb6f_b71e_9138_6409, 0x3bb5_c9b8_899c_47ae, 0x7fcc_0148_f709_a5d0,
        0x5186_8783_bf2f_966b, 0xffff_ffff_ffff_fffa, 0xffff_ffff_ffff_ffff,
        0xffff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff, 0x0000_0000_0000_01ff,
    ],
);

impl<const L: usize> Curve<L> {
    const fn new(bits: usize, p: [u64; L], b: [u64; L], n: [u64; L]) -> Self {
        // Newton's iteration doubles the correct bits of p⁻¹: 1 (p is odd), 2, 4 … 64.
        let mut inverse = 1_u64;
        let mut round = 0;
        while round < 6 {
            inverse = inverse.wrapping_mul(2_u64.wrapping_sub(p[0].wrapping_mul(inverse)));
            round += 1;
        }
        let mut power = [0; L];
        power[0] = 1;
        let mut doublings = 0;
        while doublings < 2 * 64 * L {
            power = add(&power, &power, &p);
            doublings += 1;
        }
        Self { p, b, n, p_inverse: inverse.wrapping_neg(), r_squared: power, bytes: bits.div_ceil(8), bits }
    }

    /// Whether OpenSSH takes `point`, in SEC 1's form: uncompressed, on the curve, and with coordinates that its
    /// `sshkey_ec_validate_public` does not find too small or too large.
    pub(super) fn holds(&self, point: &[u8]) -> bool {
        let Some((&4, coordinates)) = point.split_first() else {
            return false;
        };
        if coordinates.len() != 2 * self.bytes {
            return false;
        }
        let (x, y) = coordinates.split_at(self.bytes);
        let (x, y) = (limbs::<L>(x), limbs::<L>(y));
        let mut last = self.n;
        last[0] -= 1; // n is odd
        [&x, &y].into_iter().all(|c| length(c) > self.bits / 2 && less(c, &last)) && self.equation(&x, &y)
    }

    fn equation(&self, x: &[u64; L], y: &[u64; L]) -> bool {
        let [x, y, b] = [x, y, &self.b].map(|number| self.product(number, &self.r_squared));
        let cube = self.product(&self.product(&x, &x), &x);
        let three_x = add(&add(&x, &x, &self.p), &x, &self.p);
        add(&self.product(&y, &y), &three_x, &self.p) == add(&cube, &b, &self.p)
    }

    /// Montgomery's product: a·b·2^(-64·L) modulo p.
    fn product(&self, a: &[u64; L], b: &[u64; L]) -> [u64; L] {
        let mut sum = [0_u64; L];
        let mut top = 0_u64;
        for &digit in a {
            // sum + digit·b, then + factor·p so that the lowest limb becomes 0, then one limb down.
            let mut carry = 0;
            for (limb, &other) in sum.iter_mut().zip(b) {
                (*limb, carry) = multiply_add(digit, other, *limb, carry);
            }
            let (high, more) = top.overflowing_add(carry);
            let factor = sum[0].wrapping_mul(self.p_inverse);
            let (_, mut carry) = multiply_add(factor, self.p[0], sum[0], 0);
            for i in 1..L {
                (sum[i - 1], carry) = multiply_add(factor, self.p[i], sum[i], carry);
            }
            let (high, again) = high.overflowing_add(carry);
            sum[L - 1] = high;
            top = u64::from(more) + u64::from(again);
        }
        if top != 0 || !less(&sum, &self.p) { subtract(&sum, &self.p) } else { sum }
    }
}

/// a·b + c + d as low and high limb; it can't overflow.
const fn multiply_add(a: u64, b: u64, c: u64, d: u64) -> (u64, u64) {
    let wide = a as u128 * b as u128 + c as u128 + d as u128;
    #[allow(clippy::cast_possible_truncation, reason = "the low limb is what is wanted")]
    (wide as u64, (wide >> 64) as u64)
}

/// a + b modulo p, for a and b below p.
const fn add<const L: usize>(a: &[u64; L], b: &[u64; L], p: &[u64; L]) -> [u64; L] {
    let mut sum = [0; L];
    let mut carry = 0;
    let mut i = 0;
    while i < L {
        (sum[i], carry) = multiply_add(1, a[i], b[i], carry);
        i += 1;
    }
    if carry != 0 || !less(&sum, p) { subtract(&sum, p) } else { sum }
}

/// a - b modulo 2^(64·L).
const fn subtract<const L: usize>(a: &[u64; L], b: &[u64; L]) -> [u64; L] {
    let mut difference = [0; L];
    let mut borrow = false;
    let mut i = 0;
    while i < L {
        let (first, under) = a[i].overflowing_sub(b[i]);
        let (second, again) = first.overflowing_sub(borrow as u64);
        difference[i] = second;
        borrow = under || again;
        i += 1;
    }
    difference
}

const fn less<const L: usize>(a: &[u64; L], b: &[u64; L]) -> bool {
    let mut i = L;
    while i > 0 {
        i -= 1;
        if a[i] != b[i] {
            return a[i] < b[i];
        }
    }
    false
}

/// The number's length in bits.
fn length<const L: usize>(number: &[u64; L]) -> usize {
    number.iter().rposition(|limb| *limb != 0).map_or(0, |i| 64 * (i + 1) - number[i].leading_zeros() as usize)
}

/// The number whose big-endian bytes are `bytes`, at most 8·L of them.
fn limbs<const L: usize>(bytes: &[u8]) -> [u64; L] {
    let mut number = [0; L];
    for (limb, chunk) in number.iter_mut().zip(bytes.rchunks(8)) {
        *limb = chunk.iter().fold(0, |limb, byte| limb << 8 | u64::from(*byte));
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// The curves' base points (FIPS 186-4, D.1.2), with the tag of an uncompressed point.
    const BASE_POINTS: [&str; 3] = [
        "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
         4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
        "04aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7\
         3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f",
        "0400c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66\
         011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650",
    ];

    fn holds(curve: usize, point: &[u8]) -> bool {
        match curve {
            0 => P256.holds(point),
            1 => P384.holds(point),
            _ => P521.holds(point),
        }
    }

    #[test]
    fn base_points_are_on_their_curve_and_on_no_other() {
        for (i, point) in BASE_POINTS.iter().enumerate() {
            for curve in 0..3 {
                assert_eq!(holds(curve, &bytes(point)), curve == i, "point {i}, curve {curve}");
            }
        }
    }

    #[test]
    fn a_point_with_any_bit_flipped_is_on_no_curve() {
        for (curve, point) in BASE_POINTS.iter().enumerate() {
            let point = bytes(point);
            for bit in 0..point.len() * 8 {
                let mut point = point.clone();
                point[bit / 8] ^= 1 << (bit % 8);
                assert!(!holds(curve, &point), "curve {curve}, bit {bit}");
            }
        }
    }

    #[test]
    fn compressed_points_and_other_lengths_are_refused() {
        for (curve, point) in BASE_POINTS.iter().enumerate() {
            let point = bytes(point);
            assert!(!holds(curve, &[]));
            assert!(!holds(curve, &[0]));
            assert!(!holds(curve, &point[..point.len() - 1]));
            assert!(!holds(curve, &[point.as_slice(), &[0]].concat()));
            let mut compressed = point[..=point.len() / 2].to_vec();
            compressed[0] = 2 + (point[point.len() - 1] & 1);
            assert!(!holds(curve, &compressed));
        }
    }
}
