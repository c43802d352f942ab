//! Cells of the database are read by their column's name: a statement that gains a column must not shift what is read.

use super::source::Source;

/// Where one cell is read by position, and why is said.
const HOME: &str = "crates/store/src/sqlite/row.rs";

/// The first cell that the file reads by its position, if it may not.
pub(super) fn fault(source: &Source) -> Option<String> {
    if source.room() != Some("store") || source.path == HOME {
        return None;
    }
    let (n, _) = source.shipped().find(|(_, line)| reads_by_position(line))?;
    let path = &source.path;
    Some(format!("{path}:{n}: read the cell by its column's name, or by `only` where there is but one"))
}

/// Whether `row.get(0)`, `row.get::<_, i64>(1)` or the like stands in the line.
fn reads_by_position(line: &str) -> bool {
    line.split("row.get").skip(1).any(|rest| {
        let arguments = match rest.strip_prefix("::<") {
            Some(rest) => rest.split_once(">(").map(|(_, arguments)| arguments),
            None => rest.strip_prefix('('),
        };
        arguments.is_some_and(|arguments| arguments.starts_with(|c: char| c.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_read_by_position_is_a_fault_but_in_one_place() {
        let fault = |path: &str, line: &str| fault(&Source::new(path, format!("{line}\n")));
        let by_position = "let n: i64 = row.get(0)?;";
        assert!(fault("crates/store/src/facts/a.rs", by_position).is_some());
        assert!(fault("crates/store/src/facts/a.rs", "row.get::<_, Option<i64>>(1)?").is_some());
        assert!(
            fault("crates/store/src/facts/a.rs", "row.get::<_, i64>(\"no\")? + row.get(\"n\")?").is_none()
        );
        assert!(fault(HOME, by_position).is_none());
        assert!(fault("crates/api/src/a.rs", by_position).is_none());
        assert!(fault("crates/store/src/facts/a_tests.rs", by_position).is_none());
    }
}
