//! Chains of lookups: who is meant by `anna's aunt's boss`. Each step needs the person that the step before has found.

use super::deal::dealt;
use super::split::Split;
use super::words::{GUILDS, PERSONS, RELATIONS};
use base::rng::Rng;
use std::collections::BTreeMap;

/// The most lookups of a chain: its relations are all different, so that a reader who knows where it is knows what comes next.
pub const MOST_LOOKUPS: usize = RELATIONS.len();

/// A person, and the relations that lead on from there, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Chain {
    pub person: usize,
    pub relations: Vec<usize>,
}

impl Chain {
    /// `anna's aunt's boss`
    pub(super) fn words(&self) -> String {
        let relations = self.relations.iter().map(|&r| RELATIONS[r]);
        std::iter::once(PERSONS[self.person])
            .chain(relations)
            .collect()
    }
}

/// Chains by split, number of lookups and guild of the last person. No two splits share one that has a lookup; a person by himself is of
/// all splits.
#[derive(Clone, Debug)]
pub(super) struct Chains(BTreeMap<(Split, usize, usize), Vec<Chain>>);

impl Chains {
    pub(super) fn new(guild_of: &[usize], related: &[Vec<usize>], rng: &mut Rng) -> Chains {
        let mut by_length: BTreeMap<(usize, usize), Vec<Chain>> = BTreeMap::new();
        for person in 0..PERSONS.len() {
            for relations in paths(MOST_LOOKUPS) {
                let last = relations.iter().fold(person, |p, &r| related[r][p]);
                let of = by_length.entry((relations.len(), guild_of[last]));
                of.or_default().push(Chain { person, relations });
            }
        }
        let mut chains = BTreeMap::new();
        for ((lookups, guild), all) in by_length {
            let by_split = match lookups {
                0 => Split::ALL.map(|_| all.clone()).to_vec(),
                _ => dealt(all, Split::TENTHS, rng),
            };
            for (split, of_split) in Split::ALL.into_iter().zip(by_split) {
                chains.insert((split, lookups, guild), of_split);
            }
        }
        assert_eq!(
            chains.len(),
            Split::ALL.len() * (MOST_LOOKUPS + 1) * GUILDS.len(),
            "every split reaches every guild at every length"
        );
        Chains(chains)
    }

    pub(super) fn of(&self, split: Split, lookups: usize, guild: usize) -> &[Chain] {
        &self.0[&(split, lookups, guild)]
    }
}

/// Every sequence of different relations of at most this length, the empty one included.
fn paths(most: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    let mut longest: Vec<Vec<usize>> = vec![vec![]];
    for _ in 0..most {
        longest = longest
            .iter()
            .flat_map(|path| {
                let next = (0..RELATIONS.len()).filter(|r| !path.contains(r));
                next.map(|r| [path.as_slice(), &[r]].concat())
            })
            .collect();
        all.extend(longest.iter().cloned());
    }
    all
}
