//! Base64 (RFC 4648, section 4), strict: one spelling for each value, so that one key is one text.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The value of each byte as a digit; 0xff where it is none.
const DIGITS: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut value = 0_u8;
    while value < 64 {
        table[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    table
};

/// The bytes that `text` stands for; none if it is not padded, holds anything else or has bits set that do not count.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if text.is_empty() || !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut held = 0_u32;
    let mut bits = 0_u32;
    for &byte in digits {
        let digit = DIGITS[usize::from(byte)];
        if digit == 0xff {
            return None;
        }
        held = held << 6 | u32::from(digit);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits & 0xff) as u8);
        }
        held &= (1 << bits) - 1;
    }
    (held == 0).then_some(out)
}

/// Encodes `bytes`, with padding.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut out = encode_unpadded(bytes);
    while !out.len().is_multiple_of(4) {
        out.push('=');
    }
    out
}

/// Encodes `bytes` as fingerprints are shown: without padding.
pub(super) fn encode_unpadded(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let value = chunk.iter().fold(0_u32, |value, byte| value << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            let digit = value >> (18 - 6 * place) & 0x3f;
            out.push(char::from(ALPHABET[digit as usize]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648_round_trip() {
        for (plain, text) in [
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(decode(text).as_deref(), Some(plain.as_bytes()));
            assert_eq!(encode(plain.as_bytes()), text);
            assert_eq!(encode_unpadded(plain.as_bytes()), text.trim_end_matches('='));
        }
    }

    #[test]
    fn every_value_has_one_spelling() {
        for bad in
            ["", "Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zg===", "====", "Z===", "Zg==Zg==", "Zm-v", "Zm 9v", "Zm9v\n"]
        {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }
}
