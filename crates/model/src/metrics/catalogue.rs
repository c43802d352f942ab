//! Every number a sample can hold, in one table.
//!
//! From a line of it follow: the field of [`Values`](super::Values), its columns in stored blocks and how they roll up,
//! its place in rows of the open hour, how it is derived from two readings, the operator's and OTLP's families, the
//! API's schema and the table in `docs/metrics.md`. An engine says what it reads, `wire` what the key is called.

/// How a number is derived, and how several of it become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// A level at one moment. Rolled up to its largest value and its sum.
    Gauge,
    /// What was added since the reading before: readings give the total so far. Rolled up as a gauge is; the sum of
    /// all is the total.
    Difference,
    /// The total so far. Rolled up to its largest value.
    Total,
    /// What may be used. Rolled up to its largest value.
    Limit,
}

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetricUnit {
    /// Hundredths of a percent.
    CentiPercent,
    /// A number of things: processes, files, packets, operations.
    Count,
    /// A number of bytes.
    Bytes,
    /// Milliseconds. Cut, not rounded, from totals: so differences add up to the total.
    Milliseconds,
}

impl MetricUnit {
    /// As documentation writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CentiPercent => "1/100 %",
            Self::Count => "count",
            Self::Bytes => "bytes",
            Self::Milliseconds => "ms",
        }
    }
}

impl MetricKind {
    /// Whether a roll-up keeps the sum, beside the largest value.
    pub const fn has_sum(self) -> bool {
        matches!(self, Self::Gauge | Self::Difference)
    }
}

/// A line of the table.
#[derive(Debug)]
pub struct MetricEntry {
    /// The number that identifies the field in stored data. Never changed, never used again.
    pub id: u16,
    /// Its name, in snake case and with the unit.
    pub name: &'static str,
    /// What it counts.
    pub unit: MetricUnit,
    /// How it is derived and rolled up.
    pub kind: MetricKind,
    /// The first release that stores it.
    pub since: &'static str,
    /// What it is, in one sentence.
    pub doc: &'static str,
    /// Where it comes from.
    pub source: &'static str,
}

macro_rules! catalogue {
    ($($variant:ident = $id:literal, $name:literal, $unit:ident, $kind:ident, $since:literal, $doc:literal, $source:literal;)+) => {
        /// A number a sample can hold.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum MetricField {
            $(#[doc = $doc] $variant,)+
        }

        impl MetricField {
            /// All of them, in the order of their ids.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            const ENTRIES: [MetricEntry; Self::ALL.len()] = [$(MetricEntry {
                id: $id,
                name: $name,
                unit: MetricUnit::$unit,
                kind: MetricKind::$kind,
                since: $since,
                doc: $doc,
                source: $source,
            }),+];
        }
    };
}

