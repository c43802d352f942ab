//! An agent's lines as entries of a log.

use std::fmt::Write as _;

use sandscope_agent_protocol::logs::{Line, Lines, MAX_LINE_BYTES, Source};
use sandscope_model::{LogEntry, LogLevel, LogSource, Timestamp};

use crate::text::clean;

/// Longest message, in bytes. Bytes that are no text grow when they are made text.
const MAX_MESSAGE_BYTES: usize = 3 * MAX_LINE_BYTES;

/// What follows `taken_upto`, with a line for every gap in the numbers. Where nothing is known of earlier lines, no gap
/// before the first is claimed.
pub(crate) fn entries(lines: Lines, taken_upto: Option<u64>, now: Timestamp) -> Vec<LogEntry> {
    let mut entries = Vec::with_capacity(lines.lines.len() + 1);
    let mut before = taken_upto;
    for line in lines.lines {
        let at = Timestamp::from_microsecond(line.at).unwrap_or(now);
        entries.extend(before.and_then(|before| lost(line.seq.saturating_sub(before).saturating_sub(1), at)));
        before = Some(line.seq);
        entries.push(entry(&line, at));
    }
    entries.extend(before.and_then(|before| lost(lines.upto.saturating_sub(before), now)));
    entries
}

fn entry(line: &Line, at: Timestamp) -> LogEntry {
    let (source, level) = match line.source {
        Source::Stdout => (LogSource::Stdout, LogLevel::Info),
        Source::Stderr => (LogSource::Stderr, LogLevel::Warn),
        Source::Pty => (LogSource::Terminal, LogLevel::Info),
        Source::Exit => (LogSource::Exit, level_of_end(&line.text)),
    };
    let mut message = clean(&line.text);
    let mut cut = line.cut;
    if message.len() > MAX_MESSAGE_BYTES {
        let end = message.floor_char_boundary(MAX_MESSAGE_BYTES);
        cut = cut.saturating_add(u64::try_from(message.len() - end).unwrap_or(u64::MAX));
        message.truncate(end);
    }
    if cut > 0 {
        // Writing to a String cannot fail.
        let _ = write!(message, "… ({cut} bytes more)");
    }
    if source == LogSource::Exit {
        message.insert_str(0, "process ended: ");
    }
    LogEntry { at, level, source, pid: Some(line.pid), event_type: None, message }
}

/// Whoever looks for trouble wants to see processes that did not end by themselves.
fn level_of_end(how: &str) -> LogLevel {
    match how.strip_prefix("exit status ") {
        Some("0") => LogLevel::Debug,
        Some(_) => LogLevel::Info,
        None => LogLevel::Warn,
    }
}

fn lost(n_lines: u64, at: Timestamp) -> Option<LogEntry> {
    let lines = if n_lines == 1 { "line" } else { "lines" };
    (n_lines > 0).then(|| LogEntry {
        at,
        level: LogLevel::Warn,
        source: LogSource::Server,
        pid: None,
        event_type: None,
        message: format!("{n_lines} {lines} dropped: written faster than they are kept"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seq: u64, source: Source, text: &str) -> Line {
        Line { seq, at: 5, pid: 9, source, text: text.to_owned(), cut: 0 }
    }

    fn messages(lines: Vec<Line>, upto: u64, taken_upto: Option<u64>) -> Vec<(LogLevel, String)> {
        let entries = entries(Lines { lines, upto }, taken_upto, Timestamp::UNIX_EPOCH);
        entries.into_iter().map(|entry| (entry.level, entry.message)).collect()
    }

    fn dropped(n: &str) -> (LogLevel, String) {
        (LogLevel::Warn, format!("{n} dropped: written faster than they are kept"))
    }

    #[test]
    fn gaps_are_told_where_they_are() {
        let lines = || vec![line(3, Source::Stdout, "three"), line(6, Source::Stderr, "six")];
        let three = (LogLevel::Info, "three".to_owned());
        let six = (LogLevel::Warn, "six".to_owned());
        let seen = messages(lines(), 1_000_006, Some(1));
        let (gaps, end) = ([dropped("1 line"), dropped("2 lines")], dropped("1000000 lines"));
        assert_eq!(seen, [gaps[0].clone(), three.clone(), gaps[1].clone(), six.clone(), end]);
        assert_eq!(messages(lines(), 6, None), [three, gaps[1].clone(), six]);
        assert_eq!(messages(Vec::new(), 7, Some(7)), []);
    }

    #[test]
    fn ends_matter_as_much_as_they_should() {
        let ends = ["exit status 0", "exit status 1", "signal: killed"].map(|how| line(1, Source::Exit, how));
        let levels = ends.map(|end| messages(vec![end], 1, Some(0))[0].0);
        assert_eq!(levels, [LogLevel::Debug, LogLevel::Info, LogLevel::Warn]);
    }

    #[test]
    fn nonsense_is_bounded_and_does_not_overflow() {
        let long = Line { cut: u64::MAX, ..line(u64::MAX, Source::Stdout, &"\u{fc}".repeat(100_000)) };
        let seen = messages(vec![Line { at: i64::MIN, ..long }], u64::MAX, Some(0));
        assert_eq!(seen[0], dropped(&format!("{} lines", u64::MAX - 1)));
        assert!(seen[1].1.len() < MAX_MESSAGE_BYTES + 64);
        assert!(seen[1].1.ends_with(&format!("… ({} bytes more)", u64::MAX)));
    }
}
