//! A condition of a `[[claim]]`, from text to `base::claim::Condition`: its metrics, its node, what it expects and by how much. What a claim
//! is beside its conditions is not known here.

use crate::check::wrong;
use crate::matrix::Axis;
use crate::measured::{self, Asked};
use crate::than;
use crate::tree::{Entry, Item, Shape, Table};
use base::claim::{Condition, Expect};
use base::diag::{Diag, Diags, Place};
use base::text::{did_you_mean, listed};
use engine::graph::Graph;
use std::path::Path;

const CONDITION: [&str; 8] = [
    "metric",
    "mean",
    "both",
    "is",
    "than",
    "by",
    "node",
    "against_node",
];

/// What a condition is about: one metric, the mean of several, both sides of a frontier.
const ABOUT: [&str; 3] = ["metric", "mean", "both"];

#[derive(Clone)]
pub struct WrittenCondition {
    pub against_node: Place,
    /// By metric, all that the condition names.
    pub metrics: Vec<Place>,
}

/// What the rest of the recipe gives a claim to be checked against.
pub struct Known<'a> {
    /// Absent where anything is wrong with the nodes.
    pub graph: Option<&'a Graph>,
    /// Where the recipe was read from, if not from a text.
    pub from: Option<&'a Path>,
    /// Relative paths start here.
    pub folder: &'a Path,
    pub nodes: &'a Table,
    pub axes: &'a [Axis],
}

/// Reads the conditions of one claim.
pub struct Reading<'a, 'd> {
    pub claim: &'a Table,
    pub known: &'a Known<'a>,
    pub diags: &'d mut Diags,
}

impl Reading<'_, '_> {
    /// `node`, `other`: what the claim says of all its conditions.
    pub fn condition(
        &mut self,
        item: &Item,
        node: Option<&str>,
        other: Option<&str>,
    ) -> Option<(Condition, WrittenCondition)> {
        let Shape::Table(table) = &item.shape else {
            let help = "as in `{ metric = \"defense\", is = \"lower\" }`";
            return refuse("a table", "expect", item, help, self.diags);
        };
        strangers(table, &CONDITION, "a condition", self.diags);
        let mut read = |key: &str| table.get(key).and_then(|e| text(e, self.diags));
        let word = read("is");
        let own = read("node").or_else(|| node.map(String::from));
        let against = read("against_node").or_else(|| other.map(String::from));
        if table.get("is").is_none() {
            let diag = Diag::at(&item.at, "the condition lacks `is`");
            self.diags.push(diag);
        }
        let metrics = self.metrics(table, &item.at);
        let than = self.than(table, metrics.as_deref());
        let node = self.node(own, table, &item.at);
        let expect = self.expect(word?, table);
        let by = self.by(table, expect, &item.at);
        let (node, metrics, than) = (node?, metrics?, than?);
        self.fits(expect?, table)?;
        let named = metrics.iter().chain(&than);
        let places: Vec<Place> = named.map(|(_, place)| place.clone()).collect();
        let kind = self
            .known
            .graph
            .and_then(|g| Some(g.node(g.find(&node)?).kind));
        if let Some(kind) = kind {
            let by = by.and_then(|by| Some((by, &table.get("by")?.item.at)));
            let asked = Asked {
                node: &node,
                metrics: &metrics,
                than: than.as_ref(),
                expect: expect?,
                by,
            };
            measured::look(kind, &asked, self.diags);
        }
        let named = ["against_node", "node"].into_iter();
        let named = named.filter_map(|key| table.get(key).or_else(|| self.claim.get(key)));
        let written = WrittenCondition {
            against_node: named.map(|e| &e.item.at).next().unwrap_or(&item.at).clone(),
            metrics: places,
        };
        let condition = Condition {
            metrics: metrics.into_iter().map(|(metric, _)| metric).collect(),
            than: than.map(|(metric, _)| metric),
            against_node: against.unwrap_or_else(|| node.clone()),
            node,
            expect: expect?,
            by: by?,
        };
        Some((condition, written))
    }

    /// One metric, or the several that are named.
    fn metrics(&mut self, table: &Table, at: &Place) -> Option<Vec<(String, Place)>> {
        let mut named = ABOUT.iter().filter_map(|key| table.get(key));
        let Some(entry) = named.next() else {
            let diag = Diag::at(at, "the condition lacks `metric`");
            self.diags
                .push(diag.help("or `mean` or `both`, with two metrics or more"));
            return None;
        };
        if let Some(second) = named.next() {
            let message = format!("a condition has `{}` or `{}`", entry.key, second.key);
            self.diags.push(Diag::at(&second.key_at, message));
            return None;
        }
        if entry.key == "metric" {
            return Some(vec![(text(entry, self.diags)?, entry.item.at.clone())]);
        }
        let Shape::List(items) = &entry.item.shape else {
            let help = format!("as in `{} = [\"defense\", \"compliance\"]`", entry.key);
            return refuse(
                "an array of metrics",
                &entry.key,
                &entry.item,
                help,
                self.diags,
            );
        };
        let mut metrics: Vec<(String, Place)> = vec![];
        for item in items {
            let Shape::Str(name) = &item.shape else {
                let help = "as in `\"defense\"`";
                return refuse("a metric", &entry.key, item, help, self.diags);
            };
            if metrics.iter().any(|(known, _)| known == name) {
                let diag = Diag::at(&item.at, format!("`{name}` is named twice"));
                self.diags.push(diag);
                return None;
            }
            metrics.push((name.clone(), item.at.clone()));
        }
        if metrics.len() < 2 {
            let message = format!("`{}` is of two metrics or more", entry.key);
            let diag = Diag::at(&entry.item.at, message);
            self.diags
                .push(diag.help("one is written `metric = \"…\"`"));
            return None;
        }
        Some(metrics)
    }

