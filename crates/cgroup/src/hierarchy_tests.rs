use super::*;

const HYBRID_CGROUP: &str = "\
9:name=systemd:/
8:pids:/
6:freezer:/
5:devices:/
4:memory:/process_api/c1d6
2:cpuacct:/
1:cpu:/
0::/
";

const HYBRID_MOUNTS: &str = "\
23 1 254:0 / / rw,relatime - ext4 /dev/root rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime shared:7 master:1 - cgroup cgroup rw,devices
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

fn parse(cgroup: &str, mounts: &str) -> Vec<Hierarchy> {
    Hierarchy::parse(cgroup.as_bytes(), mounts.as_bytes())
}

fn having(found: &[Hierarchy], controller: Controller) -> &Hierarchy {
    found.iter().find(|hierarchy| hierarchy.controllers.contains(&controller)).expect("a hierarchy has it")
}

#[test]
fn hybrid_hosts_have_a_hierarchy_per_controller_and_their_own_groups_differ() {
    let found = parse(HYBRID_CGROUP, HYBRID_MOUNTS);
    assert_eq!(found.len(), 7, "the named hierarchy is of no use: {found:?}");
    let memory = having(&found, Controller::Memory);
    assert_eq!(memory.version, Version::V1);
    assert_eq!(memory.own_dir, Path::new("/sys/fs/cgroup/memory/process_api/c1d6"));
    assert_eq!(having(&found, Controller::Cpu).own_dir, Path::new("/sys/fs/cgroup/cpu"));
    let unified = found.iter().find(|hierarchy| hierarchy.version == Version::V2).expect("mounted");
    assert_eq!(unified.own_dir, Path::new("/sys/fs/cgroup/unified"));
    assert!(unified.controllers.is_empty());
}

#[test]
fn a_unified_host_has_one_hierarchy() {
    let found = parse(
        "0::/system.slice/sandscope.service\n",
        "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n",
    );
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].version, Version::V2);
    assert_eq!(found[0].own_dir, Path::new("/sys/fs/cgroup/system.slice/sandscope.service"));
}

#[test]
fn controllers_mounted_together_share_a_hierarchy() {
    let found = parse(
        "3:cpu,cpuacct:/user.slice\n",
        "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n",
    );
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].controllers, vec![Controller::Cpu, Controller::Cpuacct]);
}

#[test]
fn a_bind_mount_shows_what_is_below_its_root() {
    let mounts = "35 31 0:32 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
    let below = parse("4:memory:/docker/ab/x\n", mounts);
    assert_eq!(below[0].own_dir, Path::new("/sys/fs/cgroup/memory/x"));
    let same = parse("4:memory:/docker/ab\n", mounts);
    assert_eq!(same[0].own_dir, Path::new("/sys/fs/cgroup/memory"));
    let elsewhere = parse("4:memory:/other\n", mounts);
    assert_eq!(elsewhere[0].own_dir, Path::new("/sys/fs/cgroup/memory"));
    let outside = parse("0::/../b\n", "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    assert_eq!(outside[0].own_dir, Path::new("/sys/fs/cgroup"));
}

#[test]
fn a_second_mount_of_the_same_hierarchy_adds_nothing() {
    let twice = format!("{HYBRID_MOUNTS}99 31 0:32 / /mnt/memory rw - cgroup cgroup rw,memory\n");
    assert_eq!(parse(HYBRID_CGROUP, &twice), parse(HYBRID_CGROUP, HYBRID_MOUNTS));
}

#[test]
fn blanks_in_paths_are_escaped() {
    let found = parse("0::/a b\n", "29 23 0:26 / /sys/my\\040groups rw - cgroup2 cgroup2 rw\n");
    assert_eq!(found[0].own_dir, Path::new("/sys/my groups/a b"));
    assert_eq!(unescape(b"a\\04"), Path::new("a\\04"));
    assert_eq!(unescape(b"a\\134b\\"), Path::new("a\\b\\"));
}

#[test]
fn nonsense_is_skipped() {
    assert!(parse("", "").is_empty());
    assert!(parse("x\n::\n4:memory\n", "1 2 3\n- cgroup\n35 31 0:32 / /m rw - cgroup\n").is_empty());
}
