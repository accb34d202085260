//! What is wrong with a text somebody wrote, and where: messages with a place, collected, and shown all at once as text
//! with a caret or as JSON. Knows neither recipes nor a terminal.

use crate::text::{count, did_you_mean, nearest, width};
use serde::Serialize;
use std::cmp::Ordering;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Errors that are shown in full; of the others it is said how many there are.
pub const SHOWN: usize = 50;

/// Longest part of a line of source, of a message, a label or a help that is shown, in characters.
const WIDEST: usize = 2_000;

/// A text and what to call it.
#[derive(Debug)]
pub struct Source {
    pub name: String,
    pub text: String,
    /// Where the lines begin; found when a position is first asked for.
    lines: OnceLock<Vec<usize>>,
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
    /// Other places that explain the first, and what each is.
    pub related: Vec<(Place, String)>,
}

/// Everything wrong with one reading.
#[derive(Clone, Debug, Default)]
pub struct Diags {
    all: Vec<Diag>,
    /// What deserves a word and is no reason to refuse.
    asides: Vec<Diag>,
}

impl Source {
    pub fn new(name: &str, text: impl Into<String>) -> Arc<Source> {
        Arc::new(Source {
            name: name.into(),
            text: text.into(),
            lines: OnceLock::new(),
        })
    }

    /// Line and column of a byte, both from 1; the column counts characters, as editors do.
    pub fn position(&self, byte: usize) -> (usize, usize) {
        let byte = self.boundary(byte);
        let (line, start) = self.line(byte);
        (line, self.text[start..byte].chars().count() + 1)
    }

    /// The line of a byte, from 1, and where it begins.
    fn line(&self, byte: usize) -> (usize, usize) {
        let starts = self.lines.get_or_init(|| {
            let ends = self.text.match_indices('\n').map(|(end, _)| end + 1);
            std::iter::once(0).chain(ends).collect()
        });
        let line = starts.partition_point(|start| *start <= byte);
        (line, starts[line - 1])
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

    /// Whether this is the same part of the same text.
    pub fn is(&self, other: &Place) -> bool {
        Arc::ptr_eq(&self.source, &other.source) && self.span == other.span
    }

    fn order(&self, other: &Place) -> Ordering {
        let (one, two) = (&self.source, &other.source);
        let texts = match Arc::ptr_eq(one, two) {
            true => Ordering::Equal,
            false => (&one.name, &one.text).cmp(&(&two.name, &two.text)),
        };
        let (one, two) = (&self.span, &other.span);
        texts.then_with(|| (one.start, one.end).cmp(&(two.start, two.end)))
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
            related: vec![],
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
        self.related.push((place.clone(), label.into()));
        self
    }

    /// Several lines, the last ended by a newline. `colour` adds ANSI escapes.
    pub fn render(&self, colour: bool) -> String {
        let paint = Paint(colour);
        let (word, tone) = match self.level {
            Level::Error => ("error", "1;31"),
            Level::Warning => ("warning", "1;33"),
        };
        let message = paint.tint("1", &format!(": {}", clip(&self.message)));
        let mut out = format!("{}{message}\n", paint.tint(tone, word));
        let last_line = |place: &Place| place.source.line(place.span.start).0;
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
        for (place, label) in &self.related {
            snippet(&mut out, ":::", place, label, gutter, ('-', "1;34"), paint);
        }
        if let Some(help) = &self.help {
            let pad = " ".repeat(gutter);
            let help = clip(help);
            let _ = writeln!(out, "{pad} {} help: {help}", paint.tint("1;34", "="));
        }
        out
    }

    /// One object: level, message, file, line, column, end, label, help; `related`, the first of the places that explain it, and `also`,
    /// the others.
    pub fn json(&self) -> serde_json::Value {
        let where_ = self.place.as_ref().map(Spot::of);
        let mut others = self.related.iter().map(|(place, label)| Related {
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
            related: others.next(),
            also: others.collect(),
        };
        serde_json::to_value(shown).expect("a diagnostic always has a JSON form")
    }

    /// By file and position; texts of one name, as several arguments, stay together.
    fn order(&self, other: &Diag) -> Ordering {
        let places = match (&self.place, &other.place) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(one), Some(two)) => one.order(two),
        };
        places.then_with(|| self.message.cmp(&other.message))
    }
}

