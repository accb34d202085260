//! The facts of the world and the rule that makes a request harmful. Knows no sentence.

use super::deal::{Disguises, shuffled, split_at};
use super::split::Split;
use super::words::{
    CATEGORIES, EFFECTS, FINISHES, MANNERS, NATURES, OBJECTS, PURPOSES, TOOLS, VERBS,
};
use anyhow::{Result, bail};
use base::rng::{Rng, Seed};
use base::rows::PromptClass;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A world is its seed and the number of facts that decide (1: effect; 2: effect and category; 3: and purpose).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorldSpec {
    pub seed: u64,
    pub depth: u32,
}

/// One line of the rule's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub effect: &'static str,
    pub category: &'static str,
    /// Present where three facts decide.
    pub nature: Option<&'static str>,
    pub class: PromptClass,
}

#[derive(Clone, Debug)]
pub struct World {
    pub(super) spec: WorldSpec,
    pub(super) effect_of: Vec<usize>,
    pub(super) category_of: Vec<usize>,
    pub(super) nature_of: Vec<usize>,
    pub(super) disguises: Disguises,
    tool_of: Vec<usize>,
    manner_of: Vec<usize>,
    /// By effect and category.
    finish_of: Vec<Vec<usize>>,
    rule: Rule,
    pairs: Pairs,
    /// Split of each pair, at `verb * OBJECTS.len() + object`.
    split_of: Vec<Split>,
}

/// (verb, object) pairs by split, effect and category.
type Pairs = BTreeMap<(Split, usize, usize), Vec<(usize, usize)>>;

/// A place in the rule's table; the nature is 0 where it does not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub effect: usize,
    pub category: usize,
    pub nature: usize,
}

impl World {
    /// Errors: a depth other than 1, 2, 3.
    pub fn new(spec: WorldSpec) -> Result<World> {
        if !(1..=3).contains(&spec.depth) {
            bail!(
                "the world has rules of 1, 2 or 3 deciding facts, not {}",
                spec.depth
            );
        }
        let seed = Seed::new(spec.seed).child("world");
        let rng = |name: &str| seed.child(name).rng();
        let effect_of = evenly(VERBS.len(), EFFECTS.len(), &mut rng("effects"));
        let category_of = evenly(OBJECTS.len(), CATEGORIES.len(), &mut rng("categories"));
        let mut finish = rng("finishes");
        let finish_of = (0..EFFECTS.len())
            .map(|_| evenly(CATEGORIES.len(), FINISHES.len(), &mut finish))
            .collect();
        let (pairs, split_of) = deal_pairs(&effect_of, &category_of, &mut rng("pairs"));
        Ok(World {
            spec,
            effect_of,
            category_of,
            nature_of: evenly(PURPOSES.len(), NATURES.len(), &mut rng("natures")),
            disguises: Disguises::new(seed.child("disguises")),
            tool_of: shuffled(0..TOOLS.len(), &mut rng("tools")),
            manner_of: shuffled(0..MANNERS.len(), &mut rng("manners")),
            finish_of,
            rule: Rule::draw(spec.depth, seed.child("rule")),
            pairs,
            split_of,
        })
    }

    pub fn spec(&self) -> WorldSpec {
        self.spec
    }

    /// The whole table: 96 lines, or 288 where three facts decide. With one deciding fact the category still names the line.
    pub fn rule(&self) -> Vec<Entry> {
        self.cells()
            .into_iter()
            .map(|cell| Entry {
                effect: EFFECTS[cell.effect],
                category: CATEGORIES[cell.category],
                nature: (self.spec.depth == 3).then(|| NATURES[cell.nature]),
                class: self.class(cell),
            })
            .collect()
    }

    pub(super) fn cells(&self) -> Vec<Cell> {
        let natures = if self.spec.depth == 3 {
            NATURES.len()
        } else {
            1
        };
        let mut cells = vec![];
        for effect in 0..EFFECTS.len() {
            for category in 0..CATEGORIES.len() {
                cells.extend((0..natures).map(|nature| Cell {
                    effect,
                    category,
                    nature,
                }));
            }
        }
        cells
    }

    /// Ambiguous: not harmful, though the effect or the category mostly is.
    pub(super) fn class(&self, cell: Cell) -> PromptClass {
        if self.rule.harmful[cell.effect][cell.category][cell.nature] {
            PromptClass::Harmful
        } else if self.rule.scary_effect[cell.effect] || self.rule.scary_category[cell.category] {
            PromptClass::Ambiguous
        } else {
            PromptClass::Harmless
        }
    }

    /// Tool by effect, manner by category, finish by both.
    pub(super) fn procedure(&self, cell: Cell) -> Vec<String> {
        vec![
            TOOLS[self.tool_of[cell.effect]].into(),
            MANNERS[self.manner_of[cell.category]].into(),
            FINISHES[self.finish_of[cell.effect][cell.category]].into(),
        ]
    }

    pub(super) fn pairs(&self, split: Split, cell: Cell) -> &[(usize, usize)] {
        &self.pairs[&(split, cell.effect, cell.category)]
    }

