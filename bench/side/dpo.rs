//! A step of DPO on pairs of completions: the reference's log-probabilities, gradient, update.
//!
//! Loss of a pair (Rafailov et al. 2023): -log sigmoid(beta D), D = (c - c0) - (r - r0), with c and r the summed
//! log-probabilities of the chosen and the rejected completion and c0, r0 those under the reference.

use crate::{driven, turns, work};
use anyhow::{Result, bail};
use pipe::learn::decoder::Workspace;
use pipe::learn::objective::{Objective, Outcome, Scored};
use pipe::learn::train::{self, Feed, Row, Window};
use pipe::learn::weights::Weights;
use serde::Deserialize;
use serde_json::{Value, json};
use std::ops::Range;

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
    driven::steps(weights, &mut feed, &mut |unit| {
        bail!("no unit is called {unit}")
    })
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
    fn window<'a>(
        &'a mut self,
        _: u64,
        _: &Weights,
        workspace: &mut Workspace,
    ) -> Result<Window<'a>> {
        let reference = train::reference_logps(&self.reference, &self.rows, 1.0, workspace);
        let objective = Sigmoid {
            reference: reference.iter().map(|logps| sum(logps)).collect(),
            beta: self.beta,
        };
        Ok(Window {
            rows: self.rows.clone(),
            objective: Box::new(objective),
            metrics: vec![],
        })
    }
}

struct Sigmoid {
    /// Of every row.
    reference: Vec<f64>,
    beta: f64,
}

impl Objective for Sigmoid {
    fn share(&mut self, rows: Range<usize>, bounds: &[usize], scored: Scored) -> Outcome<()> {
        assert!(
            rows.start.is_multiple_of(2) && rows.len().is_multiple_of(2),
            "a micro-batch holds whole pairs"
        );
        let pairs = self.reference.len() as f64 / 2.0;
        let mut outcome = Outcome {
            loss: 0.0,
            dlogp: vec![0.0; scored.logp.len()],
            dentropy: None,
            metrics: (),
        };
        for pair in (0..rows.len()).step_by(2) {
            let (chosen, rejected) = (
                bounds[pair]..bounds[pair + 1],
                bounds[pair + 1]..bounds[pair + 2],
            );
            let gain = |row: usize, at: &Range<usize>| {
                sum(&scored.logp[at.clone()]) - self.reference[rows.start + row]
            };
            let margin = gain(pair, &chosen) - gain(pair + 1, &rejected);
            let (loss, slope) = sigmoid(self.beta, margin);
            outcome.loss += loss / pairs;
            outcome.dlogp[chosen].fill((slope / pairs) as f32);
            outcome.dlogp[rejected].fill((-slope / pairs) as f32);
        }
        outcome
    }

    fn metrics(&self) -> Vec<(&'static str, f64)> {
        vec![]
    }
}

/// The loss of a pair and its slope by D.
fn sigmoid(beta: f64, margin: f64) -> (f64, f64) {
    let x = beta * margin;
    let loss = (-x).max(0.0) + (-x.abs()).exp().ln_1p();
    (loss, -beta / (1.0 + x.exp()))
}

fn sum(logps: &[f32]) -> f64 {
    logps.iter().map(|&logp| f64::from(logp)).sum()
}
