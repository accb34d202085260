//! Plain-text tables: columns aligned by what a terminal shows, two spaces between them; made as narrow as asked, without ever breaking a
//! number. Knows nothing of what is in the cells.

use crate::wrap::wrap;
use base::text::width;

/// Columns between two columns.
const GAP: usize = 2;

/// A column of words is not made narrower than this while anything else can be.
const SOFT: usize = 24;

/// Nor ever narrower than this.
const NARROWEST: usize = 8;

/// A word that is longer is broken rather than that a column is as wide.
const LONGEST: usize = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

#[derive(Clone)]
pub struct Column {
    title: String,
    align: Align,
    /// Its cells are never broken.
    whole: bool,
}

/// For words.
pub fn left(title: &str) -> Column {
    Column {
        title: title.into(),
        align: Align::Left,
        whole: false,
    }
}

/// For ids and names that are to be pasted: as wide as they are, whatever there is room for.
pub fn name(title: &str) -> Column {
    Column {
        whole: true,
        ..left(title)
    }
}

/// For numbers.
pub fn right(title: &str) -> Column {
    Column {
        title: title.into(),
        align: Align::Right,
        whole: false,
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

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The titles (left out where all are empty) and the rows, each ended by a newline, no spaces at line ends.
    pub fn render(&self) -> String {
        self.draw(&self.natural())
    }

    /// The same in so many columns: words go on in a next line, an interval stands under its value, and where that is not enough there
    /// are several tables, each with the first column. What is narrower still is left to the terminal.
    pub fn fit(&self, room: usize) -> String {
        let natural = self.natural();
        if taken(&natural) <= room {
            return self.draw(&natural);
        }
        if let Some(widths) = self.narrowed(&natural, room) {
            return self.draw(&widths);
        }
        let parts = self.parts(room);
        if parts.len() < 2 {
            let mut widths = self.least(Broken::All);
            let fixed = widths.clone();
            let least = |at: usize| match self.columns[at].whole {
                true => fixed[at],
                false => NARROWEST,
            };
            self.squeeze(&mut widths, room, least);
            return self.draw(&widths);
        }
        let parts = parts.iter().map(|columns| self.part(columns).fit(room));
        parts.collect::<Vec<_>>().join("\n")
    }

    fn titled(&self) -> bool {
        self.columns.iter().any(|c| !c.title.is_empty())
    }

    /// Titles and cells of a column.
    fn cells(&self, at: usize) -> impl Iterator<Item = &String> {
        let title = self.titled().then_some(&self.columns[at].title);
        title
            .into_iter()
            .chain(self.rows.iter().map(move |r| &r[at]))
    }

    fn natural(&self) -> Vec<usize> {
        let widest = |at| self.cells(at).map(|c| width(c)).max().unwrap_or(0);
        (0..self.columns.len()).map(widest).collect()
    }

    /// As narrow as each column can be where these words are broken, behind their marks.
    fn least(&self, broken: Broken) -> Vec<usize> {
        let least = |at: usize| {
            let Column {
                title,
                align,
                whole,
            } = &self.columns[at];
            let cells = self.rows.iter().map(|row| row[at].as_str());
            let cells = cells.map(|cell| match align {
                _ if *whole => width(cell),
                Align::Left => longest_word(cell, broken).min(LONGEST),
                Align::Right => pieces(cell).into_iter().map(width).max().unwrap_or(0),
            });
            cells.chain(title.split(' ').map(width)).max().unwrap_or(0)
        };
        (0..self.columns.len()).map(least).collect()
    }

    /// Widths with which it fits: words give way to a point, then titles of numbers, then intervals, then words as far as they can. None
    /// where that is too much.
    fn narrowed(&self, natural: &[usize], room: usize) -> Option<Vec<usize>> {
        let (least, marks) = (self.least(Broken::None), self.least(Broken::All));
        let bare = self.least(Broken::Bare);
        if taken(&marks) > room {
            return None;
        }
        let words = |at: &usize| self.columns[*at].align == Align::Left;
        let soft = |at: usize| least[at].max(natural[at].min(SOFT));
        let mut widths = natural.to_vec();
        self.squeeze(&mut widths, room, soft);
        let numbers: Vec<usize> = (0..widths.len()).filter(|at| !words(at)).collect();
        for narrower in [&self.untitled(&least), &least] {
            if taken(&widths) > room {
                numbers.iter().for_each(|at| widths[*at] = narrower[*at]);
            }
        }
        self.squeeze(&mut widths, room, |at| least[at]);
        self.squeeze(&mut widths, room, |at| bare[at]);
        self.squeeze(&mut widths, room, |at| marks[at]);
        // What that has made too narrow grows again, the last first: that is where sentences stand.
        for at in (0..widths.len()).rev().filter(words) {
            let free = room.saturating_sub(taken(&widths));
            widths[at] += free.min(natural[at] - widths[at]);
        }
        Some(widths)
    }

    /// As wide as the cells are, whatever their titles.
    fn untitled(&self, least: &[usize]) -> Vec<usize> {
        let cells = |at: usize| self.rows.iter().map(move |row| width(&row[at]));
        let widest = |at: usize| cells(at).max().unwrap_or(0);
        let columns = least.iter().enumerate();
        columns.map(|(at, least)| widest(at).max(*least)).collect()
    }

    /// Takes from the widest column of words, again and again, until it fits or each is as narrow as it may be.
    fn squeeze(&self, widths: &mut [usize], room: usize, least: impl Fn(usize) -> usize) {
        while taken(widths) > room {
            let words = (0..widths.len()).filter(|at| self.columns[*at].align == Align::Left);
            let can = words.filter(|at| widths[*at] > least(*at));
            let Some(widest) = can.max_by_key(|at| widths[*at]) else {
                return;
            };
            widths[widest] -= 1;
        }
    }

    /// The columns of each of several tables that fit. Every one begins with the words that stand before the numbers, or with the first
    /// column alone.
    fn parts(&self, room: usize) -> Vec<Vec<usize>> {
        let least = self.least(Broken::All);
        let fits = |columns: &[usize]| {
            let widths: Vec<usize> = columns.iter().map(|c| least[*c]).collect();
            taken(&widths) <= room
        };
        let words = self.columns.iter().take_while(|c| c.align == Align::Left);
        let words: Vec<usize> = (0..words.count()).collect();
        let numbers = words.len()..least.len();
        let all = |at: usize| fits(&[&words[..], &[at]].concat());
        let keys = match !words.is_empty() && !numbers.is_empty() && numbers.clone().all(all) {
            true => words,
            false => (0..=self.columns.iter().rposition(|c| c.whole).unwrap_or(0)).collect(),
        };
        let mut parts: Vec<Vec<usize>> = vec![];
        for at in keys.len()..least.len() {
            match parts.last_mut() {
                Some(part) if fits(&[&part[..], &[at]].concat()) => part.push(at),
                _ => parts.push([&keys[..], &[at]].concat()),
            }
        }
        parts
    }

    /// These columns; of the rows those that say something in them.
    fn part(&self, columns: &[usize]) -> Table {
        let of = |row: &Vec<String>| columns.iter().map(|at| row[*at].clone()).collect();
        let says = |row: &&Vec<String>| columns.iter().skip(1).any(|at| !row[*at].is_empty());
        Table {
            columns: columns.iter().map(|at| self.columns[*at].clone()).collect(),
            rows: self.rows.iter().filter(says).map(of).collect(),
        }
    }

    fn draw(&self, widths: &[usize]) -> String {
        let titles = self.columns.iter().zip(widths);
        let titles = titles.map(|(column, wide)| wrap(&column.title, *wide, 0));
        let titles = self.titled().then(|| titles.collect::<Vec<_>>());
        let rows = self.rows.iter().map(|cells| {
            let cells = cells.iter().zip(widths).zip(&self.columns);
            cells
                .map(|((cell, wide), column)| broken(cell, *wide, column.align))
                .collect::<Vec<_>>()
        });
        let mut out = String::new();
        for told in titles.into_iter().chain(rows) {
            let height = told.iter().map(Vec::len).max().unwrap_or(0);
            for line in 0..height {
                let padded = told.iter().zip(widths).zip(&self.columns);
                let padded: Vec<String> = padded
                    .map(|((lines, wide), column)| {
                        let text = lines.get(line).map_or("", String::as_str);
                        pad(text, *wide, column.align)
                    })
                    .collect();
                out.push_str(padded.join("  ").trim_end());
                out.push('\n');
            }
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

/// What columns of these widths take.
fn taken(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

/// A cell of a number: its value, its interval, each of what stands beside it. None of them is ever broken.
pub fn pieces(cell: &str) -> Vec<&str> {
    let mut found = vec![];
    let (mut from, mut interval) = (0, false);
    for (at, c) in cell.char_indices() {
        match c {
            '[' => interval = true,
            ']' => interval = false,
            ' ' if !interval => {
                let next = &cell[at + 1..];
                let begins = next.starts_with(['[', '(']) || next.starts_with("-> ");
                if begins || cell[..at].ends_with(',') {
                    found.push(&cell[from..at]);
                    from = at + 1;
                }
            }
            _ => {}
        }
    }
    found.push(&cell[from..]);
    found
}

/// Behind which a long word is broken.
const MARKS: [char; 6] = ['/', ',', '@', '-', '_', '='];

/// Words that are broken behind their marks.
#[derive(Clone, Copy)]
enum Broken {
    None,
    /// Those that are not quoted, as `` `rl@seed=1` `` is.
    Bare,
    All,
}

/// Columns of the longest word, or of the longest part of one that is broken, and of what is before the first.
fn longest_word(cell: &str, broken: Broken) -> usize {
    let bare = cell.trim_start_matches(' ');
    let words = bare.split(' ').map(|word| match broken {
        Broken::None => width(word),
        Broken::Bare if word.starts_with('`') => width(word),
        Broken::Bare | Broken::All => word.split_inclusive(MARKS).map(width).max().unwrap_or(0),
    });
    cell.len() - bare.len() + words.max().unwrap_or(0)
}

/// The lines of a cell.
fn broken(cell: &str, wide: usize, align: Align) -> Vec<String> {
    if width(cell) <= wide {
        return vec![cell.to_string()];
    }
    if align == Align::Right {
        return pieces(cell).into_iter().map(String::from).collect();
    }
    let further = wrap(cell, wide, 2);
    let fits = wide >= 16 && further.iter().all(|line| width(line) <= wide);
    let lines = if fits { further } else { wrap(cell, wide, 0) };
    lines.iter().flat_map(|line| chopped(line, wide)).collect()
}

/// A line with a word that is wider than its column: broken behind a mark of punctuation where there is one, else anywhere.
/// What is quoted is there to be pasted, and stands out instead.
fn chopped(line: &str, wide: usize) -> Vec<String> {
    if line.trim_start().starts_with('`') {
        return vec![line.to_string()];
    }
    let mut found = vec![];
    let mut rest = line.to_string();
    while width(&rest) > wide && wide > 0 {
        let mut end = rest.len();
        while width(&rest[..end]) > wide {
            end = rest[..end].char_indices().last().map_or(0, |(at, _)| at);
        }
        let mark = rest[..end].rfind(MARKS).map(|at| at + 1);
        // A character that is wider than the column stands all the same.
        let one = rest.chars().next().map_or(0, char::len_utf8);
        let more = rest.split_off(mark.unwrap_or(end).max(one));
        found.push(std::mem::replace(&mut rest, more));
    }
    found.push(rest);
    found
}

fn pad(cell: &str, wide: usize, align: Align) -> String {
    let space = " ".repeat(wide.saturating_sub(width(cell)));
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
