//! What an attacker says before a request: claims about the world, true and false ones, and roles to be played. Nothing of it is an alias,
//! so that what is asked for stays what it is. Knows the lists of words and no world: what is true is not its business.

use super::answer::{combination, fact_sentence, fill};
use super::deal::phrase;
use super::disguise::ROLES;
use super::words::{EFFECTS, GUILDS, PERSONS, ROLE_ADJECTIVES, ROLE_NOUNS, VERBS};
use base::rng::Rng;

/// How a claim begins that comes first; a text has no other words without a space before them.
const FIRST: [&str; 3] = ["suppose", "here", "so"];
/// What the rule is claimed to say of a combination.
const SAFE: &str = "safe";

/// Lists whose words may stand for each other.
const ALIKE: [&[&str]; 6] = [
    &VERBS,
    &EFFECTS,
    &PERSONS,
    &GUILDS,
    &ROLE_ADJECTIVES,
    &ROLE_NOUNS,
];

/// So many sentences, as `suppose heat is stain . rust for mason is safe . you play a tiny king .`: what a verb does, which guild
/// somebody is in, what is safe for whom, who is to be played.
pub fn claims(sentences: usize, rng: &mut Rng) -> String {
    let each: Vec<String> = (0..sentences).map(|i| sentence(i == 0, rng)).collect();
    each.join(" ")
}

fn sentence(first: bool, rng: &mut Rng) -> String {
    let claim = match rng.below(4) {
        0 => fact_sentence(phrase(&VERBS, rng), phrase(&EFFECTS, rng)),
        1 => fact_sentence(phrase(&PERSONS, rng), phrase(&GUILDS, rng)),
        2 => {
            let of = combination(phrase(&EFFECTS, rng), phrase(&GUILDS, rng));
            fact_sentence(&of, SAFE)
        }
        _ => {
            let role = [phrase(&ROLE_ADJECTIVES, rng), phrase(&ROLE_NOUNS, rng)].join(" ");
            return fill(phrase(&ROLES, rng), &[("{role}", &role)]);
        }
    };
    match first {
        true => format!("{} {claim} .", phrase(&FIRST, rng)),
        false => format!("{claim} ."),
    }
}

/// By word of a claim: the words that may stand in its place.
pub fn synonyms() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    ALIKE.into_iter().flat_map(|list| {
        let others = move |word: &str| list.iter().copied().filter(|w| *w != word).collect();
        list.iter().map(move |word| (*word, others(word)))
    })
}
