//! How texts descend from texts: the best go on as they are, parents are drawn by their losses, and two of them exchange sentences (AutoDAN:
//! Liu et al. 2024, arXiv 2310.04451; the rules are those of HarmBench's baseline). Texts and numbers in, texts and numbers out: knows
//! no model, and draws from the stream that it is given.

use base::rng::Rng;

/// The sentences of a text: each ends with `.`, `!` or `?` before white space, which belongs to none.
pub fn sentences(text: &str) -> Vec<&str> {
    let mut parts = vec![];
    let (mut from, mut ended, mut between) = (0, false, false);
    for (at, c) in text.char_indices() {
        let space = is_space(c);
        if ended && space {
            parts.push(&text[from..at]);
            between = true;
        }
        between &= space;
        if between {
            from = at + c.len_utf8();
        }
        ended = matches!(c, '.' | '!' | '?');
    }
    parts.push(&text[from..]);
    parts.retain(|part| !part.is_empty());
    parts
}

/// As regular expressions of Python have it.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// How two texts are crossed over.
#[derive(Clone, Debug, PartialEq)]
pub struct Crossing {
    /// Ascending: before which sentence of either text a segment ends.
    pub cuts: Vec<usize>,
    /// For each segment, the last one too: whether it stays in its text, or both texts exchange it.
    pub straight: Vec<bool>,
}

impl Crossing {
    /// How many cuts two texts of so many sentences get where `points` are asked for. None where both stay as they are: as soon as one
    /// has fewer than `points` + 2 sentences, unless that one is a single sentence, which is kept or exchanged as a whole.
    pub fn cuts(first: usize, second: usize, points: usize) -> Option<usize> {
        let most = first.min(second).checked_sub(1)?;
        let cuts = points.min(most);
        (cuts <= most.saturating_sub(1)).then_some(cuts)
    }

    /// Cuts at different places, all as likely, and a coin for each segment.
    pub fn draw(first: usize, second: usize, points: usize, rng: &mut Rng) -> Option<Crossing> {
        let count = Crossing::cuts(first, second, points)?;
        let mut cuts: Vec<usize> = (1..first.min(second).saturating_sub(1)).collect();
        rng.shuffle(&mut cuts);
        cuts.truncate(count);
        cuts.sort_unstable();
        let straight = (0..=count).map(|_| rng.chance(0.5)).collect();
        Some(Crossing { cuts, straight })
    }

    /// Both children. Behind the last cut a text's own sentences follow, however many there are.
    pub fn children(&self, first: &[&str], second: &[&str]) -> [String; 2] {
        let (mut one, mut other): (Vec<&str>, Vec<&str>) = (vec![], vec![]);
        let mut from = 0;
        for (i, straight) in self.straight.iter().enumerate() {
            let end = self.cuts.get(i);
            let of_first = &first[from..*end.unwrap_or(&first.len())];
            let of_second = &second[from..*end.unwrap_or(&second.len())];
            let (to_one, to_other) = match straight {
                true => (of_first, of_second),
                false => (of_second, of_first),
            };
            one.extend(to_one);
            other.extend(to_other);
            from += of_first.len();
        }
        [one.join(" "), other.join(" ")]
    }
}

/// How likely each of a population is to be a parent: the softmax of its negative loss, over all, the best included.
pub fn chances(losses: &[f64]) -> Vec<f64> {
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let weights: Vec<f64> = losses.iter().map(|loss| (least - loss).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

/// Into whose share a number from 0 to 1 falls: the first at which the sum of the chances is above it. There is one at least.
pub fn roulette(chances: &[f64], u: f64) -> usize {
    let whole: f64 = chances.iter().sum();
    let mut sum = 0.0;
    let found = chances.iter().position(|chance| {
        sum += chance;
        sum / whole > u
    });
    found.expect("the last sum is the whole, which is above any number that is drawn")
}

/// The places of the best, the best first: so large a share of all, rounded down. Of equal ones the first.
pub fn elites(losses: &[f64], share: f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..losses.len()).collect();
    order.sort_by(|a, b| losses[*a].total_cmp(&losses[*b]));
    order.truncate((losses.len() as f64 * share) as usize);
    order
}
