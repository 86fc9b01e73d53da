//! Secrets: text that must not be shown, and the key ring that seals and looks up API keys and tokens and knows requests
//! again.
//!
//! The key ring comes from one file that the directory never sees (`secrets.key-file`). From its 32 bytes four keys
//! are derived, each for one purpose. Reading and making the file is `config`'s and `daemon`'s business.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

/// Text that is never shown: `Debug` prints a placeholder, the memory is wiped on drop.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself: for hashing, sealing, binding, and the one answer that shows it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A key as it lies in the directory: nonce and ciphertext, in lower-case hex.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SealedKey(Box<str>);

impl SealedKey {
    /// Takes the text of an attribute value; whether it opens is known only to [`KeyRing::open`].
    pub(crate) fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    pub(crate) fn as_stored(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(sealed)")
    }
}

/// Which of a user's keys a sealed value is: one can't stand in for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Api,
    Callback,
}

impl KeyKind {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Api => b"api-key",
            Self::Callback => b"callback-key",
        }
    }
}

/// Knows a request again that is made twice: a keyed hash over the caller, the target and the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestMark([u8; 16]);

impl RequestMark {
    /// Takes the text of an attribute value; `None` if it is no mark.
    pub(crate) fn from_stored(text: &str) -> Option<Self> {
        unhex(text)?.try_into().ok().map(Self)
    }

    pub(crate) fn as_stored(&self) -> String {
        hex(&self.0)
    }
}

/// The keys derived from the key file.
pub(crate) struct KeyRing {
    seal: XChaCha20Poly1305,
    lookup: Zeroizing<[u8; 32]>,
    epoch: Zeroizing<[u8; 32]>,
    request: Zeroizing<[u8; 32]>,
    identifier: String,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({})", self.identifier)
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes keys of every length, so the error arm can't be reached; it yields a constant that matches nothing.
    let Ok(mut mac) = <Hmac<Sha256> as Mac>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn half(full: &[u8; 32]) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&full[..16]);
    out
}

impl KeyRing {
    /// The key ring of a key file's 32 bytes.
    pub(crate) fn new(file: &[u8; 32]) -> Self {
        let mut seal = mac(file, &[b"usher seal 1"]);
        let ring = Self {
            seal: XChaCha20Poly1305::new((&seal).into()),
            lookup: Zeroizing::new(mac(file, &[b"usher lookup 1"])),
            epoch: Zeroizing::new(mac(file, &[b"usher password epoch 1"])),
            request: Zeroizing::new(mac(file, &[b"usher request 1"])),
            identifier: hex(&Sha256::digest(mac(file, &[b"usher identifier 1"]))[..8]),
        };
        seal.zeroize();
        ring
    }

    /// A public name of the key file, which the directory holds so that a daemon with another file refuses to start.
    pub(crate) fn identifier(&self) -> &str {
        &self.identifier
    }

    /// The keyed hash by which an API key or a token is looked up.
    pub(crate) fn lookup_hash(&self, secret: &str) -> [u8; 32] {
        mac(&*self.lookup, &[secret.as_bytes()])
    }

    /// The epoch of these stored password values (in any order).
    pub(crate) fn password_epoch(&self, values: &mut [&[u8]]) -> [u8; 16] {
        values.sort_unstable();
        half(&mac(&*self.epoch, values))
    }

    /// The mark of a request that has these parts. Nothing in them can be guessed from it without the key file.
    pub(crate) fn request_mark(&self, parts: &[&[u8]]) -> RequestMark {
        RequestMark(half(&mac(&*self.request, parts)))
    }

    /// Seals a key for the directory.
    pub(crate) fn seal(&self, kind: KeyKind, key: &Secret) -> SealedKey {
        let nonce = random::<24>();
        let payload = Payload { msg: key.reveal().as_bytes(), aad: kind.label() };
        // The cipher refuses only messages of 256 GiB; an empty text never opens.
        let sealed = self.seal.encrypt(XNonce::from_slice(&nonce), payload).unwrap_or_default();
        SealedKey(format!("{}{}", hex(&nonce), hex(&sealed)).into())
    }

    /// Opens a sealed key; `None` if it was made with another key file, for another purpose, or is damaged.
    pub(crate) fn open(&self, kind: KeyKind, sealed: &SealedKey) -> Option<Secret> {
        let bytes = unhex(&sealed.0)?;
        let (nonce, body) = bytes.split_at_checked(24)?;
        let payload = Payload { msg: body, aad: kind.label() };
        let text = self.seal.decrypt(XNonce::from_slice(nonce), payload).ok()?;
        String::from_utf8(text).ok().map(Secret::new)
    }
}

/// `N` bytes from the operating system.
///
/// # Panics
/// If the operating system has no random numbers to give: nothing that this daemon does is safe then.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Err(error) = getrandom::fill(&mut bytes) {
        panic!("no random numbers from the operating system: {error}");
    }
    bytes
}

/// A new API or callback key: 32 lower-case hex digits.
pub(crate) fn new_key() -> Secret {
    Secret::new(hex(&random::<16>()))
}

/// A new token: 40 lower-case hex digits.
pub(crate) fn new_token() -> Secret {
    Secret::new(hex(&random::<20>()))
}

/// Whether the text could be a token of ours.
pub(crate) fn is_token(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes of lower- or upper-case hex; `None` for anything else.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let digit = |b: u8| (b as char).to_digit(16).and_then(|d| u8::try_from(d).ok());
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_key_opens_only_with_its_ring_and_for_its_kind() {
        let ring = KeyRing::new(&[7; 32]);
        let key = new_key();
        let sealed = ring.seal(KeyKind::Api, &key);
        assert_eq!(ring.open(KeyKind::Api, &sealed).unwrap().reveal(), key.reveal());
        assert!(ring.open(KeyKind::Callback, &sealed).is_none());
        assert!(KeyRing::new(&[8; 32]).open(KeyKind::Api, &sealed).is_none());
        for damaged in ["", "0", "zz", "00"] {
            assert!(ring.open(KeyKind::Api, &SealedKey::from_stored(damaged)).is_none());
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(format!("{:?}", Secret::new("geheim".into())), "(secret)");
        let ring = KeyRing::new(&[7; 32]);
        assert_eq!(format!("{:?}", ring.seal(KeyKind::Api, &new_key())), "(sealed)");
    }

    #[test]
    fn the_password_epoch_depends_on_values_not_on_their_order() {
        let ring = KeyRing::new(&[7; 32]);
        assert_eq!(ring.password_epoch(&mut [b"a", b"b"]), ring.password_epoch(&mut [b"b", b"a"]));
        assert_ne!(ring.password_epoch(&mut [b"a", b"b"]), ring.password_epoch(&mut [b"ab"]));
    }
}
