use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

use sandscope_agent_protocol::AGENT_PORT;

/// The descriptor on which the boot token waits.
const BOOT_TOKEN_FD: RawFd = 3;

/// A boot token is 64 characters; nothing longer is read.
const MAX_BOOT_TOKEN_BYTES: u64 = 4096;

/// Below this a token could be guessed.
const MIN_BOOT_TOKEN_BYTES: usize = 32;

pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    pub(crate) boot_token: String,
    /// Whether to print the address listened on.
    pub(crate) announce: bool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum OptionsError {
    #[error("unknown argument; only `--listen ADDRESS` is understood")]
    Argument,
    #[error("no boot token on descriptor {BOOT_TOKEN_FD}: {0}")]
    NoBootToken(std::io::Error),
    #[error("the boot token on descriptor {BOOT_TOKEN_FD} is too short")]
    ShortBootToken,
}

/// Reads the command line, then the boot token.
///
/// # Safety
///
/// To be called once, before anything is opened: the descriptor of the boot token must have no other owner.
///
/// # Errors
///
/// An unknown argument, or no good boot token.
#[expect(unsafe_code, reason = "only the caller knows that nothing was opened yet")]
pub(crate) unsafe fn read(mut args: impl Iterator<Item = String>) -> Result<Options, OptionsError> {
    let mut listen = SocketAddr::from((Ipv4Addr::LOCALHOST, AGENT_PORT));
    let mut announce = false;
    while let Some(arg) = args.next() {
        if arg != "--listen" {
            return Err(OptionsError::Argument);
        }
        listen = args.next().and_then(|a| a.parse().ok()).ok_or(OptionsError::Argument)?;
        announce = true;
    }
    // SAFETY: as the caller promises.
    let boot_token = unsafe { boot_token() }?;
    Ok(Options { listen, boot_token, announce })
}

/// # Safety
///
/// As of [`read`].
#[expect(unsafe_code, reason = "an inherited descriptor has no owner until we make one")]
unsafe fn boot_token() -> Result<String, OptionsError> {
    // Probed first: owning a descriptor that is not open would be unsound.
    // SAFETY: `fcntl(F_GETFD)` reads a flag and touches no memory.
    if unsafe { libc::fcntl(BOOT_TOKEN_FD, libc::F_GETFD) } < 0 {
        return Err(OptionsError::NoBootToken(std::io::Error::last_os_error()));
    }
    // SAFETY: the descriptor is open, inherited for this purpose, and has no other owner, as the caller promises.
    let pipe = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(BOOT_TOKEN_FD) });
    let mut token = String::new();
    pipe.take(MAX_BOOT_TOKEN_BYTES).read_to_string(&mut token).map_err(OptionsError::NoBootToken)?;
    token.truncate(token.trim_end().len());
    if token.len() < MIN_BOOT_TOKEN_BYTES {
        return Err(OptionsError::ShortBootToken);
    }
    Ok(token)
}
