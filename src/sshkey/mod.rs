//! SSH public keys: parsing, fingerprints, options, policy, one `authorized_keys` line.

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PublicKey;
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Options;
