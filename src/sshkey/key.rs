//! One public key in OpenSSH's text form (RFC 4253, 6.6; RFC 5656; RFC 8709; OpenSSH's PROTOCOL.u2f).
//!
//! A text is a key if OpenSSH takes it and it is spelt in the one canonical way. Whether a key is good enough to be used
//! is the policy's decision, with a better message than "invalid format".

use std::fmt;

use md5::{Digest, Md5};
use sha2::Sha256;
use ssh_key::public::KeyData;

use super::{base64, curve};

/// The longest key text, in bytes.
const MAX_TEXT: usize = 65_536;
/// The longest number that OpenSSH reads (`SSHBUF_MAX_BIGNUM`), in bits.
const MAX_NUMBER_BITS: usize = 16_384;
/// The longest RSA exponent that OpenSSL verifies with whatever the modulus, in bits.
const MAX_EXPONENT_BITS: usize = 64;

/// The key types that OpenSSH knows, certificates and host-only types aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum KeyType {
    Dsa,
    EcdsaP256,
    EcdsaP384,
    EcdsaP521,
    Ed25519,
    Rsa,
    SkEcdsaP256,
    SkEd25519,
}

impl KeyType {
    pub(crate) const ALL: [Self; 8] = [
        Self::Dsa,
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::EcdsaP521,
        Self::Ed25519,
        Self::Rsa,
        Self::SkEcdsaP256,
        Self::SkEd25519,
    ];

    /// The word that begins a key of this type.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Dsa => "ssh-dss",
            Self::EcdsaP256 => "ecdsa-sha2-nistp256",
            Self::EcdsaP384 => "ecdsa-sha2-nistp384",
            Self::EcdsaP521 => "ecdsa-sha2-nistp521",
            Self::Ed25519 => "ssh-ed25519",
            Self::Rsa => "ssh-rsa",
            Self::SkEcdsaP256 => "sk-ecdsa-sha2-nistp256@openssh.com",
            Self::SkEd25519 => "sk-ssh-ed25519@openssh.com",
        }
    }

    /// The type called `name`, exactly.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key_type| key_type.name() == name)
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a text is no key. The messages are the API's (contract section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ParseError {
    Format,
    Newlines,
    UnknownType,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Format => "Invalid SSH public key format.",
            Self::Newlines => "Invalid SSH public key format (newlines detected).",
            Self::UnknownType => "Unknown SSH public key type.",
        })
    }
}

impl std::error::Error for ParseError {}

/// A public key. A directory of 100,000 users holds some 200,000 of them in memory, so it keeps bytes, not numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey {
    key_type: KeyType,
    /// The wire form (RFC 4253, 6.6), which both fingerprints are taken of.
    blob: Box<[u8]>,
    comment: Box<str>,
    sha256: [u8; 32],
}

impl PublicKey {
    /// Parses `type base64[ comment]` without options; the caller has stripped blanks and newlines at both ends.
    ///
    /// The comment is everything after the one blank behind the base64 and may hold blanks and any other text but
    /// control characters.
    ///
    /// # Errors
    /// [`ParseError::UnknownType`] also for a type word that nothing follows, and for one that no blank ends; it comes
    /// before [`ParseError::Newlines`], that before [`ParseError::Format`].
    pub(crate) fn parse(text: &str) -> Result<Self, ParseError> {
        let Some((word, rest)) = text.split_once(' ') else {
            return Err(ParseError::UnknownType);
        };
        let key_type = KeyType::from_name(word).ok_or(ParseError::UnknownType)?;
        if rest.contains(['\n', '\r']) {
            return Err(ParseError::Newlines);
        }
        // A blank at the end would be lost on the way through `line`.
        if text.len() > MAX_TEXT || text.ends_with(' ') || text.contains(char::is_control) {
            return Err(ParseError::Format);
        }
        let (body, comment) = rest.split_once(' ').unwrap_or((rest, ""));
        let blob = base64::decode(body).ok_or(ParseError::Format)?;
        check_blob(key_type, &blob).ok_or(ParseError::Format)?;
        let sha256 = Sha256::digest(&blob).into();
        Ok(Self { key_type, blob: blob.into(), comment: comment.into(), sha256 })
    }

