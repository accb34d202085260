//! How alike two texts are: the normal form that exact equality looks at, sets of n-gram shingles, Jaccard's index, containment, and
//! MinHash with banding to find what is alike among many. Knows texts, not rows.
//!
//! With A and B the sets of shingles of two texts (duplicates inside a text count once):
//!
//!     Jaccard      J(A, B) = |A ∩ B| / |A ∪ B|
//!     containment  C(B in A) = |A ∩ B| / |B|                                        (both Broder 1997)
//!
//! MinHash: under a random order of all shingles the smallest of A is that of B with probability J(A, B) (Broder 1997). A signature
//! holds the smallest under `b · r` orders, cut into b bands of r; two texts are candidates where they agree in a whole band, which
//! for a pair of Jaccard's index s happens with probability (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, ch. 3)
//!
//!     P(s) = 1 - (1 - s^r)^b
//!
//! the S-curve. Candidates are then compared exactly, so that what is found is never wrong; what is missed at s is 1 - P(s).

use crate::shared::bounds;
use base::setup::Acts;
use base::{choice, params};
use rayon::prelude::*;
use std::collections::BTreeMap;

choice! {
    /// What an n-gram is made of.
    pub enum Grams { Characters = "characters", Words = "words" }
}

const COMPARED: Acts = Acts::only("where `by` is not `exact`", |s| !s.says("by", "exact"));

params! {
    pub struct Shingling {
        /// n-grams of the normal form's `characters`, white space included, or of its `words` (runs of letters and digits).
        /// Characters see a changed word less, and languages without blanks at all.
        grams: Grams = Grams::Characters, if COMPARED;
        /// Characters or words of an n-gram. A text that is shorter is one n-gram.
        ngram: usize = 5, in bounds::NGRAM, if COMPARED;
    }
}

/// What two texts have in common that say the same: lower case, single blanks, no full stop at the end.
pub fn normal(text: &str) -> String {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split_whitespace().collect();
    words.join(" ").trim_end_matches('.').to_string()
}

/// The shingles of a text, each as a hash of 64 bits: ascending, each once, at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Shingles(Vec<u64>);

