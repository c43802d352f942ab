use std::os::unix::fs::FileExt as _;

use super::*;

#[test]
fn a_sparse_copy_is_equal_and_as_sparse() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("a"), dir.path().join("b"));
    let source = File::create(&from).unwrap();
    source.set_len(64 << 20).unwrap();
    for at in [0_u64, 5 << 20, (64 << 20) - 4096] {
        source.write_all_at(&[7; 4096], at).unwrap();
    }
    source.sync_all().unwrap();
    let copy = copy_image(&from, &to).unwrap();
    copy.sync_all().unwrap();
    assert!(std::fs::read(&from).unwrap() == std::fs::read(&to).unwrap(), "contents differ");
    assert!(bytes_on_disk(&copy).unwrap() < 1 << 20, "holes were filled");
    let again = copy_image(&from, &to).unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AlreadyExists, "an existing image is never overwritten");
}

#[test]
fn an_empty_image_copies() {
    let dir = tempfile::tempdir().unwrap();
    File::create(dir.path().join("a")).unwrap().set_len(1 << 20).unwrap();
    let copy = copy_image(&dir.path().join("a"), &dir.path().join("b")).unwrap();
    assert_eq!(copy.metadata().unwrap().len(), 1 << 20);
}

#[test]
fn the_kernel_keeps_a_fiftieth_back_by_itself() {
    assert_eq!((kernels_own(15_000), kernels_own(628_000), kernels_own(10)), (300, 4096, 0));
}

#[test]
fn the_state_directory_is_told_by_either_name_of_an_image() {
    for name in ["disks/0a1b", "sandboxes/i1/disk.ext4", "warm/w1/disk.ext4"] {
        assert_eq!(state_of(&Path::new("/data").join(name)), Some(Path::new("/data")), "{name}");
    }
    for name in ["/backing", "/data/sandboxes/i1/other", "/disk.ext4", "/"] {
        assert_eq!(state_of(Path::new(name)), None, "{name}");
    }
}
