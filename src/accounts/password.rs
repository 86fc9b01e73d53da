//! Passwords: hashing new ones. Verifying is a bind, so that every scheme of an imported entry works and the server's
//! password policy counts; only for an account that the server lets nobody bind as, a hash is verified here.

use argon2::password_hash::{Output, ParamsString, PasswordHash, SaltString};
use argon2::{Algorithm, Argon2, Block, MIN_SALT_LEN, Params, Version};

use super::secrets::{Secret, random};

/// Memory of at least this size, in bytes, is given back to the system when it is freed. glibc keeps smaller pieces, in a pool of
/// every thread that ever had one: bursts of new passwords would leave hundreds of MiB there. What is not used costs nothing.
const GIVEN_BACK: usize = (32 << 20) + 1;

/// The cost of a new Argon2id hash (RFC 9106). The defaults are OWASP's: 19 MiB, two passes, one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Memory, in KiB.
    pub(crate) memory: u32,
    pub(crate) passes: u32,
    pub(crate) lanes: u32,
}

impl Default for Cost {
    fn default() -> Self {
        Self { memory: 19_456, passes: 2, lanes: 1 }
    }
}

impl Cost {
    /// Whether argon2 takes these numbers; the error says what is wrong.
    pub(crate) fn check(self) -> Result<(), String> {
        Params::new(self.memory, self.passes, self.lanes, None).map(|_| ()).map_err(|e| e.to_string())
    }

    /// A value for `userPassword`: `{ARGON2}$argon2id$…`. Takes tens of milliseconds of one core: not for an async thread.
    ///
    /// # Errors
    /// The cost is out of argon2's range.
    pub(crate) fn hash(self, password: &Secret) -> Result<String, String> {
        let params = Params::new(self.memory, self.passes, self.lanes, None).map_err(|e| e.to_string())?;
        let salt = random::<16>();
        let hash = digest(&params, &salt, password)?;
        let salt = SaltString::encode_b64(&salt).map_err(|e| e.to_string())?;
        let phc = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&params).map_err(|e| e.to_string())?,
            salt: Some(salt.as_salt()),
            hash: Some(hash),
        };
        Ok(format!("{{ARGON2}}{phc}"))
    }

    /// Whether `stored`, a value of `userPassword`, is the password's hash. Takes as long as [`Self::hash`] whatever is
    /// stored: what is no hash of exactly this cost would take another time, and is nobody's password here.
    ///
    /// # Errors
    /// The cost is out of argon2's range.
    pub(crate) fn verify(self, stored: &Secret, password: &Secret) -> Result<bool, String> {
        match self.own(stored.reveal().as_bytes()) {
            // compared in constant time
            Some((params, salt, hash)) => Ok(digest(&params, &salt, password)? == hash),
            None => self.hash(password).map(|_| false),
        }
    }

    /// Whether [`Self::verify`] can tell: whether a stored value is a hash of exactly this cost.
    pub(crate) fn can_verify(self, stored: &[u8]) -> bool {
        self.own(stored).is_some()
    }

    /// The parameters, the salt and the digest of a hash of exactly this cost.
    fn own(self, stored: &[u8]) -> Option<(Params, Vec<u8>, Output)> {
        let phc = std::str::from_utf8(stored.strip_prefix(b"{ARGON2}")?).ok()?;
        let hash = PasswordHash::new(phc).ok()?;
        let params = Params::new(self.memory, self.passes, self.lanes, Some(Params::DEFAULT_OUTPUT_LEN)).ok()?;
        let is_own = hash.algorithm == Algorithm::Argon2id.ident()
            && hash.version == Some(Version::V0x13.into())
            && Params::try_from(&hash).ok()? == params;
        let mut salt = [0; 64];
        let salt = hash.salt?.decode_b64(&mut salt).ok().filter(|salt| salt.len() >= MIN_SALT_LEN)?;
        is_own.then_some((params, salt.to_vec(), hash.hash?))
    }

    /// Whether a stored value is weaker than this cost: another scheme, or fewer KiB or passes.
    pub(crate) fn exceeds(self, stored: &[u8]) -> bool {
        let Some(rest) = stored.strip_prefix(b"{ARGON2}$argon2id$").and_then(|r| std::str::from_utf8(r).ok()) else {
            return true;
        };
        let mut memory = 0;
        let mut passes = 0;
        for part in rest.split('$').nth(1).unwrap_or("").split(',') {
            match part.split_once('=') {
                Some(("m", n)) => memory = n.parse().unwrap_or(0),
                Some(("t", n)) => passes = n.parse().unwrap_or(0),
                _ => {}
            }
        }
        memory < self.memory || passes < self.passes
    }
}

