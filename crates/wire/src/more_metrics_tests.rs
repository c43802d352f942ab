use std::fmt::Write as _;
use std::path::Path;

use sandscope_model::MetricKind;

use super::*;

#[test]
fn what_is_not_there_has_no_key_and_unknown_keys_are_passed_over() {
    let values = Values::NONE.with(F::CpuUsed, 7).with(F::NetSent, 0).with(F::OomKills, 2);
    let text = serde_json::to_string(&MoreMetrics::from(&values)).unwrap();
    assert_eq!(text, r#"{"netTxBytes":0,"oomKills":2}"#);
    let back: MoreMetrics =
        serde_json::from_str(r#"{"netTxBytes":0,"new":{"a":[1]},"oomKills":2,"ioStallMs":null}"#).unwrap();
    assert_eq!(back, MoreMetrics::from(&values));
}

#[test]
fn every_field_of_the_catalogue_has_a_key_of_its_own() {
    let mut keys: Vec<_> = F::ALL.iter().filter_map(|field| key(*field)).collect();
    let n = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((keys.len(), n), (n, F::COUNT - 7));
}

/// The table of `docs/metrics.md`, generated. `SANDSCOPE_WRITE_DOCS=1` writes it.
#[test]
fn the_documented_table_is_the_catalogue() {
    const BEGIN: &str = "<!-- generated from the metric catalogue -->\n";
    const END: &str = "<!-- end of what is generated -->\n";
    let mut table =
        "\n| Field | Unit | Kind | Since | What it is | Where it comes from |\n|---|---|---|---|---|---|\n"
            .to_owned();
    for field in F::ALL {
        let (Some(key), entry) = (key(*field), field.entry()) else { continue };
        let kind = match entry.kind {
            MetricKind::Gauge => "level",
            MetricKind::Difference => "added since the sample before",
            MetricKind::Total => "total so far",
            MetricKind::Limit => "limit",
        };
        let (unit, doc) = (entry.unit.as_str(), entry.doc.trim_end_matches('.'));
        writeln!(table, "| `{key}` | {unit} | {kind} | {} | {doc} | {} |", entry.since, entry.source)
            .unwrap();
    }
    table.push('\n');
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    if found != table && std::env::var_os("SANDSCOPE_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(
        found, table,
        "docs/metrics.md is not what the catalogue says: run this with SANDSCOPE_WRITE_DOCS=1"
    );
}
