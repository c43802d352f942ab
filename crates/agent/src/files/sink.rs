//! Where an upload's bytes go.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt as _;

use flate2::write::MultiGzDecoder;
use sandscope_agent_protocol::content::Coding;

use super::share::Share;
use crate::metadata::{self, Metadata};
use crate::place::{Owner, Place};
use crate::regular_file::{self, Identity, Writable};

/// A file that is being written. Lives on whichever thread writes.
pub(super) struct Sink {
    to: Writer,
    place: Place,
    share: Share,
}

enum Writer {
    Plain(Counted),
    /// Decompressed on the way: whatever the bytes come to, memory holds a window of them, and the disk is the limit.
    Gzip(Box<MultiGzDecoder<Counted>>),
}

/// What is written at a time: a file that is no larger is written once, and whoever watches it hears of it once.
const PIECE_BYTES: usize = 32 * 1024;

/// How often a file that others remove is made again.
const MAX_TRIES: usize = 8;

struct Counted {
    file: File,
    bytes: u64,
    /// Too little to be written yet.
    kept: Vec<u8>,
}

impl Counted {
    fn write_kept(&mut self) -> io::Result<()> {
        let result = self.file.write_all(&self.kept);
        self.kept = Vec::new();
        result
    }
}

impl Write for Counted {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        // What was tried counts: the disk may be full.
        self.bytes += buffer.len() as u64;
        if self.kept.len() + buffer.len() > PIECE_BYTES {
            self.write_kept()?;
        }
        if buffer.len() > PIECE_BYTES {
            self.file.write_all(buffer)?;
        } else {
            self.kept.extend_from_slice(buffer);
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_kept()
    }
}

impl Sink {
    /// Opens a file for writing from the start; makes it, and the directories above it, where they are missing.
    pub(super) fn open(path: &str, owner: Owner, metadata: &Metadata, coding: Coding) -> io::Result<Self> {
        let (Writable { file, place, made }, share) = open(path, owner)?;
        let counted = Counted { file, bytes: 0, kept: Vec::new() };
        let to = match coding {
            Coding::Identity => Writer::Plain(counted),
            Coding::Gzip => Writer::Gzip(Box::new(MultiGzDecoder::new(counted))),
        };
        let sink = Self { to, place, share };
        let file = sink.file();
        // From here on a failure removes what was made.
        // Somebody else's old contents are not for the new owner: a program may have put any file there.
        let empty_first = !made && owner.0 != 0 && file.metadata()?.uid() != owner.0;
        if !empty_first {
            sink.place.give(file, owner)?;
        }
        metadata::replace(file, metadata).map_err(|error| unkept(file, error))?;
        if !made {
            // After that: whatever is refused before leaves the old contents. A new file has none to lose, and whoever
            // watches would hear of a loss.
            file.set_len(0)?;
        }
        if empty_first {
            sink.place.give(file, owner)?;
        }
        Ok(sink)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.to {
            Writer::Plain(file) => file.write_all(bytes),
            Writer::Gzip(decoder) => decoder.write_all(bytes),
        }
    }

    /// To be called when no more bytes will come: a compressed file must be complete. They are on the disk afterwards, or
    /// whoever sent them learns that they are not: what stays in memory may find no room later.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let file = match &mut self.to {
            Writer::Plain(counted) => counted,
            Writer::Gzip(decoder) => {
                decoder.try_finish()?;
                decoder.get_mut()
            }
        };
        file.write_kept()?;
        sync(&file.file)
    }

    /// Bytes that were to be written so far.
    pub(super) fn bytes(&self) -> u64 {
        self.counted().bytes
    }

    fn file(&self) -> &File {
        &self.counted().file
    }

    fn counted(&self) -> &Counted {
        match &self.to {
            Writer::Plain(counted) => counted,
            Writer::Gzip(decoder) => decoder.get_ref(),
        }
    }

    /// The file is complete.
    pub(super) fn keep(self) {
        self.share.complete();
    }
}

impl Drop for Sink {
    /// Half a file under its final name would be taken for a whole one, and on a full disk it is in the way. One that
    /// was there before stays, with what has been written.
    fn drop(&mut self) {
        self.share.leave(|made| {
            // Somebody else may have removed it, or have put another one there.
            let _ = self.place.act(|path| match std::fs::symlink_metadata(path) {
                Ok(found) if Identity::from(&found) == made => std::fs::remove_file(path),
                _ => Ok(()),
            });
        });
    }
}

/// Opens a file that another upload is not about to remove.
fn open(path: &str, owner: Owner) -> io::Result<(Writable, Share)> {
    for _ in 0..MAX_TRIES {
        let opened = regular_file::write(path, owner)?;
        if let Some(share) = Share::take(&opened.file, opened.made)? {
            return Ok((opened, share));
        }
    }
    Err(io::Error::other("it is removed again and again"))
}

/// What was written is on the disk afterwards. A file system that has none takes it as it is.
pub(super) fn sync(file: &File) -> io::Result<()> {
    match file.sync_data() {
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        outcome => outcome,
    }
}

/// The kernel says "no space" of attributes that a file has no room for, also on an empty disk.
fn unkept(file: &File, error: io::Error) -> io::Error {
    let too_large = match error.raw_os_error() {
        Some(libc::E2BIG | libc::ERANGE) => true,
        Some(libc::ENOSPC | libc::EDQUOT) => rustix::fs::fstatvfs(file).is_ok_and(|fs| fs.f_bavail > 0),
        Some(libc::EOPNOTSUPP) => {
            return io::Error::new(ErrorKind::InvalidInput, "its file system keeps no metadata");
        }
        _ => false,
    };
    if too_large { io::Error::new(ErrorKind::InvalidInput, "the metadata does not fit") } else { error }
}
