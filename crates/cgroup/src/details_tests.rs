use std::path::Path;

use super::*;
use sandscope_model::Stall;

/// Files of a hierarchy as the kernel writes them, in directories of their own.
fn write(dir: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        std::fs::write(dir.join(name), text).unwrap();
    }
}

fn group(version: Version, controllers: &[Controller], files: &[(&str, &str)]) -> (tempfile::TempDir, Group) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), files);
    let group = Group::open(version, controllers.to_vec(), dir.path().to_owned()).unwrap();
    (dir, group)
}

const PRESSURE: &str = "some avg10=12.34 avg60=1.00 avg300=0.07 total=1234567\n\
                        full avg10=1.00 avg60=0.50 avg300=0.00 total=89\n";

#[test]
fn version_2_says_everything() {
    let files = [
        (
            "cpu.stat",
            "usage_usec 900\nuser_usec 600\nsystem_usec 300\nnice_usec 0\nnr_periods 10\nnr_throttled 4\n\
             throttled_usec 77\nnr_bursts 0\nburst_usec 0\n",
        ),
        ("memory.current", "4096000\n"),
        ("memory.peak", "5000000\n"),
        ("memory.stat", "anon 1000\nfile 2000\nkernel 300\nkernel_stack 16\ninactive_file 9\n"),
        ("memory.swap.current", "0\n"),
        ("memory.events", "low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 0\n"),
    ];
    let (_dir, group) = group(Version::V2, &[Controller::Cpu, Controller::Memory], &files);
    assert_eq!(
        cpu(Some(&group), Some(&group), None),
        CpuDetails {
            usage_usec: Some(900),
            user_usec: Some(600),
            system_usec: Some(300),
            n_periods: Some(10),
            n_throttled: Some(4),
            throttled_usec: Some(77),
        }
    );
    assert_eq!(
        memory(&group),
        MemoryDetails {
            current_bytes: Some(4_096_000),
            peak_bytes: Some(5_000_000),
            anon_bytes: Some(1_000),
            file_bytes: Some(2_000),
            kernel_bytes: Some(300),
            swap_bytes: Some(0),
            n_oom_kills: Some(1),
        }
    );
}

#[test]
fn version_1_has_other_names_and_units() {
    let accounted = [
        ("cpuacct.usage", "900000\n"),
        ("cpuacct.usage_user", "600000\n"),
        ("cpuacct.usage_sys", "300000\n"),
    ];
    let (_a, accounted) = group(Version::V1, &[Controller::Cpuacct], &accounted);
    let limited = [("cpu.stat", "nr_periods 3\nnr_throttled 1\nthrottled_time 5000\nnr_bursts 0\n")];
    let (_b, limited) = group(Version::V1, &[Controller::Cpu], &limited);
    let details = cpu(None, Some(&limited), Some(&accounted));
    assert_eq!(
        (details.usage_usec, details.user_usec, details.system_usec),
        (Some(900), Some(600), Some(300))
    );
    assert_eq!((details.n_throttled, details.throttled_usec), (Some(1), Some(5)));

    let files = [
        ("memory.usage_in_bytes", "4096000\n"),
        ("memory.max_usage_in_bytes", "5000000\n"),
        ("memory.kmem.usage_in_bytes", "300\n"),
        ("memory.stat", "cache 1\nrss 2\ntotal_cache 2000\ntotal_rss 1000\ntotal_swap 7\n"),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
    ];
    let (_c, group) = group(Version::V1, &[Controller::Memory], &files);
    let details = memory(&group);
    assert_eq!(
        (details.anon_bytes, details.file_bytes, details.swap_bytes),
        (Some(1_000), Some(2_000), Some(7))
    );
    assert_eq!((details.peak_bytes, details.n_oom_kills), (Some(5_000_000), Some(1)));
}

#[test]
fn in_a_hybrid_time_is_version_2_s_and_throttling_version_1_s() {
    let stat = [("cpu.stat", "usage_usec 3550\nuser_usec 0\nsystem_usec 3550\nnice_usec 0\n")];
    let (_a, unified) = group(Version::V2, &[], &stat);
    let limited = [("cpu.stat", "nr_periods 3\nnr_throttled 0\nthrottled_time 0\n")];
    let (_b, limited) = group(Version::V1, &[Controller::Cpu], &limited);
    let details = cpu(Some(&unified), Some(&limited), None);
    assert_eq!((details.usage_usec, details.user_usec), (Some(3_550), Some(0)));
    assert_eq!((details.n_periods, details.throttled_usec), (Some(3), Some(0)));
}

#[test]
fn what_is_not_there_is_none_and_never_zero() {
    let (_a, bare) = group(Version::V2, &[], &[]);
    assert_eq!(cpu(Some(&bare), Some(&bare), None), CpuDetails::default());
    assert_eq!(memory(&bare), MemoryDetails::default());
    let (_b, odd) =
        group(Version::V1, &[], &[("memory.usage_in_bytes", "max\n"), ("memory.stat", "total_rss x\n")]);
    assert_eq!(memory(&odd), MemoryDetails::default());
}

#[test]
fn pressure_is_read_whole_or_not_at_all() {
    let both = parse::pressure(PRESSURE.as_bytes()).unwrap();
    assert_eq!(
        both.some,
        Stall { avg10_pct: 12.34, avg60_pct: 1.0, avg300_pct: 0.07, total_usec: 1_234_567 }
    );
    assert_eq!(both.full.unwrap().total_usec, 89);
    // Before Linux 5.13 there was no `full` line for CPU.
    let some = PRESSURE.lines().next().unwrap();
    assert_eq!(parse::pressure(some.as_bytes()).unwrap().full, None);
    for bad in ["", "some", "some avg10=x avg60=0 avg300=0 total=0", "full avg10=0 avg60=0 avg300=0 total=0"]
    {
        assert_eq!(parse::pressure(bad.as_bytes()), None, "{bad}");
    }
}