catalogue! {
    // id, name, unit, kind, since, what it is, source
    CpuUsed = 1, "cpu_used_centi_pct", CentiPercent, Gauge, "0.1",
        "CPU time used since the reading before, over all the sandbox's CPUs together: one busy thread of two CPUs is 50 %.",
        "`cpuacct.usage` (v1), `cpu.stat` `usage_usec` (v2)";
    CpuCount = 2, "cpu_count", Count, Limit, "0.1", "The CPU limit.", "the template";
    MemUsed = 3, "mem_used_bytes", Bytes, Gauge, "0.1",
        "Memory charged to the sandbox without what the kernel can take back: page cache, reclaimable slab (v2).",
        "`memory.usage_in_bytes` or `memory.current`, minus `inactive_file`, `active_file`, `slab_reclaimable`";
    MemTotal = 4, "mem_total_bytes", Bytes, Limit, "0.1", "The memory limit.", "the template";
    MemCache = 5, "mem_cache_bytes", Bytes, Gauge, "0.1", "Page cache.", "`cache` (v1), `file` (v2) of `memory.stat`";
    DiskUsed = 6, "disk_used_bytes", Bytes, Gauge, "0.1", "Used part of the writable layer: total minus available.",
        "`statfs`";
    DiskTotal = 7, "disk_total_bytes", Bytes, Limit, "0.1", "Size of the writable layer.", "`statfs`";
    Interval = 8, "interval_ms", Milliseconds, Difference, "0.2",
        "Time since the reading before: divide what was added by it to get a rate.", "the host's monotonic clock";
    CpuStalled = 9, "cpu_stall_ms", Milliseconds, Difference, "0.2", "Time in which some process waited for CPU.",
        "`cpu.pressure` `some`";
    CpuStalledFull = 10, "cpu_stall_full_ms", Milliseconds, Difference, "0.2",
        "Time in which all processes waited for CPU at once.", "`cpu.pressure` `full`, since Linux 5.13";
    MemStalled = 11, "mem_stall_ms", Milliseconds, Difference, "0.2", "Time in which some process waited for memory.",
        "`memory.pressure` `some`";
    MemStalledFull = 12, "mem_stall_full_ms", Milliseconds, Difference, "0.2",
        "Time in which all processes waited for memory at once.", "`memory.pressure` `full`";
    IoStalled = 13, "io_stall_ms", Milliseconds, Difference, "0.2", "Time in which some process waited for I/O.",
        "`io.pressure` `some`";
    IoStalledFull = 14, "io_stall_full_ms", Milliseconds, Difference, "0.2",
        "Time in which all processes waited for I/O at once.", "`io.pressure` `full`";
    CpuThrottled = 15, "cpu_throttled_ms", Milliseconds, Difference, "0.2",
        "Time in which threads were held back by the CPU limit, all CPUs added up.",
        "`cpu.stat` `throttled_time` (v1), `throttled_usec` (v2)";
    DiskRead = 16, "disk_read_bytes", Bytes, Difference, "0.2", "Read from the writable layer's device.",
        "`/sys/block/loop*/stat`";
    DiskWritten = 17, "disk_written_bytes", Bytes, Difference, "0.2", "Written to the writable layer's device.",
        "`/sys/block/loop*/stat`";
    DiskReads = 18, "disk_reads", Count, Difference, "0.2", "Reads its device finished.", "`/sys/block/loop*/stat`";
    DiskWrites = 19, "disk_writes", Count, Difference, "0.2", "Writes its device finished.", "`/sys/block/loop*/stat`";
    NetReceived = 20, "net_rx_bytes", Bytes, Difference, "0.2", "Received, over all interfaces but the loopback.",
        "`/proc/<first process>/net/dev`";
    NetSent = 21, "net_tx_bytes", Bytes, Difference, "0.2", "Sent, over all interfaces but the loopback.",
        "`/proc/<first process>/net/dev`";
    NetReceivedPackets = 22, "net_rx_packets", Count, Difference, "0.2", "Packets received.",
        "`/proc/<first process>/net/dev`";
    NetSentPackets = 23, "net_tx_packets", Count, Difference, "0.2", "Packets sent.",
        "`/proc/<first process>/net/dev`";
    Processes = 24, "processes", Count, Gauge, "0.2", "Processes and threads alive.", "`pids.current`";
    OpenFiles = 25, "open_files", Count, Gauge, "0.2",
        "Files held open; left out with more than 32 processes, whose counting would cost too much.",
        "size of `/proc/<pid>/fd`, since Linux 6.2";
    OomKills = 26, "oom_kills", Count, Total, "0.2", "Processes killed for lack of memory so far.",
        "`memory.oom_control` or `memory.events` `oom_kill`";
}

impl MetricField {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Its line of the table.
    pub const fn entry(self) -> &'static MetricEntry {
        &Self::ENTRIES[self.index()]
    }

    /// The number that identifies it in stored data.
    pub const fn id(self) -> u16 {
        self.entry().id
    }

    /// How it is derived and rolled up.
    pub const fn kind(self) -> MetricKind {
        self.entry().kind
    }

    /// Its place in [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The field with this number; `None` for one that only another version knows.
    pub fn of_id(id: u64) -> Option<Self> {
        let found = Self::ALL.binary_search_by_key(&id, |field| u64::from(field.id())).ok()?;
        Self::ALL.get(found).copied()
    }
}

/// Ids ascend, so that none is given twice, and the presence of all fits the mask of [`Values`](super::Values).
const _: () = {
    assert!(MetricField::COUNT <= 64);
    let mut at = 1;
    while at < MetricField::COUNT {
        assert!(MetricField::ENTRIES[at - 1].id < MetricField::ENTRIES[at].id, "ids of fields must ascend");
        at += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_number_and_names_are_unique() {
        let mut names: Vec<_> = MetricField::ALL.iter().map(|field| field.entry().name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), MetricField::COUNT);
        for field in MetricField::ALL {
            assert_eq!(MetricField::of_id(field.id().into()), Some(*field));
            assert!(field.entry().doc.ends_with('.'), "{field:?}");
        }
        assert_eq!(MetricField::of_id(0), None);
        assert_eq!(MetricField::of_id(u64::MAX), None);
    }

    #[test]
    fn the_first_releases_numbers_are_those_in_its_blocks() {
        let first = MetricField::ALL.iter().filter(|field| field.entry().since == "0.1");
        let first: Vec<_> = first.map(|field| (field.id(), field.entry().name)).collect();
        let expected = [
            (1, "cpu_used_centi_pct"),
            (2, "cpu_count"),
            (3, "mem_used_bytes"),
            (4, "mem_total_bytes"),
            (5, "mem_cache_bytes"),
            (6, "disk_used_bytes"),
            (7, "disk_total_bytes"),
        ];
        assert_eq!(first, expected);
    }
}
