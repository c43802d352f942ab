/// One line of the result: what, how much, and what that means.
pub(crate) type Row = Vec<String>;

pub(crate) fn row(figure: impl Into<String>, value: impl Into<String>, remark: impl Into<String>) -> Row {
    vec![figure.into(), value.into(), remark.into()]
}
