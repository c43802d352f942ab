//! The lines that wait, oldest first.

use std::collections::VecDeque;
use std::time::Duration;

use sandscope_agent_protocol::logs::{Line, Lines, MAX_LINES, MAX_TEXT_BYTES, Source};
use tokio::time::Instant;

/// How often a new allowance begins.
pub(super) const WINDOW: Duration = Duration::from_secs(1);

/// Lines kept in one window.
pub(super) const WINDOW_LINES: usize = 1000;

/// Text kept in one window, in bytes.
pub(super) const WINDOW_BYTES: usize = 128 * 1024;

/// What a line takes beside its text.
const OVERHEAD_BYTES: usize = size_of::<Line>();

/// The text of a line, and how many bytes of it were cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) cut: u64,
}

impl Text {
    pub(super) fn of(text: &str) -> Self {
        Self { text: text.to_owned(), cut: 0 }
    }
}

pub(super) struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    max_bytes: usize,
    /// The newest number given away.
    last: u64,
    window_began: Option<Instant>,
    window_lines: usize,
    window_bytes: usize,
}

impl Ring {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            lines: VecDeque::new(),
            bytes: 0,
            max_bytes,
            last: 0,
            window_began: None,
            window_lines: 0,
            window_bytes: 0,
        }
    }

    /// Whether anything may be kept at `now`. Lines are dropped until the end of a window rather than here and there:
    /// that makes one gap.
    pub(super) fn has_allowance(&mut self, now: Instant) -> bool {
        if self.window_began.is_none_or(|began| now.duration_since(began) >= WINDOW) {
            self.window_began = Some(now);
            self.window_lines = 0;
            self.window_bytes = 0;
        }
        self.window_lines < WINDOW_LINES && self.window_bytes < WINDOW_BYTES
    }

    /// Numbers a line and keeps it, if the window allows. The oldest make room. Whether it was kept.
    pub(super) fn push(&mut self, at: i64, pid: u32, source: Source, Text { text, cut }: Text) -> bool {
        self.last += 1;
        // How a process ended is never more than one line for each that was started.
        let spared = source == Source::Exit;
        if !spared && (self.window_lines >= WINDOW_LINES || self.window_bytes >= WINDOW_BYTES) {
            return false;
        }
        self.window_lines += 1;
        self.window_bytes += text.len();
        let cost = text.len() + OVERHEAD_BYTES;
        while self.bytes + cost > self.max_bytes && self.forget_oldest() {}
        self.bytes += cost;
        self.lines.push_back(Line { seq: self.last, at, pid, source, text, cut });
        true
    }

    /// Counts lines that are not kept.
    pub(super) fn lose(&mut self, n_lines: u64) {
        self.last += n_lines;
    }

    fn forget_oldest(&mut self) -> bool {
        let Some(line) = self.lines.pop_front() else { return false };
        self.bytes -= line.text.len() + OVERHEAD_BYTES;
        if self.lines.is_empty() {
            // A burst must not hold memory for good.
            self.lines = VecDeque::new();
        }
        true
    }

    /// The lines after `after`; those up to it are forgotten.
    pub(super) fn read(&mut self, after: u64) -> Lines {
        while self.lines.front().is_some_and(|line| line.seq <= after) {
            self.forget_oldest();
        }
        let mut bytes = 0;
        let fits = |line: &&Line| {
            bytes += line.text.len();
            bytes <= MAX_TEXT_BYTES
        };
        let lines: Vec<Line> = self.lines.iter().take(MAX_LINES).take_while(fits).cloned().collect();
        let complete = lines.len() == self.lines.len();
        let upto = lines.last().filter(|_| !complete).map_or(self.last, |line| line.seq);
        Lines { lines, upto: upto.max(after) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Lose(u64),
        Read,
        NextWindow,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..600usize).prop_map(Step::Push),
            1 => (1..50u64).prop_map(Step::Lose),
            1 => Just(Step::Read),
            1 => Just(Step::NextWindow),
        ]
    }

    proptest! {
        /// Whatever happens: memory is bounded, every number is seen once or is a gap, and the numbers add up.
        #[test]
        fn every_line_is_read_once_or_known_to_be_lost(steps in proptest::collection::vec(step(), 1..400)) {
            let max_bytes = 8 * 1024;
            let mut ring = Ring::new(max_bytes);
            let mut now = Instant::from_std(std::time::Instant::now());
            let (mut written, mut position, mut read) = (0, 0, 0);
            for step in steps {
                match step {
                    Step::Push(length) => {
                        ring.has_allowance(now);
                        ring.push(0, 1, Source::Stdout, Text::of(&"x".repeat(length)));
                        written += 1;
                    }
                    Step::Lose(n) => {
                        ring.lose(n);
                        written += n;
                    }
                    Step::NextWindow => now += WINDOW,
                    Step::Read => {
                        let lines = ring.read(position);
                        prop_assert!(lines.upto >= position && lines.upto <= written);
                        let mut before = position;
                        for line in &lines.lines {
                            prop_assert!(line.seq > before && line.seq <= lines.upto);
                            before = line.seq;
                        }
                        read += lines.lines.len() as u64;
                        position = lines.upto;
                    }
                }
                prop_assert!(ring.bytes <= max_bytes);
                let held: usize = ring.lines.iter().map(|line| line.text.len() + OVERHEAD_BYTES).sum();
                prop_assert_eq!(ring.bytes, held);
            }
            while position < written {
                let lines = ring.read(position);
                prop_assert!(lines.upto > position);
                read += lines.lines.len() as u64;
                position = lines.upto;
            }
            prop_assert_eq!(position, written);
            prop_assert!(read <= written);
        }
    }

    #[test]
    fn the_oldest_make_room_and_the_end_of_a_process_is_always_kept() {
        let mut ring = Ring::new(3 * (OVERHEAD_BYTES + 10));
        let now = Instant::from_std(std::time::Instant::now());
        ring.has_allowance(now);
        for _ in 0..5 {
            ring.push(0, 1, Source::Stdout, Text::of("0123456789"));
        }
        assert_eq!(ring.read(0).lines.iter().map(|line| line.seq).collect::<Vec<_>>(), [3, 4, 5]);
        for _ in 0..WINDOW_LINES {
            ring.push(0, 1, Source::Stdout, Text::of("x"));
        }
        assert!(!ring.has_allowance(now));
        assert!(!ring.push(0, 1, Source::Stdout, Text::of("x")));
        assert!(ring.push(0, 1, Source::Exit, Text::of("exit status 0")));
        assert!(ring.has_allowance(now + WINDOW));
    }

    #[test]
    fn a_large_backlog_comes_in_several_answers() {
        let mut ring = Ring::new(1024 * 1024);
        let now = Instant::from_std(std::time::Instant::now());
        let mut at = now;
        for _ in 0..100 {
            ring.has_allowance(at);
            ring.push(0, 1, Source::Stdout, Text::of(&"x".repeat(4096)));
            at += WINDOW;
        }
        ring.lose(5);
        let first = ring.read(0);
        assert_eq!((first.lines.len(), first.upto), (MAX_TEXT_BYTES / 4096, 32));
        let mut position = first.upto;
        while position < 100 {
            position = ring.read(position).upto;
        }
        assert_eq!(position, 105);
        assert_eq!(ring.bytes, 4 * (4096 + OVERHEAD_BYTES), "what was read last waits to be acknowledged");
        assert!(ring.read(105).lines.is_empty());
        assert_eq!(ring.bytes, 0);
    }
}
