//! A step of DPO on pairs of completions: the reference's log-probabilities, gradient, update.

use crate::{driven, turns, work};
use anyhow::{Result, bail};
use pipe::learn::adapter::Net;
use pipe::learn::decoder::Workspace;
use pipe::learn::objective::dpo::{self, DpoWindow, Loss, NllMean, Options};
use pipe::learn::train::{self, Feed, Goal, Row, State, Window};
use pipe::learn::weights::Weights;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
pub struct Work {
    config: Value,
    pairs: usize,
    prompt: usize,
    new: usize,
    beta: f64,
}

pub fn serve(work: Work) -> Result<()> {
    let weights = work::weights(&work.config)?;
    let mut feed = Pairs {
        rows: rows(&work, weights.config.vocab_size),
        reference: weights.clone(),
        beta: work.beta,
    };
    turns::ready(json!({"parameters": weights.layout.len()}));
    driven::steps(
        State::new(weights),
        &driven::settings(),
        &mut feed,
        &mut |unit| bail!("no unit is called {unit}"),
    )
}

/// Chosen and rejected in turn; both rows of a pair begin with its prompt.
fn rows(work: &Work, vocabulary: usize) -> Vec<Row> {
    let prompts = work::ids(work.pairs, work.prompt, vocabulary);
    let completions = work::ids(2 * work.pairs, work.new, vocabulary);
    let row = |(i, completion): (usize, &Vec<u32>)| {
        let ids = [prompts[i / 2].as_slice(), completion].concat();
        let mask = (0..ids.len()).map(|t| t >= work.prompt).collect();
        Row { ids, mask }
    };
    completions.iter().enumerate().map(row).collect()
}

/// The same pairs at every step.
struct Pairs {
    rows: Vec<Row>,
    reference: Weights,
    beta: f64,
}

impl Feed for Pairs {
    fn window<'a>(&'a mut self, _: u64, _: Net, workspace: &mut Workspace) -> Result<Window<'a>> {
        let reference = train::reference_logps(&self.reference, &self.rows, 1.0, workspace);
        let sum = |logps: &Vec<f32>| logps.iter().map(|&logp| f64::from(logp)).sum();
        let chosen = self.rows.iter().step_by(2);
        let objective = DpoWindow {
            options: Options {
                loss: Loss::Sigmoid,
                beta: self.beta,
                label_smoothing: 0.0,
                nll_coefficient: 0.0,
                nll_mean: NllMean::Pair,
            },
            window: dpo::Window {
                pairs: self.rows.len() / 2,
                chosen_tokens: chosen.map(Row::scored).sum(),
            },
            reference: reference.iter().map(sum).collect(),
            sums: Default::default(),
        };
        Ok(Window {
            rows: self.rows.clone(),
            goal: Goal::Logp(Box::new(objective)),
            metrics: vec![],
        })
    }
}
