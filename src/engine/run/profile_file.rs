//! The file of a profile: all that is wrong with it at once, each thing where it stands. What a profile means is not known here.

use super::profile::{Kind, MOST, Partition, Profile};
use crate::store::claims::SECONDS;
use anyhow::{Context, Result};
use base::bounded;
use base::diag::{Diag, Diags, Place, Source};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

/// So many things are told of one profile.
const TOLD: usize = 100;

/// Longer than any pause, in seconds.
const LONGEST: f64 = 86_400.0;

impl Profile {
    /// `Err`: `Diags` where its text is wrong.
    pub fn read(path: &Path) -> Result<Profile> {
        let name = path.display().to_string();
        let text = bounded::read_text(path, MOST).with_context(|| format!("profile {name}"))?;
        let stem = path.file_stem().unwrap_or_default();
        Ok(Profile {
            name: stem.to_string_lossy().into_owned(),
            ..parsed(&name, &text)?
        })
    }
}

fn parsed(name: &str, text: &str) -> Result<Profile, Diags> {
    let source = Source::new(name, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reading = Reading {
        source,
        diags: Diags::default(),
        taken: BTreeSet::new(),
        stands_in: false,
    };
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        reading.wrong(span, error.message());
    }
    if errors.is_empty()
        && let Some((profile, table)) = reading.typed(table)
    {
        reading.sound(&profile, table.get_ref());
        if reading.diags.is_empty() {
            return Ok(profile);
        }
    }
    Err(reading.diags.finish())
}

struct Reading {
    source: Arc<Source>,
    diags: Diags,
    /// Entries that were taken out as they are wrong, by where their table begins.
    taken: BTreeSet<(usize, String)>,
    /// For something that has to be there and is not.
    stands_in: bool,
}

/// A step on the way to an entry.
enum Step<'a> {
    Key(&'a str),
    Nth(usize),
}

impl Reading {
    fn place(&self, span: Range<usize>) -> Place {
        Place::new(&self.source, span)
    }

    fn wrong(&mut self, span: Range<usize>, message: impl Into<String>) {
        let place = self.place(span);
        self.diags.push(Diag::at(&place, message));
    }

