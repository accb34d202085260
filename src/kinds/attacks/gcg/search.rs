//! One search for a suffix: where it stands, and how it takes a step. What it knows of the model are losses and gradients; when it
//! has what it wants is not its business.

use super::params::{Keep, Method, Objective, Params, Positions};
use super::suffix::{self, keeps};
use anyhow::{Result, ensure};
use base::rng::Seed;
use base::rows::AttackStep;
use learn::attack::allowed::Allowed;
use learn::attack::frame::Frame;
use learn::attack::score::{Loss, Options, Score, Wanted};
use learn::attack::search::{self as rules, Buffer};
use learn::attack::victim::Victim;
use learn::tokenizer::Tokenizer;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The model that is attacked.
pub struct Attacked<'m> {
    pub tokenizer: &'m Tokenizer,
    pub allowed: Allowed,
    pub victim: Box<dyn Victim + 'm>,
    /// Tokens of gradients, each counted once for either direction.
    pub back: usize,
}

/// A suffix, and what is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    pub ids: Vec<u32>,
    pub text: String,
    pub loss: f64,
    /// Greedy decoding gives the target.
    pub greedy: bool,
    /// The filter keeps it.
    pub kept: bool,
    /// It comes back whole where the prompt that is sent is encoded.
    pub survives: bool,
    /// The step that found it: 0 is what the search began with.
    pub step: u32,
}

/// Where a search stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Steps made.
    pub step: usize,
    /// What the next one goes on from, the best first.
    entries: Vec<Found>,
    last: Found,
    /// Of what the filter keeps.
    best: Option<Found>,
    /// Steps since there was a better one.
    pub stale: usize,
    /// Candidates that were made, and how many of them survive.
    pub candidates: usize,
    pub survived: usize,
    pub log: Vec<AttackStep>,
}

impl State {
    /// What the search would deliver now.
    pub fn delivered(&self, p: &Params) -> &Found {
        match (p.search, p.keep) {
            (Method::Gradient, Keep::Last) => &self.last,
            _ => self.best.as_ref().unwrap_or(&self.last),
        }
    }
}

/// A search of one case.
pub struct Search<'s, 'm> {
    pub model: &'s mut Attacked<'m>,
    pub p: &'s Params,
    pub frame: &'s Frame<'m>,
    pub target: &'s [u32],
    /// The target's first token, with and without a space before it.
    pub first: &'s [u32],
    pub options: Options<'s>,
    /// Of this case.
    pub seed: Seed,
    pub log: AttackStep,
}

impl Search<'_, '_> {
    pub fn begin(&mut self) -> Result<State> {
        let p = self.p;
        let (tokenizer, allowed) = (self.model.tokenizer, &self.model.allowed);
        let one = suffix::first(p, tokenizer, self.frame, allowed, self.seed)?;
        let mut begun = vec![one];
        for i in 1..self.size().max(1) {
            let seed = self.seed.child("buffer").at(i as u64);
            begun.push(suffix::drawn(p, self.frame, allowed, seed)?);
        }
        // Not what another case left: the last bits of a loss hang on the base.
        self.model.victim.rebase(&self.frame.before)?;
        let tokens = self.model.victim.computed();
        let found = self.look(&begun, 0)?;
        let entries = found.iter().map(|f| (f.loss, f.clone())).collect();
        let buffer = Buffer::new(self.size(), entries);
        let kept = found.iter().filter(|f| f.kept);
        let best = kept.min_by(|a, b| a.loss.total_cmp(&b.loss)).cloned();
        let first = best.as_ref().unwrap_or(buffer.best());
        let note = (!first.survives).then(|| "it is encoded otherwise in the prompt".into());
        let log = AttackStep {
            text: first.text.clone(),
            loss: Some(first.loss),
            queries: found.len() as u64,
            tokens: (self.model.victim.computed() - tokens) as u64,
            survives: Some(first.survives),
            note,
            ..self.log.clone()
        };
        Ok(State {
            step: 0,
            last: buffer.best().clone(),
            entries: entries_of(&buffer),
            best,
            stale: 0,
            candidates: 0,
            survived: 0,
            log: vec![log],
        })
    }

