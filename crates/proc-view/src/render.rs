//! The texts, each of the same length whatever the numbers are: shorter numbers are preceded by blanks.

use std::fmt::Write as _;

use sandscope_model::Counters;

/// The kernel tells programs times in hundredths of a second.
pub(super) const USEC_PER_TICK: u64 = 10_000;
const LOADAVG_WIDTH: usize = 63;

/// What the texts say, as last counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Usage {
    pub(super) taken_at_usec: u64,
    pub(super) cpu_usec: u64,
    pub(super) n_pids: u64,
    pub(super) memory: Memory,
}

/// In KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Memory {
    pub(super) used: u64,
    pub(super) cached: u64,
    pub(super) reclaimable: u64,
}

impl From<&Counters> for Usage {
    fn from(counters: &Counters) -> Self {
        let kib = |bytes: u64| bytes >> 10;
        Self {
            taken_at_usec: counters.taken_at_usec,
            cpu_usec: counters.cpu_usage_usec,
            n_pids: counters.n_pids,
            memory: Memory {
                used: kib(counters.memory_current_bytes),
                cached: kib(counters.memory_file_bytes),
                reclaimable: kib(counters.memory_reclaimable_bytes),
            },
        }
    }
}

/// Processor time since the sandbox was made, of all its processors together, in clock ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Times {
    pub(super) busy: u64,
    pub(super) idle: u64,
}

impl Times {
    pub(super) fn of(now: &Usage, since_usec: i64, n_cpus: u32) -> Self {
        let taken_at = i64::try_from(now.taken_at_usec).unwrap_or(i64::MAX);
        let age = u64::try_from(taken_at.saturating_sub(since_usec)).unwrap_or_default();
        let busy = now.cpu_usec / USEC_PER_TICK;
        let all = (age / USEC_PER_TICK).saturating_mul(n_cpus.into());
        Self { busy, idle: all.saturating_sub(busy) }
    }
}

/// How many processors were busy on average over the last one, five and fifteen minutes, as the kernel weighs them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Load([f64; 3]);

impl Load {
    #[expect(clippy::cast_precision_loss, reason = "an average to two decimals")]
    pub(super) fn add(&mut self, before: &Usage, now: &Usage) {
        let passed = now.taken_at_usec.saturating_sub(before.taken_at_usec);
        if passed == 0 {
            return;
        }
        let busy = now.cpu_usec.saturating_sub(before.cpu_usec) as f64 / passed as f64;
        for (average, minutes) in self.0.iter_mut().zip([1.0, 5.0, 15.0]) {
            let kept = (-(passed as f64) / (minutes * 60e6)).exp();
            *average = *average * kept + busy * (1.0 - kept);
        }
    }
}

pub(super) fn loadavg(load: &Load, n_pids: u64) -> String {
    let [one, five, fifteen] = load.0;
    let running = u64::from(one >= 0.5);
    let text = format!("{one:.2} {five:.2} {fifteen:.2} {running}/{n_pids} {n_pids}");
    format!("{text:<LOADAVG_WIDTH$}\n")
}

