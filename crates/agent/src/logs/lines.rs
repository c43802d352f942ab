//! Chunks to lines.

use sandscope_agent_protocol::logs::MAX_LINE_BYTES;

use super::ring::Text;

/// The line an output is in the middle of.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    bytes: Vec<u8>,
    cut: u64,
}

impl Unfinished {
    /// Adds `chunk` and hands over every line it finishes.
    pub(super) fn take(&mut self, chunk: &[u8], mut line: impl FnMut(Text)) {
        let mut pieces = chunk.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            self.add(piece);
            if pieces.peek().is_some() {
                line(self.text());
            }
        }
    }

    /// Adds `chunk` without keeping the lines it finishes; how many those are.
    pub(super) fn skip(&mut self, chunk: &[u8]) -> u64 {
        let Some(last) = chunk.iter().rposition(|byte| *byte == b'\n') else {
            self.add(chunk);
            return 0;
        };
        let n_lines = chunk[..=last].iter().filter(|byte| **byte == b'\n').count();
        self.bytes.clear();
        self.cut = 0;
        self.add(&chunk[last + 1..]);
        n_lines as u64
    }

    /// The line as far as it came, if anything came.
    pub(super) fn finish(&mut self) -> Option<Text> {
        (!self.bytes.is_empty()).then(|| self.text())
    }

    fn add(&mut self, piece: &[u8]) {
        let room = MAX_LINE_BYTES - self.bytes.len();
        let (kept, cut) = piece.split_at(piece.len().min(room));
        self.bytes.extend_from_slice(kept);
        self.cut += cut.len() as u64;
    }

    fn text(&mut self) -> Text {
        let bytes = std::mem::take(&mut self.bytes);
        let mut cut = std::mem::take(&mut self.cut);
        let mut kept = bytes.as_slice();
        if cut == 0 {
            kept = kept.strip_suffix(b"\r").unwrap_or(kept);
        } else if let Err(error) = std::str::from_utf8(kept)
            && error.error_len().is_none()
        {
            // A character that was cut in two.
            cut += (kept.len() - error.valid_up_to()) as u64;
            kept = &kept[..error.valid_up_to()];
        }
        Text { text: String::from_utf8_lossy(kept).into_owned(), cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(chunks: &[&[u8]]) -> Vec<Text> {
        let mut unfinished = Unfinished::default();
        let mut found = Vec::new();
        for chunk in chunks {
            unfinished.take(chunk, |text| found.push(text));
        }
        found.extend(unfinished.finish());
        found
    }

    #[test]
    fn lines_end_where_they_end_not_where_chunks_do() {
        let texts = |chunks: &[&[u8]]| lines(chunks).into_iter().map(|line| line.text).collect::<Vec<_>>();
        assert_eq!(texts(&[b"a\nb", b"c\r\n\nlast"]), ["a", "bc", "", "last"]);
        assert_eq!(texts(&[b"\xff\n", "gr\u{fc}".as_bytes()]), ["\u{fffd}", "gr\u{fc}"]);
        assert!(texts(&[b""]).is_empty());
    }

    #[test]
    fn a_long_line_is_cut_between_characters_and_says_by_how_much() {
        let long = "\u{fc}".repeat(MAX_LINE_BYTES);
        let shifted = format!("x{long}\nnext");
        let found = lines(&[shifted.as_bytes()]);
        assert_eq!(found[0].text.len(), MAX_LINE_BYTES - 1);
        assert_eq!(found[0].text.len() as u64 + found[0].cut, shifted.len() as u64 - 5);
        assert_eq!(found[1], Text::of("next"));
    }

    proptest! {
        #[test]
        fn how_it_is_chunked_makes_no_difference(bytes in proptest::collection::vec(prop_oneof![3 => Just(b'a'), 1 => Just(b'\n'), 1 => any::<u8>()], 0..300), cuts in proptest::collection::vec(0..300usize, 0..5)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(lines(&chunks), lines(&[&bytes]));
            let mut skipped = Unfinished::default();
            let n_lines: u64 = chunks.iter().map(|chunk| skipped.skip(chunk)).sum();
            prop_assert_eq!(n_lines, bytes.iter().filter(|byte| **byte == b'\n').count() as u64);
        }

        #[test]
        fn an_unfinished_line_is_bounded(chunks in proptest::collection::vec(proptest::collection::vec(Just(b'x'), 0..3000), 0..20)) {
            let mut unfinished = Unfinished::default();
            for chunk in &chunks {
                unfinished.take(chunk, |_| {});
                prop_assert!(unfinished.bytes.len() <= MAX_LINE_BYTES);
            }
            let total: usize = chunks.iter().map(Vec::len).sum();
            prop_assert_eq!(unfinished.bytes.len() as u64 + unfinished.cut, total as u64);
        }
    }
}