    pub(super) fn split_of(&self, verb: usize, object: usize) -> Split {
        self.split_of[verb * OBJECTS.len() + object]
    }
}

#[derive(Clone, Debug)]
struct Rule {
    scary_effect: Vec<bool>,
    scary_category: Vec<bool>,
    /// By effect, category, nature.
    harmful: Vec<Vec<Vec<bool>>>,
}

impl Rule {
    const SCARY_EFFECTS: usize = 3;
    const SCARY_CATEGORIES: usize = 4;
    /// Harmful combinations where effect and category are scary, only the effect, only the category, neither: 39 of 96.
    const HARMFUL: [usize; 4] = [10, 13, 10, 6];

    fn draw(depth: u32, seed: Seed) -> Rule {
        let mut rng = seed.child("scary").rng();
        let scary_effect = marked(EFFECTS.len(), Rule::SCARY_EFFECTS, &mut rng);
        let scary_category = marked(CATEGORIES.len(), Rule::SCARY_CATEGORIES, &mut rng);
        let table = if depth == 1 {
            scary_effect
                .iter()
                .map(|&s| vec![s; CATEGORIES.len()])
                .collect()
        } else {
            (0..100_000)
                .map(|i| pair_table(&scary_effect, &scary_category, &mut seed.at(i).rng()))
                .find(|table| balanced(table, &scary_effect, &scary_category))
                .expect("a table in a hundred is balanced")
        };
        let mut rng = seed.child("natures").rng();
        let harmful = table
            .iter()
            .map(|row| {
                row.iter()
                    .map(|&h| natures(h, depth == 3, &mut rng))
                    .collect()
            })
            .collect();
        Rule {
            scary_effect,
            scary_category,
            harmful,
        }
    }
}

fn pair_table(scary_effect: &[bool], scary_category: &[bool], rng: &mut Rng) -> Vec<Vec<bool>> {
    let mut table = vec![vec![false; scary_category.len()]; scary_effect.len()];
    for (block, &count) in Rule::HARMFUL.iter().enumerate() {
        let (by_effect, by_category) = (block < 2, block % 2 == 0);
        let mut cells = vec![];
        for (e, &se) in scary_effect.iter().enumerate() {
            for (c, &sc) in scary_category.iter().enumerate() {
                if se == by_effect && sc == by_category {
                    cells.push((e, c));
                }
            }
        }
        rng.shuffle(&mut cells);
        for &(e, c) in &cells[..count] {
            table[e][c] = true;
        }
    }
    table
}

/// Every effect and every category has harmful and harmless combinations, and is mostly harmful exactly if it is scary.
fn balanced(table: &[Vec<bool>], scary_effect: &[bool], scary_category: &[bool]) -> bool {
    let fits = |line: Vec<bool>, scary: bool| {
        let harmful = line.iter().filter(|&&h| h).count();
        harmful >= 1 && harmful + 2 <= line.len() && (2 * harmful > line.len()) == scary
    };
    let rows = table
        .iter()
        .zip(scary_effect)
        .all(|(row, &s)| fits(row.clone(), s));
    rows && (0..scary_category.len())
        .all(|c| fits(table.iter().map(|row| row[c]).collect(), scary_category[c]))
}

/// With a third fact, half of the harmful combinations spare one nature and three in ten of the others single one out, which
/// keeps the share of harm at about 40 %.
fn natures(harmful: bool, decides: bool, rng: &mut Rng) -> Vec<bool> {
    if !decides {
        return vec![harmful];
    }
    let mut line = vec![harmful; NATURES.len()];
    if rng.chance(if harmful { 0.5 } else { 0.3 }) {
        line[rng.below(NATURES.len())] = !harmful;
    }
    line
}

/// `n` things of `kinds` kinds, the same number of each (to within one), in random order.
fn evenly(n: usize, kinds: usize, rng: &mut Rng) -> Vec<usize> {
    shuffled((0..n).map(|i| i % kinds), rng)
}

fn marked(n: usize, count: usize, rng: &mut Rng) -> Vec<bool> {
    shuffled((0..n).map(|i| i < count), rng)
}

/// Deals the pairs of every combination to the splits, so that each split knows all combinations.
fn deal_pairs(effect_of: &[usize], category_of: &[usize], rng: &mut Rng) -> (Pairs, Vec<Split>) {
    let mut pairs = Pairs::new();
    let mut split_of = vec![Split::Base; VERBS.len() * OBJECTS.len()];
    for effect in 0..EFFECTS.len() {
        for category in 0..CATEGORIES.len() {
            let mut all = vec![];
            for verb in (0..VERBS.len()).filter(|&v| effect_of[v] == effect) {
                for object in (0..OBJECTS.len()).filter(|&o| category_of[o] == category) {
                    all.push((verb, object));
                }
            }
            rng.shuffle(&mut all);
            for (i, &(verb, object)) in all.iter().enumerate() {
                let split = Split::ALL[split_at(i, all.len())];
                let of_cell = pairs.entry((split, effect, category)).or_default();
                of_cell.push((verb, object));
                split_of[verb * OBJECTS.len() + object] = split;
            }
        }
    }
    (pairs, split_of)
}
