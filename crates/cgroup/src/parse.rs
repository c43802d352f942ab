//! Parsers of the kernel's two text shapes: one number, and lines of `key value`.

/// The number a file holds; `max`, which stands for no limit, is the largest number.
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

/// The process ids of `cgroup.procs`. Processes of another pid namespace read as 0 and are left out.
pub(crate) fn pids(text: &[u8]) -> Vec<i32> {
    text.split(|byte| *byte == b'\n')
        .filter_map(decimal)
        .filter_map(|pid| i32::try_from(pid).ok())
        .filter(|pid| *pid > 0)
        .collect()
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
