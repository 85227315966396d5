//! Between rows and records: statements that stay prepared, and columns read in their order.

use jiff::Timestamp;
use rusqlite::{Connection, Params, Row, types::FromSql};
use serde::de::DeserializeOwned;

use super::failure::{Failure, Work};
use crate::record::Sealed;

/// Executes a statement; returns how many rows it changed.
pub(super) fn execute(connection: &Connection, sql: &str, params: impl Params) -> Work<usize> {
    Ok(connection.prepare_cached(sql)?.execute(params)?)
}

/// Returns the first row, if there is one.
pub(super) fn first<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&mut Cells<'_>) -> Work<T>,
) -> Work<Option<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(|row| read(&mut Cells::of(row))).transpose()
}

/// Returns every row.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl Fn(&mut Cells<'_>) -> Work<T>,
) -> Work<Vec<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(&mut Cells::of(row))?);
    }
    Ok(found)
}

/// Returns the number that a statement counts.
pub(super) fn count(connection: &Connection, sql: &str, params: impl Params) -> Work<u64> {
    Ok(first(connection, sql, params, |cells| cells.number())?.unwrap_or(0))
}

/// The columns of a row, taken one by one in the order of the statement.
pub(super) struct Cells<'row> {
    row: &'row Row<'row>,
    at: usize,
}

impl<'row> Cells<'row> {
    pub(super) fn of(row: &'row Row<'row>) -> Self {
        Self { row, at: 0 }
    }

    /// The next column.
    pub(super) fn next<T: FromSql>(&mut self) -> Work<T> {
        self.at += 1;
        Ok(self.row.get(self.at - 1)?)
    }

    /// The next column, a number that is not negative.
    pub(super) fn number(&mut self) -> Work<u64> {
        u64::try_from(self.next::<i64>()?).map_err(|_| self.unreadable())
    }

    /// The next column, which `parse` reads.
    pub(super) fn parsed<T>(&mut self, parse: impl FnOnce(&str) -> Option<T>) -> Work<T> {
        self.parsed_if_any(parse)?.ok_or_else(|| self.unreadable())
    }

    /// The next column, which `parse` reads unless it is null.
    pub(super) fn parsed_if_any<T>(
        &mut self,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Work<Option<T>> {
        self.at += 1;
        let text = self.row.get_ref(self.at - 1)?.as_str_or_null();
        let text = text.map_err(|_| self.unreadable())?;
        text.map(|text| parse(text).ok_or_else(|| self.unreadable())).transpose()
    }

    /// The next column, a moment.
    pub(super) fn time(&mut self) -> Work<Timestamp> {
        self.time_if_any()?.ok_or_else(|| self.unreadable())
    }

    /// The next column, a moment unless it is null.
    pub(super) fn time_if_any(&mut self) -> Work<Option<Timestamp>> {
        let Some(micros) = self.next::<Option<i64>>()? else { return Ok(None) };
        Timestamp::from_microsecond(micros).map(Some).map_err(|_| self.unreadable())
    }

    /// The next column, which is JSON.
    pub(super) fn json<T: DeserializeOwned>(&mut self) -> Work<T> {
        self.parsed(|text| serde_json::from_str(text).ok())
    }

    /// The next column, a sealed value unless it is null.
    pub(super) fn sealed_if_any(&mut self) -> Work<Option<Sealed>> {
        Ok(self.next::<Option<Vec<u8>>>()?.map(Sealed))
    }

    /// The next column, a sealed value.
    pub(super) fn sealed(&mut self) -> Work<Sealed> {
        self.next().map(Sealed)
    }

    fn unreadable(&self) -> Failure {
        let column = self.row.as_ref().column_name(self.at - 1);
        Failure::unreadable(column.unwrap_or("value"))
    }
}

/// Texts or pairs of texts as JSON.
pub(super) fn json(value: &impl serde::Serialize) -> Work<String> {
    serde_json::to_string(value).map_err(|_| Failure::unreadable("list of texts"))
}

/// A moment as it is kept.
pub(super) fn micros(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_microsecond)
}
