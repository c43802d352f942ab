//! What is known of a setting: one line of a [`section!`], from which the struct of values, flags, environment, file,
//! rules, `config show` and the reference page follow.

use toml::Value;

use crate::kind::Kind;
use crate::rules::Rules;
use crate::shape::Shape;

/// One setting.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// The section of the file, without brackets.
    pub(crate) table: &'static str,
    /// The key in that section.
    pub(crate) key: &'static str,
    /// What it decides.
    pub(crate) doc: String,
    /// The flag without hyphens, and the placeholder of its value in help.
    pub(crate) flag: Option<(&'static str, &'static str)>,
    /// The variable of the environment.
    pub(crate) environment: Option<&'static str>,
    /// How it is written in the file.
    pub(crate) shape: Shape,
    /// Which values it takes, as in "must be …".
    pub(crate) allowed: String,
    /// What it is measured in.
    pub(crate) unit: Option<&'static str>,
    /// What holds where nothing is given.
    pub(crate) default: Option<Value>,
    /// Whether its value is shown nowhere.
    pub(crate) secret: bool,
}

impl Setting {
    pub(crate) fn new<T>(
        (table, key): (&'static str, &'static str),
        doc: &str,
        kind: &Kind<T>,
        flag: Option<(&'static str, &'static str)>,
        environment: Option<&'static str>,
    ) -> Self {
        Self {
            table,
            key,
            doc: doc.trim().to_owned(),
            flag,
            environment,
            shape: kind.shape,
            allowed: kind.allowed.clone(),
            unit: kind.unit,
            default: (kind.write)(&kind.unset),
            secret: kind.secret,
        }
    }

    /// One that is checked elsewhere: only its shape is known here.
    pub(crate) fn unchecked(at: (&'static str, &'static str), shape: Shape, doc: &str) -> Self {
        Self {
            table: at.0,
            key: at.1,
            doc: doc.to_owned(),
            flag: None,
            environment: None,
            shape,
            allowed: shape.named().to_owned(),
            unit: None,
            default: None,
            secret: false,
        }
    }

    /// Its default as people read it; none where nothing is the default.
    pub(crate) fn default_text(&self) -> Option<String> {
        let text = match self.default.as_ref()? {
            Value::String(text) => text.clone(),
            Value::Array(list) => {
                let texts: Vec<String> = list.iter().map(|item| item.to_string().replace('"', "")).collect();
                texts.join(",")
            }
            other => other.to_string(),
        };
        (!text.is_empty()).then_some(text)
    }
}

/// A section of the file whose values are checked here.
pub(crate) trait Section: Sized {
    /// Its name in the file, without brackets.
    const TABLE: &'static str;
    /// What it is about.
    const ABOUT: &'static str;

    /// Its settings, in the order in which they are shown.
    fn settings() -> Vec<Setting>;

    /// Its values; broken rules are left with `rules`.
    fn take(rules: &mut Rules<'_>) -> Self;
}

/// A section: `pub Struct in "table" said "word before the key in errors" { field: Type = kind, key "…", flag "…"
/// "VALUE", env "…"; … }`. Each line is all there is to a setting; its doc comment is help and reference.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $visible:vis $name:ident in $table:literal said $word:literal {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty = $kind:expr, key $key:literal
                    $(, flag $flag:literal $value:literal)? $(, env $environment:literal)?;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone)]
        $visible struct $name {
            $( $(#[doc = $doc])+ pub $field: $type, )+
        }

        impl $crate::setting::Section for $name {
            const TABLE: &'static str = $table;
            const ABOUT: &'static str = concat!($($about),+);

            fn settings() -> Vec<$crate::setting::Setting> {
                vec![$(
                    $crate::setting::Setting::new(
                        ($table, $key),
                        concat!($($doc),+),
                        &$kind,
                        None$(.or(Some(($flag, $value))))?,
                        None$(.or(Some($environment)))?,
                    ),
                )+]
            }

            fn take(rules: &mut $crate::rules::Rules<'_>) -> Self {
                Self { $( $field: rules.take($table, $word, $key, $kind), )+ }
            }
        }
    };
}
pub(crate) use section;
