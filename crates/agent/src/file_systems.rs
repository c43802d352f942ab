//! Kinds of file systems.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::fstatfs;

/// Magic numbers of file systems that the kernel makes up: endless, and of no interest.
const MADE_UP: [u64; 14] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x27_e0eb,   // cgroup
    0x6367_7270, // cgroup2
    0x1cd1,      // devpts
    0x1980_0202, // mqueue
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0xcafe_4a11, // bpf
    0x6165_676c, // pstore
    0x6265_6570, // configfs
    0xde5e_81e4, // efivarfs
    0x4249_4e4d, // binfmt_misc
];

/// And of those whose changes are made elsewhere, where this kernel does not see them.
const NETWORK: [u64; 11] = [
    0x6969,      // nfs
    0xff53_4d42, // cifs
    0xfe53_4d42, // smb2
    0x517b,      // smb
    0x6573_5546, // fuse
    0x0102_1997, // 9p
    0x00c3_6400, // ceph
    0x5346_414f, // afs
    0x6b41_4653, // kafs
    0x7375_7245, // coda
    0x0bd0_0bd0, // lustre
];

/// Which changes on a file system this kernel sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ordinary,
    MadeUp,
    Network,
}

impl Kind {
    /// Of the file system that an open file lies on.
    pub(crate) fn of(opened: impl AsFd) -> io::Result<Self> {
        Ok(Self::of_magic(fstatfs(opened)?.f_type as u64))
    }

    fn of_magic(magic: u64) -> Self {
        // Some architectures extend the sign.
        let magic = magic & 0xffff_ffff;
        if MADE_UP.contains(&magic) {
            Self::MadeUp
        } else if NETWORK.contains(&magic) {
            Self::Network
        } else {
            Self::Ordinary
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_file_systems() {
        assert_eq!(Kind::of_magic(0xef53), Kind::Ordinary);
        assert_eq!(Kind::of_magic(0x794c_7630), Kind::Ordinary, "overlay");
        assert_eq!(Kind::of_magic(0x6573_5546), Kind::Network);
        assert_eq!(Kind::of_magic(0xffff_ffff_ff53_4d42), Kind::Network);
    }
}
