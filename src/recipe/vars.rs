//! `${name}` in strings: alone it becomes the variable's value with its type, inside a longer string its text.
//! `$${` is a literal `${`. Knows neither kinds nor files.

use crate::tree::{Entry, Item, Shape, Table};
use base::diag::{Diag, Diags, Place};
use std::collections::{BTreeMap, BTreeSet};

/// All that stands in the place of variables, in bytes: a few lines of variables made of variables could ask for more memory
/// than there is.
const MOST: usize = 64 << 20;

/// Variables that lead to one another.
const DEEPEST: usize = 100;

/// The variables of a recipe, resolved one by one as they are asked for.
pub struct Vars<'a> {
    table: &'a Table,
    done: BTreeMap<&'a str, Item>,
    /// What mentions may still be replaced by, in bytes.
    left: usize,
    /// Names being resolved, for circles.
    open: Vec<&'a str>,
    diags: &'a mut Diags,
}

/// Adds the names mentioned in strings of the table.
pub fn mentions(table: &Table, names: &mut BTreeSet<String>) {
    table.strings(&mut |text| {
        if !text.contains('$') {
            return;
        }
        for part in parts(text) {
            if let Part::Var(name) = part
                && !names.contains(name)
            {
                names.insert(name.to_string());
            }
        }
    });
}

/// Replaces every mention in the table. All variables are resolved, also those nobody mentions.
pub fn expand(table: &mut Table, vars: &Table, diags: &mut Diags) {
    let mut vars = Vars {
        table: vars,
        done: BTreeMap::new(),
        left: MOST,
        open: vec![],
        diags,
    };
    for entry in vars.table.entries() {
        vars.resolve(entry);
    }
    vars.items(table);
}

impl<'a> Vars<'a> {
    fn items(&mut self, table: &mut Table) {
        table.items_mut().for_each(|item| self.item(item));
    }

    fn item(&mut self, item: &mut Item) {
        if let Some(otherwise) = &mut item.otherwise {
            self.item(&mut otherwise.item);
        }
        match &mut item.shape {
            Shape::Str(text) if text.contains('$') => {
                let found = self.string(std::mem::take(text), item.at.clone());
                let replaces = item.replaces || found.replaces;
                *item = Item {
                    replaces,
                    otherwise: item.otherwise.take(),
                    ..found
                };
            }
            Shape::List(items) => items.iter_mut().for_each(|item| self.item(item)),
            Shape::Table(table) => self.items(table),
            _ => {}
        }
    }

    fn string(&mut self, text: String, at: Place) -> Item {
        let parts = parts(&text);
        if let [Part::Var(name)] = parts.as_slice() {
            let found = self.lookup(name, &at);
            return Item {
                from: Some(found.origin().clone()),
                replaces: found.replaces,
                ..Item::new(found.shape, at)
            };
        }
        if let [Part::Text(text)] = parts.as_slice()
            && let Some(name) = meant(text).filter(|name| self.table.get(name).is_some())
        {
            let message = format!("`{text}` stands for itself, not for the variable");
            let diag = Diag::at(&at, message).suggest(Some(mention(name)));
            self.diags.aside(diag.warning());
        }
        let mut whole = String::new();
        let mut from = None;
        for (i, part) in parts.into_iter().enumerate() {
            match part {
                Part::Text(text) => whole.push_str(text),
                Part::Open => {
                    let place = inside(&at, "${");
                    self.diags.push(
                        Diag::at(&place, "`${` without its `}`")
                            .help("`$${` stands for the two characters themselves"),
                    );
                    return Item::new(Shape::Bad, at);
                }
                Part::Var(name) => {
                    let found = self.lookup(name, &at);
                    // A path that begins with a variable starts in that variable's folder.
                    if i == 0 {
                        from = Some(found.origin().clone());
                    }
                    match found.inline_text() {
                        Some(text) if !matches!(found.shape, Shape::Bad) => whole.push_str(&text),
                        Some(_) => return Item::new(Shape::Bad, at),
                        None => {
                            let place = inside(&at, &format!("${{{name}}}"));
                            let message =
                                format!("`{name}` is {} inside a string", found.type_name());
                            let diag =
                                Diag::at(&place, message).related(found.origin(), "its value");
                            self.diags.push(diag);
                            return Item::new(Shape::Bad, at);
                        }
                    }
                }
            }
        }
        Item {
            from,
            ..Item::new(Shape::Str(whole), at)
        }
    }

