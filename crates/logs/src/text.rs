//! A line as somebody would have read it: without what steers a terminal.

/// Leaves out escape sequences and control characters; what a carriage return or a backspace overwrote is gone, as it
/// would be on a screen.
pub(crate) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut chars = text.chars();
    let mut returned = false;
    while let Some(char) = chars.next() {
        match char {
            '\u{1b}' => skip_escape(&mut chars),
            '\u{9b}' => skip_control_sequence(&mut chars),
            '\r' => returned = true,
            '\u{8}' => {
                clean.pop();
            }
            '\t' => clean.push('\t'),
            char if char.is_control() => {}
            char => {
                if std::mem::take(&mut returned) {
                    clean.clear();
                }
                clean.push(char);
            }
        }
    }
    clean
}

/// What follows an escape character.
fn skip_escape(chars: &mut std::str::Chars<'_>) {
    match chars.next() {
        Some('[') => skip_control_sequence(chars),
        // A string, up to its end: a bell, or an escape and a backslash.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(char) = chars.next() {
                match char {
                    '\u{7}' | '\u{9c}' => return,
                    '\u{1b}' => {
                        chars.next();
                        return;
                    }
                    _ => {}
                }
            }
        }
        Some('(' | ')' | '*' | '+' | '-' | '.' | '/' | '#' | '%' | ' ') => {
            chars.next();
        }
        _ => {}
    }
}

/// Parameters, and the letter that ends them.
fn skip_control_sequence(chars: &mut std::str::Chars<'_>) {
    let _end = chars.find(|char| ('@'..='~').contains(char));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_screen_would_show() {
        for (written, shown) in [
            ("plain", "plain"),
            ("tab\tstays", "tab\tstays"),
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}(B\u{1b}=ok", "ok"),
            ("10%\r20%\r100%", "100%"),
            ("done\r", "done"),
            ("typ0\u{8}o", "typo"),
            ("\u{7}bell\u{0}\u{9b}2Jx\u{7f}", "bellx"),
            ("ends in \u{1b}", "ends in "),
            ("ends in \u{1b}[31", "ends in "),
        ] {
            assert_eq!(clean(written), shown, "{written:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_steers_a_terminal_is_left(text in "[\\x00-\\x1f\\x7f-\\u{9f}a-z\\[\\];m]{0,200}") {
            let clean = clean(&text);
            prop_assert!(clean.chars().all(|char| char == '\t' || !char.is_control()), "{:?}", clean);
            prop_assert!(clean.len() <= text.len());
        }
    }
}