    /// Suffixes that a search may go on from.
    fn size(&self) -> usize {
        match (self.p.search, self.p.keep) {
            (Method::Gradient, Keep::Last | Keep::Best) => 0,
            (Method::Gradient, Keep::Buffer) => self.p.buffer,
            (Method::Random | Method::None, _) => 1,
        }
    }

    /// One step. Errors, besides of the model: `Stopped`, and the state is as it was.
    pub fn step(&mut self, state: &mut State) -> Result<()> {
        let number = state.step + 1;
        let seed = self.seed.at(number as u64);
        let from = state.entries[0].clone();
        let (computed, back) = (self.model.victim.computed(), self.model.back);
        let tried = match self.p.search {
            Method::Gradient => self.by_gradient(&from, number, seed)?,
            Method::Random => self.at_random(&from, number, seed)?,
            Method::None => unreachable!("a control has no steps"),
        };
        state.step = number;
        state.candidates += tried.made;
        state.survived += tried.survived;
        let mut log = AttackStep {
            queries: tried.queries as u64,
            tokens: (self.model.victim.computed() - computed + self.model.back - back) as u64,
            ..AttackStep::new(
                &self.log.prompt_id,
                self.log.stream,
                number as u32,
                self.log.seed,
            )
        };
        state.stale += 1;
        match tried.chosen {
            Some(found) => {
                log.text = found.text.clone();
                log.loss = Some(found.loss);
                log.survives = Some(found.survives);
                let better = |best: &Found| found.loss < best.loss;
                if found.kept && state.best.as_ref().is_none_or(better) {
                    state.best = Some(found.clone());
                    state.stale = 0;
                }
                let entries = std::mem::take(&mut state.entries);
                let entries = entries.into_iter().map(|f| (f.loss, f)).collect();
                let mut buffer = Buffer::new(self.size(), entries);
                buffer.offer(found.loss, found.clone());
                state.entries = entries_of(&buffer);
                state.last = found;
            }
            None => {
                log.text = from.text;
                log.loss = Some(from.loss);
                log.survives = Some(from.survives);
                log.note = Some("no candidate survives: the suffix stays".into());
            }
        }
        state.log.push(log);
        Ok(())
    }

    fn by_gradient(&mut self, from: &Found, step: usize, seed: Seed) -> Result<Tried> {
        let (p, model) = (self.p, &mut *self.model);
        let (target, loss) = aim(p, self.target);
        let after = &self.frame.after;
        let around = [&self.frame.before[..], &from.ids, after];
        let slope = model.victim.slope(around, target, loss)?;
        ensure!(
            slope.loss.is_finite() && slope.gradient.iter().all(|g| g.is_finite()),
            "the gradient at the suffix is no number: the model overflows or its weights are broken"
        );
        model.back += 2 * (from.ids.len() + after.len() + target.len());
        let vocabulary = model.victim.config().vocab_size;
        let top = rules::most_negative(&slope.gradient, vocabulary, p.topk, &model.allowed);
        let positions = match (p.positions, p.replace) {
            (Positions::Even, 1) => rules::even(from.ids.len(), p.width),
            (_, replace) => {
                let mut rng = seed.child("positions").rng();
                rules::drawn(from.ids.len(), p.width, replace, &mut rng)
            }
        };
        let mut rng = seed.child("picks").rng();
        let picks: Vec<Vec<usize>> = positions
            .iter()
            .map(|places| places.iter().map(|&at| rng.below(top[at].len())).collect())
            .collect();
        let candidates = rules::replaced(&from.ids, &top, &positions, &picks);
        let survival = candidates.par_iter().map(|c| self.frame.survival(c));
        let survival = survival.collect::<Result<Vec<_>>>()?;
        let survived = survival.iter().filter(|s| s.whole).count();
        let kept = candidates.into_iter().zip(survival);
        let kept: Vec<_> = kept.filter(|(_, s)| keeps(p.filter, *s)).collect();
        let prompts: Vec<Vec<u32>> = kept.iter().map(|(c, _)| self.frame.whole(c)).collect();
        model.victim.rebase(&self.frame.whole(&from.ids))?;
        let scores = self.scores(&prompts)?;
        let losses: Vec<f64> = scores.iter().map(|s| self.loss(s)).collect();
        let least = rules::least(&losses, &vec![true; losses.len()]);
        let chosen = least.map(|i| -> Result<Found> {
            let (ids, survival) = &kept[i];
            Ok(Found {
                text: self.model.tokenizer.decode(ids, false)?,
                ids: ids.clone(),
                loss: losses[i],
                greedy: scores[i].greedy,
                kept: true,
                survives: survival.whole,
                step: step as u32,
            })
        });
        Ok(Tried {
            chosen: chosen.transpose()?,
            made: p.width,
            survived,
            queries: prompts.len() + 1,
        })
    }

