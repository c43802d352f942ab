//! Whose control groups are whose, on this host's own kernel. Needs root; says so loudly where it cannot run.

use std::path::PathBuf;
use std::time::Duration;

use sandscope_cgroup::{CgroupError, CgroupOptions, Cgroups};

/// Much longer than anything takes.
const SOON: Duration = Duration::from_secs(60);

#[test]
fn an_owner_lists_its_own_sets_and_no_others() {
    let parent = PathBuf::from(format!("sandscope-owners-{}", std::process::id()));
    let options = |owner: Option<&str>| CgroupOptions {
        parent: parent.clone(),
        owner: owner.map(ToOwned::to_owned),
        ..CgroupOptions::default()
    };
    let everybody = match Cgroups::open(&options(None)) {
        Ok(cgroups) => cgroups,
        Err(error) if !rustix::process::geteuid().is_root() => {
            println!("SKIPPED owners: needs root ({error})");
            return;
        }
        Err(error) => panic!("cannot use control groups: {error}"),
    };
    let of = |owner: &str| Cgroups::open(&options(Some(owner))).expect("opened");
    // One name begins with the other.
    let (one, other) = (of("0a"), of("0a1"));
    for (cgroups, what) in [(&one, "i1"), (&other, "i1"), (&other, "i2")] {
        cgroups.create(&cgroups.own_name(what)).expect("made");
    }
    // As versions before owners called them.
    everybody.create("i3").expect("made");
    assert_eq!(one.list_own().expect("listed"), ["i1"]);
    assert_eq!(other.list_own().expect("listed"), ["i1", "i2"]);
    let all = everybody.list().expect("listed");
    assert_eq!(all, ["0a-i1", "0a1-i1", "0a1-i2", "i3"]);
    for unsound in ["", "a-b", "../up", "\u{e4}"] {
        let probed = Cgroups::probe(&options(Some(unsound)));
        assert!(matches!(probed, Err(CgroupError::InvalidName(_))), "{unsound:?}");
    }
    for name in all {
        let set = everybody.open_set(&name).expect("opened").expect("there");
        set.remove(SOON).expect("removed");
    }
    everybody.remove_parents().expect("empty");
}
