use super::*;

const SDA: u64 = 0x0800;
const OVERLAY: u64 = 0x002f;

fn place() -> Place {
    Place {
        path: "/var/lib/sandscope".into(),
        host: "a".to_owned(),
        machine: Some("m".to_owned()),
        boot: Some("b".to_owned()),
        device: SDA,
        directory: Inode { number: 2, born_ns: Some(10) },
        database: Inode { number: 7, born_ns: Some(11) },
    }
}

#[test]
fn another_name_host_name_or_boot_is_no_other_place() {
    let moved = Place { path: "/srv/sandscope".into(), host: "b".to_owned(), ..place() };
    assert_eq!(place().differs_from(&moved), None);
    let restarted = Place { boot: Some("c".to_owned()), device: SDA + 1, ..place() };
    assert_eq!(place().differs_from(&restarted), None, "devices are numbered anew at every boot");
    let silent = Place { machine: None, boot: None, ..place() };
    assert_eq!(place().differs_from(&silent), None);
    let unborn = Inode { number: 2, born_ns: None };
    assert_eq!(place().differs_from(&Place { directory: unborn, ..place() }), None);
    let remounted = |device| Place { device, ..place() };
    assert_eq!(remounted(OVERLAY).differs_from(&remounted(OVERLAY + 1)), None);
}

#[test]
fn every_way_to_be_a_copy_is_noticed() {
    let host = Place { machine: Some("n".to_owned()), ..place() };
    assert_eq!(place().differs_from(&host), Some(Difference::Host));
    // The root of another file system has the same number.
    let directory = Place { directory: Inode { number: 2, born_ns: Some(12) }, ..place() };
    assert_eq!(place().differs_from(&directory), Some(Difference::Directory));
    let snapshot = Place { device: SDA + 1, ..place() };
    assert_eq!(place().differs_from(&snapshot), Some(Difference::Directory));
    // A number that was free again.
    let database = Place { database: Inode { number: 7, born_ns: Some(12) }, ..place() };
    assert_eq!(place().differs_from(&database), Some(Difference::Database));
}

#[test]
fn a_renamed_directory_is_recognised_and_its_copy_is_not() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| parent.path().join(name);
    std::fs::create_dir(at("data")).unwrap();
    std::fs::write(at("data/db"), "rows").unwrap();
    let first = Place::of(&at("data"), "db").unwrap();
    std::fs::create_dir(at("copy")).unwrap();
    std::fs::copy(at("data/db"), at("copy/db")).unwrap();
    assert_eq!(first.differs_from(&Place::of(&at("copy"), "db").unwrap()), Some(Difference::Directory));
    std::fs::rename(at("data"), at("moved")).unwrap();
    std::fs::write(at("moved/db"), "more rows").unwrap();
    let moved = Place::of(&at("moved"), "db").unwrap();
    assert_eq!(first.differs_from(&moved), None);
    let kept: Place = serde_json::from_str(&serde_json::to_string(&moved).unwrap()).unwrap();
    assert_eq!(kept, moved);
    std::fs::copy(at("copy/db"), at("moved/other")).unwrap();
    std::fs::rename(at("moved/other"), at("moved/db")).unwrap();
    assert_eq!(moved.differs_from(&Place::of(&at("moved"), "db").unwrap()), Some(Difference::Database));
}
