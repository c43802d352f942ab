//! Which blocks of a file system are in use, which of a file have room on its disk, and giving room back.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

const FITRIM: libc::c_ulong = 0xC018_5879;
const FS_IOC_GETFSMAP: libc::c_ulong = 0xC0C0_583B;
const FS_IOC_FIEMAP: libc::c_ulong = 0xC020_660B;
/// Records taken in one call.
const AT_ONCE: u32 = 256;
const MAP_OWNER_IS_SPECIAL: u32 = 0x10;
const MAP_IS_LAST: u32 = 0x20;
const MAP_OWNER_FREE: u64 = 1;
const FILE_EXTENT_IS_LAST: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct MapRecord {
    device: u32,
    flags: u32,
    physical: u64,
    owner: u64,
    offset: u64,
    length: u64,
    reserved: [u64; 3],
}

#[repr(C)]
struct MapRequest {
    in_flags: u32,
    out_flags: u32,
    count: u32,
    entries: u32,
    reserved: [u64; 6],
    keys: [MapRecord; 2],
    records: [MapRecord; AT_ONCE as usize],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct FileExtent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved32: [u32; 3],
}

#[repr(C)]
struct ExtentRequest {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    count: u32,
    reserved: u32,
    extents: [FileExtent; AT_ONCE as usize],
}

#[repr(C)]
struct TrimRequest {
    start: u64,
    length: u64,
    shortest: u64,
}

/// The root directory of a mount: the kernel takes these requests on an opened one only, and a mount we hold is known
/// by its path alone.
pub(super) fn open_root(mount: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(mount, c".", flags, Mode::empty())?)
}

/// Writes out everything that is only in memory. Fails if any of it could not be written since the last call.
pub(crate) fn sync_filesystem(mount: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::syncfs(open_root(mount)?)?)
}

/// Gives the free blocks of the file system back to its device, in stretches of at least `shortest` bytes. Returns how
/// many bytes that was.
pub(crate) fn trim_filesystem(mount: BorrowedFd<'_>, shortest: u64) -> io::Result<u64> {
    let root = open_root(mount)?;
    let mut request = TrimRequest { start: 0, length: u64::MAX, shortest };
    // SAFETY: FITRIM reads and writes one fstrim_range, laid out as the kernel's and alive during the call.
    if unsafe { libc::ioctl(root.as_raw_fd(), FITRIM, &raw mut request) } == 0 {
        Ok(request.length)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The free stretches of the file system, in bytes of its device and in order.
pub(crate) fn free_ranges(mount: BorrowedFd<'_>) -> io::Result<Vec<Range<u64>>> {
    let root = open_root(mount)?;
    let all = MapRecord {
        device: u32::MAX,
        flags: u32::MAX,
        physical: u64::MAX,
        owner: u64::MAX,
        offset: u64::MAX,
        ..MapRecord::default()
    };
    let mut request = Box::new(MapRequest {
        in_flags: 0,
        out_flags: 0,
        count: AT_ONCE,
        entries: 0,
        reserved: [0; 6],
        keys: [MapRecord::default(), all],
        records: [MapRecord::default(); AT_ONCE as usize],
    });
    let mut free = Vec::new();
    loop {
        // SAFETY: FS_IOC_GETFSMAP reads the head and writes it and at most `count` records, which follow it. Both are
        // laid out as the kernel's and alive during the call.
        if unsafe { libc::ioctl(root.as_raw_fd(), FS_IOC_GETFSMAP, &raw mut *request) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let n = usize::try_from(request.entries).unwrap_or(usize::MAX);
        let records = request.records.get(..n).ok_or(io::ErrorKind::InvalidData)?;
        let is_free =
            |record: &&MapRecord| record.flags & MAP_OWNER_IS_SPECIAL != 0 && record.owner == MAP_OWNER_FREE;
        free.extend(
            records
                .iter()
                .filter(is_free)
                .map(|record| record.physical..record.physical.saturating_add(record.length)),
        );
        match records.last().copied() {
            Some(last) if last.flags & MAP_IS_LAST == 0 => request.keys[0] = last,
            _ => return Ok(free),
        }
    }
}

/// The stretches of a file that have room on its disk, written or not, in order.
pub(crate) fn backed_ranges(file: &File) -> io::Result<Vec<Range<u64>>> {
    let mut request = Box::new(ExtentRequest {
        start: 0,
        length: u64::MAX,
        flags: 0,
        mapped: 0,
        count: AT_ONCE,
        reserved: 0,
        extents: [FileExtent::default(); AT_ONCE as usize],
    });
    let mut backed = Vec::new();
    loop {
        // SAFETY: FS_IOC_FIEMAP reads the head and writes it and at most `count` extents, which follow it. Both are laid
        // out as the kernel's and alive during the call.
        if unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_FIEMAP, &raw mut *request) } != 0 {
            return match io::Error::last_os_error() {
                // A file system in memory knows no extents.
                error if error.raw_os_error() == Some(libc::EOPNOTSUPP) => data_ranges(file),
                error => Err(error),
            };
        }
        let n = usize::try_from(request.mapped).unwrap_or(usize::MAX);
        let extents = request.extents.get(..n).ok_or(io::ErrorKind::InvalidData)?;
        let range = |extent: &FileExtent| extent.logical..extent.logical.saturating_add(extent.length);
        backed.extend(extents.iter().map(range));
        match extents.last().copied() {
            Some(last) if last.flags & FILE_EXTENT_IS_LAST == 0 => {
                request.start = range(&last).end;
                request.length = u64::MAX - request.start;
            }
            _ => return Ok(backed),
        }
    }
}

fn data_ranges(file: &File) -> io::Result<Vec<Range<u64>>> {
    use rustix::fs::SeekFrom;
    let mut ranges = Vec::new();
    let mut at = 0;
    loop {
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => return Ok(ranges),
            Err(error) => return Err(error.into()),
        };
        at = rustix::fs::seek(file, SeekFrom::Hole(data))?;
        ranges.push(data..at);
    }
}
