//! How CPUs are used, and who goes behind the others. Needs root; says so loudly where it cannot run.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a test may panic and must say what it skips")]

#[macro_use]
mod support;

use support::{Host, LIMITS, eventually, spawn, wait_joined};

fn what_all_sets_use_is_counted_and_one_may_go_behind_the_others(host: &Host) {
    let set = host.cgroups().create("a").expect("made");
    let meter = host.cgroups().cpu_meter().expect("opened");
    let before = meter.read().expect("read");
    let mut child = spawn(&set, "while :; do :; done");
    wait_joined(&mut child);
    eventually("it is counted", || {
        let now = meter.read().expect("read");
        now.usage_usec > before.usage_usec && now.waited_usec >= before.waited_usec
    });
    let is_known = set.dirs().any(|dir| dir.join("cpu.idle").exists());
    for yields in [true, false] {
        assert_eq!(set.set_yields(yields).expect("set"), is_known);
        let used = set.cpu_use().expect("read").usage_usec;
        eventually("it goes on", || set.cpu_use().expect("read").usage_usec > used);
        // Limits are set as before.
        set.set_limits(&LIMITS).expect("set");
    }
    set.kill_all().expect("killed");
    child.wait().expect("ended");
}

/// The CPUs that each of its threads may use, once each.
fn cpus_of(set: &sandscope_cgroup::CgroupSet) -> Vec<String> {
    let pids = set.processes(100).expect("listed");
    let status = pids.iter().filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")).ok());
    let line = |status: String| Some(status.split_once("Cpus_allowed_list:\t")?.1.lines().next()?.to_owned());
    let mut cpus: Vec<String> = status.filter_map(line).collect();
    cpus.sort_unstable();
    cpus.dedup();
    cpus
}

fn one_may_be_kept_to_half_of_the_cpus(host: &Host) {
    let sets = ["a", "b"].map(|name| host.cgroups().create(name).expect("made"));
    let mut children = sets.each_ref().map(|set| spawn(set, "sleep 1000 & sleep 1000 & wait"));
    children.iter_mut().for_each(wait_joined);
    eventually("all run", || sets.iter().all(|set| set.processes(100).expect("listed").len() == 3));
    let all = cpus_of(&sets[0]);
    if !sets[0].keep_to_half(true).expect("kept") {
        println!("SKIPPED: this host has one CPU, or does not hand down which are used");
    } else {
        let half = cpus_of(&sets[0]);
        assert!(half.len() == 1 && half != all, "{half:?} of {all:?}");
        assert_eq!(cpus_of(&sets[1]), all);
        for (half_of, all_of) in [([true, true], [false, false]), ([true, false], [false, true])] {
            for (set, kept) in sets.iter().zip(half_of) {
                assert!(set.keep_to_half(kept).expect("kept"));
            }
            for (set, all_of) in sets.iter().zip(all_of) {
                assert_eq!(cpus_of(set), if all_of { all.clone() } else { half.clone() });
            }
        }
        assert!(sets[0].keep_to_half(false).expect("let go"));
        assert_eq!(cpus_of(&sets[0]), all);
    }
    for (set, child) in sets.iter().zip(&mut children) {
        set.kill_all().expect("killed");
        child.wait().expect("ended");
    }
    eventually("nobody needs the place", || host.cgroups().clear_half().expect("removed"));
}

on_both_kinds! {
    one_may_be_kept_to_half_of_the_cpus,
    what_all_sets_use_is_counted_and_one_may_go_behind_the_others,
}
