//! Which keys are good enough, on the way in and again on the way out. Fails closed: what is not named is not allowed.

use std::fmt;

use super::{KeyType, PublicKey};

/// OpenSSH reads no shorter RSA key, so neither does any policy.
const RSA_FLOOR: u32 = 1024;
/// OpenSSL verifies with no longer RSA key.
const RSA_CEILING: u32 = 16_384;

/// What an installation accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// The shortest RSA modulus, in bits.
    pub(crate) min_rsa_bits: u32,
    /// The allowed types.
    pub(crate) types: Vec<KeyType>,
}

/// Why the policy refuses a key; shown to whoever wants to store it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PolicyViolation {
    RsaTooLong { bits: u32 },
    RsaTooShort { min: u32, bits: u32 },
    Type(KeyType),
}

impl Policy {
    /// Whether `key` may be stored and handed out.
    pub(crate) fn check(&self, key: &PublicKey) -> Result<(), PolicyViolation> {
        if !self.types.contains(&key.key_type()) {
            return Err(PolicyViolation::Type(key.key_type()));
        }
        if key.key_type() == KeyType::Rsa {
            let bits = key.bits();
            let min = self.min_rsa_bits.max(RSA_FLOOR);
            if bits < min {
                return Err(PolicyViolation::RsaTooShort { min, bits });
            }
            if bits > RSA_CEILING {
                return Err(PolicyViolation::RsaTooLong { bits });
            }
        }
        Ok(())
    }
}

impl fmt::Display for PolicyViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RsaTooLong { bits } => write!(f, "RSA keys must have at most {RSA_CEILING} bits (it has {bits})."),
            Self::RsaTooShort { min, bits } => write!(f, "RSA keys must have at least {min} bits (it has {bits})."),
            Self::Type(key_type) => write!(f, "SSH key type {key_type} is not allowed."),
        }
    }
}

impl std::error::Error for PolicyViolation {}
