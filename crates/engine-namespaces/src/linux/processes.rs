//! A sandbox's processes, read from `/proc`.
//!
//! Only what the kernel keeps itself is read: a process's name, state and counters. Its command line and environment
//! lie in its own memory, and a reader of those waits as long as the process likes (a page behind a file system or
//! a fault handler of its own). The name is whatever the process says, up to 15 bytes.

use sandscope_engine::EngineError;
use sandscope_model::ProcessReading;

use super::sandbox::Sandbox;
use super::step::step;

/// Processes read at most.
const MAX_PROCESSES: usize = 4096;

impl Sandbox {
    pub(crate) fn processes(&self) -> Result<Vec<ProcessReading>, EngineError> {
        if self.live().is_none() {
            return Err(EngineError::NotFound);
        }
        let pids = self
            .cgroup
            .processes(MAX_PROCESSES)
            .map_err(|error| step("list processes")(std::io::Error::other(error)))?;
        let tick_usec = 1_000_000 / rustix::param::clock_ticks_per_second().max(1);
        let page_bytes = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        let read = |pid: i32| {
            let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
            let status = std::fs::read(format!("/proc/{pid}/status")).ok()?;
            parse(pid, &stat, &status, tick_usec, page_bytes)
        };
        // Those that have ended since are left out.
        Ok(pids.into_iter().filter_map(read).collect())
    }
}

fn parse(
    host_pid: i32,
    stat: &[u8],
    status: &[u8],
    tick_usec: u64,
    page_bytes: u64,
) -> Option<ProcessReading> {
    // The name may contain anything, parentheses and line feeds included: it ends at the last parenthesis.
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let name = stat.get(open + 1..close)?.to_vec();
    let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let ticks = number(11)?.saturating_add(number(12)?);
    Some(ProcessReading {
        host_pid,
        started_ticks: number(19)?,
        pid: inner_pid(status).unwrap_or(host_pid),
        name,
        state: fields.first()?.chars().next()?,
        n_threads: u32::try_from(number(17)?).unwrap_or(u32::MAX),
        cpu_usec: ticks.saturating_mul(tick_usec),
        rss_bytes: number(21)?.saturating_mul(page_bytes),
    })
}

/// The process's number in its innermost namespace. The kernel escapes line feeds in the name above it.
fn inner_pid(status: &[u8]) -> Option<i32> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"NSpid:"))?;
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_call_itself_anything() {
        let stat =
            b"77 (a) R (\n\xff) S 1 7 7 0 -1 4194560 100 0 0 0 15 5 0 0 20 0 3 0 4242 1000000 25 1844674";
        let status = b"Name:\ta) R (\\n\xff\nState:\tS (sleeping)\nNSpid:\t77\t5\nThreads:\t3\n";
        let reading = parse(77, stat, status, 10_000, 4096).unwrap();
        assert_eq!(reading.name, b"a) R (\n\xff");
        assert_eq!((reading.pid, reading.host_pid, reading.state), (5, 77, 'S'));
        assert_eq!((reading.cpu_usec, reading.rss_bytes), (200_000, 25 * 4096));
        assert_eq!((reading.n_threads, reading.started_ticks), (3, 4242));
    }

    #[test]
    fn what_is_cut_short_is_no_process() {
        assert_eq!(parse(1, b"1 (x", b"", 1, 1), None);
        assert_eq!(parse(1, b"1 (x) S 1 2", b"", 1, 1), None);
        assert_eq!(parse(1, b"", b"", 1, 1), None);
    }
}
