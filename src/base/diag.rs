//! What is wrong with a text somebody wrote, and where: messages with a place, collected, and shown all at once as text
//! with a caret or as JSON. Knows neither recipes nor a terminal.

use crate::base::text::char_width;
use serde::Serialize;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

/// A text and what to call it.
#[derive(Debug)]
pub struct Source {
    pub name: String,
    pub text: String,
}

/// A part of a text, in bytes.
#[derive(Clone, Debug)]
pub struct Place {
    pub source: Arc<Source>,
    pub span: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Error,
    Warning,
}

/// One thing that is wrong. Messages have names in backticks and no final period.
#[derive(Clone, Debug)]
pub struct Diag {
    pub level: Level,
    /// Absent where the trouble is no text's: a file that cannot be read.
    pub place: Option<Place>,
    pub message: String,
    /// Stands at the caret; may be empty.
    pub label: String,
    pub help: Option<String>,
    /// A second place that explains the first, and what it is.
    pub related: Option<(Place, String)>,
}

/// Everything wrong with one reading.
#[derive(Clone, Debug, Default)]
pub struct Diags(Vec<Diag>);

impl Source {
    pub fn new(name: &str, text: &str) -> Arc<Source> {
        Arc::new(Source {
            name: name.into(),
            text: text.into(),
        })
    }

    /// Line and column of a byte, both from 1; the column counts characters, as editors do.
    pub fn position(&self, byte: usize) -> (usize, usize) {
        let before = &self.text[..self.boundary(byte)];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        let line = before.matches('\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }

    /// The nearest place at or before this byte where a character begins.
    fn boundary(&self, byte: usize) -> usize {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        byte
    }
}

impl Place {
    pub fn new(source: &Arc<Source>, span: Range<usize>) -> Place {
        Place {
            source: source.clone(),
            span,
        }
    }

    /// `file:line`.
    pub fn file_line(&self) -> String {
        let (line, _) = self.source.position(self.span.start);
        format!("{}:{line}", self.source.name)
    }
}

impl Diag {
    pub fn at(place: &Place, message: impl Into<String>) -> Diag {
        Diag {
            place: Some(place.clone()),
            ..Diag::plain(message)
        }
    }

    /// Without a place.
    pub fn plain(message: impl Into<String>) -> Diag {
        Diag {
            level: Level::Error,
            place: None,
            message: message.into(),
            label: String::new(),
            help: None,
            related: None,
        }
    }

    pub fn warning(mut self) -> Diag {
        self.level = Level::Warning;
        self
    }

    pub fn label(mut self, label: impl Into<String>) -> Diag {
        self.label = label.into();
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Diag {
        self.help = Some(help.into());
        self
    }

    /// `did you mean …`, where there is something near.
    pub fn suggest(self, near: Option<String>) -> Diag {
        match near {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    pub fn related(mut self, place: &Place, label: impl Into<String>) -> Diag {
        self.related = Some((place.clone(), label.into()));
        self
    }

    /// Several lines, the last ended by a newline. `colour` adds ANSI escapes.
    pub fn render(&self, colour: bool) -> String {
        let paint = Paint(colour);
        let (word, tone) = match self.level {
            Level::Error => ("error", "1;31"),
            Level::Warning => ("warning", "1;33"),
        };
        let message = paint.tint("1", &format!(": {}", self.message));
        let mut out = format!("{}{message}\n", paint.tint(tone, word));
        let last_line = |place: &Place| place.source.position(place.span.start).0;
        let lines = self.place.iter().chain(self.related.iter().map(|r| &r.0));
        let gutter = lines
            .map(last_line)
            .max()
            .map_or(1, |line| line.to_string().len());
        if let Some(place) = &self.place {
            snippet(
                &mut out,
                "-->",
                place,
                &self.label,
                gutter,
                ('^', tone),
                paint,
            );
        }
        if let Some((place, label)) = &self.related {
            snippet(&mut out, ":::", place, label, gutter, ('-', "1;34"), paint);
        }
        if let Some(help) = &self.help {
            let pad = " ".repeat(gutter);
            let _ = writeln!(out, "{pad} {} help: {help}", paint.tint("1;34", "="));
        }
        out
    }

    /// One object: level, message, file, line, column, end, label, help, related.
    pub fn json(&self) -> serde_json::Value {
        let where_ = self.place.as_ref().map(Spot::of);
        let related = self.related.as_ref().map(|(place, label)| Related {
            spot: Spot::of(place),
            label,
        });
        let shown = Shown {
            level: match self.level {
                Level::Error => "error",
                Level::Warning => "warning",
            },
            message: &self.message,
            spot: where_,
            label: &self.label,
            help: self.help.as_deref(),
            related,
        };
        serde_json::to_value(shown).expect("a diagnostic always has a JSON form")
    }

    /// By file and position; texts of one name, as several arguments, stay together.
    fn order(&self) -> (&str, &str, usize, usize, &str) {
        match &self.place {
            Some(Place { source, span }) => {
                let (name, text) = (&source.name, &source.text);
                (name, text, span.start, span.end, &self.message)
            }
            None => ("", "", 0, 0, &self.message),
        }
    }
}

impl Diags {
    pub fn push(&mut self, diag: Diag) {
        self.0.push(diag);
    }

    pub fn extend(&mut self, other: Diags) {
        self.0.extend(other.0);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Diag> {
        self.0.iter()
    }

    /// Sorted by file and position, each thing once.
    pub fn finish(mut self) -> Diags {
        self.0.sort_by(|a, b| a.order().cmp(&b.order()));
        self.0.dedup_by(|a, b| a.order() == b.order());
        self
    }

    /// All of them, an empty line between two.
    pub fn render(&self, colour: bool) -> String {
        let shown: Vec<String> = self.0.iter().map(|d| d.render(colour)).collect();
        shown.join("\n")
    }

    pub fn json(&self) -> serde_json::Value {
        self.0.iter().map(Diag::json).collect()
    }
}

impl From<Diag> for Diags {
    fn from(diag: Diag) -> Diags {
        Diags(vec![diag])
    }
}

impl std::fmt::Display for Diags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render(false))
    }
}
impl std::error::Error for Diags {}

#[derive(Serialize)]
struct Shown<'a> {
    level: &'a str,
    message: &'a str,
    #[serde(flatten)]
    spot: Option<Spot<'a>>,
    label: &'a str,
    help: Option<&'a str>,
    related: Option<Related<'a>>,
}

#[derive(Serialize)]
struct Related<'a> {
    #[serde(flatten)]
    spot: Spot<'a>,
    label: &'a str,
}

#[derive(Serialize)]
struct Spot<'a> {
    file: &'a str,
    line: usize,
    column: usize,
    end: End,
}

