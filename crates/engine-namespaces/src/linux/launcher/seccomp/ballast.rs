//! What leaves little room for filters of a sandbox's own.
//!
//! A process may install filters of its own, and so may each of its children and threads: some programs confine
//! themselves so. The kernel compiles each into a pool that the whole host shares, and charges that to nobody; without
//! room in it no further sandbox can be made. It counts one thing: the instructions of all filters that a process runs
//! under, 32,768 at most, in its own form of them. So the launcher installs filters that allow everything and are long,
//! once, and every sandbox inherits them: the same few, at no cost of their own.

use std::fs::File;
use std::io::{Read as _, Write as _};

use rustix::pipe::PipeFlags;
use rustix::process::WaitOptions;
use seccompiler::{BpfProgram, sock_filter};

use crate::linux::protocol::{Failure, InStep as _};
use crate::linux::sys::{self, Forked};

/// What a filter comes to in the kernel beside its length: a beginning, two ends, and four more for each.
const PER_FILTER: usize = 9;
/// The longest and the shortest filter, in instructions.
const LONGEST: usize = 4096;
const SHORTEST: usize = 2;
/// What a sandbox's own filters may come to in one process.
const OWN_FILTERS: usize = 2048;

/// Installs filters that allow everything, so that no more than [`OWN_FILTERS`] remain once `others` are installed.
pub(super) fn install(others: &[&BpfProgram]) -> Result<(), Failure> {
    for length in lengths(room_beside(others)?) {
        super::install(&allowing(length))?;
    }
    Ok(())
}

/// How many instructions may be installed beside `others`. Nobody can ask the kernel, and a service manager may have
/// installed some: a child tries.
fn room_beside(others: &[&BpfProgram]) -> Result<usize, Failure> {
    let step = "measure the room for system call filters";
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).step(step)?;
    match sys::fork().step(step)? {
        Forked::Child => {
            let installed = others.iter().all(|program| super::install(program).is_ok());
            let said = installed && File::from(writer).write_all(&fill().to_le_bytes()).is_ok();
            sys::exit_now(i32::from(!said));
        }
        Forked::Parent(pid) => {
            drop(writer);
            let mut room = [0; size_of::<usize>()];
            let read = File::from(reader).read_exact(&mut room);
            rustix::process::waitpid(Some(pid), WaitOptions::empty()).step(step)?;
            read.step(step)?;
            Ok(usize::from_le_bytes(room))
        }
    }
}

/// Installs as much as fits.
fn fill() -> usize {
    let (mut room, mut length) = (0, LONGEST);
    while length >= SHORTEST {
        match super::install(&allowing(length)) {
            Ok(()) => room += length + PER_FILTER,
            Err(_does_not_fit) => length /= 2,
        }
    }
    room
}

/// The lengths of filters that take up `room` but for [`OWN_FILTERS`].
fn lengths(room: usize) -> Vec<usize> {
    let mut left = room.saturating_sub(OWN_FILTERS);
    let mut lengths = Vec::new();
    while left >= PER_FILTER + SHORTEST {
        let length = (left - PER_FILTER).min(LONGEST);
        lengths.push(length);
        left -= length + PER_FILTER;
    }
    lengths
}

/// The first instruction decides; the kernel remembers that a filter always allows a call, and asks it no more. Those in
/// between are as long in the kernel's form.
fn allowing(length: usize) -> BpfProgram {
    let allow = sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let load = sock_filter { code: 0x00, jt: 0, jf: 0, k: 0 };
    let mut program = vec![load; length.max(SHORTEST)];
    if let [first, .., last] = program.as_mut_slice() {
        (*first, *last) = (allow.clone(), allow);
    }
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_room_for_a_sandboxs_own_filters_is_left() {
        for room in [32_768, 31_000, 20_001, 4096, 2060] {
            let lengths = lengths(room);
            let taken: usize = lengths.iter().map(|length| length + PER_FILTER).sum();
            assert!((OWN_FILTERS..OWN_FILTERS + PER_FILTER + SHORTEST).contains(&(room - taken)), "{room}");
            assert!(lengths.iter().all(|length| (SHORTEST..=LONGEST).contains(length)));
        }
        assert!(lengths(2000).is_empty(), "less than that was left before");
    }
}
