use std::io::{self, Read as _};

use rustix::fs::{Mode, OFlags};

/// Reads a file that ought to be small. Whatever the sandbox put in its place (a FIFO, a device, an endless
/// file) costs an error and never a wait.
pub(crate) fn read(path: &str, limit: u64) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
