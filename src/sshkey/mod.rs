//! SSH public keys: parsing, fingerprints, options, policy, one `authorized_keys` line.
//!
//! What a key is and what sshd makes of it, nothing else: whose key it is, its title and who may store which option is
//! decided in `accounts`. Everything accepted here is accepted by OpenSSH; where OpenSSH is lenient, this is not.

mod base64;
mod curve;
mod key;
mod line;
mod options;
mod policy;
#[cfg(test)]
mod tests;

pub(crate) use key::{KeyType, PublicKey};
pub(crate) use line::authorized_line;
pub(crate) use options::Options;
pub(crate) use policy::Policy;
