//! TOML text to tree. Reports syntax errors, values a recipe cannot hold, and secrets written out; knows no key by name.

use crate::secret;
use crate::tree::{Entry, Item, Shape, Table};
use base::diag::{Diag, Diags, Place, Source};
use base::memory;
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A text of so many bytes is a large one, and what is made of it takes about so many times its length.
const LARGE: usize = 1 << 15;
const TIMES: usize = 128;

/// A whole file. `None` where its syntax is broken: what could be read of it would only mislead.
pub fn document(name: &str, text: &str, diags: &mut Diags) -> (Arc<Source>, Option<Table>) {
    if text.len() > LARGE {
        memory::expect(TIMES * text.len());
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut secrets = vec![];
    secret::find(table.get_ref(), &mut secrets);
    let source = Source::new(name, secret::masked(text, 0, &mut secrets));
    secret::report(&source, 0, &secrets, diags);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        diags.push(syntax(&Place::new(&source, span), error.message()));
    }
    let lower = &mut Lower {
        source: &source,
        offset: 0,
        diags,
    };
    let table = errors.is_empty().then(|| lower.table(table.into_inner()));
    (source, table)
}

/// The value of `--set path=value` (or of another flag): TOML, or a bare string. It begins at `offset` of the argument,
/// which is the source.
pub fn argument(
    flag: &str,
    argument: &str,
    offset: usize,
    key: &str,
    diags: &mut Diags,
) -> (Arc<Source>, Item) {
    let text = &argument[offset..];
    let span = offset..argument.len();
    let value = match DeValue::parse(text) {
        Ok(value) => value,
        Err(_) => Spanned::new(0..text.len(), DeValue::String(text.into())),
    };
    let mut secrets = vec![];
    secret::find_value(key, &value, &mut secrets);
    let source = Source::new(flag, secret::masked(argument, offset, &mut secrets));
    secret::report(&source, offset, &secrets, diags);
    let mut lower = Lower {
        source: &source,
        offset,
        diags,
    };
    let item = Item {
        at: Place::new(&source, span),
        ..lower.item(value)
    };
    (source, item)
}

/// The parser guesses what a bare word was to become; a recipe's author mostly forgot the quotes.
fn syntax(place: &Place, message: &str) -> Diag {
    let guesses = [
        "string values must be quoted",
        "invalid float",
        "invalid boolean",
    ];
    let written = place.source.text.get(place.span.clone()).unwrap_or("");
    let bare = !written.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    if bare && guesses.iter().any(|guess| message.starts_with(guess)) {
        return Diag::at(place, "broken TOML: expected a value").help("a string stands in quotes");
    }
    Diag::at(place, format!("broken TOML: {message}"))
}

struct Lower<'a> {
    source: &'a Arc<Source>,
    offset: usize,
    diags: &'a mut Diags,
}

impl Lower<'_> {
    fn table(&mut self, table: DeTable) -> Table {
        let entries = table.into_iter().map(|(key, value)| Entry {
            key_at: self.place(key.span()),
            key: key.into_inner().into_owned(),
            item: self.item(value),
        });
        let mut entries: Vec<Entry> = entries.collect();
        // A table may be continued further down.
        entries.sort_unstable_by_key(|e| e.key_at.span.start);
        Table::new(entries)
    }

    fn item(&mut self, value: Spanned<DeValue>) -> Item {
        let at = self.place(value.span());
        let shape = match value.into_inner() {
            DeValue::Boolean(b) => Shape::Bool(b),
            DeValue::String(s) => Shape::Str(s.into_owned()),
            DeValue::Integer(i) => match i64::from_str_radix(i.as_str(), i.radix()) {
                Ok(i) => Shape::Int(i),
                Err(_) => self.refuse(&at, format!("`{i}` does not fit in 64 bits")),
            },
            DeValue::Float(f) => match f.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => Shape::Float(number),
                _ => self.refuse(&at, format!("`{f}` is not a finite number")),
            },
            DeValue::Datetime(_) => {
                let diag = Diag::at(&at, "a recipe has no dates").help("put it in quotes");
                self.diags.push(diag);
                Shape::Bad
            }
            DeValue::Array(items) => Shape::List(items.into_iter().map(|i| self.item(i)).collect()),
            DeValue::Table(table) => Shape::Table(self.table(table)),
        };
        Item::new(shape, at)
    }

    fn refuse(&mut self, at: &Place, message: String) -> Shape {
        self.diags.push(Diag::at(at, message));
        Shape::Bad
    }

    fn place(&self, span: Range<usize>) -> Place {
        Place::new(
            self.source,
            span.start + self.offset..span.end + self.offset,
        )
    }
}
