//! From what was said to what holds: defaults filled in, every rule checked, every value noted to be shown.

use std::path::PathBuf;

use toml::Value;

use crate::given::{Given, Source};
use crate::kind::{Fault, Kind};
use crate::shown::{Shown, line_value};

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why the file cannot be read.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("configuration file {}, {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line and key, without values.
        message: String,
    },
    /// Settings break rules.
    #[error("{}", .0.join("\n"))]
    Rules(Vec<String>),
}

/// Collects every broken rule, so that one look shows all of them.
pub(crate) struct Rules<'a> {
    given: &'a Given,
    /// The settings that were taken, in order.
    taken: Vec<(&'static str, &'static str)>,
    /// Broken rules, each at its setting's place.
    broken: Vec<(usize, String)>,
    shown: Vec<Shown>,
}

impl<'a> Rules<'a> {
    pub(crate) fn new(given: &'a Given) -> Self {
        let broken = given.unknown.iter().map(|name| (0, format!("there is no setting {name}"))).collect();
        Self { given, taken: Vec::new(), broken, shown: Vec::new() }
    }

    pub(crate) const fn given(&self) -> &'a Given {
        self.given
    }

    /// The value of a setting: what was given if it may be, else what holds where nothing is.
    pub(crate) fn take<T>(&mut self, table: &'static str, word: &str, key: &'static str, kind: Kind<T>) -> T {
        let place = self.taken.len();
        self.taken.push((table, key));
        let Kind { read, write, unset, .. } = kind;
        let (value, source) = match self.given.get(table, key) {
            None => (unset, Source::Default),
            Some((given, source)) => match read(given) {
                Ok(value) => (value, *source),
                Err(fault) => {
                    let name = if word.is_empty() { key.to_owned() } else { format!("{word} {key}") };
                    let sentences = match fault {
                        Fault::Must(wanted) => vec![format!("{name} must be {wanted}")],
                        Fault::Says(all) => all.into_iter().map(|said| format!("{name}: {said}")).collect(),
                    };
                    self.broken.extend(sentences.into_iter().map(|sentence| (place, sentence)));
                    (unset, *source)
                }
            },
        };
        let value_shown = write(&value).map(|value| line_value(&value));
        self.shown.push(Shown { table, n: 0, key, value: value_shown, source });
        value
    }

    /// A rule about several settings, said at the place of one of them.
    pub(crate) fn check(&mut self, holds: bool, (table, key): (&'static str, &'static str), sentence: &str) {
        if !holds {
            let place = self.taken.iter().position(|taken| *taken == (table, key));
            self.broken.push((place.unwrap_or(self.taken.len()), sentence.to_owned()));
        }
    }

    /// Notes a value of the `n`th item of `table` to be shown.
    pub(crate) fn show(
        &mut self,
        table: &'static str,
        n: usize,
        key: &'static str,
        value: &Value,
        source: Source,
    ) {
        self.shown.push(Shown { table, n, key, value: Some(line_value(value)), source });
    }

    /// Shows another value of a setting that was taken: one that depends on others.
    pub(crate) fn show_instead(&mut self, (table, key): (&'static str, &'static str), value: &Value) {
        if let Some(shown) = self.shown.iter_mut().find(|shown| (shown.table, shown.key) == (table, key)) {
            shown.value = Some(line_value(value));
        }
    }

    /// What is to be shown, if no rule is broken.
    pub(crate) fn finish(mut self) -> Result<Vec<Shown>, ConfigError> {
        if self.broken.is_empty() {
            return Ok(self.shown);
        }
        self.broken.sort_by_key(|(place, _)| *place);
        Err(ConfigError::Rules(self.broken.into_iter().map(|(_, sentence)| sentence).collect()))
    }
}
