//! The course of searches that make a target likely, prompt by prompt and case by case: steps, checks, progress, what is saved in between and
//! gone on from. How a step is taken is the search's own.

use super::ending::{Asked, Ending, Standing};
use super::saved::{self, Ended, Underway};
use crate::shared::cases::{self, CaseWriter, Made};
use crate::shared::estimate;
use anyhow::{Context, Result};
use base::rows::{AttackStep, Metric, Prompt};
use base::stats;
use base::text::count;
use engine::kind::MetricInfo;
use engine::kind::context::{Interrupted, NodeCtx};
use learn::sample::Stopped;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// A search for what makes a target of one prompt likely; a case is one of several for the same prompt.
pub trait Search<'m> {
    type State: Clone + Serialize + DeserializeOwned;
    /// What is to be counted of a search that ended.
    type End: Clone + Serialize + DeserializeOwned;
    /// Whether what it begins with is a step like any other: tried out, and a reason to end.
    const BEGINS_WITH_A_STEP: bool;

    fn begin(&mut self, case: usize) -> Result<Self::State>;
    /// Errors: `Stopped`, and the state is as it was; others.
    fn step(&mut self, case: usize, state: &mut Self::State) -> Result<()>;
    fn standing<'s>(&self, state: &'s Self::State) -> Standing<'s>;
    /// Why there is no search at all.
    fn over(&self) -> Option<&'static str> {
        None
    }
    /// The message of a case, its log, and what there is to count.
    fn end(
        &self,
        case: usize,
        state: Self::State,
        why: &str,
    ) -> (String, Vec<AttackStep>, Self::End);

    fn asked(&mut self) -> Asked<'_, 'm>;
    /// Tokens that went through the model, either way.
    fn computed(&self) -> usize;
}

/// The searches of a node.
pub struct Searches<'a> {
    pub ctx: &'a NodeCtx,
    pub ending: &'a Ending,
    /// Of a search, at most.
    pub steps: usize,
    /// Of a prompt.
    pub cases: usize,
    pub save_every: usize,
    pub prompts: usize,
}

impl Searches<'_> {
    /// What came of every prompt: of those that ended in an earlier attempt, what was kept; of the others what `search` comes to, which
    /// is given where the one under way stood.
    pub fn all<S: DeserializeOwned, E: Serialize + DeserializeOwned>(
        &self,
        prompts: &[Prompt],
        mut search: impl FnMut((usize, &Prompt), Option<Underway<S, E>>) -> Result<Ended<E>>,
    ) -> Result<BTreeMap<usize, Ended<E>>> {
        let (mut ended, mut underway) = saved::load(self.ctx);
        for (i, prompt) in prompts.iter().enumerate() {
            if ended.contains_key(&i) {
                continue;
            }
            let resumed = underway.take_if(|u: &mut Underway<S, E>| u.prompt == i);
            let of_prompt =
                search((i, prompt), resumed).with_context(|| format!("prompt {}", prompt.id))?;
            saved::save_prompt(self.ctx, i, &of_prompt)?;
            ended.insert(i, of_prompt);
        }
        Ok(ended)
    }

    /// The searches of the prompt at this place.
    pub fn prompt<'m, S: Search<'m>>(
        &self,
        (place, prompt): (usize, &Prompt),
        search: &mut S,
        resumed: Option<Underway<S::State, S::End>>,
    ) -> Result<Ended<S::End>> {
        let (mut ended, mut state) = match resumed {
            Some(u) => (u.ended, Some(u.state)),
            None => (Ended::default(), None),
        };
        for case in ended.ends.len()..self.cases {
            let of = (place, prompt, case);
            let (state, why) = self.case(of, search, state.take(), &ended)?;
            let (text, log, end) = search.end(case, state, why);
            ended.texts.push(text);
            ended.log.extend(log);
            ended.ends.push(end);
        }
        Ok(ended)
    }

    /// One search to its end, and why it ended.
    fn case<'m, S: Search<'m>>(
        &self,
        (place, prompt, case): (usize, &Prompt, usize),
        search: &mut S,
        state: Option<S::State>,
        ended: &Ended<S::End>,
    ) -> Result<(S::State, &'static str)> {
        let ctx = self.ctx;
        let save = |state: &S::State, step: usize| {
            let underway = Underway {
                prompt: place,
                ended: ended.clone(),
                state: state.clone(),
            };
            saved::save_search(ctx, &underway, step)
        };
        // A search that was interrupted may have been about to end.
        let mut stands = state.is_some() || S::BEGINS_WITH_A_STEP;
        let mut state = match state {
            Some(state) => state,
            None => asked_to_stop(search.begin(case))?,
        };
        if let Some(why) = search.over() {
            return Ok((state, why));
        }
        loop {
            let mut halted = false;
            if !std::mem::take(&mut stands) {
                let spent = search.computed();
                let stepped = search.step(case, &mut state);
                let spent = search.computed() - spent;
                let config = search.asked().victim.config();
                ctx.record_flops(estimate::sampling(config, spent));
                halted = matches!(&stepped, Err(error) if error.is::<Stopped>());
                if !halted {
                    stepped?;
                }
            }
            let at = search.standing(&state);
            if halted || ctx.stop() && at.step < self.steps {
                save(&state, at.step)?;
                return Err(Interrupted.into());
            }
            self.tell((place, case), &at);
            if let Some(why) = self.why(search, prompt, &at)? {
                return Ok((state, why));
            }
            if at.step.is_multiple_of(self.save_every) {
                save(&state, at.step)?;
            }
        }
    }

    fn why<'m, S: Search<'m>>(
        &self,
        search: &mut S,
        prompt: &Prompt,
        at: &Standing,
    ) -> Result<Option<&'static str>> {
        let first = usize::from(S::BEGINS_WITH_A_STEP);
        let Some(round) = (at.step + first).checked_sub(1) else {
            return Ok(None);
        };
        let (why, rounds) = (self.ending.why(at, self.steps), self.steps + first);
        if why.is_some_and(|why| why != "steps") || !self.ending.tries(at, round, rounds) {
            return Ok(why);
        }
        let stop = || self.ctx.stop();
        let success = self.ending.success(search.asked(), prompt, at, &stop);
        Ok(asked_to_stop(success)?.or(why))
    }

    fn tell(&self, (place, case): (usize, usize), at: &Standing) {
        let done = (place * self.cases + case) * self.steps + at.step;
        let total = self.prompts * self.cases * self.steps;
        let prompts = count(self.prompts as u64, "prompt", "prompts");
        let note = format!("loss {:.3} · {prompts}", at.loss);
        self.ctx.metric(done as u64, &[("loss", at.loss)]);
        self.ctx.progress(done as u64, total as u64, "steps", &note);
    }
}

