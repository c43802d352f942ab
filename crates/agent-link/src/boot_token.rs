use std::fmt::Write as _;
use std::io::{self, Read as _};

use sandscope_model::Secret;

/// Draws the secret that only an engine and the agent share: 64 hexadecimal digits.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn draw_boot_token() -> io::Result<Secret> {
    let mut bytes = [0_u8; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut token = String::with_capacity(64);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _infallible = write!(token, "{byte:02x}");
    }
    Ok(Secret::new(token))
}
