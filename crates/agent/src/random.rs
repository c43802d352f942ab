use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz012345";

/// A word of this many characters that nobody can guess, five bits each.
pub(crate) fn word(length: usize) -> io::Result<String> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
    }
    Ok(bytes.into_iter().map(|byte| char::from(LETTERS[usize::from(byte & 31)])).collect())
}
