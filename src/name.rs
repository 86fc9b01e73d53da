//! Names that people and programs type: user, group, datacenter and key titles. Parse or refuse.
//!
//! User, group and datacenter names are compared without regard to case, as LDAP compares `uid` and `cn`, and keep the
//! spelling in which they were stored. Key titles are exact. What a name is worth (reserved, taken, allowed to the
//! caller) is decided elsewhere.

use std::fmt;
use std::hash::{Hash, Hasher};

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameError {
    /// A character outside the set that the kind of name allows, or none at all.
    Charset,
    /// More than `max` characters; `has` says how many there are.
    TooLong { max: usize, has: usize },
}

fn check(text: &str, max: usize, also: &[u8]) -> Result<(), NameError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b)) {
        return Err(NameError::Charset);
    }
    if text.len() > max {
        return Err(NameError::TooLong { max, has: text.len() });
    }
    Ok(())
}

macro_rules! folded_name {
    ($(#[$doc:meta])* $name:ident, $max:literal, $also:literal) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub(crate) struct $name(Box<str>);

        #[allow(dead_code, reason = "the same small set of methods for every kind of name")]
        impl $name {
            /// The longest name, in characters.
            pub(crate) const MAX: usize = $max;

            /// Parses `text`, which must be in the kind's character set and at most [`Self::MAX`] long.
            pub(crate) fn parse(text: &str) -> Result<Self, NameError> {
                check(text, Self::MAX, $also)?;
                Ok(Self(text.into()))
            }

            /// The stored spelling.
            pub(crate) fn as_str(&self) -> &str {
                &self.0
            }

            /// The one form under which all spellings meet: for throttles, audit and guards in the directory.
            pub(crate) fn canonical(&self) -> String {
                self.0.to_ascii_lowercase()
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.eq_ignore_ascii_case(&other.0)
            }
        }

        impl Eq for $name {}

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                for byte in self.0.bytes() {
                    state.write_u8(byte.to_ascii_lowercase());
                }
                state.write_u8(0xff);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

folded_name! {
    /// The name of a user: LDAP `uid`.
    UserName, 254, b"@.+_-"
}

folded_name! {
    /// The name of a group: LDAP `cn` below `ou=groups`.
    GroupName, 32, b"._-"
}

folded_name! {
    /// The name of a datacenter: LDAP `cn` below `ou=datacenters`. Begins with a letter or a digit where the API makes
    /// it; that rule is the API's, since LDAP tools may have made others.
    DcName, 16, b"._-"
}

/// The title of an SSH key: unique within one user, case-exact.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(not(feature = "daemon"), allow(dead_code))]
pub(crate) struct KeyTitle(Box<str>);

#[cfg_attr(not(feature = "daemon"), allow(dead_code))]
impl KeyTitle {
    /// The longest title, in characters.
    pub(crate) const MAX: usize = 32;

    /// Parses `text`: letters, digits and `@.+_-`, at most [`Self::MAX`].
    pub(crate) fn parse(text: &str) -> Result<Self, NameError> {
        check(text, Self::MAX, b"@.+_-")?;
        Ok(Self(text.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_meet_without_regard_to_case_and_keep_their_spelling() {
        let a = UserName::parse("Bob@Example").unwrap();
        let b = UserName::parse("bob@example").unwrap();
        assert_eq!(a, b);
        assert_eq!(a.as_str(), "Bob@Example");
        assert_eq!(a.canonical(), "bob@example");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in ["", "a b", "a\n", "ü", "a/b", "K\u{212a}", "*", "a,b", "a\0"] {
            assert_eq!(UserName::parse(bad).err(), Some(NameError::Charset), "{bad:?}");
        }
        assert_eq!(UserName::parse(&"a".repeat(255)).err(), Some(NameError::TooLong { max: 254, has: 255 }));
        assert!(UserName::parse(&"a".repeat(254)).is_ok());
        assert_eq!(GroupName::parse("a@b").err(), Some(NameError::Charset));
        assert_eq!(KeyTitle::parse(&"t".repeat(33)).err(), Some(NameError::TooLong { max: 32, has: 33 }));
    }
}
