//! This machine, as `GET /nodes` shows it: what sandboxes were given, what is used, and how the server itself does.
//!
//! Read when it is asked for, from `/proc` and the file system of the data directory; what cannot be read is 0 where
//! the contract knows no `null`, and `null` elsewhere.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sandscope_api::Health;
use sandscope_lifecycle::{Lifecycle, Reconciled};
use sandscope_model::{Clock, MetricField, StateName, Timestamp, Uptime};
use sandscope_sampler::Live;
use sandscope_wire::details::{PressureMetric, PressureMetrics, StallMetric};
use sandscope_wire::node::{
    CLUSTER_ID, MachineInfo, NodeDisk, NodeExtra, NodeMetrics, NodeSandboxes, NodeUse, NodeView,
    ReconcilerView,
};
use tokio::sync::watch;

/// So long after its reading a point is no longer the present.
const MAX_AGE: Duration = Duration::from_secs(5);
/// Milliseconds over which CPU in use is measured at least.
const LEAST_SPAN: Duration = Duration::from_secs(1);

/// What the view is made of.
pub(crate) struct Node {
    pub(crate) lifecycle: Lifecycle,
    pub(crate) live: Live,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) health: watch::Receiver<Health>,
    pub(crate) reconciled: watch::Receiver<Reconciled>,
    pub(crate) data_dir: PathBuf,
    pub(crate) instance_id: String,
    pub(crate) started_at: Timestamp,
    pub(crate) cpu: Mutex<CpuMeter>,
}

/// How busy the machine was between two readings.
#[derive(Debug, Default)]
pub(crate) struct CpuMeter {
    read_at: Option<Uptime>,
    total: u64,
    idle: u64,
    percent: u32,
}

impl CpuMeter {
    /// Takes the first line of `/proc/stat`.
    pub(crate) fn read(&mut self, stat: &str, now: Uptime) -> u32 {
        let is_new = self.read_at.is_none_or(|at| now.since(at) >= LEAST_SPAN);
        let Some(line) = stat.lines().next().filter(|_| is_new) else { return self.percent };
        let ticks: Vec<u64> = line.split_ascii_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
        // Guests' time is part of that of their hosts' processes.
        let total: u64 = ticks.iter().take(8).sum();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        let (all, unused) = (total.saturating_sub(self.total), idle.saturating_sub(self.idle));
        // Rounded to the nearest.
        if let Some(percent) = (all.saturating_sub(unused) * 100 + all / 2).checked_div(all) {
            self.percent = u32::try_from(percent.min(100)).unwrap_or(100);
        }
        (self.read_at, self.total, self.idle) = (Some(now), total, idle);
        self.percent
    }
}

impl Node {
    /// The machine now.
    pub(crate) fn view(&self) -> NodeView {
        let creates = self.lifecycle.create_counts();
        let (sandboxes, given) = self.sandboxes();
        let is_draining = *self.health.borrow() == Health::Draining;
        NodeView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: env!("SANDSCOPE_COMMIT").to_owned(),
            id: id(),
            service_instance_id: self.instance_id.clone(),
            cluster_id: CLUSTER_ID.to_owned(),
            machine_info: machine(&text("/proc/cpuinfo")),
            status: if is_draining { "draining" } else { "ready" }.to_owned(),
            status_changed_at: self.started_at,
            sandbox_count: sandboxes.running,
            metrics: self.metrics(&given),
            create_successes: creates.n_created,
            create_fails: creates.n_failed,
            sandbox_starting_count: creates.n_under_way,
            sandscope: NodeExtra {
                sandboxes,
                used: self.used(),
                allocated_disk_bytes: given.disk_bytes,
                load: load(&text("/proc/loadavg")),
                pressure: PressureMetrics {
                    cpu: pressure(&text("/proc/pressure/cpu")),
                    memory: pressure(&text("/proc/pressure/memory")),
                    io: pressure(&text("/proc/pressure/io")),
                },
                reconciler: reconciler(&self.reconciled.borrow()),
            },
        }
    }

    fn sandboxes(&self) -> (NodeSandboxes, Given) {
        let (mut count, mut given) = (NodeSandboxes::default(), Given::default());
        for sandbox in self.lifecycle.sandboxes() {
            let spec = &sandbox.spec;
            match sandbox.state.name() {
                StateName::Running => count.running += 1,
                StateName::Paused => count.paused += 1,
                _ => count.changing += 1,
            }
            // A paused one holds no CPU, but its memory.
            if sandbox.state.name() != StateName::Paused {
                given.cpus += spec.vcpu_count;
            }
            given.memory_bytes += u64::from(spec.memory_mb) << 20;
            given.disk_bytes += u64::from(spec.disk_mb) << 20;
        }
        (count, given)
    }

    fn used(&self) -> NodeUse {
        self.live.newest(self.clock.uptime(), MAX_AGE).into_iter().fold(NodeUse::default(), |used, point| {
            let sample = point.sample;
            NodeUse {
                cpu_cores: used.cpu_cores + sample.cpus_used(),
                memory_bytes: used.memory_bytes + sample.or_zero(MetricField::MemUsed),
                disk_bytes: used.disk_bytes + sample.or_zero(MetricField::DiskUsed),
            }
        })
    }

    fn metrics(&self, given: &Given) -> NodeMetrics {
        let meminfo = text("/proc/meminfo");
        let number = |key: &str| number(&meminfo, key);
        let (total, available) = (number("MemTotal:") << 10, number("MemAvailable:") << 10);
        let huge = number("HugePages_Total:");
        let cpu_percent = self
            .cpu
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .read(&text("/proc/stat"), self.clock.uptime());
        NodeMetrics {
            allocated_cpu: given.cpus,
            cpu_percent,
            cpu_count: std::thread::available_parallelism()
                .map_or(0, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
            allocated_memory_bytes: given.memory_bytes,
            memory_used_bytes: total.saturating_sub(available),
            memory_total_bytes: total,
            huge_pages_total: huge,
            huge_pages_used: huge.saturating_sub(number("HugePages_Free:")),
            huge_pages_reserved: number("HugePages_Rsvd:"),
            huge_page_size_bytes: number("Hugepagesize:") << 10,
            disks: disk(&self.data_dir, &text("/proc/self/mountinfo")).into_iter().collect(),
        }
    }
}

