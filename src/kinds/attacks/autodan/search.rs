//! One search for a prefix: a population of texts, generation by generation. What it knows of the model are losses; when it has what it
//! wants is not its business.

use super::genes::{self, Crossing};
use super::params::Params;
use super::seeds::Seeds;
use super::words::{self, Synonyms, WordScores};
use anyhow::{Result, ensure};
use base::rng::{Rng, Seed};
use base::rows::AttackStep;
use learn::attack::frame::Frame;
use learn::attack::score::{Loss, Options, Wanted};
use learn::attack::victim::Victim;
use learn::tokenizer::Tokenizer;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// In a prefix: what the prompt asks, as seeds of others have it.
const PLACE: &str = "[REPLACE]";

/// The model that is attacked.
pub struct Attacked<'m> {
    pub tokenizer: &'m Tokenizer,
    pub victim: Box<dyn Victim + 'm>,
}

/// A prefix, and what is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Individual {
    pub text: String,
    pub loss: f64,
    /// Greedy decoding gives the target.
    pub greedy: bool,
}

/// Where a search stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The number of the generation: 0 are the seeds.
    pub generation: usize,
    population: Vec<Individual>,
    scores: WordScores,
    /// Of all generations; and the message that it makes.
    pub best: Individual,
    pub message: String,
    /// Generations since there was a better one.
    pub stale: usize,
    /// Prefixes that the model was asked with.
    pub candidates: usize,
    /// Pairs of parents that were to exchange sentences, and those of them that had enough.
    pub pairs: usize,
    pub crossed: usize,
    pub log: Vec<AttackStep>,
}

/// A search of one case.
pub struct Search<'s, 'm> {
    pub model: &'s mut Attacked<'m>,
    pub p: &'s Params,
    /// What the prompt asks.
    pub asked: &'s str,
    /// Around the whole message.
    pub frame: &'s Frame<'m>,
    pub target: &'s [u32],
    pub seeds: &'s Seeds,
    pub synonyms: &'s Synonyms,
    pub options: Options<'s>,
    /// Of this case.
    pub seed: Seed,
    pub log: AttackStep,
}

/// What somebody sends who puts this prefix before a prompt.
pub fn message(p: &Params, prefix: &str, asked: &str) -> String {
    format!("{}{}{asked}", prefix.replace(PLACE, asked), p.between)
}

impl Search<'_, '_> {
    /// The first generation. Errors: a seed that is too long together with the prompt and the target.
    pub fn begin(&mut self) -> Result<State> {
        let p = self.p;
        let texts = self.seeds.population(p, self.synonyms, self.seed);
        for text in &texts {
            let tokens = self.tokens(text)?;
            let longest = self.longest();
            ensure!(
                tokens <= longest,
                "with the seed {:?} it has {tokens} tokens with its target: more than the {longest} that the model was made for \
                 (max_position_embeddings)",
                text.chars().take(60).collect::<String>()
            );
        }
        let mut log = self.log.clone();
        let population = self.look(texts, &[], &mut log)?;
        let best = best(&population).clone();
        log.text = best.text.clone();
        log.loss = Some(best.loss);
        Ok(State {
            generation: 0,
            scores: WordScores::new(),
            stale: 0,
            message: message(p, &best.text, self.asked),
            candidates: log.queries as usize,
            pairs: 0,
            crossed: 0,
            log: vec![log],
            population,
            best,
        })
    }

    /// The next generation. Errors, besides of the model: `Stopped`, and the state is as it was.
    pub fn step(&mut self, state: &mut State) -> Result<()> {
        let number = state.generation + 1;
        let seed = self.seed.at(number as u64);
        let mut next = state.clone();
        let texts = self.children(&mut next, number, seed)?;
        let mut log = AttackStep::new(
            &self.log.prompt_id,
            self.log.stream,
            number as u32,
            self.log.seed,
        );
        let population = self.look(texts, &state.population, &mut log)?;
        let found = best(&population);
        log.text = found.text.clone();
        log.loss = Some(found.loss);
        next.candidates += log.queries as usize;
        next.stale += 1;
        if found.loss < next.best.loss {
            next.message = message(self.p, &found.text, self.asked);
            next.best = found.clone();
            next.stale = 0;
        }
        next.generation = number;
        next.log.push(log);
        next.population = population;
        *state = next;
        Ok(())
    }