impl Shingles {
    /// Of a text in its normal form.
    pub fn of(normal: &str, how: &Shingling) -> Shingles {
        let mut all = match how.grams {
            Grams::Characters => {
                let mut ends: Vec<usize> = normal.char_indices().map(|(i, _)| i).collect();
                ends.push(normal.len());
                windows(&ends, how.ngram)
                    .map(|w| hash(&normal.as_bytes()[w.0..w.1]))
                    .collect()
            }
            Grams::Words => {
                let words = normal.split(|c: char| !c.is_alphanumeric());
                let words: Vec<u64> = words
                    .filter(|w| !w.is_empty())
                    .map(|w| hash(w.as_bytes()))
                    .collect();
                let size = how.ngram.min(words.len()).max(1);
                let gram = |gram: &[u64]| gram.iter().fold(1, |sum, word| mixed(sum ^ word));
                let mut grams: Vec<u64> = words.windows(size).map(gram).collect();
                if grams.is_empty() {
                    // Nothing but punctuation: equal texts are alike all the same.
                    grams.push(hash(normal.as_bytes()));
                }
                grams
            }
        };
        all.sort_unstable();
        all.dedup();
        Shingles(all)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// |A ∩ B|.
    pub fn shared(&self, other: &Shingles) -> usize {
        let (mut i, mut j, mut shared) = (0, 0, 0);
        while let (Some(a), Some(b)) = (self.0.get(i), other.0.get(j)) {
            shared += usize::from(a == b);
            i += usize::from(a <= b);
            j += usize::from(b <= a);
        }
        shared
    }

    pub fn jaccard(&self, other: &Shingles) -> f64 {
        let shared = self.shared(other);
        shared as f64 / (self.len() + other.len() - shared) as f64
    }
}

/// Beginning and end of every run of `size` characters; of fewer, the whole.
fn windows(ends: &[usize], size: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
    let size = size.min(ends.len() - 1);
    ends.iter().copied().zip(ends[size..].iter().copied())
}

/// 64 bits of some bytes, eight at a time.
fn hash(bytes: &[u8]) -> u64 {
    let mut sum = bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        sum = mixed(sum ^ u64::from_le_bytes(word));
    }
    sum
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014), offset so that 0 does not stay 0.
fn mixed(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How a signature is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bands {
    pub bands: usize,
    pub rows: usize,
}

impl Bands {
    /// The fewest candidates, that is the most rows a band, at which a pair of Jaccard's index `threshold` is still found with this
    /// probability; nothing where so few permutations cannot.
    pub fn fitting(permutations: usize, threshold: f64, recall: f64) -> Option<Bands> {
        let cut = |rows| Bands {
            bands: permutations / rows,
            rows,
        };
        let mut fitting = (1..=permutations)
            .map(cut)
            .filter(|b| b.found(threshold) >= recall);
        fitting.next_back()
    }

    /// The S-curve: how probably a pair of this Jaccard's index is found.
    pub fn found(&self, jaccard: f64) -> f64 {
        1.0 - (1.0 - jaccard.powi(self.rows as i32)).powi(self.bands as i32)
    }
}

/// Hashes of the bands of each text, `bands` for a text, in the order of the texts.
pub fn signatures(texts: &[String], how: &Shingling, bands: Bands, seed: u64) -> Vec<Vec<u64>> {
    // h(x) = the high half of a x + b mod 2^64 with odd a, over x that is a hash already.
    let orders: Vec<(u64, u64)> = (0..(bands.bands * bands.rows) as u64)
        .map(|i| {
            let a = mixed(seed ^ mixed(2 * i));
            (a | 1, mixed(a))
        })
        .collect();
    let of = |text: &String| {
        let shingles = Shingles::of(text, how);
        let least: Vec<u32> = orders
            .iter()
            .map(|(a, b)| {
                let order = |x: &u64| (a.wrapping_mul(*x).wrapping_add(*b) >> 32) as u32;
                shingles.0.iter().map(order).min().unwrap_or(u32::MAX)
            })
            .collect();
        let band = |(i, band): (usize, &[u32])| {
            let start = mixed(i as u64);
            band.iter().fold(start, |sum, x| mixed(sum ^ u64::from(*x)))
        };
        least.chunks(bands.rows).enumerate().map(band).collect()
    };
    texts.par_iter().map(of).collect()
}

/// A text that an earlier one is like.
#[derive(Clone, Debug, PartialEq)]
pub struct Alike {
    /// Place of the earlier one.
    pub of: usize,
    /// Jaccard's index of the two.
    pub similarity: f64,
}

/// For every text the most similar of the kept ones before it, if it reaches the threshold; a text is kept where there is none. Of
/// equally similar ones the first counts.
///
/// Memory: 8 bytes a band and text (signature), some 60 a band and kept text (buckets), and the shingles of what ever was a candidate.
pub fn near(
    texts: &[String],
    how: &Shingling,
    bands: Bands,
    threshold: f64,
    seed: u64,
) -> Vec<Option<Alike>> {
    let mut kept: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    let mut shingles: BTreeMap<usize, Shingles> = BTreeMap::new();
    let mut found = vec![];
    for (i, signature) in signatures(texts, how, bands, seed).iter().enumerate() {
        let buckets = signature.iter().filter_map(|band| kept.get(band));
        let mut candidates: Vec<usize> = buckets.flatten().copied().collect();
        candidates.sort_unstable();
        candidates.dedup();
        let mut best: Option<Alike> = None;
        if !candidates.is_empty() {
            let own = Shingles::of(&texts[i], how);
            for of in candidates {
                let other = shingles
                    .entry(of)
                    .or_insert_with(|| Shingles::of(&texts[of], how));
                let similarity = own.jaccard(other);
                let better = best.as_ref().is_none_or(|b| similarity > b.similarity);
                if similarity >= threshold && better {
                    best = Some(Alike { of, similarity });
                }
            }
        }
        if best.is_none() {
            for band in signature {
                kept.entry(*band).or_default().push(i);
            }
        }
        found.push(best);
    }
    found
}

/// How much of one text is in another.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// Place of the held one.
    pub held: usize,
    pub jaccard: f64,
    /// Share of its shingles that the other has.
    pub containment: f64,
}

