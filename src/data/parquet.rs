//! Parquet files, row by row. They are read on a thread with bounded memory, where a panic is an error: their sizes are what somebody
//! else wrote, and the reader of the crate believes them. Rows come over as JSON lines, a batch at a time.

use crate::cell;
use crate::reader::{Reader, twice};
use crate::record::Record;
use anyhow::{Context, Result, anyhow, bail, ensure};
use base::bounded;
use base::memory::{self, Bounds, Exceeded};
use base::text;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use serde_json::{Map, Value as Json};
use std::collections::VecDeque;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the reader may take: pages of all columns, unpacked, and the rows of a batch.
const MOST_MEMORY: usize = 160 << 20;
const STACK: usize = 4 << 20;
/// Columns, and how deep they nest: each level is a call.
const MOST_LEAVES: usize = 2000;
const DEEPEST: usize = 64;
/// Values of a column that are unpacked at once, and bytes of a batch.
const VALUES: usize = 64;
const BATCH: usize = 1 << 18;
/// No file takes so long; a reader waits as long as the file is read.
const EVER: Duration = Duration::from_secs(1 << 30);

pub struct Parquet {
    columns: Vec<String>,
    twice: Vec<String>,
    shared: Arc<Shared>,
    ready: VecDeque<String>,
    row: u64,
}

impl Parquet {
    pub fn open(path: &Path) -> Result<Parquet> {
        bounded::special(path)?;
        let file = File::open(path)?;
        let columns = columns_of(file.try_clone()?)?;
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        let thread = std::thread::Builder::new().name("parquet".into());
        thread.spawn(move || {
            let inner = own.clone();
            own.end(guarded(move || send_rows(file, &inner)));
        })?;
        Ok(Parquet {
            twice: twice(&columns),
            columns,
            shared,
            ready: VecDeque::new(),
            row: 0,
        })
    }
}

impl Reader for Parquet {
    fn columns(&self) -> Option<&[String]> {
        Some(&self.columns)
    }

    fn next(&mut self) -> Result<Option<Record>> {
        self.row += 1;
        if self.ready.is_empty() {
            let lines = self.shared.take();
            let lines = lines.map_err(|e| anyhow!("after row {}: {e:#}", self.row - 1))?;
            self.ready.extend(lines);
        }
        let Some(line) = self.ready.pop_front() else {
            return Ok(None);
        };
        let cells = serde_json::from_str(&line).with_context(|| format!("row {}", self.row))?;
        Ok(Some(Record {
            row: self.row,
            cells,
            twice: self.twice.clone(),
        }))
    }
}

impl Drop for Parquet {
    fn drop(&mut self) {
        self.shared.lock().unwanted = true;
        self.shared.changed.notify_all();
    }
}

/// Within the bounds. What goes wrong is said in a line.
fn guarded<T: Send + 'static>(run: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let bounds = Bounds {
        memory: MOST_MEMORY,
        stack: STACK,
        time: EVER,
    };
    match catch_unwind(AssertUnwindSafe(|| memory::bounded(bounds, run))) {
        Ok(Ok(Ok(result))) => result,
        Ok(Ok(Err(Exceeded::Memory))) => bail!(
            "it takes more than {} to read; is the file damaged, or a row that large?",
            text::bytes(MOST_MEMORY as u64)
        ),
        Ok(Ok(Err(Exceeded::Time))) => bail!("it takes too long to read"),
        Ok(Err(error)) => Err(error).context("no thread could be started"),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or(panic.downcast_ref::<&str>().copied());
            bail!(
                "the file is damaged ({})",
                said.unwrap_or("it cannot be read")
            )
        }
    }
}

