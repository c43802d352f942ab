//! The TOML file: the settings in their sections, each optional. What is no setting is refused, with its line and the
//! nearest setting there is; values are never quoted, as they may be secrets.

use std::path::Path;

use toml::Value;
use toml::de::{DeTable, DeValue};

use crate::ConfigError;
use crate::given::{Given, Source};
use crate::sections::{self, Table};

/// How alike two words must be for one to be taken for the other mistyped.
const ALIKE: f64 = 0.8;

/// Reads the file at `path`.
pub(crate) fn read(path: &Path) -> Result<Parsed, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    parse(&text).map_err(|message| ConfigError::Malformed { path: path.to_owned(), message })
}

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// Every setting of the right shape.
    pub(crate) given: Given,
    /// The rest, with lines and keys: everything that is wrong.
    pub(crate) wrong: Option<String>,
}

/// What `text` says. The error is that it is no TOML.
pub(crate) fn parse(text: &str) -> Result<Parsed, String> {
    // The error's own text would quote the line, and the line may hold a key; its message and position do not.
    let said = |error: toml::de::Error| {
        format!("line {}: {}", line(text, error.span().map_or(0, |span| span.start)), error.message())
    };
    let places = DeTable::parse(text).map_err(said)?;
    let values: toml::Table = toml::from_str(text).map_err(said)?;
    let mut reading = Reading { text, tables: sections::all(), given: Given::default(), wrong: Vec::new() };
    for (name, place) in places.get_ref() {
        let found = values.get(name.get_ref().as_ref());
        reading.table(name.get_ref(), name.span().start, place.get_ref(), found);
    }
    let Reading { given, mut wrong, .. } = reading;
    wrong.sort_by_key(|(line, _)| *line);
    let wrong: Vec<String> = wrong.into_iter().map(|(line, what)| format!("line {line}: {what}")).collect();
    Ok(Parsed { given, wrong: (!wrong.is_empty()).then(|| wrong.join("\n")) })
}

struct Reading<'a> {
    text: &'a str,
    tables: Vec<Table>,
    given: Given,
    /// Lines and what is wrong there.
    wrong: Vec<(usize, String)>,
}

impl Reading<'_> {
    fn wrong(&mut self, offset: usize, what: String) {
        self.wrong.push((line(self.text, offset), what));
    }

    fn table(&mut self, name: &str, offset: usize, place: &DeValue<'_>, found: Option<&Value>) {
        let Some(known) = self.tables.iter().position(|table| table.name == name) else {
            let meant = nearest(name, self.tables.iter().map(|table| table.name));
            let meant = meant.map(|meant| format!("; did you mean [{meant}]?")).unwrap_or_default();
            return self.wrong(offset, format!("there is no section [{name}]{meant}"));
        };
        let name = self.tables[known].name;
        if name == "alerts" {
            let items = place.as_array().into_iter().flatten();
            let values = found.and_then(Value::as_array).into_iter().flatten();
            if !place.is_array() {
                return self.wrong(offset, "a rule of alerts is a section [[alerts]]".to_owned());
            }
            for (item, value) in items.zip(values) {
                let mut rule = toml::Table::new();
                self.keys(known, item.span().start, item.get_ref(), Some(value), |_, key, value| {
                    rule.insert(key.to_owned(), value);
                });
                self.given.alerts.push(rule);
            }
            return;
        }
        self.given.open(name);
        self.keys(known, offset, place, found, |given, key, value| {
            given.set((name, key), value, Source::File);
        });
    }

    /// Gives every key of a section to `take` that is a setting of its shape.
    fn keys(
        &mut self,
        known: usize,
        offset: usize,
        place: &DeValue<'_>,
        found: Option<&Value>,
        mut take: impl FnMut(&mut Given, &'static str, Value),
    ) {
        let (Some(places), Some(values)) = (place.as_table(), found.and_then(Value::as_table)) else {
            let name = self.tables[known].name;
            return self.wrong(offset, format!("{name} must be a section [{name}]"));
        };
        for (key, place) in places {
            let Some(value) = values.get(key.get_ref().as_ref()) else { continue };
            let setting = self.tables[known].settings.iter().find(|setting| setting.key == key.get_ref());
            match setting {
                Some(setting) if setting.shape.fits(value) => {
                    take(&mut self.given, setting.key, value.clone());
                }
                Some(setting) => {
                    let what =
                        format!("[{}] {} must be {}", setting.table, setting.key, setting.shape.named());
                    self.wrong(place.span().start, what);
                }
                None => {
                    let what = self.unknown(known, key.get_ref());
                    self.wrong(key.span().start, what);
                }
            }
        }
    }

    fn unknown(&self, known: usize, key: &str) -> String {
        let table = &self.tables[known];
        let elsewhere =
            self.tables.iter().find(|other| other.settings.iter().any(|setting| setting.key == key));
        let hint = match (nearest(key, table.settings.iter().map(|setting| setting.key)), elsewhere) {
            (_, Some(other)) => format!("; it belongs to [{}]", other.name),
            (Some(meant), None) => format!("; did you mean `{meant}`?"),
            (None, None) => String::new(),
        };
        format!("[{}] has no setting `{key}`{hint}", table.name)
    }
}

/// The line, from 1, of the byte at `offset`.
fn line(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// What was meant by `name`, if anything of `known` is like it.
fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let scored = known.map(|other| (strsim::jaro_winkler(name, other), other));
    let best = scored.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (best.0 >= ALIKE).then_some(best.1)
}