/// Finds which of some texts are in others, exactly: no sampling, nothing missed.
///
/// Whoever has at least c · |B| of the shingles of B has at least k of any |B| - ⌈c · |B|⌉ + k of them (prefix filtering: Chaudhuri,
/// Ganti, Kaushik 2006; Bayardo, Ma, Srikant 2007; with several: Wang, Li, Feng 2012). The rarest are indexed. J(A, B) ≥ c asks for
/// no less.
pub struct Inventory {
    how: Shingling,
    least: f64,
    all: Vec<Shingles>,
    /// How many of its indexed shingles have to be found of each.
    hits: Vec<usize>,
    index: BTreeMap<u64, Vec<usize>>,
    /// A bit for the upper bits of whatever is in the index: most shingles of a text are in no eval, and end here.
    known: Vec<u64>,
}

/// Hits that make a candidate: chance gives one or two, hardly ever four.
const HITS: usize = 4;

/// Upper bits of a shingle that `known` has a bit for: 2^24 bits are 2 MiB.
const KNOWN_BITS: u32 = 24;

/// Word and bit of a shingle in `known`.
fn bit(shingle: u64) -> (usize, u64) {
    let place = (shingle >> (64 - KNOWN_BITS)) as usize;
    (place / 64, 1 << (place % 64))
}

impl Inventory {
    /// Of texts in their normal form, to be found where a share of `least` of their shingles is held.
    pub fn new(texts: &[String], how: &Shingling, least: f64) -> Inventory {
        let all: Vec<Shingles> = texts.par_iter().map(|t| Shingles::of(t, how)).collect();
        let mut frequency: BTreeMap<u64, usize> = BTreeMap::new();
        for x in all.iter().flat_map(|s| &s.0) {
            *frequency.entry(*x).or_default() += 1;
        }
        let mut index: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        let mut hits = vec![];
        for (i, shingles) in all.iter().enumerate() {
            let mut rarest = shingles.0.clone();
            rarest.sort_by_key(|x| (frequency[x], *x));
            // The small term keeps 0.8 · 5 from being more than 4.
            let needed = (least * shingles.len() as f64 - 1e-9).ceil().max(1.0) as usize;
            let wanted = needed.min(HITS);
            for x in &rarest[..shingles.len() - needed + wanted] {
                index.entry(*x).or_default().push(i);
            }
            hits.push(wanted);
        }
        let mut known = vec![0; 1 << (KNOWN_BITS - 6)];
        for (word, bit) in index.keys().map(|x| bit(*x)) {
            known[word] |= bit;
        }
        Inventory {
            how: how.clone(),
            least,
            all,
            hits,
            index,
            known,
        }
    }

    /// Those that a text may hold, with how much of them it holds, in their order.
    pub fn of(&self, normal: &str) -> Vec<Held> {
        let own = Shingles::of(normal, &self.how);
        let known = |x: &&u64| {
            let (word, bit) = bit(**x);
            self.known[word] & bit != 0
        };
        let lists = own.0.iter().filter(known);
        let lists = lists.filter_map(|x| self.index.get(x));
        let mut found: Vec<usize> = lists.flatten().copied().collect();
        found.sort_unstable();
        // Who is too short, or has too few of the rarest, cannot hold enough.
        let long =
            |held: usize| own.len() as f64 >= self.least * self.all[held].len() as f64 - 1e-9;
        let candidates = found.chunk_by(|a, b| a == b).filter_map(|run| {
            let held = run[0];
            (run.len() >= self.hits[held] && long(held)).then_some(held)
        });
        let measured = candidates.map(|held| {
            let shared = own.shared(&self.all[held]) as f64;
            let (mine, its) = (own.len() as f64, self.all[held].len() as f64);
            Held {
                held,
                jaccard: shared / (mine + its - shared),
                containment: shared / its,
            }
        });
        measured.collect()
    }
}