    /// The profile, and the entries that it was made of: those that are of a wrong type, or that nobody knows, are reported and taken
    /// out. None where it cannot be told.
    fn typed<'t>(
        &mut self,
        mut table: Spanned<DeTable<'t>>,
    ) -> Option<(Profile, Spanned<DeTable<'t>>)> {
        self.one_for_many(table.get_mut());
        for _ in 0..TOLD {
            let error = match Profile::deserialize(Deserializer::from(table.clone())) {
                Ok(profile) => return Some((profile, table)),
                Err(error) => error,
            };
            let span = error.span().unwrap_or(0..0);
            let message = error.message().trim().replace('\n', "; ");
            let missing = message.strip_prefix("missing field `");
            let goes_on = match missing.and_then(|rest| rest.split('`').next()) {
                Some(field) => self.lacks(table.get_mut(), &span, field),
                None => self.take_out(table.get_mut(), 0, &span, &message),
            };
            if !goes_on {
                self.wrong(span, message);
                return None;
            }
        }
        None
    }

    /// A table in the place of a list of tables: told once, whatever is in it, and taken out.
    fn one_for_many(&mut self, table: &mut DeTable) {
        const LIST: &str = "partition";
        let found = table.iter().find(|(key, _)| key.get_ref() == LIST);
        let Some((key, value)) = found else {
            return;
        };
        if !matches!(value.get_ref(), DeValue::Table(_)) {
            return;
        }
        let place = self.place(key.span());
        let diag = Diag::at(&place, format!("`{LIST}` is a list of tables, not a table"));
        let help = format!("each begins with `[[{LIST}]]`, and its `name` is an entry");
        self.diags.push(diag.help(help));
        table.remove(LIST);
        self.taken.insert((0, LIST.into()));
    }

    /// Something that has to be there is not: reported, but where it was taken out, and there is something in its place.
    fn lacks(&mut self, table: &mut DeTable, span: &Range<usize>, field: &str) -> bool {
        let inner = tables(table).find(|t| t.span == *span);
        let (within, entries) = match inner {
            Some(found) => (found.span.start, found.entries),
            None => (0, table),
        };
        if !self.taken.contains(&(within, field.to_string())) {
            let place = self.place(span.start..span.start);
            let message = format!("`{field}` is missing");
            self.diags.push(match within {
                0 => Diag::plain(format!("{}: {message}", self.source.name)),
                _ => Diag::at(&place, message),
            });
        }
        self.stands_in = true;
        let word = match field {
            "executor" => Kind::Slurm.word(),
            _ => "",
        };
        let key = Spanned::new(span.clone(), field.to_string().into());
        let value = Spanned::new(span.clone(), DeValue::String(word.into()));
        entries.insert(key, value).is_none()
    }

    /// The deepest entry at this place, reported; whether there was one. `within`: where the table begins.
    fn take_out(
        &mut self,
        table: &mut DeTable,
        within: usize,
        at: &Range<usize>,
        message: &str,
    ) -> bool {
        let holds = |span: Range<usize>| span.start <= at.start && at.end <= span.end;
        for (_, value) in table.iter_mut() {
            let span = value.span();
            let found = match value.get_mut() {
                DeValue::Table(below) => self.take_out(below, span.start, at, message),
                DeValue::Array(items) => items.iter_mut().any(|item| {
                    let span = item.span();
                    match item.get_mut() {
                        DeValue::Table(below) => self.take_out(below, span.start, at, message),
                        _ => false,
                    }
                }),
                _ => false,
            };
            if found {
                return true;
            }
        }
        let found = table
            .iter()
            .find(|(k, v)| holds(k.span()) || holds(v.span()));
        let Some((key, _)) = found else {
            return false;
        };
        let name = key.get_ref().to_string();
        let diag = self.told(&self.place(at.clone()), &name, message);
        self.diags.push(diag);
        let taken = table.remove(name.as_str()).is_some();
        self.taken.insert((within, name));
        taken
    }

    /// What its parser says of an entry, in our words; of a name that nobody knows the nearest.
    fn told(&self, at: &Place, key: &str, message: &str) -> Diag {
        let unknown = message.strip_prefix("unknown field `");
        if let Some((name, known)) = unknown.and_then(|rest| rest.split_once("`, expected ")) {
            let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
            let diag = Diag::at(at, format!("unknown entry `{name}`"));
            return self.diags.among(diag, name, known);
        }
        let invalid = ["invalid type: ", "invalid value: "];
        let invalid = invalid.iter().find_map(|start| message.strip_prefix(start));
        if let Some((got, expected)) = invalid.and_then(|rest| rest.split_once(", expected ")) {
            let expected = match expected {
                "usize" => "a whole number that is not negative",
                "f64" => "a number",
                "a sequence" => "an array",
                "a map" => "a table",
                other if other.starts_with("struct ") => "a table",
                other => other,
            };
            return Diag::at(at, format!("`{key}` expects {expected}, got {got}"));
        }
        Diag::at(at, format!("`{key}`: {message}"))
    }

    /// Where a value stands; where it does not, nowhere.
    fn at(&self, table: &DeTable, path: &[Step]) -> Option<Place> {
        let (first, rest) = path.split_first()?;
        let Step::Key(key) = first else {
            return None;
        };
        let mut value = table.get(*key)?;
        for (i, step) in rest.iter().enumerate() {
            value = match (step, value.get_ref()) {
                (Step::Nth(n), DeValue::Array(items)) => items.get(*n)?,
                (Step::Key(_), DeValue::Table(below)) => return self.at(below, &rest[i..]),
                _ => return None,
            };
        }
        Some(self.place(value.span()))
    }

    fn says(&mut self, table: &DeTable, path: &[Step], message: String) {
        self.diags.push(match self.at(table, path) {
            Some(place) => Diag::at(&place, message),
            None => Diag::plain(format!("{}: {message}", self.source.name)),
        });
    }

    /// What its values are, each by itself and beside the others.
    fn sound(&mut self, profile: &Profile, table: &DeTable) {
        let own = |key| [Step::Key(key)];
        if !self.stands_in {
            let command = profile.command.is_some();
            if command != (profile.executor == Kind::Command) {
                let place = if command { "command" } else { "executor" };
                let message = "`[command]` stands with `executor = \"command\"`, and only there";
                self.says(table, &own(place), message.into());
            }
            if profile.address.is_none() && profile.executor == Kind::Ray {
                let message =
                    "`executor = \"ray\"` needs an `address`, as \"http://127.0.0.1:8265\"";
                self.says(table, &own("executor"), message.into());
            }
        }
        for (name, seconds) in [
            ("pack_seconds", profile.pack_seconds),
            ("gather_seconds", profile.gather_seconds),
            ("grace_seconds", profile.grace_seconds),
            ("ask_seconds", profile.ask_seconds),
            ("settle_seconds", profile.settle_seconds),
            ("claim_seconds", profile.claim_seconds),
        ] {
            let message = match name {
                _ if !(0.0..=LONGEST).contains(&seconds) => {
                    format!("`{name}` is {seconds}, and is between 0 and {LONGEST}")
                }
                "claim_seconds" if !SECONDS.contains(&seconds) => {
                    let least = SECONDS.start();
                    format!("`{name}` is {seconds}, and is at least {least}")
                }
                _ => continue,
            };
            self.says(table, &own(name), message);
        }
        if profile.jobs == 0 {
            self.says(table, &own("jobs"), "`jobs` is 0: nothing could run".into());
        }
        for (i, partition) in profile.partition.iter().enumerate() {
            for (key, message) in nothing(partition) {
                let path = [Step::Key("partition"), Step::Nth(i), Step::Key(key)];
                self.says(table, &path, message);
            }
        }
    }
}

/// What a partition says it has, and nothing could run with.
fn nothing(partition: &Partition) -> Vec<(&'static str, String)> {
    let whole = |what: Option<u64>| what.map(|n| n as f64);
    let amounts = [
        ("cpus", partition.cpus.map(|n| n as f64)),
        ("memory", whole(partition.memory)),
        ("gpu_memory", whole(partition.gpu_memory)),
        ("hours", partition.hours),
    ];
    let wrong = amounts.into_iter().filter_map(|(key, amount)| {
        let amount = amount.filter(|x| !x.is_finite() || *x <= 0.0)?;
        let message = format!("`{key}` is {amount}: nothing could run there");
        Some((key, message))
    });
    wrong.collect()
}

/// A table below another one.
struct Below<'a, 't> {
    span: Range<usize>,
    entries: &'a mut DeTable<'t>,
}

fn tables<'a, 't>(table: &'a mut DeTable<'t>) -> Box<dyn Iterator<Item = Below<'a, 't>> + 'a> {
    Box::new(table.iter_mut().flat_map(|(_, value)| {
        let span = value.span();
        let each: Box<dyn Iterator<Item = Below>> = match value.get_mut() {
            DeValue::Table(entries) => Box::new(std::iter::once(Below { span, entries })),
            DeValue::Array(items) => Box::new(items.iter_mut().filter_map(|item| {
                let span = item.span();
                match item.get_mut() {
                    DeValue::Table(entries) => Some(Below { span, entries }),
                    _ => None,
                }
            })),
            _ => Box::new(std::iter::empty()),
        };
        each
    }))
}
