//! The reference page, made from the sections.

use std::fmt::Write as _;

use crate::sections;
use crate::setting::Setting;

const HEAD: &str = "# Configuration

Every setting of `sandscope serve`. A flag wins over the environment, which wins over the file that `--config` (or
`SANDSCOPE_CONFIG`) names, which wins over the default. `sandscope config show` prints what holds and where each value
comes from; `sandscope config check` checks everything, also the certificate, without starting. Secrets have no flag:
flags are visible to every process of the machine.

This page is made by `sandscope config reference`; a test compares it.
";

/// `docs/configuration.md`.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for table in sections::all() {
        let _ = write!(
            page,
            "\n## `[{}]`\n\n{}\n\n",
            table.name,
            table.about.split_whitespace().collect::<Vec<_>>().join(" ")
        );
        page.push_str("| Key | What | Values | Default | Flag | Environment |\n|---|---|---|---|---|---|\n");
        for setting in &table.settings {
            row(&mut page, setting);
        }
    }
    page
}

fn row(page: &mut String, setting: &Setting) {
    let code = |text: &str| format!("`{text}`");
    let Setting { key, doc, allowed, unit, secret, environment, flag, .. } = setting;
    let unit = unit.map(|unit| format!(" ({unit})")).unwrap_or_default();
    let doc = if *secret { format!("{doc}. Secret") } else { doc.clone() };
    let default = setting.default_text().map_or_else(|| "none".to_owned(), |text| code(&text));
    let flag = flag.map_or_else(|| "none".to_owned(), |(flag, _)| code(&format!("--{flag}")));
    let environment = environment.map_or_else(|| "none".to_owned(), code);
    let _ = writeln!(
        page,
        "| `{key}` | {} | {}{unit} | {default} | {flag} | {environment} |",
        cell(&doc),
        cell(allowed)
    );
}

/// `text` in a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
