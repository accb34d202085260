//! The column names that public sets use, and how a parameter names a column. How files are read is the business of `data`, what rows
//! mean that of the kinds that read them.

use anyhow::{Context, Result, ensure};
use base::choice;
use base::rows::PromptClass;
use base::text::did_you_mean;
use data::read::{How, Rows};
use data::record::Record;
use std::path::Path;

choice! {
    /// A prompt class, as a word in a recipe.
    pub enum Class { Harmful = "harmful", Harmless = "harmless", Ambiguous = "ambiguous" }
}

impl From<Class> for PromptClass {
    fn from(class: Class) -> PromptClass {
        match class {
            Class::Harmful => PromptClass::Harmful,
            Class::Harmless => PromptClass::Harmless,
            Class::Ambiguous => PromptClass::Ambiguous,
        }
    }
}

pub(crate) const PROMPT_COLUMNS: &[&str] = &[
    "prompt",
    "goal",
    "Behavior",
    "forbidden_prompt",
    "Goal",
    "instruction",
    "question",
    TURNS,
];

/// Of a list of turns the first is the prompt.
const TURNS: &str = "turns";

pub(crate) const ID_COLUMNS: &[&str] = &["id", "BehaviorID", "question_id", "index"];
pub(crate) const CATEGORY_COLUMNS: &[&str] = &["type", "category", "SemanticCategory"];

/// A file, or the files of a folder, and the columns of all their rows.
pub struct Table {
    pub rows: Rows,
    columns: Vec<String>,
}

impl Table {
    /// An error names the file.
    pub fn open(path: &Path) -> Result<Table> {
        let rows = Rows::of(path, None, None, How::default())?;
        let columns = rows.columns()?;
        Ok(Table { rows, columns })
    }

    /// The column that the parameter names, or else the first of these that there is.
    pub(crate) fn column_or(
        &self,
        param: &str,
        name: Option<&String>,
        usual: &[&str],
    ) -> Result<Option<String>> {
        match name {
            Some(name) => self.column(param, name).map(Some),
            None => {
                let there = |name: &&str| self.columns.iter().any(|c| c == *name);
                Ok(usual.iter().copied().find(there).map(String::from))
            }
        }
    }

    /// The column that this parameter names.
    pub fn column(&self, param: &str, name: &str) -> Result<String> {
        let found = self.columns.iter().find(|c| *c == name).cloned();
        found.with_context(|| {
            let near = did_you_mean(name, self.columns.iter().map(String::as_str));
            let near = near.map_or(".".into(), |n| format!(", did you mean `{n}`?"));
            let names = self.names();
            format!("no column `{name}`{near} The columns are {names}; `{param}` says which")
        })
    }

    pub fn names(&self) -> String {
        self.columns.join(", ")
    }

    /// What is to be said of a table that was read to its end.
    pub(crate) fn ensure_rows(&self, path: &Path) -> Result<()> {
        ensure!(self.rows.read() > 0, "{} has no rows", path.display());
        Ok(())
    }
}

/// What the user says in a row. Errors name the column.
pub fn prompt(record: &Record, column: &str) -> Result<String> {
    let prompt = match column {
        TURNS => record.first_turn(&[column]),
        _ => record.prompt(&[column]),
    }?;
    ensure!(
        !prompt.trim().is_empty(),
        "the prompt is empty: `{column}` has no text"
    );
    Ok(prompt)
}

/// An id, a class or a category; empty where there is no such column, or nothing in it.
pub fn label(record: &Record, column: Option<&str>) -> Result<String> {
    match column {
        Some(column) => Ok(record.text(&[column])?.into_owned()),
        None => Ok(String::new()),
    }
}

/// The name of a file without its ending, which is where its rows come from.
pub fn source(path: &Path) -> String {
    let stem = path.file_stem();
    stem.map(|s| s.to_string_lossy().into_owned())
        .unwrap_or_default()
}