impl Diags {
    pub fn push(&mut self, diag: Diag) {
        self.all.push(diag);
    }

    /// For a warning; it does not count.
    pub fn aside(&mut self, warning: Diag) {
        self.asides.push(warning);
    }

    /// The asides, as warnings of their own.
    pub fn take_asides(&mut self) -> Diags {
        Diags {
            all: std::mem::take(&mut self.asides),
            asides: vec![],
        }
    }

    pub fn extend(&mut self, other: Diags) {
        self.all.extend(other.all);
        self.asides.extend(other.asides);
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Diag> {
        self.all.iter()
    }

    /// Sorted by file and position, each thing once.
    pub fn finish(mut self) -> Diags {
        self.all.sort_by(Diag::order);
        self.all.dedup_by(|a, b| a.order(b).is_eq());
        self
    }

    /// The name that is nearest to a misspelt one. Only while little is wrong: every search goes over all names, and who has
    /// a thousand errors has another trouble than their spelling.
    pub fn near<'a>(
        &self,
        name: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Option<String> {
        match self.all.len() < 2 * SHOWN {
            true => did_you_mean(name, candidates),
            false => None,
        }
    }

    /// The same as a help; where nothing is near, a few of those that there are.
    pub fn among<'a>(
        &self,
        diag: Diag,
        name: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Diag {
        if self.all.len() >= 2 * SHOWN {
            return diag;
        }
        let all: Vec<&str> = candidates.into_iter().collect();
        match did_you_mean(name, all.iter().copied()) {
            None if !all.is_empty() => diag.help(format!("there are {}", nearest(name, all))),
            near => diag.suggest(near),
        }
    }

    /// The first of them, an empty line between two, and how many more there are.
    pub fn render(&self, colour: bool) -> String {
        let shown = self.all.iter().take(SHOWN).map(|d| d.render(colour));
        let mut parts: Vec<String> = shown.collect();
        if let Some(rest) = self.all.get(SHOWN..).filter(|rest| !rest.is_empty()) {
            let errors = rest.iter().any(|d| d.level == Level::Error);
            let (one, many) = match errors {
                true => ("more error", "more errors"),
                false => ("more warning", "more warnings"),
            };
            parts.push(format!("and {}\n", count(rest.len() as u64, one, many)));
        }
        parts.join("\n")
    }

    pub fn json(&self) -> serde_json::Value {
        self.all.iter().map(Diag::json).collect()
    }
}

impl From<Diag> for Diags {
    fn from(diag: Diag) -> Diags {
        Diags {
            all: vec![diag],
            asides: vec![],
        }
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also: Vec<Related<'a>>,
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
    let (_, line_start) = source.line(start);
    let text = source.text[line_start..].lines().next().unwrap_or("");
    let from = (start - line_start).min(text.len());
    let to = source.boundary(place.span.end).saturating_sub(line_start);
    let to = to.clamp(from, text.len());
    let (text, from, to) = window(text, from, to);
    let (before, _) = spread(&text[..from]);
    let marks = spread(&text[from..to]).1.max(1);
    let label = match label {
        "" => String::new(),
        label => format!(" {}", clip(label)),
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

/// The part of a line around a place in it, and the place in that part: all of it but in lines that no screen shows.
fn window(text: &str, from: usize, to: usize) -> (&str, usize, usize) {
    if text.len() <= WIDEST {
        return (text, from, to);
    }
    let first = text.floor_char_boundary(from.saturating_sub(WIDEST / 4));
    let last = text.floor_char_boundary((first + WIDEST).min(text.len()));
    (&text[first..last], from - first, to.min(last) - first)
}

fn clip(text: &str) -> std::borrow::Cow<'_, str> {
    match text.char_indices().nth(WIDEST) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
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
    let columns = width(&shown);
    (shown, columns)
}
