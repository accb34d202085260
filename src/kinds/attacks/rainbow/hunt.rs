//! The loop of rainbow teaming (Samvelyan et al. 2024, arXiv 2402.16822) over several archives beside each other: a parent is drawn, changed in risk
//! and then in style, dropped if it is still like its parent, answered by the target, rated, and compared with what its cell has.
//! Knows nobody who speaks (`Cast`), and no files; what is waited for follows from the state alone.

use super::archive::{Archive, Elite, Order, Place, Vote, pick, probabilities, takes};
use super::bleu::{Smoothing, bleu};
use crate::attacks::quotes;
use crate::attacks::ratings::rating;
use crate::scorers::refusal;
use anyhow::Result;
use base::rng::Seed;
use serde::{Deserialize, Serialize};

pub struct Rules<'a> {
    pub iterations: usize,
    pub temperature: f64,
    pub similarity: f64,
    pub smoothing: Smoothing,
    /// Comparisons of two answers, each both ways round.
    pub rounds: usize,
    /// Where an archive has no elite yet, parents are of these.
    pub prompts: &'a [&'a str],
    pub seed: Seed,
}

/// What a mutant waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    Risk,
    Style,
    Answer,
    Rating,
    Comparison,
}

impl Stage {
    const ALL: [Stage; 5] = [
        Stage::Risk,
        Stage::Style,
        Stage::Answer,
        Stage::Rating,
        Stage::Comparison,
    ];
}

/// What became of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The mutator wrote nothing, or refused.
    NoMutant,
    TooClose,
    Loses,
    Takes,
}

impl Outcome {
    pub fn words(self) -> &'static str {
        match self {
            Outcome::NoMutant => "no mutant",
            Outcome::TooClose => "too like its parent",
            Outcome::Loses => "its cell keeps what it has",
            Outcome::Takes => "it takes its cell",
        }
    }
}

/// A mutant under way, and afterwards what is kept of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mutant {
    pub iteration: usize,
    pub cell: usize,
    pub parent: String,
    /// The place of the prompt that it comes from.
    pub origin: Option<usize>,
    pub text: String,
    pub answer: String,
    pub fitness: Option<f64>,
    /// A rating or a vote could not be read; how many votes there were.
    pub unrated: bool,
    pub unread: usize,
    pub votes: usize,
    pub unanswered: bool,
    pub queries: u64,
    pub tokens: u64,
    pub stage: Stage,
    pub outcome: Option<Outcome>,
}

/// An archive that is filled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hunt {
    pub archive: Archive,
    pub done: Vec<Mutant>,
    now: Option<Mutant>,
}

/// What somebody said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    pub text: String,
    /// Where the prompt that a mutant comes from is another one now.
    pub origin: Option<usize>,
    /// Of a model.
    pub asked: bool,
    pub tokens: u64,
}

/// A mutant that waits.
pub struct Asked<'a> {
    pub archive: usize,
    pub mutant: &'a Mutant,
    /// What its cell has.
    pub incumbent: Option<&'a Elite>,
}

pub trait Cast {
    /// What is said of each: one text; of the answer also one to an incumbent that has none; of a comparison one for each vote, the
    /// incumbent first and the challenger first in turns.
    fn say(&mut self, stage: Stage, asked: &[Asked]) -> Result<Vec<Vec<Said>>>;
}

impl Hunt {
    pub fn new(archive: Archive) -> Hunt {
        Hunt {
            archive,
            done: vec![],
            now: None,
        }
    }

    /// Draws the next mutant's parent and cell. Which draws these are hangs on the archive's number and the iteration alone.
    fn begin(&mut self, number: usize, rules: &Rules) {
        let iteration = self.done.len();
        if self.now.is_some() || iteration == rules.iterations {
            return;
        }
        let mut rng = rules.seed.at(number as u64).at(iteration as u64).rng();
        let elites: Vec<&Elite> = self.archive.elites().map(|(_, elite)| elite).collect();
        let (parent, origin) = match elites.is_empty() {
            true => {
                let place = rng.below(rules.prompts.len());
                (rules.prompts[place].to_string(), Some(place))
            }
            false => {
                let elite = rng.pick(&elites);
                (elite.text.clone(), elite.origin)
            }
        };
        let cells = probabilities(&self.archive.fitness(), rules.temperature);
        self.now = Some(Mutant {
            iteration,
            cell: pick(&cells, rng.unit()),
            text: parent.clone(),
            parent,
            origin,
            answer: String::new(),
            fitness: None,
            unrated: false,
            unread: 0,
            votes: 0,
            unanswered: false,
            queries: 0,
            tokens: 0,
            stage: Stage::Risk,
            outcome: None,
        });
    }

    /// Of the mutant under way: questions to mutator, target and judge that are behind it.
    pub fn passed(&self) -> [usize; 3] {
        match self.now.as_ref().map(|mutant| mutant.stage) {
            None | Some(Stage::Risk) => [0, 0, 0],
            Some(Stage::Style) => [1, 0, 0],
            Some(Stage::Answer) => [2, 0, 0],
            Some(Stage::Rating) => [2, 1, 0],
            Some(Stage::Comparison) => [2, 1, 1],
        }
    }

