//! Passwords: hashing new ones. Verifying is a bind, so that every scheme of an imported entry works and the server's
//! password policy counts; only for an account that the server lets nobody bind as, a hash is verified here.

use argon2::password_hash::{self, PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

use super::secrets::{Secret, random};

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
        let salt = SaltString::encode_b64(&random::<16>()).map_err(|e| e.to_string())?;
        let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password(password.reveal().as_bytes(), &salt)
            .map_err(|e| e.to_string())?;
        Ok(format!("{{ARGON2}}{hash}"))
    }

    /// Whether `stored`, a value of `userPassword`, is the password's hash. Takes as long as [`Self::hash`] whatever is
    /// stored: what is no hash of exactly this cost would take another time, and is nobody's password here.
    ///
    /// # Errors
    /// The cost is out of argon2's range.
    pub(crate) fn verify(self, stored: &Secret, password: &Secret) -> Result<bool, String> {
        let verified = self
            .own(stored.reveal().as_bytes())
            .map(|hash| Argon2::default().verify_password(password.reveal().as_bytes(), &hash));
        match verified {
            Some(Ok(())) => Ok(true),
            Some(Err(password_hash::Error::Password)) => Ok(false),
            _ => self.hash(password).map(|_| false),
        }
    }

    /// Whether [`Self::verify`] can tell: whether a stored value is a hash of exactly this cost.
    pub(crate) fn can_verify(self, stored: &[u8]) -> bool {
        self.own(stored).is_some()
    }

    fn own(self, stored: &[u8]) -> Option<PasswordHash<'_>> {
        let phc = std::str::from_utf8(stored.strip_prefix(b"{ARGON2}")?).ok()?;
        let hash = PasswordHash::new(phc).ok()?;
        let params = Params::new(self.memory, self.passes, self.lanes, Some(Params::DEFAULT_OUTPUT_LEN)).ok()?;
        let is_own = hash.algorithm == Algorithm::Argon2id.ident() && Params::try_from(&hash).ok()? == params;
        is_own.then_some(hash)
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
        let huge = hash.replace("m=64,", "m=4294967295,");
        for stored in
            [&*other, short, &*huge, "", "pw", "{SSHA}abc", "{ARGON2}", "{ARGON2}$argon2id$v=19$m=64,t=2,p=1$x$y"]
        {
            assert!(!verify(cost, stored) && !cost.can_verify(stored.as_bytes()), "{stored}");
        }
    }
}
