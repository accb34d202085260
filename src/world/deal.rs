//! Dealing: which split owns which disguise, shuffled decks that cover everything evenly, and grids whose cells no two splits share.

use super::split::Split;
use super::words::{
    BOX_ADJECTIVES, BOX_NOUNS, FIRST_SYLLABLES, ROLE_ADJECTIVES, ROLE_NOUNS, SECOND_SYLLABLES,
};
use base::rng::{Rng, Seed};

/// Draws every item once, in random order, before any item again.
pub(super) struct Deck<T> {
    items: Vec<T>,
    next: usize,
}

impl<T: Copy> Deck<T> {
    /// `items` is not empty.
    pub(super) fn new(items: Vec<T>) -> Deck<T> {
        assert!(!items.is_empty(), "a deck has cards");
        let next = items.len();
        Deck { items, next }
    }

    pub(super) fn draw(&mut self, rng: &mut Rng) -> T {
        if self.next == self.items.len() {
            rng.shuffle(&mut self.items);
            self.next = 0;
        }
        self.next += 1;
        self.items[self.next - 1]
    }
}

/// One of several phrasings.
pub(super) fn phrase(phrasings: &[&'static str], rng: &mut Rng) -> &'static str {
    phrasings[rng.below(phrasings.len())]
}

/// The items in random order.
pub(super) fn shuffled<T>(items: impl IntoIterator<Item = T>, rng: &mut Rng) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    rng.shuffle(&mut items);
    items
}

/// Cells (row, column) of a grid for each split, in the order of `Split::ALL`. Cells go by diagonals, so that a row and a
/// column meet every split: what is held out is the combination, never a word.
pub(super) fn diagonals(rows: usize, columns: usize, rng: &mut Rng) -> Vec<Vec<(usize, usize)>> {
    let around = rows.max(columns);
    let row_order = shuffled(0..rows, rng);
    let column_order = shuffled(0..columns, rng);
    let mut dealt = vec![vec![]; Split::ALL.len()];
    for (i, &row) in row_order.iter().enumerate() {
        for (j, &column) in column_order.iter().enumerate() {
            dealt[split_at((i + j) % around, around)].push((row, column));
        }
    }
    dealt
}

/// The split of place `i` of `n`: `Split::TENTHS` cut the places in order.
pub(super) fn split_at(i: usize, n: usize) -> usize {
    let mut end = 0;
    for (split, tenths) in Split::TENTHS.iter().enumerate() {
        end += tenths;
        if i * 10 < end * n {
            return split;
        }
    }
    unreachable!("the tenths of the splits add up to ten")
}

/// The disguises of each split, by their places in the word lists. No two splits share one.
#[derive(Clone, Debug)]
pub(super) struct Disguises {
    pub(super) roles: Vec<Vec<(usize, usize)>>,
    pub(super) codes: Vec<Vec<(usize, usize)>>,
    pub(super) boxes: Vec<Vec<(usize, usize)>>,
}

impl Disguises {
    pub(super) fn new(seed: Seed) -> Disguises {
        let deal = |name: &str, rows: usize, columns: usize| {
            diagonals(rows, columns, &mut seed.child(name).rng())
        };
        Disguises {
            roles: deal("roles", ROLE_ADJECTIVES.len(), ROLE_NOUNS.len()),
            codes: deal("codes", FIRST_SYLLABLES.len(), SECOND_SYLLABLES.len()),
            boxes: deal("boxes", BOX_ADJECTIVES.len(), BOX_NOUNS.len()),
        }
    }
}