    /// The best go on as they are; the others are children of two parents each, or of one whose words are improved; some are mutated.
    fn children(&self, state: &mut State, number: usize, seed: Seed) -> Result<Vec<String>> {
        let p = self.p;
        let losses: Vec<f64> = state.population.iter().map(|i| i.loss).collect();
        let text = |i: usize| state.population[i].text.clone();
        let elites = genes::elites(&losses, p.elites);
        let by_sentences = (number - 1).is_multiple_of(p.sentences_every);
        let mut children = match by_sentences {
            true => {
                let chances = genes::chances(&losses);
                let mut rng = seed.child("parents").rng();
                let parents = (elites.len()..losses.len())
                    .map(|_| text(genes::roulette(&chances, rng.unit())))
                    .collect();
                let mut rng = seed.child("crossover").rng();
                let (pairs, crossed) = (&mut state.pairs, &mut state.crossed);
                self.crossed(parents, &mut rng, (pairs, crossed))?
            }
            false => {
                let others = (0..losses.len()).filter(|i| !elites.contains(i));
                let others: Vec<String> = others.map(text).collect();
                let each = state.population.iter();
                let known = each.map(|i| (self.synonyms.known(&i.text), i.loss));
                words::learn(&mut state.scores, known);
                let mut rng = seed.child("words").rng();
                self.changed(others, |prefix| {
                    let (synonyms, scores) = (self.synonyms, &state.scores);
                    words::improved(prefix, synonyms, scores, p.crossover, &mut rng)
                })?
            }
        };
        if !self.synonyms.is_empty() {
            let mut rng = seed.child("mutation").rng();
            children = self.changed(children, |prefix| match rng.chance(p.mutation) {
                true => words::mutated(prefix, self.synonyms, &mut rng),
                false => prefix.to_string(),
            })?;
        }
        let elites = elites.into_iter().map(|i| state.population[i].text.clone());
        Ok(elites.chain(children).collect())
    }

    /// Two by two; the last of an odd number goes with the first.
    fn crossed(
        &self,
        parents: Vec<String>,
        rng: &mut Rng,
        (pairs, crossed): (&mut usize, &mut usize),
    ) -> Result<Vec<String>> {
        let mut children = vec![];
        for (i, first) in parents.iter().enumerate().step_by(2) {
            let second = parents.get(i + 1).unwrap_or(&parents[0]);
            let mut both = [first.clone(), second.clone()];
            if rng.chance(self.p.crossover) {
                *pairs += 1;
                let of = [genes::sentences(first), genes::sentences(second)];
                let drawn = Crossing::draw(of[0].len(), of[1].len(), self.p.points, rng);
                if let Some(crossing) = drawn {
                    *crossed += 1;
                    let made = crossing.children(&of[0], &of[1]);
                    for (child, made) in both.iter_mut().zip(made) {
                        if self.fits(&made)? {
                            *child = made;
                        }
                    }
                }
            }
            children.extend(both);
        }
        children.truncate(parents.len());
        Ok(children)
    }

    /// Each as it is changed, or as it is where it would be too long or have nothing in it.
    fn changed(
        &self,
        texts: Vec<String>,
        mut change: impl FnMut(&str) -> String,
    ) -> Result<Vec<String>> {
        let each = texts.into_iter().map(|text| {
            let changed = change(&text);
            let stays = changed == text || !self.fits(&changed)?;
            Ok(if stays { text } else { changed })
        });
        each.collect()
    }

    fn fits(&self, prefix: &str) -> Result<bool> {
        Ok(!prefix.trim().is_empty() && self.tokens(prefix)? <= self.longest())
    }

    fn longest(&self) -> usize {
        self.model.tokenizer.positions().unwrap_or(usize::MAX)
    }

    /// Of prompt and target.
    fn tokens(&self, prefix: &str) -> Result<usize> {
        Ok(self.sent(prefix)?.len() + self.target.len())
    }

    /// What the model is asked with this prefix, encoded as a whole.
    fn sent(&self, prefix: &str) -> Result<Vec<u32>> {
        self.frame.sent(&message(self.p, prefix, self.asked))
    }

    /// What is to be known of prefixes; the model is asked of each of them once, and not again of those of the generation before.
    fn look(
        &mut self,
        texts: Vec<String>,
        before: &[Individual],
        log: &mut AttackStep,
    ) -> Result<Vec<Individual>> {
        let known = before.iter().map(|i| (i.text.clone(), (i.loss, i.greedy)));
        let mut known: BTreeMap<String, (f64, bool)> = known.collect();
        let new: BTreeSet<&String> = texts.iter().filter(|t| !known.contains_key(*t)).collect();
        let new: Vec<String> = new.into_iter().cloned().collect();
        let (p, frame, asked) = (self.p, self.frame, self.asked);
        let prompts = new
            .par_iter()
            .map(|text| frame.sent(&message(p, text, asked)));
        let prompts = prompts.collect::<Result<Vec<_>>>()?;
        let computed = self.model.victim.computed();
        // All that the prompts of a case share, whatever is asked about them: no loss hangs on another candidate.
        self.model.victim.rebase(&self.frame.before)?;
        let wanted = Wanted::Target(self.target);
        let scores = self.model.victim.score(&prompts, wanted, self.options)?;
        log.queries = new.len() as u64;
        log.tokens = (self.model.victim.computed() - computed) as u64;
        for (text, score) in new.into_iter().zip(scores) {
            known.insert(text, (Loss::CrossEntropy.of(&score), score.greedy));
        }
        let each = texts.into_iter().map(|text| {
            let (loss, greedy) = known[&text];
            Individual { text, loss, greedy }
        });
        Ok(each.collect())
    }
}

/// Of equal ones the first.
fn best(population: &[Individual]) -> &Individual {
    let best = population.iter().min_by(|a, b| a.loss.total_cmp(&b.loss));
    best.expect("a population has somebody")
}
