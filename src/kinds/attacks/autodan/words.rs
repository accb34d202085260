//! Words and what may stand in their place: a table of synonyms that is given, scores of words by the losses of the texts they are in, and a
//! synonym drawn by its score (the hierarchical variant of AutoDAN, Liu et al. 2024, arXiv 2310.04451, as its own program has it). Knows no
//! model, and draws from the stream that it is given.

use anyhow::Result;
use base::rng::Rng;
use data::synonyms;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

/// By word in small letters: what may stand in its place, in the order of the table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Synonyms {
    of: BTreeMap<String, Vec<String>>,
    /// All words of the table, in small letters: those that have synonyms, and those that are some.
    all: BTreeSet<String>,
}

/// By word in small letters: the higher, the lower the losses of the texts that it is in.
pub type WordScores = BTreeMap<String, f64>;

/// Words of a paragraph that are improved at most.
const OF_PARAGRAPH: usize = 5;
/// Words of a text that a mutation replaces at most.
const OF_MUTATION: usize = 10;
/// Between paragraphs.
const BREAK: &str = "\n\n";

impl Synonyms {
    pub fn new(table: impl IntoIterator<Item = (String, Vec<String>)>) -> Synonyms {
        let small = |(word, others): (String, Vec<String>)| (word.to_lowercase(), others);
        let of: BTreeMap<String, Vec<String>> = table.into_iter().map(small).collect();
        let others = of.values().flatten().map(|word| word.to_lowercase());
        let all = of.keys().cloned().chain(others).collect();
        Synonyms { of, all }
    }

    /// Errors: as `data::synonyms`.
    pub fn read(path: &Path) -> Result<Synonyms> {
        Ok(Synonyms::new(synonyms::read(path)?))
    }

    pub fn of(&self, word: &str) -> &[String] {
        self.of.get(&word.to_lowercase()).map_or(&[], Vec::as_slice)
    }

    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// The words of a text that are in the table, in small letters.
    pub fn known(&self, text: &str) -> BTreeSet<String> {
        let all = words(text)
            .into_iter()
            .map(|word| text[word].to_lowercase());
        all.filter(|word| self.all.contains(word)).collect()
    }
}

/// Where words stand: letters, and between two of them an apostrophe or a hyphen.
pub fn words(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = vec![];
    let mut chars = text.char_indices().peekable();
    // Whether what comes next goes on with the last word.
    let mut inside = false;
    while let Some((at, c)) = chars.next() {
        let joins = matches!(c, '\'' | '’' | '-');
        let letter_follows = chars.peek().is_some_and(|(_, next)| next.is_alphabetic());
        match (c.is_alphabetic(), found.last_mut()) {
            (true, Some(word)) if inside => word.end = at + c.len_utf8(),
            (true, _) => found.push(at..at + c.len_utf8()),
            (false, _) => {}
        }
        inside = c.is_alphabetic() || inside && joins && letter_follows;
    }
    found
}

/// Takes the losses of texts in, each with its words: a word's score is the mean of the negative losses of the texts that it is in, and
/// where it has a score already, the mean of both.
pub fn learn(scores: &mut WordScores, texts: impl IntoIterator<Item = (BTreeSet<String>, f64)>) {
    let mut found: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for (words, loss) in texts {
        for word in words {
            let (sum, count) = found.entry(word).or_default();
            *sum -= loss;
            *count += 1.0;
        }
    }
    for (word, (sum, count)) in found {
        let mean = sum / count;
        let earlier = scores.get(&word).copied();
        scores.insert(word, earlier.map_or(mean, |score| (score + mean) / 2.0));
    }
}

/// The option that a number from 0 to 1 falls on, each as wide as its score is above the lowest, and written as the word is. None where all
/// scores are the same, and of a single option.
pub fn choose(word: &str, options: &[(&str, f64)], u: f64) -> Option<String> {
    let least = options.iter().map(|o| o.1).fold(f64::INFINITY, f64::min);
    let whole: f64 = options.iter().map(|(_, score)| score - least).sum();
    let mut sum = 0.0;
    let chosen = options.iter().find(|(_, score)| {
        sum += score - least;
        sum > u * whole
    });
    chosen.map(|(option, _)| written_as(word, option))
}

/// The text with up to five words of each paragraph, each with this probability, replaced by a synonym that is drawn by its score; one
/// without a score has the lowest.
pub fn improved(
    text: &str,
    synonyms: &Synonyms,
    scores: &WordScores,
    probability: f64,
    rng: &mut Rng,
) -> String {
    let lowest = scores.values().copied().fold(f64::INFINITY, f64::min);
    let score = |word: &str| *scores.get(&word.to_lowercase()).unwrap_or(&lowest);
    let paragraph = |text: &str| {
        let mut left = OF_PARAGRAPH;
        replaced(text, |word| {
            let others = synonyms.of(word);
            if left == 0 || others.is_empty() || !rng.chance(probability) {
                return None;
            }
            let options: Vec<(&str, f64)> = others.iter().map(|o| (&**o, score(o))).collect();
            let chosen = choose(word, &options, rng.unit())?;
            left -= 1;
            Some(chosen)
        })
    };
    let each: Vec<String> = text.split(BREAK).map(paragraph).collect();
    each.join(BREAK)
}

/// The text with up to ten of its words that have synonyms replaced by one of them, whichever.
pub fn mutated(text: &str, synonyms: &Synonyms, rng: &mut Rng) -> String {
    let all = words(text);
    let has = |place: &usize| !synonyms.of(&text[all[*place].clone()]).is_empty();
    let mut places: Vec<usize> = (0..all.len()).filter(has).collect();
    rng.shuffle(&mut places);
    places.truncate(OF_MUTATION);
    let mut place = 0;
    replaced(text, |word| {
        place += 1;
        let chosen = places.contains(&(place - 1));
        chosen.then(|| written_as(word, rng.pick::<String>(synonyms.of(word))))
    })
}

/// The text with other words; all between them stays.
fn replaced(text: &str, mut other: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut from = 0;
    for place in words(text) {
        if let Some(other) = other(&text[place.clone()]) {
            out += &text[from..place.start];
            out += &other;
            from = place.end;
        }
    }
    out + &text[from..]
}

/// A word with capitals where the other has them: at the beginning of each run of letters, and nowhere else.
fn written_as(other: &str, word: &str) -> String {
    match is_title(other) {
        true => title(word),
        false => word.to_string(),
    }
}

/// As Python's `istitle`.
fn is_title(word: &str) -> bool {
    let (mut any, mut inside) = (false, false);
    for c in word.chars() {
        let upper = c.is_uppercase();
        let cased = upper || c.is_lowercase();
        if cased && upper == inside {
            return false;
        }
        any |= cased;
        inside = cased;
    }
    any
}

/// As Python's `title`.
fn title(word: &str) -> String {
    let mut inside = false;
    let mut out = String::new();
    for c in word.chars() {
        match inside {
            true => out.extend(c.to_lowercase()),
            false => out.extend(c.to_uppercase()),
        }
        inside = c.is_uppercase() || c.is_lowercase();
    }
    out
}
