//! The answer of a statement.

use crate::fields::str_of;
use crate::raw;
use std::marker::PhantomData;

/// The rows of a statement. To read a place that is not there, or a column as another type, is a fault of the plugin.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub(crate) host: &'a raw::sluice_host,
    pub(crate) rows: *const raw::sluice_rows,
}

impl<'a> Rows<'a> {
    pub fn len(&self) -> usize {
        unsafe { (self.host.row_count)(self.rows) }
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    pub fn row(&self, at: usize) -> Row<'a> {
        Row { host: self.host, rows: self.rows, at, call: PhantomData }
    }
    pub fn iter(&self) -> impl Iterator<Item = Row<'a>> + 'a {
        let rows = *self;
        (0..self.len()).map(move |at| rows.row(at))
    }
}

#[derive(Clone, Copy)]
pub struct Row<'a> {
    host: &'a raw::sluice_host,
    rows: *const raw::sluice_rows,
    at: usize,
    call: PhantomData<&'a raw::sluice_rows>,
}

impl<'a> Row<'a> {
    pub fn is_null(&self, column: usize) -> bool {
        unsafe { (self.host.is_null)(self.rows, self.at, column) != 0 }
    }
    /// Of a smallint, int, bigint, boolean, or a timestamptz (milliseconds since 1970); 0 for NULL.
    pub fn int64(&self, column: usize) -> i64 {
        unsafe { (self.host.get_int64)(self.rows, self.at, column) }
    }
    /// An int64 that is an index of an event or of an outcome.
    pub fn index(&self, column: usize) -> usize {
        usize::try_from(self.int64(column)).unwrap_or(usize::MAX)
    }
    /// Of a boolean; false for NULL.
    pub fn bool(&self, column: usize) -> bool {
        self.int64(column) != 0
    }
    pub fn double(&self, column: usize) -> f64 {
        unsafe { (self.host.get_double)(self.rows, self.at, column) }
    }
    /// Of text, varchar, char(n), json(b); None for NULL.
    pub fn text(&self, column: usize) -> Option<&'a str> {
        let found = unsafe { (self.host.get_text)(self.rows, self.at, column) };
        // Its bytes live until the handler returns, which 'a does not outlast.
        (!found.at.is_null()).then(|| unsafe { &*(str_of(&found) as *const str) })
    }
}