/// The names of the columns, once the schema has been looked at.
fn columns_of(file: File) -> Result<Vec<String>> {
    guarded(move || {
        let reader = SerializedFileReader::new(file)?;
        let schema = reader.metadata().file_metadata().schema_descr();
        let leaves = schema.num_columns();
        ensure!(leaves <= MOST_LEAVES, "more than {MOST_LEAVES} columns");
        let deep = |c: &parquet::schema::types::ColumnDescPtr| c.path().parts().len() > DEEPEST;
        ensure!(
            !schema.columns().iter().any(deep),
            "columns nest deeper than {DEEPEST}"
        );
        let fields = schema.root_schema().get_fields();
        Ok(fields.iter().map(|f| f.name().to_string()).collect())
    })
}

fn send_rows(file: File, shared: &Shared) -> Result<()> {
    let reader = SerializedFileReader::new(file)?;
    let rows = RowIter::from_file_into(Box::new(reader)).with_batch_size(VALUES);
    let (mut batch, mut empty) = (String::new(), 0);
    for row in rows {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                shared.give(&mut batch);
                let unknown = error.to_string().contains("Disabled feature");
                let error = anyhow::Error::from(error);
                return Err(match unknown {
                    true => error.context(
                        "it is packed in a way that is not read; write it with `compression=\"zstd\"` or `\"snappy\"`",
                    ),
                    false => error,
                });
            }
        };
        // A file may claim rows without end of which nothing is there.
        empty = if row.len() == 0 { empty + 1 } else { 0 };
        ensure!(empty <= 1000, "rows have no cells");
        batch += &Json::Object(cells(row)).to_string();
        batch.push('\n');
        if batch.len() >= BATCH && !shared.give(&mut batch) {
            return Ok(());
        }
    }
    shared.give(&mut batch);
    Ok(())
}

/// Of two columns of one name the first; nobody may ask for it.
fn cells(row: Row) -> Map<String, Json> {
    let mut cells = Map::new();
    for (name, field) in row.into_columns() {
        cells.entry(name).or_insert_with(|| value(&field));
    }
    cells
}

/// Bytes are the text that they are, or no text at all; the rest is as the crate has it.
fn value(field: &Field) -> Json {
    match field {
        Field::Bytes(bytes) => cell::bytes(bytes.data()),
        Field::Group(row) => {
            let fields = row.get_column_iter();
            Json::Object(
                fields
                    .map(|(name, field)| (name.clone(), value(field)))
                    .collect(),
            )
        }
        Field::ListInternal(list) => Json::Array(list.elements().iter().map(value).collect()),
        Field::MapInternal(map) => {
            let key = |field: &Field| match value(field) {
                Json::String(key) => key,
                other => other.to_string(),
            };
            let entries = map.entries().iter();
            Json::Object(
                entries
                    .map(|(name, field)| (key(name), value(field)))
                    .collect(),
            )
        }
        other => other.to_json_value(),
    }
}

/// Hands batches over. The text that is filled belongs to the reading thread, and stays its own: what a thread takes and another
/// gives back would be counted wrongly.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    batch: String,
    full: bool,
    ended: Option<Result<()>>,
    unwanted: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, until: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_while(self.lock(), |state| !until(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the last batch was taken, and leaves an empty one. False where nobody wants more.
    fn give(&self, batch: &mut String) -> bool {
        let mut state = self.wait(|state| !state.full || state.unwanted);
        if state.unwanted {
            return false;
        }
        std::mem::swap(&mut state.batch, batch);
        batch.clear();
        state.full = true;
        self.changed.notify_all();
        true
    }

    fn end(&self, result: Result<()>) {
        self.lock().ended = Some(result);
        self.changed.notify_all();
    }

    /// The lines of the next batch; none at the end.
    fn take(&self) -> Result<Vec<String>> {
        loop {
            let mut state = self.wait(|state| state.full || state.ended.is_some());
            if state.full {
                let lines: Vec<String> = state.batch.lines().map(String::from).collect();
                state.full = false;
                self.changed.notify_all();
                if lines.is_empty() {
                    continue;
                }
                return Ok(lines);
            }
            return match &mut state.ended {
                Some(result) => std::mem::replace(result, Ok(())).map(|()| vec![]),
                None => Ok(vec![]),
            };
        }
    }
}
