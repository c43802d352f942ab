use toml::Value;

/// How a value is written in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A text.
    Text,
    /// A whole number, 0 to 2³²-1.
    Whole,
    /// A decimal number.
    Number,
    /// A decimal number, in quotes or not: quoted ones are exact.
    Amount,
    /// `true` or `false`.
    Switch,
    /// A list of texts.
    Texts,
    /// A list of whole numbers.
    Wholes,
    /// A table of texts.
    Table,
}

impl Shape {
    /// As an error says it.
    pub(crate) const fn named(self) -> &'static str {
        match self {
            Self::Text => "a text in quotes",
            Self::Whole => "a whole number",
            Self::Number => "a number",
            Self::Amount => "a number, in quotes or not",
            Self::Switch => "true or false",
            Self::Texts => "a list of texts in quotes",
            Self::Wholes => "a list of whole numbers",
            Self::Table => "a table of texts, such as { name = \"text\" }",
        }
    }

    /// Whether `value` has it.
    pub(crate) fn fits(self, value: &Value) -> bool {
        let whole = |value: &Value| value.as_integer().is_some_and(|number| u32::try_from(number).is_ok());
        match self {
            Self::Text => value.is_str(),
            Self::Whole => whole(value),
            Self::Number => value.is_integer() || value.is_float(),
            Self::Amount => value.is_integer() || value.is_float() || value.is_str(),
            Self::Switch => value.is_bool(),
            Self::Texts => value.as_array().is_some_and(|list| list.iter().all(Value::is_str)),
            Self::Wholes => value.as_array().is_some_and(|list| list.iter().all(whole)),
            Self::Table => value.as_table().is_some_and(|table| table.values().all(Value::is_str)),
        }
    }
}