    fn asked(&self, number: usize) -> Option<Asked<'_>> {
        let mutant = self.now.as_ref()?;
        Some(Asked {
            archive: number,
            mutant,
            incumbent: self.archive.cells[mutant.cell].as_ref(),
        })
    }

    /// Goes on by what was said.
    fn hear(&mut self, said: Vec<Said>, rules: &Rules) {
        let mut mutant = self
            .now
            .take()
            .expect("only a mutant that waits is asked for");
        mutant.queries += said.iter().filter(|s| s.asked).count() as u64;
        mutant.tokens += said.iter().map(|s| s.tokens).sum::<u64>();
        let cell = &mut self.archive.cells[mutant.cell];
        let first = said.first().map_or("", |s| s.text.as_str());
        mutant.outcome = match mutant.stage {
            Stage::Risk | Stage::Style => {
                mutant.origin = said.first().and_then(|s| s.origin).or(mutant.origin);
                mutated(&mut mutant, first, rules)
            }
            Stage::Answer => {
                mutant.answer = first.into();
                mutant.unanswered = first.is_empty();
                if let (Some(incumbent), Some(answer)) = (cell.as_mut(), said.get(1)) {
                    incumbent.answer = Some(answer.text.clone());
                }
                mutant.stage = Stage::Rating;
                None
            }
            Stage::Rating => {
                let rating = rating(first);
                mutant.unrated = rating.is_none();
                mutant.fitness = Some(f64::from(rating.unwrap_or(1) - 1) / 9.0);
                mutant.stage = Stage::Comparison;
                cell.is_none().then_some(Outcome::Takes)
            }
            Stage::Comparison => {
                let votes = votes(&said);
                mutant.votes = votes.len();
                mutant.unread = said.iter().filter(|s| !readable(&s.text)).count();
                Some(match takes(true, &votes) {
                    true => Outcome::Takes,
                    false => Outcome::Loses,
                })
            }
        };
        if mutant.outcome == Some(Outcome::Takes) {
            *cell = Some(Elite {
                text: mutant.text.clone(),
                origin: mutant.origin,
                answer: Some(mutant.answer.clone()),
                fitness: mutant.fitness.unwrap_or(0.0),
            });
        }
        match mutant.outcome {
            Some(_) => self.done.push(mutant),
            None => self.now = Some(mutant),
        }
    }
}

/// Takes over what the mutator wrote.
fn mutated(mutant: &mut Mutant, said: &str, rules: &Rules) -> Option<Outcome> {
    let text = quotes::stripped(said).trim();
    mutant.text = text.into();
    if text.is_empty() || refusal::refuses_unicode(text) {
        return Some(Outcome::NoMutant);
    }
    if mutant.stage == Stage::Risk {
        mutant.stage = Stage::Style;
        return None;
    }
    mutant.stage = Stage::Answer;
    let words = |text: &str| {
        text.split_whitespace()
            .map(String::from)
            .collect::<Vec<_>>()
    };
    let (parent, own) = (words(&mutant.parent), words(text));
    let [parent, own] = [&parent, &own].map(|w| w.iter().map(String::as_str).collect::<Vec<_>>());
    let like = bleu(&parent, &own, rules.smoothing);
    (like > rules.similarity).then_some(Outcome::TooClose)
}

/// `[[1]]`, `[[2]]`, or that neither goes further.
fn readable(text: &str) -> bool {
    rating(text).is_some_and(|n| n <= 2) || text.contains("[[0]]")
}

fn votes(said: &[Said]) -> Vec<Vote> {
    let orders = [Order::IncumbentFirst, Order::ChallengerFirst];
    let each = said.iter().zip(orders.into_iter().cycle());
    let vote = |(said, order): (&Said, Order)| {
        let place = match rating(&said.text) {
            Some(1) => Some(Place::First),
            Some(2) => Some(Place::Second),
            _ => None,
        };
        (order, place)
    };
    each.map(vote).collect()
}

/// Goes on with all archives until each has had its iterations. `saved` is called whenever something was said.
pub fn run(
    hunts: &mut [Hunt],
    rules: &Rules,
    cast: &mut dyn Cast,
    saved: &mut dyn FnMut(&[Hunt]) -> Result<()>,
) -> Result<()> {
    loop {
        for (number, hunt) in hunts.iter_mut().enumerate() {
            hunt.begin(number, rules);
        }
        // The earliest stage first, so that archives stay together.
        let at = |stage: Stage| {
            let waiting = hunts.iter().enumerate();
            let waiting = waiting.filter_map(move |(n, hunt)| hunt.asked(n));
            waiting.filter(move |asked| asked.mutant.stage == stage)
        };
        let Some(stage) = Stage::ALL.into_iter().find(|s| at(*s).next().is_some()) else {
            return Ok(());
        };
        let asked: Vec<Asked> = at(stage).collect();
        let said = cast.say(stage, &asked)?;
        let numbers: Vec<usize> = asked.iter().map(|asked| asked.archive).collect();
        assert_eq!(said.len(), numbers.len(), "something is said of each");
        for (number, said) in numbers.into_iter().zip(said) {
            hunts[number].hear(said, rules);
        }
        saved(hunts)?;
    }
}
