//! Sealed blocks that earlier releases wrote say for ever what they said; see `tests/fixtures/README.md`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sandscope_model::{MetricField, Sample, SandboxId};
use sandscope_sample_blocks::{Aggregate, Point};

use crate::samples::sealed::read_block;

fn files_with_blocks() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let releases = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path().join("blocks"));
    let blocks =
        releases.filter(|blocks| blocks.is_dir()).flat_map(|blocks| std::fs::read_dir(blocks).unwrap());
    let blocks = blocks.map(|entry| entry.unwrap().path());
    blocks.filter(|path| path.extension().is_some_and(|extension| extension == "block")).collect()
}

/// In the words of the fixtures' answers.
fn text(sample: &Sample) -> String {
    let mut text = format!(
        "{} cpu {} of {} mem {} of {} cache {} disk {} of {}",
        sample.at,
        sample.cpu_used_pct(),
        sample.cpu_count(),
        sample.or_zero(MetricField::MemUsed),
        sample.or_zero(MetricField::MemTotal),
        sample.or_zero(MetricField::MemCache),
        sample.or_zero(MetricField::DiskUsed),
        sample.or_zero(MetricField::DiskTotal),
    );
    for (field, number) in sample.values.iter().filter(|(field, _)| field.entry().since != "0.1") {
        let _ = write!(text, " {} {number}", field.entry().name);
    }
    text
}

#[test]
fn blocks_of_earlier_releases_say_what_they_said() {
    let id: SandboxId = "i00000000000000000003".parse().unwrap();
    let files = files_with_blocks();
    assert!(!files.is_empty());
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let level = name.strip_prefix("level-").unwrap().parse().unwrap();
        let mut points = Vec::new();
        let everything = (i64::MIN, i64::MAX);
        read_block((1, level), &std::fs::read(&file).unwrap(), everything, |point| points.push(point))
            .unwrap();
        let line = |point: &Point, aggregate| text(&point.sample(&id, aggregate).unwrap());
        let both = |point| format!("{} | {}\n", line(point, Aggregate::Max), line(point, Aggregate::Average));
        let found: String = points.iter().map(both).collect();
        let expected = std::fs::read_to_string(file.with_extension("txt")).unwrap();
        assert!(found == expected, "{}\n{found}", file.display());
    }
}
