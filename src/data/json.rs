//! JSON files in the layouts that public sets have, read a value at a time: `scan` finds where a value ends, and `value` says what
//! it is.

use crate::describe::describe;
use crate::reader::Reader;
use crate::record::Record;
use crate::scan::Scan;
use crate::text::Text;
use crate::value::{self, Object, Wrong};
use anyhow::{Result, anyhow, bail, ensure};
use serde_json::{Map, Value};
use std::collections::VecDeque;

/// How the rows of a JSON file lie in it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Layout {
    /// An array of objects; or an object with one array of objects, beside whatever else (`{"parameters": …, "jailbreaks": [{…}]}`);
    /// or objects one after the other, as in JSON lines.
    #[default]
    Rows,
    /// An array of arrays of objects: a grid. A row has `row` and `column` besides the object's fields, both from 0.
    Cells,
    /// An object of arrays: `{"id": ["text", …]}`. A row has `key`, its place `index` in the array, and `value`, or the fields of the
    /// object that it is.
    Keyed,
}

/// The rows of a JSON file.
pub struct Json {
    scan: Scan,
    layout: Layout,
    place: Place,
    /// Keys of the object around the rows.
    keys: Vec<String>,
    /// Rows of a value that holds several.
    ready: VecDeque<Object>,
    row: u64,
    bytes: Vec<u8>,
}

/// Where the reader stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Start,
    /// In the array of rows.
    Array {
        first: bool,
        inside: bool,
    },
    /// In the object around it.
    Object {
        first: bool,
        found: bool,
    },
    /// Objects that follow each other.
    Stream,
    End,
}

/// Names in a message.
const MOST_KEYS: usize = 20;

impl Json {
    pub fn new(text: Text, layout: Layout) -> Json {
        Json {
            scan: Scan::new(text),
            layout,
            place: Place::Start,
            keys: vec![],
            ready: VecDeque::new(),
            row: 0,
            bytes: vec![],
        }
    }

    fn start(&mut self) -> Result<()> {
        match self.scan.peek()? {
            None => bail!("the file is empty"),
            Some(b'[') => {
                self.scan.skip();
                self.place = Place::Array {
                    first: true,
                    inside: false,
                };
            }
            Some(b'{') => {
                self.place = Place::Object {
                    first: true,
                    found: false,
                };
                if self.layout == Layout::Rows && self.scan.another_follows()? {
                    self.place = Place::Stream;
                } else {
                    self.scan.skip();
                }
            }
            Some(_) => bail!("the file is neither an array nor an object"),
        }
        Ok(())
    }

    /// One step further: a row may be ready then.
    fn step(&mut self) -> Result<()> {
        self.scan.begin_record();
        match self.place {
            Place::Start => self.start(),
            Place::Array { first, inside } => self.item(first, inside),
            Place::Object { first, found } => self.member(first, found),
            Place::Stream => match self.scan.peek()? {
                None => {
                    self.place = Place::End;
                    Ok(())
                }
                Some(_) => self.value_is_row(),
            },
            Place::End => Ok(()),
        }
    }

    /// The next item of the array.
    fn item(&mut self, first: bool, inside: bool) -> Result<()> {
        match self.scan.peek()? {
            None => bail!("the file ends inside an array"),
            Some(b']') => {
                self.scan.skip();
                self.place = match inside {
                    true => Place::Object {
                        first: false,
                        found: true,
                    },
                    false => self.ended()?,
                };
                return Ok(());
            }
            Some(b',') if !first => {
                self.scan.skip();
                ensure!(
                    !matches!(self.scan.peek()?, Some(b']' | b',')),
                    "nothing stands behind a comma; take it out"
                );
            }
            Some(_) if !first => bail!("a comma is missing between two items"),
            Some(_) => {}
        }
        self.place = Place::Array {
            first: false,
            inside,
        };
        if self.layout == Layout::Rows {
            return self.value_is_row();
        }
        let place = self.keys.len();
        self.keys.push(String::new());
        self.value_is_several(place as u64, None)
    }

