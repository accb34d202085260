//! What a schema says of a set, and what becomes of its records.

use crate::json::Layout;
use crate::record::Record;
use anyhow::{Result, bail};
use base::rows::{Message, PromptClass};
use base::text::{did_you_mean, listed};
use std::collections::BTreeMap;

pub struct Schema {
    pub name: &'static str,
    /// One line: what the set is.
    pub summary: &'static str,
    /// Addresses and files, each as in `hf://datasets/ORG/NAME/FILE` without what stands before ORG, or of another place.
    pub hub: &'static [&'static str],
    pub licence: &'static str,
    pub columns: &'static [Column],
    /// Which class, category, id and labels come out.
    pub gives: &'static str,
    /// What goes wrong with it.
    pub traps: &'static [&'static str],
    /// Published numbers of rows: of what, how many, who says so.
    pub published: &'static [(&'static str, u64, &'static str)],
    /// How its rows lie in a JSON file.
    pub layout: Layout,
    /// Whether quotes of its TSV files need not be in pairs.
    pub loose: bool,
    /// Of a folder the split that is taken where none is named; `*` is all of its files.
    pub usual: Option<&'static str>,
    /// Words of `split` that have to be said, since the rows do not say what they are; empty where nothing has to.
    pub splits: &'static [&'static str],
    /// Ways to compose a prompt, or parts to take: word and meaning. The first is taken where none is named.
    pub forms: &'static [(&'static str, &'static str)],
    /// What it delivers besides prompts.
    pub conversations: bool,
    pub pairs: bool,
    /// Looks at every row before the first is read.
    pub survey: Option<fn(&mut Survey, &Record)>,
    /// Errors: the row is not what the set has.
    pub read: fn(&Row) -> Result<Item>,
}

/// A column under all names that it has in the set and its mirrors.
pub struct Column {
    pub names: &'static [&'static str],
    /// Whether a file without it is another set.
    pub needed: bool,
    pub what: &'static str,
}

/// What is known of all rows.
#[derive(Default)]
pub struct Survey {
    /// The highest number of a category.
    pub highest: u64,
}

/// A record, and what is known besides.
pub struct Row<'a> {
    pub record: &'a Record,
    /// Over all files, from 1.
    pub number: u64,
    pub split: Option<&'a str>,
    pub form: &'a str,
    pub survey: &'a Survey,
    /// Of `harmbench-cases`: what each behaviour is.
    pub behaviors: &'a BTreeMap<String, Item>,
}

impl Row<'_> {
    /// The cell of a column, by its names, as an id, a class or a category; empty where there is none, as below.
    pub fn text(&self, names: &[&str]) -> Result<String> {
        Ok(self.record.text(names)?.into_owned())
    }

    /// As what the user says.
    pub fn prompt(&self, names: &[&str]) -> Result<String> {
        self.record.prompt(names)
    }

    /// As a list of turns, of which the first is taken.
    pub fn first_turn(&self, names: &[&str]) -> Result<String> {
        self.record.first_turn(names)
    }

    /// As what the assistant says.
    pub fn response(&self, names: &[&str]) -> Result<String> {
        self.record.response(names)
    }

    /// As a conversation.
    pub fn messages(&self, names: &[&str]) -> Result<Vec<Message>> {
        self.record.messages(names)
    }

    /// Whether the split has this among its words.
    pub(crate) fn split_is(&self, word: &str) -> bool {
        let lower = self.split.unwrap_or_default().to_lowercase();
        lower
            .split(|c: char| !c.is_alphanumeric())
            .any(|w| w == word)
    }
}

/// What a record becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Unique in the set, without its name; none: the split, if one is named, and the row's number.
    pub id: Option<String>,
    pub class: PromptClass,
    pub prompt: String,
    pub category: String,
    pub labels: BTreeMap<String, String>,
    /// To learn from, where it has a response that is.
    pub messages: Option<Vec<Message>>,
    pub pair: Option<Chosen>,
    /// Why it is left out.
    pub left: Option<&'static str>,
}

/// Two responses, and what somebody thinks of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    pub chosen: String,
    pub rejected: String,
    pub scores: (f64, f64),
}

/// Why a row without a prompt is left out; every schema has these two.
pub const NO_PROMPT: &str = "no prompt";
pub const SAME_ID: &str = "id of an earlier row";

impl Item {
    /// A blank prompt is a reason to leave it out.
    pub fn new(class: PromptClass, prompt: String) -> Item {
        let left = prompt.trim().is_empty().then_some(NO_PROMPT);
        Item {
            id: None,
            class,
            prompt,
            category: String::new(),
            labels: BTreeMap::new(),
            messages: None,
            pair: None,
            left,
        }
    }

    pub fn id(mut self, id: String) -> Item {
        self.id = Some(id.trim().to_string()).filter(|id| !id.is_empty());
        self
    }

    pub fn category(mut self, category: String) -> Item {
        self.category = category;
        self
    }

    /// An empty label is none.
    pub fn label(mut self, name: &str, value: String) -> Item {
        if !value.is_empty() {
            self.labels.insert(name.into(), value);
        }
        self
    }

    /// Where it is left out for several reasons, the first counts.
    pub(crate) fn left_if(mut self, is: bool, reason: &'static str) -> Item {
        if is && self.left.is_none() {
            self.left = Some(reason);
        }
        self
    }

    /// A blank response makes no conversation.
    pub fn answered(mut self, response: &str) -> Item {
        if !response.trim().is_empty() {
            let prompt = Message::new("user", &self.prompt);
            self.messages = Some(vec![prompt, Message::new("assistant", response)]);
        }
        self
    }
}

impl Schema {
    /// The form that is taken where none is named.
    pub fn form(&self) -> &'static str {
        self.forms.first().map_or("", |(word, _)| word)
    }

    /// Whether rows with these columns can be of the set. The error says what was expected and what was found.
    pub fn accept<'a>(&self, found: impl Iterator<Item = &'a str> + Clone) -> Result<()> {
        let has = |column: &Column| {
            column
                .names
                .iter()
                .any(|name| found.clone().any(|f| f == *name))
        };
        let missing: Vec<&Column> = self
            .columns
            .iter()
            .filter(|c| c.needed && !has(c))
            .collect();
        let Some(first) = missing.first() else {
            return Ok(());
        };
        let mut said = format!("this is not `{}`: no column {}", self.name, names(first));
        for column in &missing[1..] {
            said += &format!(", nor {}", names(column));
        }
        let near = first
            .names
            .iter()
            .find_map(|n| did_you_mean(n, found.clone()));
        if let Some(near) = near {
            said += &format!(" (is it `{near}`?)");
        }
        let all: Vec<String> = self.columns.iter().map(Column::told).collect();
        bail!(
            "{said}. Expected: {}. Found: {}. Other columns are read by the kind `prompts-file`",
            all.join("; "),
            listed(found)
        )
    }
}

impl Column {
    /// The names, and whether there has to be one.
    pub fn told(&self) -> String {
        let optional = if self.needed { "" } else { " (optional)" };
        format!("{}{optional}", names(self))
    }
}

fn names(column: &Column) -> String {
    let names: Vec<String> = column.names.iter().map(|n| format!("`{n}`")).collect();
    names.join(" or ")
}

/// What the first message of a role says.
pub fn first(messages: &[Message], role: &str) -> String {
    let first = messages.iter().find(|m| m.role == role);
    first.map_or(String::new(), |m| m.content.clone())
}
