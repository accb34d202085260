//! Which split owns which role, and which alias may stand for which word in it.

use super::deal::{dealt, diagonals};
use super::split::Split;
use super::words::{BOXES, CODES, OBJECTS, ROLE_ADJECTIVES, ROLE_NOUNS, VERBS};
use base::rng::{Rng, Seed};

/// What an alias stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// A code word, for a verb.
    Code,
    /// A box, for the object in it.
    Box,
}

impl Stands {
    pub(super) fn aliases(self) -> &'static [&'static str] {
        match self {
            Stands::Code => &CODES,
            Stands::Box => &BOXES,
        }
    }

    pub(super) fn words(self) -> &'static [&'static str] {
        match self {
            Stands::Code => &VERBS,
            Stands::Box => &OBJECTS,
        }
    }
}

/// The disguises of each split, by their places in the word lists. No two splits share a role, or an alias with what it stands for.
#[derive(Clone, Debug)]
pub(super) struct Disguises {
    roles: Vec<Vec<(usize, usize)>>,
    codes: Bindings,
    boxes: Bindings,
}

/// By split and word: the aliases that may stand for it there.
type Bindings = Vec<Vec<Vec<usize>>>;

impl Disguises {
    pub(super) fn new(seed: Seed) -> Disguises {
        let (adjectives, nouns) = (ROLE_ADJECTIVES.len(), ROLE_NOUNS.len());
        let mut rng = seed.child("roles").rng();
        Disguises {
            roles: diagonals(adjectives, nouns, Split::TENTHS, &mut rng),
            codes: bindings(CODES.len(), VERBS.len(), &mut seed.child("codes").rng()),
            boxes: bindings(BOXES.len(), OBJECTS.len(), &mut seed.child("boxes").rng()),
        }
    }

    /// An alias for each word, all different, as (alias, meaning): of those that may stand for every one of the words, where the split
    /// has so many, so that the words alone do not say which stands for which. Only the first `most` aliases are thought of. None
    /// where the split has not enough.
    pub(super) fn bind(
        &self,
        split: Split,
        stands: Stands,
        words: &[usize],
        most: usize,
        rng: &mut Rng,
    ) -> Option<Vec<(String, String)>> {
        let bindings = match stands {
            Stands::Code => &self.codes,
            Stands::Box => &self.boxes,
        };
        let of = |word: usize| &bindings[split as usize][word];
        let mut shared: Vec<usize> = (0..most).collect();
        shared.retain(|alias| words.iter().all(|word| of(*word).contains(alias)));
        let enough = shared.len() >= words.len();
        let mut bound = vec![];
        let mut taken: Vec<usize> = vec![];
        for &word in words {
            let free = if enough { &shared } else { of(word) };
            let free = (free.iter().copied()).filter(|a| *a < most && !taken.contains(a));
            let free: Vec<usize> = free.collect();
            if free.is_empty() {
                return None;
            }
            let alias = *rng.pick(&free);
            taken.push(alias);
            let (alias, word) = (stands.aliases()[alias], stands.words()[word]);
            bound.push((alias.to_string(), word.to_string()));
        }
        Some(bound)
    }

    pub(super) fn role(&self, split: Split, rng: &mut Rng) -> String {
        let &(adjective, noun) = rng.pick(&self.roles[split as usize]);
        format!("{} {}", ROLE_ADJECTIVES[adjective], ROLE_NOUNS[noun])
    }
}

/// Deals the aliases of each word: every split has at least one for it.
fn bindings(aliases: usize, words: usize, rng: &mut Rng) -> Bindings {
    let mut bindings: Bindings = vec![vec![]; Split::ALL.len()];
    for _ in 0..words {
        let by_split = dealt((0..aliases).collect(), Split::BINDINGS, rng);
        for (of_split, dealt) in bindings.iter_mut().zip(by_split) {
            of_split.push(dealt);
        }
    }
    bindings
}