    pub(crate) const fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The size that `ssh-keygen -l` shows: of the modulus, the prime or the curve.
    pub(crate) fn bits(&self) -> u32 {
        let number = match self.key_type {
            KeyType::EcdsaP256 | KeyType::SkEcdsaP256 | KeyType::Ed25519 | KeyType::SkEd25519 => return 256,
            KeyType::EcdsaP384 => return 384,
            KeyType::EcdsaP521 => return 521,
            KeyType::Dsa => 1,
            KeyType::Rsa => 2,
        };
        // Only parsed keys exist, so the field is there and at most MAX_NUMBER_BITS long.
        Fields(&self.blob).nth(number).and_then(|number| u32::try_from(bit_length(number)).ok()).unwrap_or(0)
    }

    pub(crate) fn comment(&self) -> &str {
        &self.comment
    }

    /// MD5 of the wire form as 16 pairs of lower-case hex digits joined by `:`.
    pub(crate) fn fingerprint_md5(&self) -> String {
        Md5::digest(&self.blob).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
    }

    /// SHA-256 of the wire form.
    pub(crate) const fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// `SHA256:` and base64 without padding, as OpenSSH shows it and sshd's `%f` is.
    pub(crate) fn fingerprint_sha256(&self) -> String {
        format!("SHA256:{}", base64::encode_unpadded(&self.sha256))
    }

    /// The text that was parsed.
    pub(crate) fn line(&self) -> String {
        let mut line = format!("{} {}", self.key_type, base64::encode(&self.blob));
        if !self.comment.is_empty() {
            line.push(' ');
            line.push_str(&self.comment);
        }
        line
    }
}

/// Whether `blob` is completely and canonically one key of this type that OpenSSH takes.
fn check_blob(key_type: KeyType, blob: &[u8]) -> Option<()> {
    if Fields(blob).next()? != key_type.name().as_bytes() {
        return None;
    }
    // `from_bytes` takes nothing behind the key; encoding again shows that it took the rest literally.
    let key = ssh_key::PublicKey::from_bytes(blob).ok()?;
    if key.to_bytes().ok()? != blob {
        return None;
    }
    let sound = match (key_type, key.key_data()) {
        (KeyType::Dsa, KeyData::Dsa(dsa)) => {
            [&dsa.p, &dsa.q, &dsa.g, &dsa.y].into_iter().all(|n| number_bits(n.as_bytes()).is_some())
        }
        (KeyType::EcdsaP256, KeyData::Ecdsa(ecdsa)) => curve::P256.holds(ecdsa.as_sec1_bytes()),
        (KeyType::EcdsaP384, KeyData::Ecdsa(ecdsa)) => curve::P384.holds(ecdsa.as_sec1_bytes()),
        (KeyType::EcdsaP521, KeyData::Ecdsa(ecdsa)) => curve::P521.holds(ecdsa.as_sec1_bytes()),
        (KeyType::Ed25519, KeyData::Ed25519(_)) => true,
        (KeyType::Rsa, KeyData::Rsa(rsa)) => is_rsa(rsa.e.as_bytes(), rsa.n.as_bytes()),
        (KeyType::SkEcdsaP256, KeyData::SkEcdsaSha2NistP256(sk)) => {
            curve::P256.holds(sk.ec_point().as_bytes()) && is_application(sk.application())
        }
        (KeyType::SkEd25519, KeyData::SkEd25519(sk)) => is_application(sk.application()),
        _ => false,
    };
    sound.then_some(())
}

/// Whether the public exponent and the modulus can be those of a key: both odd, the exponent at least 3 and smaller.
/// How long the modulus should be is the policy's to say.
fn is_rsa(exponent: &[u8], modulus: &[u8]) -> bool {
    let (Some(exponent_bits), Some(modulus_bits)) = (number_bits(exponent), number_bits(modulus)) else {
        return false;
    };
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    odd(exponent) && odd(modulus) && (2..=MAX_EXPONENT_BITS).contains(&exponent_bits) && exponent_bits < modulus_bits
}

/// A security key's application, usually `ssh:`: a C string for OpenSSH.
fn is_application(text: &str) -> bool {
    !text.contains(char::is_control)
}

/// The length of a positive number in mpint form (RFC 4251, 5), if OpenSSH reads it; `ssh-key` has seen to it that there
/// are no needless leading zeros.
fn number_bits(mpint: &[u8]) -> Option<usize> {
    let negative = mpint.first().is_some_and(|byte| byte & 0x80 != 0);
    let bits = bit_length(mpint);
    (!negative && (1..=MAX_NUMBER_BITS).contains(&bits)).then_some(bits)
}

fn bit_length(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros).map_or(0, |first| (number.len() - zeros) * 8 - first.leading_zeros() as usize)
}

/// The strings of a wire form, each behind its length (RFC 4251, 5); ends at what is none.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (field, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        self.0 = rest;
        Some(field)
    }
}
