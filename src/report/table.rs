//! Plain-text tables: columns aligned by what a terminal shows, two spaces between them. Knows nothing of what is in
//! the cells.

use base::text::width;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

pub struct Column {
    title: String,
    align: Align,
}

/// For words.
pub fn left(title: &str) -> Column {
    Column {
        title: title.into(),
        align: Align::Left,
    }
}

/// For numbers.
pub fn right(title: &str) -> Column {
    Column {
        title: title.into(),
        align: Align::Right,
    }
}

pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Table {
        Table {
            columns: columns.into_iter().collect(),
            rows: vec![],
        }
    }

    /// One cell a column.
    pub fn row<S: Into<String>>(mut self, cells: impl IntoIterator<Item = S>) -> Table {
        self.push(cells);
        self
    }

    pub fn push<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells: Vec<String> = cells.into_iter().map(|c| one_line(&c.into())).collect();
        assert_eq!(
            cells.len(),
            self.columns.len(),
            "a row has a cell for every column"
        );
        self.rows.push(cells);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The titles (left out where all are empty) and the rows, each ended by a newline, no spaces at line ends.
    pub fn render(&self) -> String {
        let titles: Vec<String> = self.columns.iter().map(|c| c.title.clone()).collect();
        let titled = titles.iter().any(|t| !t.is_empty());
        let lines = || titled.then_some(&titles).into_iter().chain(&self.rows);
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|i| lines().map(|cells| width(&cells[i])).max().unwrap_or(0))
            .collect();
        let mut out = String::new();
        for cells in lines() {
            let padded = cells.iter().zip(&widths).zip(&self.columns);
            let padded: Vec<String> = padded
                .map(|((cell, wide), column)| pad(cell, *wide, column.align))
                .collect();
            out.push_str(padded.join("  ").trim_end());
            out.push('\n');
        }
        out
    }
}

impl Table {
    /// As a Markdown table; the columns are not aligned in the text. Titles are never left out: Markdown needs them.
    pub fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let cell = |text: &String| text.replace('|', "\\|");
        let mut out = line(self.columns.iter().map(|c| cell(&c.title)).collect());
        let mark = |c: &Column| match c.align {
            Align::Left => "---".to_string(),
            Align::Right => "---:".to_string(),
        };
        out += &line(self.columns.iter().map(mark).collect());
        for row in &self.rows {
            out += &line(row.iter().map(cell).collect());
        }
        out
    }
}

fn pad(cell: &str, wide: usize, align: Align) -> String {
    let space = " ".repeat(wide - width(cell));
    match align {
        Align::Left => format!("{cell}{space}"),
        Align::Right => format!("{space}{cell}"),
    }
}

/// A line break or a tab inside a cell would break the table.
fn one_line(cell: &str) -> String {
    cell.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
