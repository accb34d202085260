//! A recipe's text as a tree in which every key and value keeps its place, and how one tree is laid over another.
//! Knows neither kinds nor files.

use base::diag::Place;
use base::value::Value;
use std::cell::OnceCell;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A table of more entries is searched by an index of its names.
const SMALL: usize = 16;

#[derive(Clone, Debug)]
pub struct Item {
    pub shape: Shape,
    /// Where it stands.
    pub at: Place,
    /// Where its value was written, if that is a variable and not here.
    pub from: Option<Place>,
    /// Whether it stands where a layer below said something else than `false`.
    pub replaces: bool,
    /// What stands there again where this does nothing: see `flags::taken_back`.
    pub otherwise: Option<Box<Entry>>,
}

#[derive(Clone, Debug)]
pub enum Shape {
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    List(Vec<Item>),
    Table(Table),
    /// Already reported; whatever reads it stays silent.
    Bad,
}

/// Entries in the order they were written, each key once.
#[derive(Clone, Debug, Default)]
pub struct Table {
    entries: Vec<Entry>,
    /// By the hash of a key: its place and one, or, where another key has that slot, a slot later; zero is free. Made by the first
    /// search of a large table.
    by_key: OnceCell<Box<[u32]>>,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub key_at: Place,
    pub item: Item,
}

impl Item {
    pub fn new(shape: Shape, at: Place) -> Item {
        Item {
            shape,
            at,
            from: None,
            replaces: false,
            otherwise: None,
        }
    }

    /// Where the value was written.
    pub fn origin(&self) -> &Place {
        self.from.as_ref().unwrap_or(&self.at)
    }

    /// The word an error message uses for this value's type.
    pub fn type_name(&self) -> &'static str {
        match &self.shape {
            Shape::Bool(_) => "a boolean",
            Shape::Int(_) => "an integer",
            Shape::Float(_) => "a float",
            Shape::Str(_) => "a string",
            Shape::List(_) => "an array",
            Shape::Table(_) => "a table",
            Shape::Bad => "nothing",
        }
    }

    /// The text of a plain value inside a longer string; `None` for arrays and tables.
    pub fn inline_text(&self) -> Option<String> {
        match &self.shape {
            Shape::Bool(b) => Some(Value::Bool(*b).canon()),
            Shape::Int(i) => Some(Value::Int(*i).canon()),
            Shape::Float(f) => Some(Value::Float(*f).canon()),
            Shape::Str(s) => Some(s.clone()),
            Shape::Bad => Some(String::new()),
            Shape::List(_) | Shape::Table(_) => None,
        }
    }

    /// The memory that a copy takes, about.
    pub fn weight(&self) -> usize {
        size_of::<Item>()
            + self
                .otherwise
                .iter()
                .map(|e| e.item.weight())
                .sum::<usize>()
            + match &self.shape {
                Shape::Str(text) => text.len(),
                Shape::List(items) => items.iter().map(Item::weight).sum(),
                Shape::Table(table) => {
                    let entries = table.entries.iter();
                    entries.map(|e| e.key.len() + e.item.weight()).sum()
                }
                _ => 0,
            }
    }

    /// Calls `see` with every string in here.
    pub fn strings(&self, see: &mut impl FnMut(&str)) {
        if let Some(otherwise) = &self.otherwise {
            otherwise.item.strings(see);
        }
        match &self.shape {
            Shape::Str(s) => see(s),
            Shape::List(items) => items.iter().for_each(|i| i.strings(see)),
            Shape::Table(table) => table.strings(see),
            _ => {}
        }
    }
}

impl Table {
    pub fn new(entries: Vec<Entry>) -> Table {
        let by_key = OnceCell::new();
        Table { entries, by_key }
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The values; keys stay as they are.
    pub fn items_mut(&mut self) -> impl Iterator<Item = &mut Item> {
        self.entries.iter_mut().map(|e| &mut e.item)
    }

    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    pub fn get(&self, key: &str) -> Option<&Entry> {
        Some(&self.entries[self.find(key)?])
    }

    /// Where the key is among the entries.
    pub fn find(&self, key: &str) -> Option<usize> {
        if self.entries.len() <= SMALL {
            return self.entries.iter().position(|e| e.key == key);
        }
        let slots = self.by_key.get_or_init(|| slots(&self.entries));
        let mut slot = hash(key);
        loop {
            let place = slots[slot % slots.len()].checked_sub(1)? as usize;
            if self.entries[place].key == key {
                return Some(place);
            }
            slot = slot.wrapping_add(1);
        }
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|e| e.key.as_str())
    }

    /// An entry's whole, to be changed in its place; its key stays.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        let place = self.find(key)?;
        Some(&mut self.entries[place])
    }

    /// Keeps the entries that `wanted` says yes to.
    pub fn retain(&mut self, wanted: impl FnMut(&Entry) -> bool) {
        self.by_key.take();
        self.entries.retain(wanted);
    }

    /// Lays `over` onto this table: tables merge, everything else is replaced. What is new comes last.
    pub fn merge(&mut self, over: Table) {
        let places: Vec<Option<usize>> = over.keys().map(|key| self.find(key)).collect();
        self.by_key.take();
        for (entry, place) in over.entries.into_iter().zip(places) {
            let Some(place) = place else {
                self.entries.push(entry);
                continue;
            };
            let mine = &mut self.entries[place];
            match (&mut mine.item.shape, entry.item.shape) {
                (Shape::Table(old), Shape::Table(new)) => old.merge(new),
                (below, shape) => {
                    let replaces = mine.item.replaces || !matches!(below, Shape::Bool(false));
                    *mine = Entry {
                        item: Item {
                            shape,
                            replaces,
                            ..entry.item
                        },
                        ..entry
                    }
                }
            }
        }
    }

    /// Calls `see` with every string in here, keys left out.
    pub fn strings(&self, see: &mut impl FnMut(&str)) {
        self.entries.iter().for_each(|e| e.item.strings(see));
    }
}

/// Half of them free at least, and a power of two.
fn slots(entries: &[Entry]) -> Box<[u32]> {
    let mut slots = vec![0; 2 * entries.len().next_power_of_two()];
    let count = slots.len();
    for (place, entry) in entries.iter().enumerate() {
        let mut slot = hash(&entry.key);
        while slots[slot % count] != 0 {
            slot = slot.wrapping_add(1);
        }
        slots[slot % count] = u32::try_from(place + 1).expect("a recipe's text is bounded");
    }
    slots.into()
}

fn hash(key: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish() as usize
}
