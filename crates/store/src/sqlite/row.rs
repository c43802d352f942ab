//! Between columns and types. A value that makes no sense is an error that names the place, never a panic or a guess.

use std::str::FromStr;

use rusqlite::types::{FromSql, ValueRef};
use rusqlite::{CachedStatement, Connection, Params, Row, Statement};
use sandscope_model::{EventType, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::StoreError;
use crate::failure::Failure;

/// The names of a statement's columns, asked for once for all of its rows.
#[derive(Debug)]
pub(crate) struct Columns {
    table: &'static str,
    names: Vec<String>,
}

impl Columns {
    pub(crate) fn of(statement: &Statement<'_>, table: &'static str) -> Self {
        Self { table, names: statement.column_names().map(str::to_owned).collect() }
    }
}

/// The columns of one row, by name.
#[derive(Debug)]
pub(crate) struct Cells<'r, 's> {
    row: &'r Row<'s>,
    columns: &'r Columns,
    /// Where the next one is looked for first: behind the one read last, which is where it mostly is.
    next: usize,
}

impl<'r, 's> Cells<'r, 's> {
    pub(crate) const fn new(row: &'r Row<'s>, columns: &'r Columns) -> Self {
        Self { row, columns, next: 0 }
    }
}

impl Cells<'_, '_> {
    fn index(&self, column: &str) -> Option<usize> {
        let (before, after) = self.columns.names.split_at(self.next.min(self.columns.names.len()));
        let is_it = |name: &String| name == column;
        after
            .iter()
            .position(is_it)
            .map(|index| index + before.len())
            .or_else(|| before.iter().position(is_it))
    }

    pub(crate) fn corrupt(&self, column: &'static str) -> StoreError {
        let row = match self.row.get_ref(0) {
            Ok(ValueRef::Integer(n)) => n.to_string(),
            Ok(ValueRef::Text(text)) => String::from_utf8_lossy(text).into_owned(),
            Ok(ValueRef::Blob(bytes)) => {
                Uuid::from_slice(bytes).map_or_else(|_| "?".to_owned(), |uuid| uuid.to_string())
            }
            _ => "?".to_owned(),
        };
        StoreError::Corrupt { table: self.columns.table, column, row }
    }

    /// The column as SQLite has it. One that the statement does not have is reported like one that makes no sense.
    pub(crate) fn plain<T: FromSql>(&mut self, column: &'static str) -> Result<T, StoreError> {
        let index = self.index(column).ok_or_else(|| self.corrupt(column))?;
        self.next = index + 1;
        self.row.get(index).map_err(|_| self.corrupt(column))
    }

    pub(crate) fn mapped<T: FromSql, U>(
        &mut self,
        column: &'static str,
        map: impl FnOnce(T) -> Option<U>,
    ) -> Result<U, StoreError> {
        let value = self.plain(column)?;
        map(value).ok_or_else(|| self.corrupt(column))
    }

    pub(crate) fn number<N: TryFrom<i64>>(&mut self, column: &'static str) -> Result<N, StoreError> {
        self.mapped(column, |n: i64| N::try_from(n).ok())
    }

    pub(crate) fn optional_number<N: TryFrom<i64>>(
        &mut self,
        column: &'static str,
    ) -> Result<Option<N>, StoreError> {
        self.mapped(column, |n: Option<i64>| n.map(N::try_from).transpose().ok())
    }

    pub(crate) fn uuid<T: From<Uuid>>(&mut self, column: &'static str) -> Result<T, StoreError> {
        self.mapped(column, |bytes: [u8; 16]| Some(Uuid::from_bytes(bytes).into()))
    }

    pub(crate) fn optional_uuid<T: From<Uuid>>(
        &mut self,
        column: &'static str,
    ) -> Result<Option<T>, StoreError> {
        self.mapped(column, |bytes: Option<[u8; 16]>| Some(bytes.map(|bytes| Uuid::from_bytes(bytes).into())))
    }

    pub(crate) fn id<T: FromStr>(&mut self, column: &'static str) -> Result<T, StoreError> {
        self.mapped(column, |text: String| text.parse().ok())
    }

    pub(crate) fn optional_id<T: FromStr>(&mut self, column: &'static str) -> Result<Option<T>, StoreError> {
        self.mapped(column, |text: Option<String>| text.map(|text| text.parse()).transpose().ok())
    }

    pub(crate) fn time(&mut self, column: &'static str) -> Result<Timestamp, StoreError> {
        self.mapped(column, |n: i64| Timestamp::from_microsecond(n).ok())
    }

    pub(crate) fn optional_time(&mut self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        self.mapped(column, |n: Option<i64>| n.map(Timestamp::from_microsecond).transpose().ok())
    }

    pub(crate) fn json<T: DeserializeOwned>(&mut self, column: &'static str) -> Result<T, StoreError> {
        self.mapped(column, |text: String| serde_json::from_str(&text).ok())
    }

    pub(crate) fn optional_json<T: DeserializeOwned>(
        &mut self,
        column: &'static str,
    ) -> Result<Option<T>, StoreError> {
        self.mapped(column, |text: Option<String>| {
            text.map(|text| serde_json::from_str(&text)).transpose().ok()
        })
    }

    /// A unit variant that is stored under its serde name.
    pub(crate) fn name<T: DeserializeOwned>(&mut self, column: &'static str) -> Result<T, StoreError> {
        self.mapped(column, |text: String| serde_json::from_value(text.into()).ok())
    }

    pub(crate) fn event_type(&mut self, column: &'static str) -> Result<EventType, StoreError> {
        self.mapped(column, |code: i64| u8::try_from(code).ok().and_then(EventType::from_code))
    }
}

/// Every row, decoded.
pub(crate) fn all<T, P: Params>(
    mut statement: CachedStatement<'_>,
    params: P,
    table: &'static str,
    mut decode: impl FnMut(&mut Cells<'_, '_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let columns = Columns::of(&statement, table);
    let mut rows = statement.query(params)?;
    let mut decoded = Vec::new();
    while let Some(row) = rows.next()? {
        decoded.push(decode(&mut Cells::new(row, &columns))?);
    }
    Ok(decoded)
}

/// The first row, decoded, if there is one.
pub(crate) fn first<T, P: Params>(
    mut statement: CachedStatement<'_>,
    params: P,
    table: &'static str,
    decode: impl FnOnce(&mut Cells<'_, '_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let columns = Columns::of(&statement, table);
    let mut rows = statement.query(params)?;
    rows.next()?.map(|row| decode(&mut Cells::new(row, &columns))).transpose()
}

/// The cell of a row of one column, where a name would say nothing: the one place that reads by position. For
/// `query_row` and `query_map`.
pub(crate) fn only<T: FromSql>(row: &Row<'_>) -> rusqlite::Result<T> {
    row.get(0)
}

/// Whether there is a row.
pub(crate) fn exists<P: Params>(connection: &Connection, sql: &str, params: P) -> Result<bool, StoreError> {
    Ok(connection.prepare_cached(sql)?.exists(params)?)
}

/// A value as the text of a JSON column.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::NoForm(Failure::new(error)))
}

/// A unit variant's serde name.
pub(crate) fn to_name<T: Serialize>(value: &T) -> Result<String, StoreError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => Ok(name),
        Ok(_) => Err(StoreError::NoForm(Failure::new("not a name"))),
        Err(error) => Err(StoreError::NoForm(Failure::new(error))),
    }
}

/// A count as SQLite's signed integer; nothing counted here comes near the limit.
pub(crate) fn integer(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