#[derive(Serialize)]
struct End {
    line: usize,
    column: usize,
}

impl Spot<'_> {
    fn of(place: &Place) -> Spot<'_> {
        let (line, column) = place.source.position(place.span.start);
        let (end_line, end_column) = place.source.position(place.span.end);
        Spot {
            file: &place.source.name,
            line,
            column,
            end: End {
                line: end_line,
                column: end_column,
            },
        }
    }
}

#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn tint(self, code: &str, text: &str) -> String {
        match self.0 {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.into(),
        }
    }
}

/// Arrow and position, then the line with a mark under the place. A place over several lines is marked on its first.
fn snippet(
    out: &mut String,
    arrow: &str,
    place: &Place,
    label: &str,
    gutter: usize,
    (mark, tone): (char, &str),
    paint: Paint,
) {
    let source = &place.source;
    let start = source.boundary(place.span.start);
    let (line, column) = source.position(start);
    let line_start = source.text[..start].rfind('\n').map_or(0, |i| i + 1);
    let text = source.text[line_start..].lines().next().unwrap_or("");
    let from = (start - line_start).min(text.len());
    let to = source.boundary(place.span.end).saturating_sub(line_start);
    let to = to.clamp(from, text.len());
    let (before, _) = spread(&text[..from]);
    let marks = spread(&text[from..to]).1.max(1);
    let label = match label {
        "" => String::new(),
        label => format!(" {label}"),
    };
    let marked = format!("{}{label}", mark.to_string().repeat(marks));
    let pad = " ".repeat(gutter);
    let bar = paint.tint("1;34", "|");
    let name = &source.name;
    let _ = writeln!(
        out,
        "{pad}{} {name}:{line}:{column}",
        paint.tint("1;34", arrow)
    );
    let _ = writeln!(out, "{pad} {bar}");
    let number = paint.tint("1;34", &format!("{line:>gutter$}"));
    let _ = writeln!(out, "{number} {bar} {}", spread(text).0);
    let blank = " ".repeat(spread(&before).1);
    let _ = writeln!(out, "{pad} {bar} {blank}{}", paint.tint(tone, &marked));
}

/// The text as shown (a tab is four spaces, other control characters are `?`) and its terminal columns.
fn spread(text: &str) -> (String, usize) {
    let shown: String = text.chars().fold(String::new(), |mut shown, c| {
        match c {
            '\t' => shown.push_str("    "),
            c if c.is_control() => shown.push('?'),
            c => shown.push(c),
        }
        shown
    });
    let columns = shown.chars().map(char_width).sum();
    (shown, columns)
}