/// What sandboxes were given.
#[derive(Default)]
struct Given {
    cpus: u32,
    memory_bytes: u64,
    disk_bytes: u64,
}

/// How comparing store and host has been going, as answered.
pub(crate) fn reconciler(status: &Reconciled) -> ReconcilerView {
    ReconcilerView {
        rounds: status.n_rounds,
        failed_rounds: status.n_failed,
        last_at: status.last_at,
        last_seconds: status.last_took.as_secs_f64(),
        open: u64::try_from(status.n_open).unwrap_or(u64::MAX),
        settled: status.n_settled,
        problems: status.problems.clone(),
    }
}

fn text(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The machine's name.
fn id() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The first number behind `key`.
fn number(meminfo: &str, key: &str) -> u64 {
    let rest = meminfo.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    rest.split_ascii_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn machine(cpuinfo: &str) -> MachineInfo {
    let value = |key: &str| {
        let of_key = |line: &str| {
            let (found, value) = line.split_once(':')?;
            (found.trim() == key).then(|| value.trim().to_owned())
        };
        cpuinfo.lines().find_map(of_key).unwrap_or_default()
    };
    MachineInfo {
        cpu_family: value("cpu family"),
        cpu_model: value("model"),
        cpu_model_name: value("model name"),
        cpu_architecture: std::env::consts::ARCH.to_owned(),
    }
}

fn load(loadavg: &str) -> Option<[f64; 3]> {
    let averages: Vec<f64> = loadavg.split(' ').take(3).filter_map(|n| n.parse().ok()).collect();
    averages.try_into().ok()
}

fn pressure(text: &str) -> Option<PressureMetric> {
    let stall = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let value = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let average = |key: &str| value(key)?.parse().ok();
        Some(StallMetric {
            avg10: average("avg10")?,
            avg60: average("avg60")?,
            avg300: average("avg300")?,
            total_usec: value("total")?.parse().ok()?,
        })
    };
    Some(PressureMetric { some: stall("some ")?, full: stall("full ") })
}

/// The file system that `dir` is on.
fn disk(dir: &Path, mountinfo: &str) -> Option<NodeDisk> {
    let dir = dir.canonicalize().ok()?;
    let size = rustix::fs::statvfs(&dir).ok()?;
    // Number, parent, device, root, mount point, options …, a hyphen, type, source, more options.
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let point = before.split(' ').nth(4)?.replace("\\040", " ");
        let mut after = after.split(' ');
        Some((point, after.next()?.to_owned(), after.next()?.to_owned()))
    };
    // Of several at one place the last is on top.
    let mounts = mountinfo.lines().filter_map(mount).filter(|(point, ..)| dir.starts_with(point));
    let (mount_point, filesystem_type, device) = mounts.max_by_key(|(point, ..)| point.len())?;
    Some(NodeDisk {
        mount_point,
        device,
        filesystem_type,
        used_bytes: size.f_blocks.saturating_sub(size.f_bavail) * size.f_frsize,
        total_bytes: size.f_blocks * size.f_frsize,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Uptime {
        Uptime::new(Duration::from_millis(50_000 + ms))
    }

    #[test]
    fn cpu_in_use_is_that_between_two_readings() {
        let mut meter = CpuMeter::default();
        assert_eq!(meter.read("cpu  100 0 100 700 100 0 0 0 50 0\n", at(0)), 20, "since the machine started");
        assert_eq!(meter.read("cpu  190 0 100 710 100 0 0 0 50 0\n", at(999)), 20, "too soon");
        assert_eq!(meter.read("cpu  190 0 100 710 100 0 0 0 50 0\n", at(1_000)), 90);
        assert_eq!(meter.read("", at(5_000)), 90);
    }

    #[test]
    fn what_the_kernel_says_is_read() {
        let some = "some avg10=1.50 avg60=0.25 avg300=0.00 total=12345\n";
        let found = pressure(&format!("{some}full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n")).unwrap();
        assert_eq!((found.some.avg10, found.some.total_usec), (1.5, 12_345));
        assert_eq!(found.full.unwrap().total_usec, 7);
        assert_eq!(pressure(some).unwrap().full, None);
        assert_eq!(pressure(""), None);
        assert_eq!(load("0.50 1.25 2.00 3/456 789\n"), Some([0.5, 1.25, 2.0]));
        assert_eq!(load(""), None);
        assert_eq!(number("MemTotal:       16 kB\n", "MemTotal:"), 16);
        let info = machine("cpu family\t: 6\nmodel\t\t: 85\nmodel name\t: X\ncpu family\t: 7\n");
        assert_eq!((info.cpu_family.as_str(), info.cpu_model.as_str()), ("6", "85"));
        let mounts = "1 0 8:1 / / rw - ext4 /dev/root rw\n2 1 0:5 / /proc rw shared:1 - proc proc rw\n";
        let root = disk(Path::new("/proc/self"), mounts).unwrap();
        assert_eq!((root.mount_point.as_str(), root.filesystem_type.as_str()), ("/proc", "proc"));
    }
}
