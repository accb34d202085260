//! A record: named cells in the order of its file. A cell of CSV is text; one of JSON or Parquet is any JSON value. What a cell may hold
//! is the business of `cell`; here errors get the column's name.

use crate::cell::{self, Said};
use anyhow::{Result, anyhow, ensure};
use base::rows::Message;
use serde_json::{Map, Value};
use std::borrow::Cow;

#[derive(Default)]
pub struct Record {
    /// Of its file, from 1.
    pub row: u64,
    pub cells: Map<String, Value>,
    /// Names that several columns have, or a key that stands twice: of these no cell is taken.
    pub twice: Vec<String>,
}

impl Record {
    /// The first of these columns that the record has, and that is not null, with its name.
    fn find(&self, names: &[&str]) -> Result<Option<(String, &Value)>> {
        if let Some(name) = names
            .iter()
            .find(|name| self.twice.iter().any(|t| t == *name))
        {
            ensure!(
                name.trim().is_empty(),
                "several columns are called `{name}`: nothing says which is meant; rename or remove one"
            );
            ensure!(
                false,
                "several columns have no name; give the one that is meant a name"
            );
        }
        let cells = names
            .iter()
            .filter_map(|name| Some((name.to_string(), self.cells.get(*name)?)));
        Ok(cells.into_iter().find(|(_, value)| !value.is_null()))
    }

    /// The cell of these columns as it is.
    pub fn get(&self, names: &[&str]) -> Result<Option<&Value>> {
        Ok(self.find(names)?.map(|(_, value)| value))
    }

    /// Reads the cell, or null where there is none. An error begins with the column's name.
    fn read<'a, T>(&'a self, names: &[&str], read: fn(&'a Value) -> Result<T>) -> Result<T> {
        match self.find(names)? {
            Some((name, value)) => read(value).map_err(|e| anyhow!("`{name}` is {e:#}")),
            None => read(&Value::Null),
        }
    }

    /// An id, a class, a category; empty where there is none.
    pub fn text(&self, names: &[&str]) -> Result<Cow<'_, str>> {
        self.read(names, cell::label)
    }

    /// One label for each of so many samples.
    pub fn labels(&self, column: &str, samples: usize) -> Result<Vec<Cow<'_, str>>> {
        let value = self.get(&[column])?.unwrap_or(&Value::Null);
        cell::labels(value, samples).map_err(|e| anyhow!("`{column}` is {e:#}"))
    }

    /// What the user says; empty where there is nothing.
    pub fn prompt(&self, names: &[&str]) -> Result<String> {
        self.read(names, cell::prompt)
    }

    /// The same of a list of turns, of which the first is taken.
    pub fn first_turn(&self, names: &[&str]) -> Result<String> {
        self.read(names, cell::first_turn)
    }

    /// All samples of a prompt.
    pub fn responses(&self, names: &[&str]) -> Result<Vec<Said>> {
        self.read(names, cell::responses)
    }

    /// The only one; empty where there is none.
    pub fn response(&self, names: &[&str]) -> Result<String> {
        Ok(self.read(names, cell::response)?.text)
    }

    /// A conversation; empty where there is none.
    pub fn messages(&self, names: &[&str]) -> Result<Vec<Message>> {
        self.read(names, cell::messages)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.cells.keys().map(String::as_str)
    }
}

/// A truth value however it is written: `true`, `TRUE`, `1`, `yes`.
pub fn truth(value: &Value) -> Option<bool> {
    let text = cell::label(value).ok()?;
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "1.0" | "yes" => Some(true),
        "false" | "0" | "0.0" | "no" => Some(false),
        _ => None,
    }
}

/// A number however it is written.
pub fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(n) => n.as_f64(),
        other => cell::label(other).ok()?.trim().parse().ok(),
    };
    number.filter(|n| n.is_finite())
}