/// The digest of the default length.
fn digest(params: &Params, salt: &[u8], password: &Secret) -> Result<Output, String> {
    let mut memory: Vec<Block> = Vec::with_capacity(params.block_count().max(GIVEN_BACK / Block::SIZE + 1));
    memory.resize(params.block_count(), Block::default());
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    Output::init_with(Params::DEFAULT_OUTPUT_LEN, |out| {
        Ok(argon2.hash_password_into_with_memory(password.reveal().as_bytes(), salt, out, &mut memory)?)
    })
    .map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_hash_is_as_strong_as_configured_and_others_are_weaker() {
        let cost = Cost { memory: 64, passes: 2, lanes: 1 };
        let hash = cost.hash(&Secret::new("pw".into())).unwrap();
        assert!(hash.starts_with("{ARGON2}$argon2id$v=19$m=64,t=2,p=1$"), "{hash}");
        assert!(!cost.exceeds(hash.as_bytes()));
        assert!(Cost { memory: 65, ..cost }.exceeds(hash.as_bytes()));
        assert!(cost.exceeds(b"{SSHA}abc"));
        assert!(cost.exceeds(b"plain"));
        assert_ne!(hash, cost.hash(&Secret::new("pw".into())).unwrap());
    }

    #[test]
    fn only_a_hash_of_exactly_this_cost_is_verified() {
        let cost = Cost { memory: 64, passes: 2, lanes: 1 };
        let secret = |text: &str| Secret::new(text.to_owned());
        let hash = cost.hash(&secret("pw")).unwrap();
        let verify = |cost: Cost, stored: &str| cost.verify(&secret(stored), &secret("pw")).unwrap();
        assert!(verify(cost, &hash) && cost.can_verify(hash.as_bytes()));
        assert!(!cost.verify(&secret(&hash), &secret("pw2")).unwrap());
        // made by libargon2, which slapd's module uses
        let foreign = "{ARGON2}$argon2id$v=19$m=64,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$\
                       a/+i06T/FfF/nRBGydZ9yXZt6PdSjNNmmR5yI0UTT7o";
        assert!(verify(cost, foreign));
        for other in [
            Cost { memory: 65, ..cost },
            Cost { memory: 63, ..cost },
            Cost { passes: 1, ..cost },
            Cost { lanes: 2, ..cost },
        ] {
            assert!(!verify(other, &hash), "{other:?}");
        }
        let other = hash.replace("$argon2id$", "$argon2i$");
        let short = hash.rsplit_once('$').unwrap().0;
        let salt = hash.split('$').nth(4).unwrap();
        let briefly_salted = hash.replace(salt, "c2FsdA");
        let huge = hash.replace("m=64,", "m=4294967295,");
        for stored in [
            &*other,
            short,
            &*briefly_salted,
            &*huge,
            "",
            "pw",
            "{SSHA}abc",
            "{ARGON2}",
            "{ARGON2}$argon2id$v=19$m=64,t=2,p=1$x$y",
        ] {
            assert!(!verify(cost, stored) && !cost.can_verify(stored.as_bytes()), "{stored}");
        }
    }
}
