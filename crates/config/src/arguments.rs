//! Settings on the command line: flags made from the sections, one set for all commands.
//!
//! Every command that reads the server's configuration takes every flag, so that a line of flags that works for one
//! works for all; help shows those that the command uses.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, value_parser};
use toml::Value;

use crate::given::{Given, Source};
use crate::kind::table_of_text;
use crate::sections;
use crate::setting::Setting;
use crate::shape::Shape;

const FILE: &str = "config";

/// What variables of ours begin with.
const PREFIX: &str = "SANDSCOPE_";

/// In how many letters a mistyped name differs at most.
const MOST_MISTYPED: usize = 2;

/// Which settings a command uses, and its help shows.
pub trait Uses {
    /// Whether the command uses the setting with this flag.
    fn uses(flag: &str) -> bool;
}

/// All settings: what runs or checks a server.
#[derive(Debug, Clone, Copy)]
pub struct Everything;

impl Uses for Everything {
    fn uses(_: &str) -> bool {
        true
    }
}

/// Where the data directory is.
#[derive(Debug, Clone, Copy)]
pub struct DataDirectory;

impl Uses for DataDirectory {
    fn uses(flag: &str) -> bool {
        flag == "data-dir"
    }
}

/// The data directory and the address listened on.
#[derive(Debug, Clone, Copy)]
pub struct DirectoryAndAddress;

impl Uses for DirectoryAndAddress {
    fn uses(flag: &str) -> bool {
        matches!(flag, "data-dir" | "listen")
    }
}

/// Settings of the server as flags and environment give them, and the file they name.
pub struct Arguments<U> {
    /// The configuration file.
    pub config: Option<PathBuf>,
    pub(crate) given: Given,
    uses: PhantomData<U>,
}

/// Settings of a command that uses all of them.
pub type ServeArgs = Arguments<Everything>;

impl<U> Default for Arguments<U> {
    fn default() -> Self {
        Self { config: None, given: Given::default(), uses: PhantomData }
    }
}

impl<U> Clone for Arguments<U> {
    fn clone(&self) -> Self {
        Self { config: self.config.clone(), given: self.given.clone(), uses: PhantomData }
    }
}

impl<U> fmt::Debug for Arguments<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arguments").field("config", &self.config).field("given", &self.given).finish()
    }
}

impl<U> Arguments<U> {
    /// Adds what may be given in the environment but not as a flag: flags are visible to every process of the machine.
    #[must_use]
    pub fn with_environment(self) -> Self {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        self.refusing_mistyped(names).with_variables(|name| std::env::var(name).ok())
    }

    /// Refuses a variable that is nearly one of a setting: a mistyped name must not leave a default in force. Others are
    /// left alone: they may be other programs'.
    pub(crate) fn refusing_mistyped(mut self, names: impl Iterator<Item = String>) -> Self {
        let known: Vec<&str> = settings().filter_map(|setting| setting.environment).collect();
        for name in names.filter(|name| name.starts_with(PREFIX) && !known.contains(&name.as_str())) {
            let nearly = |one: &&&str| strsim::osa_distance(one, &name) <= MOST_MISTYPED;
            if let Some(meant) = known.iter().find(nearly) {
                self.given.unknown.push(format!("{name} (environment); did you mean {meant}?"));
            }
        }
        self
    }

    pub(crate) fn with_variables(mut self, variable: impl Fn(&str) -> Option<String>) -> Self {
        for setting in settings().filter(|setting| setting.flag.is_none()) {
            let Some(name) = setting.environment else { continue };
            let Some(text) = variable(name) else { continue };
            let value = match setting.shape {
                Shape::Texts => Value::Array(text.split(',').map(Value::from).collect()),
                Shape::Table => Value::Table(table_of_text(&text)),
                _ => text.into(),
            };
            self.given.set((setting.table, setting.key), value, Source::Environment(name));
        }
        self
    }

    /// The same, with `value` for the setting `key` of the section `table`. What is no setting, or has another shape,
    /// is refused when the configuration is resolved.
    #[must_use]
    pub fn with(mut self, table: &str, key: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        match settings().find(|setting| setting.table == table && setting.key == key) {
            Some(setting) if setting.shape.fits(&value) => {
                self.given.set((setting.table, setting.key), value, Source::Program);
            }
            _ => self.given.unknown.push(format!("[{table}] {key} of this shape")),
        }
        self
    }
}

impl<U: Uses> clap::Args for Arguments<U> {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(FILE)
            .long(FILE)
            .value_name("FILE")
            .env("SANDSCOPE_CONFIG")
            .value_parser(value_parser!(PathBuf))
            .help("Configuration file (TOML)");
        settings().fold(command.arg(file), |command, setting| match setting.flag {
            Some((flag, value_name)) => {
                command.arg(argument(&setting, flag, value_name).hide(!U::uses(flag)))
            }
            None => command,
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<U: Uses> FromArgMatches for Arguments<U> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut arguments = Self { config: matches.get_one::<PathBuf>(FILE).cloned(), ..Self::default() };
        for setting in settings() {
            let Some((flag, _)) = setting.flag else { continue };
            let source = match (matches.value_source(flag), setting.environment) {
                (Some(ValueSource::CommandLine), _) => Source::Flag(flag),
                (Some(_), Some(name)) => Source::Environment(name),
                _ => continue,
            };
            if let Some(value) = value(matches, flag, setting.shape) {
                arguments.given.set((setting.table, setting.key), value, source);
            }
        }
        Ok(arguments)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn settings() -> impl Iterator<Item = Setting> {
    sections::all().into_iter().flat_map(|table| table.settings)
}

fn argument(setting: &Setting, flag: &'static str, value_name: &'static str) -> Arg {
    let range = if setting.shape == Shape::Whole { format!(", {}", setting.allowed) } else { String::new() };
    let default = setting.default_text().unwrap_or_else(|| "none".to_owned());
    let argument = Arg::new(flag)
        .long(flag)
        .value_name(value_name)
        .help(format!("{}{range} [default: {default}]", setting.doc));
    let argument = match setting.environment {
        Some(name) => argument.env(name),
        None => argument,
    };
    match setting.shape {
        Shape::Whole => argument.value_parser(value_parser!(u32)),
        Shape::Switch => {
            argument.value_parser(BoolishValueParser::new()).num_args(0..=1).default_missing_value("true")
        }
        Shape::Texts => argument.value_delimiter(',').action(ArgAction::Append),
        Shape::Wholes => {
            argument.value_delimiter(',').action(ArgAction::Append).value_parser(value_parser!(u32))
        }
        Shape::Text | Shape::Number | Shape::Amount | Shape::Table => argument,
    }
}

fn value(matches: &ArgMatches, flag: &str, shape: Shape) -> Option<Value> {
    let value = match shape {
        Shape::Whole => Value::from(*matches.get_one::<u32>(flag)?),
        Shape::Switch => Value::from(*matches.get_one::<bool>(flag)?),
        Shape::Texts => {
            Value::Array(matches.get_many::<String>(flag)?.map(|text| Value::from(text.as_str())).collect())
        }

        Shape::Wholes => {
            Value::Array(matches.get_many::<u32>(flag)?.map(|number| Value::from(*number)).collect())
        }

        Shape::Text | Shape::Number | Shape::Amount | Shape::Table => {
            Value::from(matches.get_one::<String>(flag)?.as_str())
        }
    };
    Some(value)
}