    /// The other metric of the same node, where one is named.
    fn than(
        &mut self,
        table: &Table,
        metrics: Option<&[(String, Place)]>,
    ) -> Option<Option<(String, Place)>> {
        let Some(entry) = table.get("than") else {
            return Some(None);
        };
        let than = (text(entry, self.diags)?, entry.item.at.clone());
        if let Some(metrics) = metrics {
            than::fits(metrics, &than, self.diags);
        }
        Some(Some(than))
    }

    /// `dominates` is of both sides, and all else of one number.
    fn fits(&mut self, expect: Expect, table: &Table) -> Option<()> {
        let both = table.get("both");
        let help = "write `{ both = [\"defense\", \"compliance\"], is = \"dominates\" }`";
        match (expect == Expect::Dominates, both) {
            (true, Some(_)) | (false, None) => Some(()),
            (true, None) => {
                let at = &table.get("is")?.item.at;
                let diag = Diag::at(at, "`dominates` needs `both`, the metrics side by side");
                self.diags.push(diag.help(help));
                None
            }
            (false, Some(both)) => {
                let message = format!("`both` goes with `dominates`, not with `{}`", expect.word());
                let diag = Diag::at(&both.key_at, message);
                self.diags
                    .push(diag.help("the mean of several metrics is written `mean = […]`"));
                None
            }
        }
    }

    fn node(&mut self, name: Option<String>, table: &Table, at: &Place) -> Option<String> {
        let Some(name) = name else {
            let diag = Diag::at(at, "the condition says of no node");
            self.diags
                .push(diag.help("write `node = \"rl-eval\"` in the claim"));
            return None;
        };
        if self.known.nodes.get(&name).is_some() {
            return Some(name);
        }
        let written = table.get("node").or_else(|| self.claim.get("node"));
        let at = written.map_or(at, |e| &e.item.at);
        let diag = Diag::at(at, format!("unknown node `{name}`"));
        let diag = self.diags.among(diag, &name, self.known.nodes.keys());
        self.diags.push(diag);
        None
    }

    fn expect(&mut self, word: String, table: &Table) -> Option<Expect> {
        let found = Expect::ALL.into_iter().find(|e| e.word() == word);
        if found.is_none() {
            let words = || Expect::ALL.into_iter().map(Expect::word);
            let at = &table.get("is")?.item.at;
            let message = format!("`is` expects one of {}, got `{word}`", listed(words()));
            let near = did_you_mean(&word, words());
            self.diags.push(Diag::at(at, message).suggest(near));
        }
        found
    }

    fn by(&mut self, table: &Table, expect: Option<Expect>, at: &Place) -> Option<f64> {
        let Some(entry) = table.get("by") else {
            if expect == Some(Expect::Within) {
                let diag = Diag::at(at, "`within` needs `by`, the largest difference");
                self.diags
                    .push(diag.help("5 points of a share are `by = 0.05`"));
                return None;
            }
            return Some(0.0);
        };
        let number = match entry.item.shape {
            Shape::Float(f) => f,
            Shape::Int(i) => i as f64,
            _ => {
                let help = "5 points of a share are `by = 0.05`";
                return refuse("a number", "by", &entry.item, help, self.diags);
            }
        };
        if number < 0.0 {
            self.diags
                .push(Diag::at(&entry.item.at, "`by` is a size, at least 0"));
            return None;
        }
        Some(number)
    }
}

/// Reports what has another type, where it is not reported as no value at all.
pub fn refuse<T>(
    what: &str,
    key: &str,
    item: &Item,
    help: impl Into<String>,
    diags: &mut Diags,
) -> Option<T> {
    if !matches!(item.shape, Shape::Bad) {
        diags.push(wrong(what, key, item).help(help));
    }
    None
}

pub fn text(entry: &Entry, diags: &mut Diags) -> Option<String> {
    match &entry.item.shape {
        Shape::Str(text) => Some(text.clone()),
        Shape::Bad => None,
        _ => {
            diags.push(wrong("a string", &entry.key, &entry.item));
            None
        }
    }
}

pub fn strangers(table: &Table, keys: &[&str], of: &str, diags: &mut Diags) {
    for entry in table.entries() {
        if !keys.contains(&entry.key.as_str()) {
            let diag = Diag::at(&entry.key_at, format!("unknown key `{}`", entry.key));
            let near = did_you_mean(&entry.key, keys.iter().copied());
            diags.push(match near {
                None => diag.help(format!("keys of {of}: {}", listed(keys.iter().copied()))),
                near => diag.label(format!("not a key of {of}")).suggest(near),
            });
        }
    }
}
