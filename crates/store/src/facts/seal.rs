//! Secrets at rest: sealed with ChaCha20-Poly1305 under a key that is not in the database.
//!
//! A sealed value is `1`, four bytes that name the key, a random nonce, and the ciphertext with its tag. What it
//! belongs to (a webhook's id) is authenticated with it, so that a value moved to another row does not open. A value
//! that begins with `0` is not sealed: the store was opened without a key.

use std::fmt;
use std::sync::Arc;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use sandscope_model::Entropy;

use crate::StoreError;

/// Length of a key.
pub const SEALING_KEY_BYTES: usize = 32;

const PLAIN: u8 = 0;
const SEALED: u8 = 1;
const NAME_LEN: usize = 4;

struct Key {
    /// The beginning of its hash: says which key opens a value, and nothing about the key.
    name: [u8; NAME_LEN],
    key: LessSafeKey,
}

impl Key {
    fn new(bytes: &[u8; SEALING_KEY_BYTES]) -> Option<Self> {
        let hash = digest(&SHA256, bytes);
        let name = hash.as_ref().first_chunk().copied()?;
        let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, bytes).ok()?);
        Some(Self { name, key })
    }
}

/// Seals with one key and opens with several, so that the key can be changed.
pub struct Sealer {
    current: Key,
    previous: Vec<Key>,
    entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

impl Sealer {
    /// A sealer under `current` that also opens what one of `previous` sealed.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] if a key cannot be used.
    pub fn new(
        current: &[u8; SEALING_KEY_BYTES],
        previous: &[[u8; SEALING_KEY_BYTES]],
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StoreError> {
        let current = Key::new(current).ok_or(StoreError::Sealed)?;
        let previous: Option<Vec<_>> = previous.iter().map(Key::new).collect();
        Ok(Self { current, previous: previous.ok_or(StoreError::Sealed)?, entropy })
    }

    fn seal(&self, of: &[u8], plain: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0; NONCE_LEN];
        self.entropy.fill(&mut nonce);
        let mut text = plain;
        let sealed = self.current.key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(of),
            &mut text,
        );
        sealed.map_err(|_| StoreError::Sealed)?;
        Ok([&[SEALED], self.current.name.as_slice(), &nonce, &text].concat())
    }

    fn open(&self, of: &[u8], rest: &[u8]) -> Result<Vec<u8>, StoreError> {
        let (name, rest) = rest.split_first_chunk::<NAME_LEN>().ok_or(StoreError::Sealed)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(StoreError::Sealed)?;
        let mut keys = std::iter::once(&self.current).chain(&self.previous);
        let key = keys.find(|key| key.name == *name).ok_or(StoreError::Sealed)?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key.key.open_in_place(nonce, Aad::from(of), &mut text).map_err(|_| StoreError::Sealed)?;
        Ok(plain.to_vec())
    }
}

/// `plain` as it is stored for the row `of`.
pub(crate) fn seal(sealer: Option<&Sealer>, of: &[u8], plain: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    match sealer {
        Some(sealer) => sealer.seal(of, plain),
        None => Ok([&[PLAIN], plain.as_slice()].concat()),
    }
}

/// What was stored for the row `of`.
pub(crate) fn open(sealer: Option<&Sealer>, of: &[u8], stored: &[u8]) -> Result<Vec<u8>, StoreError> {
    match (stored.split_first(), sealer) {
        (Some((&PLAIN, plain)), _) => Ok(plain.to_vec()),
        (Some((&SEALED, rest)), Some(sealer)) => sealer.open(of, rest),
        _ => Err(StoreError::Sealed),
    }
}

/// Whether `stored` is sealed with the key that seals now.
pub(crate) fn is_current(sealer: &Sealer, stored: &[u8]) -> bool {
    stored.first() == Some(&SEALED) && stored.get(1..=NAME_LEN) == Some(sealer.current.name.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Counting(std::sync::atomic::AtomicU8);

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
        }
    }

    fn sealer(current: u8, previous: &[u8]) -> Sealer {
        let previous: Vec<_> = previous.iter().map(|byte| [*byte; SEALING_KEY_BYTES]).collect();
        Sealer::new(&[current; SEALING_KEY_BYTES], &previous, Arc::new(Counting(0.into()))).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_with_its_key_for_its_row_and_not_otherwise() {
        let one = sealer(1, &[]);
        let sealed = seal(Some(&one), b"row", b"secret".to_vec()).unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(open(Some(&one), b"row", &sealed).unwrap(), b"secret");
        assert_eq!(open(Some(&one), b"other row", &sealed), Err(StoreError::Sealed));
        assert_eq!(open(None, b"row", &sealed), Err(StoreError::Sealed));
        assert_eq!(open(Some(&sealer(2, &[])), b"row", &sealed), Err(StoreError::Sealed));
        assert_ne!(seal(Some(&one), b"row", b"secret".to_vec()).unwrap(), sealed, "a nonce was used twice");
        for cut in 0..sealed.len() {
            assert!(open(Some(&one), b"row", &sealed[..cut]).is_err());
        }
        let changed = sealer(2, &[1]);
        assert_eq!(open(Some(&changed), b"row", &sealed).unwrap(), b"secret");
        assert!(is_current(&one, &sealed) && !is_current(&changed, &sealed));
    }

    #[test]
    fn without_a_key_nothing_is_sealed_and_with_one_it_still_opens() {
        let plain = seal(None, b"row", b"secret".to_vec()).unwrap();
        assert_eq!(open(Some(&sealer(1, &[])), b"row", &plain).unwrap(), b"secret");
        assert!(!is_current(&sealer(1, &[]), &plain));
    }
}