    /// The next member of the object: a row's array begins, or it is none.
    fn member(&mut self, first: bool, found: bool) -> Result<()> {
        match self.scan.peek()? {
            None => bail!("the file ends inside an object"),
            Some(b'}') => {
                self.scan.skip();
                let keys = self.keys[..self.keys.len().min(MOST_KEYS)].join(", ");
                ensure!(
                    found || self.layout != Layout::Rows,
                    "the file is one object without an array of objects; its keys are {keys}. Rows are an array of objects, as \
                     `to_json(orient=\"records\")` of pandas writes them, or an object a line in a .jsonl file"
                );
                self.place = self.ended()?;
                return Ok(());
            }
            Some(b',') if !first => self.scan.skip(),
            Some(_) if !first => bail!("a comma is missing between two keys"),
            Some(_) => {}
        }
        self.bytes.clear();
        self.scan.value(&mut self.bytes)?;
        let key = match value::from_slice(&self.bytes) {
            Ok(Value::String(key)) => key,
            Ok(other) => bail!("a key is no string but {}", describe(&other)),
            Err(e) => bail!("a key is no string ({})", inside(&e)),
        };
        ensure!(
            self.scan.peek()? == Some(b':'),
            "a colon is missing after `{key}`"
        );
        self.scan.skip();
        self.place = Place::Object {
            first: false,
            found,
        };
        if self.layout != Layout::Rows {
            let place = self.keys.len();
            self.keys.push(key.clone());
            return self.value_is_several(place as u64, Some(key));
        }
        let array = self.scan.peek()? == Some(b'[');
        if array {
            self.scan.skip();
            if self.scan.peek()? == Some(b'{') {
                ensure!(
                    !found,
                    "`{key}` is a second array of objects; which are the rows?"
                );
                self.place = Place::Array {
                    first: true,
                    inside: true,
                };
                return Ok(());
            }
        }
        self.bytes.clear();
        match array {
            true => self.scan.rest(1, &mut self.bytes)?,
            false => self.scan.value(&mut self.bytes)?,
        }
        if self.keys.len() < MOST_KEYS {
            self.keys.push(key);
        }
        Ok(())
    }

    fn ended(&mut self) -> Result<Place> {
        match self.scan.peek()? {
            None => Ok(Place::End),
            Some(_) => bail!("something follows the end of the JSON value"),
        }
    }

    fn value_is_row(&mut self) -> Result<()> {
        self.bytes.clear();
        self.scan.value(&mut self.bytes)?;
        let row = value::object(&self.bytes);
        self.ready
            .push_back(row.map_err(|e| anyhow!("not a JSON object ({})", inside(&e)))?);
        Ok(())
    }

    /// A value that is an array of rows: a line of the grid, or what a key has.
    fn value_is_several(&mut self, place: u64, key: Option<String>) -> Result<()> {
        self.bytes.clear();
        self.scan.value(&mut self.bytes)?;
        let named = || match &key {
            Some(key) => format!("what `{key}` has"),
            None => format!("item {}", place + 1),
        };
        let items = match value::from_slice(&self.bytes) {
            Ok(Value::Array(items)) => items,
            Ok(other) => bail!("{} is no array but {}", named(), describe(&other)),
            Err(e) => bail!("{} is no JSON ({})", named(), inside(&e)),
        };
        for (index, item) in items.into_iter().enumerate() {
            let mut row = match item {
                Value::Object(fields) => fields,
                Value::Null => Map::new(),
                value => Map::from_iter([("value".to_string(), value)]),
            };
            let names: [(&str, Value); 2] = match (self.layout, &key) {
                (Layout::Keyed, Some(key)) => {
                    [("key", key.as_str().into()), ("index", index.into())]
                }
                (Layout::Keyed, None) => bail!("the file is an array where an object was expected"),
                _ => [("row", place.into()), ("column", index.into())],
            };
            row.extend(names.map(|(name, value)| (name.to_string(), value)));
            self.ready.push_back((row, vec![]));
        }
        Ok(())
    }
}

impl Reader for Json {
    fn columns(&self) -> Option<&[String]> {
        None
    }

    fn next(&mut self) -> Result<Option<Record>> {
        self.row += 1;
        while self.ready.is_empty() && self.place != Place::End {
            self.step()
                .map_err(|e| anyhow!("row {}: {e:#}", self.row))?;
        }
        let row = self.row;
        let record = |(cells, twice)| Record { row, cells, twice };
        Ok(self.ready.pop_front().map(record))
    }
}

/// What is wrong with a value, and where in it.
fn inside(wrong: &Wrong) -> String {
    format!("character {} of it: {}", wrong.column, wrong.what)
}
