//! Dealing: shuffled decks that cover everything evenly, and things of which no two splits share one.

use super::split::{Split, Tenths};
use base::rng::Rng;

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

/// Several different items, in random order. `n` is at most their number.
pub(super) fn some<T: Copy>(items: &[T], n: usize, rng: &mut Rng) -> Vec<T> {
    let mut all = shuffled(items.iter().copied(), rng);
    all.truncate(n);
    all
}

/// `n` things of `kinds` kinds, the same number of each (to within one), in random order.
pub(super) fn evenly(n: usize, kinds: usize, rng: &mut Rng) -> Vec<usize> {
    shuffled((0..n).map(|i| i % kinds), rng)
}

/// A permutation of `n` things in which none stays where it is.
pub(super) fn moved(n: usize, rng: &mut Rng) -> Vec<usize> {
    loop {
        let places = shuffled(0..n, rng);
        if places.iter().enumerate().all(|(i, &place)| i != place) {
            return places;
        }
    }
}

/// Cells (row, column) of a grid for each split, in the order of `Split::ALL`. Cells go by diagonals, so that a row and a
/// column meet every split: what is held out is the combination, never a word.
pub(super) fn diagonals(
    rows: usize,
    columns: usize,
    tenths: Tenths,
    rng: &mut Rng,
) -> Vec<Vec<(usize, usize)>> {
    let around = rows.max(columns);
    let row_order = shuffled(0..rows, rng);
    let column_order = shuffled(0..columns, rng);
    let mut dealt = vec![vec![]; Split::ALL.len()];
    for (i, &row) in row_order.iter().enumerate() {
        for (j, &column) in column_order.iter().enumerate() {
            dealt[split_at((i + j) % around, around, tenths)].push((row, column));
        }
    }
    dealt
}

/// The items of each split, in the order of `Split::ALL`, dealt at random.
pub(super) fn dealt<T>(items: Vec<T>, tenths: Tenths, rng: &mut Rng) -> Vec<Vec<T>> {
    let n = items.len();
    let mut dealt: Vec<Vec<T>> = Split::ALL.iter().map(|_| vec![]).collect();
    for (i, item) in shuffled(items, rng).into_iter().enumerate() {
        dealt[split_at(i, n, tenths)].push(item);
    }
    dealt
}

/// The split of place `i` of `n`: the tenths cut the places in order.
fn split_at(i: usize, n: usize, tenths: Tenths) -> usize {
    let mut end = 0;
    for (split, tenths) in tenths.iter().enumerate() {
        end += tenths;
        if i * 10 < end * n {
            return split;
        }
    }
    unreachable!("the tenths of the splits add up to ten")
}
