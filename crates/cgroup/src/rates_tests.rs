use super::*;

#[test]
fn lines_say_what_is_limited_and_that_the_rest_is_not() {
    let rates = |read, written| DeviceRates { read, written };
    assert_eq!(line_of_v2("7:3", rates(Some(10), None)), "7:3 rbps=10 wbps=max");
    assert_eq!(line_of_v2("7:3", rates(None, None)), "7:3 rbps=max wbps=max");
    // The kernel takes no zero.
    assert_eq!(line_of_v2("7:3", rates(None, Some(0))), "7:3 rbps=max wbps=1");
}

/// A directory of plain files stands in for the hierarchy: the kernel's replace a device's line, these keep the last write.
#[test]
fn a_device_without_a_limit_is_not_written_about() {
    let dir = tempfile::tempdir().unwrap();
    for name in [READ, WRITTEN] {
        std::fs::write(dir.path().join(name), "7:9 500\n").unwrap();
    }
    let place = [dir.path().to_owned()];
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    set(&[], &place, "7:3", DeviceRates::default()).unwrap();
    assert_eq!(read(READ), "7:9 500\n");
    assert_eq!(limited_in(&place).unwrap(), ["7:9"]);
    set(&[], &place, "7:9", DeviceRates::default()).unwrap();
    assert_eq!((read(READ), read(WRITTEN)), ("7:9 0".to_owned(), "7:9 0".to_owned()));
    set(&[], &place, "7:3", DeviceRates { read: Some(5), written: Some(6) }).unwrap();
    assert_eq!((read(READ), read(WRITTEN)), ("7:3 5".to_owned(), "7:3 6".to_owned()));
}

fn hierarchy(version: Version, controllers: &[Controller], mount_point: &Path) -> Hierarchy {
    let own_dir = mount_point.join("own");
    Hierarchy { version, controllers: controllers.to_vec(), mount_point: mount_point.to_owned(), own_dir }
}

#[test]
fn only_a_whole_hierarchy_of_version_1_can_limit_what_is_written_back() {
    let dir = tempfile::tempdir().unwrap();
    let found = [hierarchy(Version::V1, &[Controller::Io], dir.path())];
    std::fs::write(dir.path().join(WRITTEN), "").unwrap();
    assert!(places(&found, &[]).is_empty(), "part of one, as in a container");
    std::fs::write(dir.path().join(OF_ROOTS), "").unwrap();
    assert_eq!(places(&found, &[]), [dir.path().to_owned(), dir.path().join("own")]);
    let unified = Parent {
        version: Version::V2,
        controllers: vec![Controller::Io],
        mount_point: dir.path().to_owned(),
        own_dir: dir.path().to_owned(),
        dir: dir.path().join("sandscope"),
    };
    assert!(places(&found, &[unified]).is_empty(), "sandboxes' own groups take them");
}
