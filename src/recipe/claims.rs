//! `[[claim]]`: what a recipe expects of another, from text to `base::claim::Claim`; its conditions are `condition`'s. Knows no metric by
//! name: its kind does. What the other recipe has is seen where both are there (`against.rs`).

use crate::condition::{self, Known, WrittenCondition, refuse, strangers, text};
use crate::matrix;
use crate::place;
use crate::than;
use crate::tree::{Item, Shape, Table};
use base::claim::{Axes, Claim, Condition};
use base::diag::{Diag, Diags, Place};
use base::text::did_you_mean;
use std::path::Path;

const KEYS: [&str; 7] = [
    "about",
    "against",
    "at",
    "against_at",
    "node",
    "against_node",
    "expect",
];
/// Where a claim is written, for what only the other recipe can say is wrong.
#[derive(Clone)]
pub struct Written {
    /// Of a claim within its recipe, what it expects.
    pub against: Place,
    /// By axis.
    pub at: Vec<(String, Place)>,
    pub against_at: Vec<(String, Place)>,
    /// By condition.
    pub conditions: Vec<WrittenCondition>,
}

/// The claims of a file; what is wrong is left out and reported.
pub fn claims(items: &[Item], known: &Known, diags: &mut Diags) -> Vec<(Claim, Written)> {
    items
        .iter()
        .filter_map(|item| match &item.shape {
            Shape::Table(table) => Reading {
                table,
                at: &item.at,
                known,
                diags,
            }
            .claim(),
            _ => refuse(
                "a table",
                "claim",
                item,
                "a claim is written `[[claim]]`",
                diags,
            ),
        })
        .collect()
}

struct Reading<'a, 'd> {
    table: &'a Table,
    at: &'a Place,
    known: &'a Known<'a>,
    diags: &'d mut Diags,
}

impl Reading<'_, '_> {
    fn claim(mut self) -> Option<(Claim, Written)> {
        strangers(self.table, &KEYS, "a claim", self.diags);
        let about = self.string("about");
        let within = than::within(self.table);
        let against = match within {
            true => {
                than::look(self.table, self.diags);
                Some(None)
            }
            false => self.against().map(Some),
        };
        let (at, against_at) = (self.axes("at", true), self.axes("against_at", false));
        let node = self.optional("node");
        let other = self.optional("against_node");
        let conditions = self.conditions(node.as_deref(), other.as_deref());
        let (conditions, written) = conditions?.into_iter().unzip();
        let entry = |key: &str| self.table.get(key);
        let places = |key: &str| match entry(key).map(|e| &e.item.shape) {
            Some(Shape::Table(table)) => {
                let each = table.entries().iter();
                each.map(|e| (matrix::spelled(&e.key), e.key_at.clone()))
                    .collect()
            }
            _ => vec![],
        };
        let named = if within { "expect" } else { "against" };
        let written = Written {
            against: entry(named)?.item.at.clone(),
            at: places("at"),
            against_at: places("against_at"),
            conditions: written,
        };
        let claim = Claim {
            about: about?,
            against: against?,
            at,
            against_at,
            conditions,
        };
        Some((claim, written))
    }

    fn lack(&mut self, key: &str) {
        let at = self.table.entries().first().map_or(self.at, |e| &e.key_at);
        let message = format!("the claim lacks `{key}`");
        self.diags.push(Diag::at(at, message).help(match key {
            "about" => "write in words what is expected",
            "against" => "write the path of the recipe it is compared with",
            _ => "write `expect = [{ metric = \"defense\", is = \"lower\" }]`",
        }));
    }

    fn string(&mut self, key: &str) -> Option<String> {
        if self.table.get(key).is_none() {
            self.lack(key);
        }
        self.optional(key)
    }

    fn optional(&mut self, key: &str) -> Option<String> {
        text(self.table.get(key)?, self.diags)
    }

    fn against(&mut self) -> Option<std::path::PathBuf> {
        let written = self.string("against")?;
        let (from, folder) = (self.known.from, self.known.folder);
        let path = place::beside(from, folder, &written);
        if !place::is_there(&path) {
            let at = &self.table.get("against")?.item.at;
            let near = place::near(folder, &path, Path::new(&written));
            let help = near.unwrap_or_else(|| format!("looked for `{}`", path.display()));
            let diag = Diag::at(at, format!("no recipe `{written}`"));
            self.diags.push(diag.help(help));
            return None;
        }
        let tidy = place::tidy(&path);
        let same = tidy.canonicalize().ok() == path.canonicalize().ok();
        Some(if same { tidy } else { path })
    }

    fn axes(&mut self, key: &str, own: bool) -> Axes {
        let Some(entry) = self.table.get(key) else {
            return Axes::new();
        };
        let Shape::Table(table) = &entry.item.shape else {
            let help = format!("write `{key} = {{ lambda = 0.9 }}`");
            return refuse("a table of axes", key, &entry.item, help, self.diags)
                .unwrap_or_default();
        };
        let mut axes = Axes::new();
        for entry in table.entries() {
            let path = matrix::spelled(&entry.key);
            if own && self.known.axes.iter().all(|a| a.path != path) {
                let message = format!("`{}` is no axis of `[matrix]`", entry.key);
                let names = self.known.axes.iter().map(|a| a.path.as_str());
                let diag = Diag::at(&entry.key_at, message);
                self.diags
                    .push(diag.suggest(did_you_mean(&entry.key, names)));
            }
            axes.insert(path, matrix::text(&entry.item));
        }
        axes
    }

    fn conditions(
        &mut self,
        node: Option<&str>,
        other: Option<&str>,
    ) -> Option<Vec<(Condition, WrittenCondition)>> {
        let Some(entry) = self.table.get("expect") else {
            self.lack("expect");
            return None;
        };
        let Shape::List(items) = &entry.item.shape else {
            let help = "as in `expect = [{ metric = \"defense\", is = \"lower\" }]`";
            return refuse(
                "an array of conditions",
                "expect",
                &entry.item,
                help,
                self.diags,
            );
        };
        if items.is_empty() {
            let diag = Diag::at(&entry.item.at, "a claim without conditions expects nothing");
            self.diags.push(diag);
            return None;
        }
        let mut reading = condition::Reading {
            claim: self.table,
            known: self.known,
            diags: self.diags,
        };
        let each = items.iter();
        // All are read before any is given up, so that all errors show.
        let read: Vec<_> = each
            .map(|item| reading.condition(item, node, other))
            .collect();
        read.into_iter().collect()
    }
}
