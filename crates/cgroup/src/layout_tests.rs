use super::*;

fn hierarchy(version: Version, controllers: &[Controller], mount: &str, own: &str) -> Hierarchy {
    let mount_point = PathBuf::from(mount);
    Hierarchy { version, controllers: controllers.to_vec(), own_dir: mount_point.join(own), mount_point }
}

const CORE: [Controller; 3] = [Controller::Cpu, Controller::Memory, Controller::Pids];

fn v1_host() -> Vec<Hierarchy> {
    Controller::ALL.iter().map(|c| hierarchy(Version::V1, &[*c], &format!("/cg/{c}"), "own")).collect()
}

fn dir_on_v2(own: &str, parent: &str) -> PathBuf {
    let host = [hierarchy(Version::V2, &CORE, "/cg", own)];
    plan(&host, Path::new(parent), false).expect("complete").remove(0).dir
}

#[test]
fn version_one_needs_its_own_freezer_and_accounting() {
    let parents = plan(&v1_host(), Path::new("boxes"), false).expect("complete");
    assert_eq!(parents.len(), 6);
    assert!(parents.iter().all(|parent| parent.dir.ends_with("own/boxes")));
}

#[test]
fn hybrid_takes_freezing_and_cpu_time_from_version_two() {
    let mut host = v1_host();
    host.push(hierarchy(Version::V2, &[], "/cg/unified", "deep/own"));
    let parents = plan(&host, Path::new("boxes"), false).expect("complete");
    let names: Vec<_> = parents.iter().flat_map(|parent| parent.controllers.clone()).collect();
    assert_eq!(names, [Controller::Cpu, Controller::Memory, Controller::Pids, Controller::Devices]);
    assert_eq!(parents.last().map(|parent| parent.dir.clone()), Some("/cg/unified/deep/own/boxes".into()));
}

#[test]
fn which_cpus_are_used_stands_in_groups_of_version_two_alone_and_is_no_need() {
    let host = [hierarchy(Version::V2, &[&CORE[..], &[Controller::Cpuset]].concat(), "/cg", "")];
    let parents = plan(&host, Path::new("boxes"), false).expect("complete");
    assert!(parents[0].controllers.contains(&Controller::Cpuset));
    let parents = plan(&v1_host(), Path::new("boxes"), false).expect("complete");
    assert!(parents.iter().all(|parent| !parent.controllers.contains(&Controller::Cpuset)));
}

#[test]
fn a_controller_that_is_no_need_and_not_handed_down_keeps_nobody_from_the_others() {
    let root = tempfile::tempdir().expect("a directory");
    std::fs::write(root.path().join("cgroup.subtree_control"), "cpu memory pids\n").expect("written");
    let a = root.path().join("a");
    std::fs::create_dir(&a).expect("made");
    // A file that can be read and not written.
    std::os::unix::fs::symlink("/proc/uptime", a.join("cgroup.subtree_control")).expect("made");
    let parent = Parent {
        version: Version::V2,
        controllers: vec![Controller::Cpuset],
        mount_point: root.path().to_path_buf(),
        own_dir: root.path().to_path_buf(),
        dir: a,
    };
    parent.prepare().expect("prepared all the same");
}

#[test]
fn what_is_missing_is_named() {
    let without = |missing: Controller| {
        let host: Vec<_> =
            v1_host().into_iter().filter(|hierarchy| !hierarchy.controllers.contains(&missing)).collect();
        plan(&host, Path::new("boxes"), false)
    };
    assert!(matches!(without(Controller::Memory), Err(CgroupError::ControllerMissing(Controller::Memory))));
    assert!(matches!(without(Controller::Freezer), Err(CgroupError::FreezerMissing)));
    assert!(without(Controller::Devices).is_ok(), "a second line of defence, not a need");
}

#[test]
fn version_two_parents_stay_clear_of_systemds_groups_and_of_the_servers_own() {
    assert_eq!(dir_on_v2("", "boxes"), Path::new("/cg/boxes"));
    assert_eq!(dir_on_v2("ci/job", "boxes"), Path::new("/cg/ci/job/boxes"));
    assert_eq!(dir_on_v2("ci/job/sandscope-server", "boxes"), Path::new("/cg/ci/job/boxes"));
    assert_eq!(dir_on_v2("system.slice/sandscope.service", "boxes"), Path::new("/cg/boxes"));
    assert_eq!(dir_on_v2("ci/job", "/there/boxes"), Path::new("/cg/there/boxes"));
}

#[test]
fn a_parent_cannot_climb() {
    for sound in ["sandscope", "a/b", "/a/b"] {
        assert!(is_sound_parent(Path::new(sound)), "{sound}");
    }
    for unsound in ["", "/", "..", "../x", "a/../../b"] {
        assert!(!is_sound_parent(Path::new(unsound)), "{unsound}");
    }
}

#[test]
fn controllers_are_handed_down_every_step_and_only_once() {
    let root = tempfile::tempdir().expect("a directory");
    let dir = root.path().join("a/b");
    std::fs::create_dir_all(&dir).expect("made");
    let file = |dir: &Path| dir.join("cgroup.subtree_control");
    std::fs::write(file(root.path()), "cpuset cpu memory pids\n").expect("written");
    std::fs::write(file(&root.path().join("a")), "memory\n").expect("written");
    std::fs::write(file(&dir), "").expect("written");
    let host = [hierarchy(Version::V2, &CORE, root.path().to_str().expect("plain"), "")];
    let parents = plan(&host, Path::new("a/b"), false).expect("complete");
    parents[0].prepare().expect("prepared");
    let text = |dir: &Path| std::fs::read_to_string(file(dir)).expect("read");
    assert_eq!(text(root.path()), "cpuset cpu memory pids\n");
    // A plain file keeps what was there behind what was written over it.
    assert_eq!(text(&root.path().join("a")), "+cpu +pids");
    assert_eq!(text(&dir), "+cpu +memory +pids");
}
