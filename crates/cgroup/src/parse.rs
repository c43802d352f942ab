//! Parsers of the kernel's text shapes: one number, lines of `key value`, and stalls.

use sandscope_model::{Pressure, Stall};

use crate::stalled::Stalled;

/// Twice what the kernel can be built for.
const MOST_CPUS: u32 = 16_384;

/// The number a file holds; `max`, which means no limit, is the largest number.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    if text == b"max" { Some(u64::MAX) } else { decimal(text) }
}

/// The value of `key` in a file of `key value` lines.
pub(crate) fn keyed(text: &[u8], key: &str) -> Option<u64> {
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let value = line.strip_prefix(key.as_bytes())?.strip_prefix(b" ")?;
        decimal(value.trim_ascii())
    })
}

/// A list of CPUs such as `0-3,8`. None where it says something else, or more than any host has.
pub(crate) fn cpus(text: &[u8]) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.trim_ascii().split(|byte| *byte == b',').filter(|part| !part.is_empty()) {
        let mut ends = part.splitn(2, |byte| *byte == b'-').map(decimal);
        let first = u32::try_from(ends.next()??).ok()?;
        let last = ends.next().map_or(Some(first), |last| u32::try_from(last?).ok())?;
        if last >= MOST_CPUS {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// The process ids of `cgroup.procs`. Processes of another pid namespace read as 0 and are left out.
pub(crate) fn pids(text: &[u8]) -> Vec<i32> {
    text.split(|byte| *byte == b'\n')
        .filter_map(decimal)
        .filter_map(|pid| i32::try_from(pid).ok())
        .filter(|pid| *pid > 0)
        .collect()
}

/// A file of stalls: a line `some` and, for memory, I/O and with newer kernels CPU, a line `full`.
pub(crate) fn pressure(text: &[u8]) -> Option<Pressure> {
    let text = std::str::from_utf8(text).ok()?;
    let line = |name: &str| text.lines().find_map(|line| stall(line.strip_prefix(name)?));
    Some(Pressure { some: line("some ")?, full: line("full ") })
}

/// The totals alone of a file of stalls.
pub(crate) fn stalled(text: &[u8]) -> Option<Stalled> {
    let total = |name: &[u8]| {
        let line = text.split(|byte| *byte == b'\n').find(|line| line.starts_with(name))?;
        let field = line.rsplit(|byte| *byte == b' ').next()?;
        decimal(field.strip_prefix(b"total=")?)
    };
    Some(Stalled { some_usec: total(b"some ")?, full_usec: total(b"full ") })
}

fn stall(fields: &str) -> Option<Stall> {
    let field = |name: &str| {
        fields.split_ascii_whitespace().find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
    };
    let pct = |name| field(name)?.parse::<f64>().ok().filter(|pct| pct.is_finite());
    Some(Stall {
        avg10_pct: pct("avg10")?,
        avg60_pct: pct("avg60")?,
        avg300_pct: pct("avg300")?,
        total_usec: field("total")?.parse().ok()?,
    })
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