/// A sampler or a scorer that was stopped is a node that was.
fn asked_to_stop<T>(result: Result<T>) -> Result<T> {
    match result {
        Err(error) if error.is::<Stopped>() => Err(Interrupted.into()),
        other => other,
    }
}

/// A log whose search ended, with its last step saying why, and the one that found what is delivered saying as which case.
pub fn closed(mut log: Vec<AttackStep>, why: &str, found: u32, case: usize) -> Vec<AttackStep> {
    log.last_mut().expect("a search has a beginning").ended = Some(why.into());
    if let Some(step) = log.iter_mut().find(|s| s.step == found) {
        step.case = Some(case as u32);
    }
    log
}

/// Writes what came of all prompts, as cases of this attack.
pub fn write<E>(
    ctx: &NodeCtx,
    attack: String,
    prompts: &[Prompt],
    ended: &BTreeMap<usize, Ended<E>>,
) -> Result<Made> {
    let mut writer = CaseWriter::create(ctx, attack)?;
    for (i, prompt) in prompts.iter().enumerate() {
        let of_prompt = &ended[&i];
        writer.push(prompt, &of_prompt.texts, &of_prompt.log)?;
    }
    writer.finish()
}

/// Metrics that every search writes besides those of every attack.
pub const FIRST: MetricInfo = MetricInfo::plain("loss/first", "nats", "loss at first");
pub const REACHED: MetricInfo =
    MetricInfo::plain("reached", "share", "the target is the likeliest");
pub const STEPS: MetricInfo = MetricInfo::plain("steps", "steps", "steps a case");
pub const CANDIDATES: MetricInfo =
    MetricInfo::plain("candidates", "candidates", "candidates a case");
pub const ENDED: MetricInfo = MetricInfo::plain("ended/*", "share", "searches ended by *");

/// The mean over searches, of which there is one at least.
pub fn mean(name: &str, unit: &str, each: impl Iterator<Item = f64>) -> Metric {
    let values: Vec<f64> = each.collect();
    Metric {
        name: name.into(),
        value: stats::mean(&values).expect("a node has searches"),
        n: values.len(),
        interval: None,
        unit: unit.into(),
    }
}

/// How many searches ended by what.
pub fn ended<'e>(whys: impl Iterator<Item = &'e str>) -> Vec<Metric> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    whys.for_each(|why| *counts.entry(why).or_default() += 1);
    let all = counts.values().sum();
    let each = counts.into_iter();
    each.map(|(why, n)| cases::share(&ENDED.name.replace('*', why), n, all))
        .collect()
}