    /// Proposals over the best suffix, each sent as the text that it is; taken where it is better.
    fn at_random(&mut self, from: &Found, step: usize, seed: Seed) -> Result<Tried> {
        let p = self.p;
        let mut rng = seed.child("proposals").rng();
        let length = from.ids.len();
        let change = rules::change(p.replace, (-from.loss).exp()).min(length);
        let mut proposals = vec![];
        for _ in 0..p.width {
            let at = rng.below(length - change + 1);
            let allowed = &self.model.allowed.ids;
            let new: Vec<u32> = (0..change).map(|_| *rng.pick(allowed)).collect();
            proposals.push(rules::laid_over(&from.ids, at, &new));
        }
        self.model.victim.rebase(&self.frame.sent(&from.text)?)?;
        let found = self.look(&proposals, step)?;
        let survived = found.iter().filter(|f| f.survives).count();
        let losses: Vec<f64> = found.iter().map(|f| f.loss).collect();
        let least = rules::least(&losses, &vec![true; losses.len()]);
        Ok(Tried {
            chosen: least.map(|i| found[i].clone()),
            made: p.width,
            survived,
            queries: p.width,
        })
    }

    /// What is to be known of suffixes. Random search asks the model the text, others the ids.
    fn look(&mut self, suffixes: &[Vec<u32>], step: usize) -> Result<Vec<Found>> {
        let (p, tokenizer) = (self.p, self.model.tokenizer);
        let as_text = p.search == Method::Random;
        let of = |ids: &Vec<u32>| -> Result<(Vec<u32>, Found)> {
            let text = tokenizer.decode(ids, false)?;
            let survival = self.frame.survival(ids)?;
            let prompt = match as_text {
                true => self.frame.sent(&text)?,
                false => self.frame.whole(ids),
            };
            let found = Found {
                ids: ids.clone(),
                text,
                loss: f64::NAN,
                greedy: false,
                kept: as_text || keeps(p.filter, survival),
                // What is asked as a text is what is sent.
                survives: as_text || survival.whole,
                step: step as u32,
            };
            Ok((prompt, found))
        };
        let looked = suffixes.par_iter().map(of).collect::<Result<Vec<_>>>()?;
        let (prompts, mut found): (Vec<_>, Vec<_>) = looked.into_iter().unzip();
        for (found, score) in found.iter_mut().zip(self.scores(&prompts)?) {
            found.loss = self.loss(&score);
            found.greedy = score.greedy;
        }
        Ok(found)
    }

    fn scores(&mut self, prompts: &[Vec<u32>]) -> Result<Vec<Score>> {
        let (target, _) = aim(self.p, self.target);
        let wanted = match self.by_first() {
            true => Wanted::First(self.first),
            false => Wanted::Target(target),
        };
        self.model.victim.score(prompts, wanted, self.options)
    }

    fn loss(&self, score: &Score) -> f64 {
        match self.by_first() {
            true => -score.best(),
            false => aim(self.p, self.target).1.of(score),
        }
    }

    /// Whether the best of several first tokens counts.
    fn by_first(&self) -> bool {
        self.p.search == Method::Random && self.p.loss == Objective::FirstToken
    }
}

/// What came of a step.
struct Tried {
    chosen: Option<Found>,
    /// Candidates, those that survive, and prompts that the model was asked.
    made: usize,
    survived: usize,
    queries: usize,
}

/// The tokens that are to be likely, and what is made small of them.
fn aim<'t>(p: &Params, target: &'t [u32]) -> (&'t [u32], Loss) {
    match p.loss {
        Objective::CrossEntropy => (target, Loss::CrossEntropy),
        Objective::Mellowmax => (target, Loss::Mellowmax),
        Objective::FirstToken => (&target[..1], Loss::CrossEntropy),
    }
}

fn entries_of(buffer: &Buffer<Found>) -> Vec<Found> {
    buffer.entries().iter().map(|(_, f)| f.clone()).collect()
}
