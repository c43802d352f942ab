//! What flags, environment and file say, before it is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use toml::{Table, Value};

/// Where a value comes from; the first of these that says something wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// A flag, without its hyphens.
    Flag(&'static str),
    /// A variable of the environment.
    Environment(&'static str),
    /// The program itself (`sandscope demo`).
    Program,
    /// The file.
    File,
    /// Nobody: the default.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag --{name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Program => f.write_str("program"),
            Self::File => f.write_str("file"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Values by section and key, each of its setting's shape.
#[derive(Clone, Default)]
pub(crate) struct Given {
    values: BTreeMap<(&'static str, &'static str), (Value, Source)>,
    /// Sections that are there, even where they are empty.
    tables: BTreeSet<&'static str>,
    /// `[[alerts]]`, each item with keys and shapes that are known.
    pub(crate) alerts: Vec<Table>,
    /// What was set and is no setting.
    pub(crate) unknown: Vec<String>,
}

/// Keys only: values may be secrets.
impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Given {
    pub(crate) fn set(&mut self, at: (&'static str, &'static str), value: Value, source: Source) {
        self.values.insert(at, (value, source));
        self.tables.insert(at.0);
    }

    /// Notes that the section is there.
    pub(crate) fn open(&mut self, table: &'static str) {
        self.tables.insert(table);
    }

    pub(crate) fn get(&self, table: &'static str, key: &'static str) -> Option<&(Value, Source)> {
        self.values.get(&(table, key))
    }

    pub(crate) fn has_table(&self, table: &'static str) -> bool {
        self.tables.contains(table)
    }

    /// Takes from `under` what is not said here.
    pub(crate) fn over(mut self, under: Self) -> Self {
        for (at, value) in under.values {
            self.values.entry(at).or_insert(value);
        }
        self.tables.extend(under.tables);
        self.unknown.extend(under.unknown);
        if self.alerts.is_empty() {
            self.alerts = under.alerts;
        }
        self
    }
}