/// What the kernel can take back counts as available.
pub(super) fn meminfo(memory_mb: u32, now: Memory) -> String {
    let total = u64::from(memory_mb) << 10;
    let used = now.used.min(total);
    let cached = now.cached.min(used);
    let available = total - used + now.reclaimable.min(used);
    let anonymous = used - cached;
    let lines = [
        ("MemTotal", total),
        ("MemFree", total - used),
        ("MemAvailable", available),
        ("Buffers", 0),
        ("Cached", cached),
        ("SwapCached", 0),
        ("Active", anonymous),
        ("Inactive", cached),
        ("Active(anon)", anonymous),
        ("Inactive(anon)", 0),
        ("Active(file)", 0),
        ("Inactive(file)", cached),
        ("Unevictable", 0),
        ("Mlocked", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", anonymous),
        ("Mapped", 0),
        ("Shmem", 0),
        ("KReclaimable", 0),
        ("Slab", 0),
        ("SReclaimable", 0),
        ("SUnreclaim", 0),
        ("KernelStack", 0),
        ("PageTables", 0),
        ("CommitLimit", total),
        ("Committed_AS", used),
        ("VmallocTotal", 0),
        ("VmallocUsed", 0),
    ];
    let mut text = String::with_capacity(1024);
    for (name, kib) in lines {
        let _never_fails = writeln!(text, "{:<16}{kib:>12} kB", format_args!("{name}:").to_string());
    }
    text
}

pub(super) fn stat(times: &Times, n_cpus: u32, made_at: u64, n_pids: u64) -> String {
    let mut text = String::with_capacity(1024);
    let mut line = |name: &str, busy: u64, idle: u64| {
        let _never_fails = writeln!(text, "{name:<7}{busy:>14} 0 0 {idle:>14} 0 0 0 0 0 0");
    };
    line("cpu", times.busy, times.idle);
    let n = u64::from(n_cpus.max(1));
    for cpu in 0..n {
        // Which of them it was nobody counts: equal shares that add up.
        let share = |all: u64| all / n + u64::from(cpu < all % n);
        line(&format!("cpu{cpu}"), share(times.busy), share(times.idle));
    }
    let _never_fails = write!(
        text,
        "intr 0\nctxt 0\nbtime {made_at:>12}\nprocesses {n_pids:>12}\nprocs_running 1\nprocs_blocked 0\nsoftirq 0\n"
    );
    text
}

/// As many processors as the sandbox has, all like the host's first.
pub(super) fn cpuinfo(first: &str, n_cpus: u32) -> String {
    let mut text = String::with_capacity((first.len() + 8) * n_cpus as usize);
    for cpu in 0..n_cpus {
        for line in first.lines() {
            let Some((name, value)) = line.split_once(':') else {
                let _never_fails = writeln!(text, "{line}");
                continue;
            };
            let own = match name.trim() {
                "processor" | "core id" | "apicid" | "initial apicid" => Some(cpu),
                "siblings" | "cpu cores" => Some(n_cpus),
                "physical id" => Some(0),
                _ => None,
            };
            let _never_fails = match own {
                Some(number) => writeln!(text, "{name}: {number}"),
                None => writeln!(text, "{name}:{value}"),
            };
        }
        text.push('\n');
    }
    text
}

pub(super) fn cpu_list(n_cpus: u32) -> String {
    if n_cpus <= 1 { "0\n".to_owned() } else { format!("0-{}\n", n_cpus - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(seconds: u64, busy_usec: u64) -> Usage {
        Usage { taken_at_usec: seconds * 1_000_000, cpu_usec: busy_usec, n_pids: 3, ..Usage::default() }
    }

    fn value(text: &str, name: &str) -> u64 {
        let line = text.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn memory_adds_up_and_never_exceeds_what_there_is() {
        let text = meminfo(512, Memory { used: 100 << 10, cached: 60 << 10, reclaimable: 50 << 10 });
        assert_eq!(value(&text, "MemTotal"), 512 << 10);
        assert_eq!(value(&text, "MemFree"), 412 << 10);
        assert_eq!(value(&text, "MemAvailable"), 462 << 10);
        assert_eq!(value(&text, "Cached"), 60 << 10);
        assert_eq!(value(&text, "Inactive(file)"), 60 << 10);
        for (used, cached, reclaimable) in [(u64::MAX, u64::MAX, u64::MAX), (1, 1 << 40, 1 << 50), (0, 0, 0)]
        {
            let other = meminfo(512, Memory { used, cached, reclaimable });
            assert_eq!(other.len(), text.len());
            assert!(value(&other, "MemAvailable") <= 512 << 10);
        }
    }

    #[test]
    fn times_add_up_over_the_processors() {
        let times = Times::of(&counted(110, 5_000_000), 10_000_000, 3);
        assert_eq!(times, Times { busy: 500, idle: 29_500 });
        let text = stat(&times, 3, 1_700_000_000, 3);
        let column =
            |line: &str, index: usize| line.split_whitespace().nth(index).unwrap().parse::<u64>().unwrap();
        let of_each: Vec<&str> =
            text.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).collect();
        assert_eq!(of_each.len(), 3);
        assert_eq!(of_each.iter().map(|line| column(line, 1)).sum::<u64>(), 500);
        assert_eq!(of_each.iter().map(|line| column(line, 4)).sum::<u64>(), 29_500);
        assert_eq!(stat(&Times::default(), 3, 0, 0).len(), text.len());
        // A clock behind, and more time used than passed.
        assert_eq!(Times::of(&counted(1, 5_000_000), 10_000_000, 1).idle, 0);
    }

    #[test]
    fn load_rises_and_falls_as_the_kernels_does() {
        let mut load = Load::default();
        load.add(&counted(0, 0), &counted(60, 60_000_000));
        assert_eq!(loadavg(&load, 3).trim_end(), "0.63 0.18 0.06 1/3 3");
        load.add(&counted(60, 0), &counted(660, 0));
        assert!(load.0[0] < 0.001 && load.0[2] < load.0[1] + 0.1, "{load:?}");
        load.add(&counted(5, 0), &counted(5, 9));
        assert_eq!(loadavg(&load, 3).len(), loadavg(&Load([1e6; 3]), u32::MAX.into()).len());
    }

    #[test]
    fn processors_are_numbered_anew() {
        let first = "processor\t: 7\nmodel name\t: X: Y\nsiblings\t: 64\nflags\t\t: a b\npower management:";
        assert_eq!(
            cpuinfo(first, 2),
            "processor\t: 0\nmodel name\t: X: Y\nsiblings\t: 2\nflags\t\t: a b\npower management:\n\n\
             processor\t: 1\nmodel name\t: X: Y\nsiblings\t: 2\nflags\t\t: a b\npower management:\n\n"
        );
        assert_eq!((cpu_list(1).as_str(), cpu_list(4).as_str()), ("0\n", "0-3\n"));
    }
}