    fn lookup(&mut self, name: &str, at: &Place) -> Item {
        let Some(entry) = self.table.get(name) else {
            let place = inside(at, &format!("${{{name}}}"));
            let diag = Diag::at(&place, format!("unknown variable `{name}`"));
            let near = self.diags.near(name, self.table.keys());
            self.diags.push(diag.label("not in `[vars]`").suggest(near));
            return Item::new(Shape::Bad, at.clone());
        };
        self.resolve(entry)
    }

    /// Once a variable.
    fn refuse(&mut self, entry: &'a Entry, message: String) -> Item {
        let bad = Item::new(Shape::Bad, entry.item.at.clone());
        self.diags.push(Diag::at(&entry.key_at, message));
        self.done.insert(&entry.key, bad.clone());
        bad
    }

    fn resolve(&mut self, entry: &'a Entry) -> Item {
        if let Some(item) = self.done.get(entry.key.as_str()) {
            let weight = match item.shape {
                Shape::Bad => 0,
                _ => item.weight(),
            };
            if let Some(left) = self.left.checked_sub(weight) {
                self.left = left;
                return item.clone();
            }
            return self.refuse(
                entry,
                format!("variables stand for more than {} MiB", MOST >> 20),
            );
        }
        if self.open.len() > DEEPEST {
            let message = format!("variables lead to one another over more than {DEEPEST} steps");
            return self.refuse(entry, message);
        }
        if let Some(start) = self.open.iter().position(|n| *n == entry.key) {
            let mut names = self.open[start..].to_vec();
            names.push(&entry.key);
            let message = format!("variables need each other: {}", names.join(" -> "));
            self.diags.push(Diag::at(&entry.key_at, message));
            // Whatever is open in the circle would report it once more.
            for name in &self.open[start..] {
                let bad = Item::new(Shape::Bad, entry.item.at.clone());
                self.done.insert(name, bad);
            }
            return Item::new(Shape::Bad, entry.item.at.clone());
        }
        self.open.push(&entry.key);
        let mut item = entry.item.clone();
        self.item(&mut item);
        self.open.pop();
        self.done.entry(&entry.key).or_insert(item).clone()
    }
}

/// How a variable is mentioned.
pub fn mention(name: &str) -> String {
    format!("\"${{{name}}}\"")
}

/// The name in a text that looks like the mention of a variable in another language: `$seed`, `$(seed)`, `{seed}`, `{{ seed }}`.
pub fn meant(text: &str) -> Option<&str> {
    let inner = text.trim().trim_start_matches(['$', '{', '(']);
    let inner = inner.trim_end_matches(['}', ')']).trim();
    let letter = |c: char| c.is_alphanumeric() || "_-".contains(c);
    let named = inner.chars().next().is_some_and(char::is_alphabetic) && inner.chars().all(letter);
    (named && inner.len() < text.trim().len()).then_some(inner)
}

enum Part<'t> {
    Text(&'t str),
    Var(&'t str),
    /// `${` that nothing closes.
    Open,
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = vec![];
    let mut rest = text;
    while let Some(dollar) = rest.find("${") {
        if rest[..dollar].ends_with('$') {
            parts.push(Part::Text(&rest[..dollar - 1]));
            parts.push(Part::Text("${"));
            rest = &rest[dollar + 2..];
            continue;
        }
        if dollar > 0 {
            parts.push(Part::Text(&rest[..dollar]));
        }
        let Some(end) = rest[dollar..].find('}') else {
            parts.push(Part::Open);
            return parts;
        };
        parts.push(Part::Var(rest[dollar + 2..dollar + end].trim()));
        rest = &rest[dollar + end + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    parts
}

/// The place of this text inside the string, or the whole string where escapes hide it.
fn inside(at: &Place, text: &str) -> Place {
    let written = at.source.text.get(at.span.clone()).unwrap_or("");
    match written.find(text) {
        Some(start) => {
            let start = at.span.start + start;
            Place::new(&at.source, start..start + text.len())
        }
        None => at.clone(),
    }
}
