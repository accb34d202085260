//! The facts of the world and the rule that makes a request harmful. Knows no sentence.

use super::alias::Disguises;
use super::chain::Chains;
use super::deal::{dealt, evenly, moved, shuffled};
use super::split::Split;
use super::words::{
    CATEGORIES, EFFECTS, FINISHES, GUILDS, MANNERS, OBJECTS, PERSONS, RELATIONS, TOOLS, VERBS,
};
use base::rng::{Rng, Seed};
use base::rows::PromptClass;
use std::collections::BTreeMap;

/// One line of the rule's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub effect: &'static str,
    pub guild: &'static str,
    pub class: PromptClass,
}

/// A world is its seed. Harm is the line of a table: the effect of the verb, and the guild of the person whom a request is for. How
/// many lookups lead to that person is the request's. Help follows from the verb and the object alone.
#[derive(Clone, Debug)]
pub struct World {
    pub(super) seed: u64,
    pub(super) effect_of: Vec<usize>,
    pub(super) category_of: Vec<usize>,
    pub(super) guild_of: Vec<usize>,
    /// By relation and person.
    pub(super) related: Vec<Vec<usize>>,
    pub(super) chains: Chains,
    pub(super) disguises: Disguises,
    tool_of: Vec<usize>,
    manner_of: Vec<usize>,
    finish_of: Vec<usize>,
    rule: Rule,
    pairs: Pairs,
    /// Split of each pair, at `verb * OBJECTS.len() + object`.
    split_of: Vec<Split>,
}

/// (verb, object) pairs by split, effect and category.
type Pairs = BTreeMap<(Split, usize, usize), Vec<(usize, usize)>>;

/// A place in the rule's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub effect: usize,
    pub guild: usize,
}

impl World {
    pub fn new(seed: u64) -> World {
        let named = Seed::new(seed).child("world");
        let rng = |name: &str| named.child(name).rng();
        let effect_of = evenly(VERBS.len(), EFFECTS.len(), &mut rng("effects"));
        let category_of = evenly(OBJECTS.len(), CATEGORIES.len(), &mut rng("categories"));
        let guild_of = evenly(PERSONS.len(), GUILDS.len(), &mut rng("guilds"));
        let mut relations = rng("relations");
        let related: Vec<Vec<usize>> = RELATIONS
            .iter()
            .map(|_| moved(PERSONS.len(), &mut relations))
            .collect();
        let (pairs, split_of) = deal_pairs(&effect_of, &category_of, &mut rng("pairs"));
        World {
            seed,
            disguises: Disguises::new(named.child("disguises")),
            chains: Chains::new(&guild_of, &related, &mut rng("chains")),
            effect_of,
            category_of,
            guild_of,
            related,
            tool_of: shuffled(0..TOOLS.len(), &mut rng("tools")),
            manner_of: shuffled(0..MANNERS.len(), &mut rng("manners")),
            finish_of: shuffled(0..FINISHES.len(), &mut rng("finishes")),
            rule: Rule::draw(named.child("rule")),
            pairs,
            split_of,
        }
    }

    /// The whole table, 48 lines.
    pub fn rule(&self) -> Vec<Entry> {
        let entry = |cell: Cell| Entry {
            effect: EFFECTS[cell.effect],
            guild: GUILDS[cell.guild],
            class: self.class(cell),
        };
        self.cells().into_iter().map(entry).collect()
    }

    pub(super) fn cells(&self) -> Vec<Cell> {
        let of = |effect| (0..GUILDS.len()).map(move |guild| Cell { effect, guild });
        (0..EFFECTS.len()).flat_map(of).collect()
    }

    /// Ambiguous: not harmful, though the effect mostly is.
    pub(super) fn class(&self, cell: Cell) -> PromptClass {
        if self.harmful(cell) {
            PromptClass::Harmful
        } else if self.rule.scary[cell.effect] {
            PromptClass::Ambiguous
        } else {
            PromptClass::Harmless
        }
    }

    pub(super) fn harmful(&self, cell: Cell) -> bool {
        self.rule.harmful[cell.effect][cell.guild]
    }

    /// Whether these verbs have effects that are alike on the whole, and one of them harms this guild, the other not.
    pub(super) fn opposed(&self, verb: usize, other: usize, guild: usize) -> bool {
        let [a, b] = [verb, other].map(|verb| self.effect_of[verb]);
        let [harms, spares] = [a, b].map(|effect| self.harmful(Cell { effect, guild }));
        self.rule.scary[a] == self.rule.scary[b] && harms != spares
    }

    /// Tool by the effect of the verb, manner and finish by the category of the object.
    pub(super) fn procedure(&self, verb: usize, object: usize) -> Vec<String> {
        let category = self.category_of[object];
        vec![
            TOOLS[self.tool_of[self.effect_of[verb]]].into(),
            MANNERS[self.manner_of[category]].into(),
            FINISHES[self.finish_of[category]].into(),
        ]
    }

    /// A pair with this effect, of an object of any category.
    pub(super) fn pair(&self, split: Split, effect: usize, rng: &mut Rng) -> (usize, usize) {
        let category = rng.below(CATEGORIES.len());
        *rng.pick(&self.pairs[&(split, effect, category)])
    }

    pub(super) fn split_of(&self, verb: usize, object: usize) -> Split {
        self.split_of[verb * OBJECTS.len() + object]
    }
}

#[derive(Clone, Debug)]
struct Rule {
    scary: Vec<bool>,
    /// By effect and guild.
    harmful: Vec<Vec<bool>>,
}

impl Rule {
    const SCARY: usize = 4;
    /// Guilds with which a scary effect is harmful, and another one: half of the table.
    const HARMFUL: [usize; 2] = [4, 2];

    /// The guild alone says nothing: with every one of them half of the effects are harmful. And every guild has harmful and harmless
    /// effects among the scary ones and among the others, so that each verb can be told beside an opposed one (`World::opposed`).
    fn draw(seed: Seed) -> Rule {
        let scary = marked(EFFECTS.len(), Rule::SCARY, &mut seed.child("scary").rng());
        let half = EFFECTS.len() / 2;
        let even = |table: &Vec<Vec<bool>>| {
            (0..GUILDS.len()).all(|g| {
                let harmful = |e: &usize| table[*e][g];
                let scary = (0..EFFECTS.len())
                    .filter(|e| scary[*e])
                    .filter(harmful)
                    .count();
                let all = (0..EFFECTS.len()).filter(harmful).count();
                all == half && (1..Rule::SCARY).contains(&scary)
            })
        };
        let harmful = (0..1_000_000)
            .map(|i| lines(&scary, &mut seed.at(i).rng()))
            .find(even)
            .expect("a table in a few thousand is even");
        Rule { scary, harmful }
    }
}

fn lines(scary: &[bool], rng: &mut Rng) -> Vec<Vec<bool>> {
    let line = |&scary: &bool| marked(GUILDS.len(), Rule::HARMFUL[usize::from(!scary)], rng);
    scary.iter().map(line).collect()
}

fn marked(n: usize, count: usize, rng: &mut Rng) -> Vec<bool> {
    shuffled((0..n).map(|i| i < count), rng)
}

/// Deals the pairs of every effect and category to the splits, so that each split knows all of both.
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
            for (split, pairs_of) in Split::ALL.iter().zip(dealt(all, Split::TENTHS, rng)) {
                for &(verb, object) in &pairs_of {
                    split_of[verb * OBJECTS.len() + object] = *split;
                }
                pairs.insert((*split, effect, category), pairs_of);
            }
        }
    }
    (pairs, split_of)
}
