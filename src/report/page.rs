//! Headings, lines and tables in a row, as plain text or as Markdown. Knows nothing of what they say.

use crate::table::Table;
use crate::wrap::wrap;

enum Block {
    Head(String),
    Line(String),
    Item(String),
    Table(Table),
}

#[derive(Default)]
pub struct Page(Vec<Block>);

impl Page {
    pub fn head(&mut self, text: impl Into<String>) {
        self.0.push(Block::Head(text.into()));
    }

    /// A paragraph of its own.
    pub fn line(&mut self, text: impl Into<String>) {
        self.0.push(Block::Line(text.into()));
    }

    /// One of several things under each other.
    pub fn item(&mut self, text: impl Into<String>) {
        self.0.push(Block::Item(text.into()));
    }

    pub fn table(&mut self, table: Table) {
        if !table.is_empty() {
            self.0.push(Block::Table(table));
        }
    }

    pub fn append(&mut self, mut other: Page) {
        self.0.append(&mut other.0);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lines as long as they are.
    pub fn text(&self) -> String {
        self.fit(usize::MAX)
    }

    /// In so many columns. An empty line before every heading and after every table.
    pub fn fit(&self, room: usize) -> String {
        let wrapped = |text: &str| wrap(text, room, 2).join("\n") + "\n";
        let mut out = String::new();
        for block in &self.0 {
            match block {
                Block::Head(text) => {
                    apart(&mut out);
                    out += &wrapped(text);
                }
                Block::Line(text) => out += &wrapped(text),
                Block::Item(text) => out += &wrapped(&format!("  {text}")),
                Block::Table(table) => {
                    out += &table.fit(room);
                    out += "\n";
                }
            }
        }
        format!("{}\n", out.trim_end())
    }

    pub fn markdown(&self) -> String {
        let mut out = String::new();
        let mut listing = false;
        for block in &self.0 {
            let item = matches!(block, Block::Item(_));
            if !(listing && item) {
                apart(&mut out);
            }
            listing = item;
            match block {
                Block::Head(text) => out += &format!("### {text}\n"),
                Block::Line(text) => out += &format!("{text}\n"),
                Block::Item(text) => out += &format!("- {text}\n"),
                Block::Table(table) => out += &table.markdown(),
            }
        }
        out
    }
}

fn apart(out: &mut String) {
    if !out.is_empty() && !out.ends_with("\n\n") {
        out.push('\n');
    }
}
