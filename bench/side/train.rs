//! A supervised step: forward, loss over all next tokens, backward, clipping, AdamW.
//!
//! `go` is a step of the training loop itself. `phases` computes the same by hand, all rows in one batch, and tells
//! where the time goes. `peak N` is a matrix product.

use crate::work::Where;
use crate::{driven, peak, turns, work};
use anyhow::Result;
use pipe::learn::batch::{Batch, Row};
use pipe::learn::decoder::{self, Workspace};
use pipe::learn::decoder_backward::backward;
use pipe::learn::learner::Learner;
use pipe::learn::objective::Goal;
use pipe::learn::objective::sft::{SftObjective, sft};
use pipe::learn::optim::{Moments, clip};
use pipe::learn::train::{Feed, State, Window};
use pipe::learn::weights::Weights;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Instant;

#[derive(Deserialize)]
pub struct Work {
    pub config: Value,
    pub sequences: usize,
    pub length: usize,
    #[serde(flatten)]
    on: Where,
}

pub fn serve(work: Work) -> Result<()> {
    let weights = work::weights(&work.config)?;
    let mut feed = Same::new(&work, &weights);
    let mut phases = None;
    let about = json!({
        "parameters": weights.layout.len(),
        "ledger": work.on.ledger(&weights.config, work.length, false)?,
    });
    let learner = work.on.trained(weights, false)?;
    turns::ready(about);
    driven::steps(
        State {
            learner,
            skipped: 0,
        },
        &driven::settings(),
        &mut feed,
        &mut |unit| match unit {
            "phases" => {
                phases.get_or_insert_with(|| Phases::new(&work)).step();
                Ok(())
            }
            "memory" => work.on.unit(unit),
            unit => peak::serve(unit),
        },
    )
}

/// The same rows at every step, each token of them trained on.
pub struct Same {
    rows: Vec<Row>,
}

impl Same {
    pub fn new(work: &Work, weights: &Weights) -> Same {
        let rows = work::ids(work.sequences, work.length, weights.config.vocab_size);
        let row = |ids: Vec<u32>| Row {
            mask: vec![true; ids.len()],
            ids,
        };
        Same {
            rows: rows.into_iter().map(row).collect(),
        }
    }
}

impl Feed for Same {
    fn window<'a>(&'a mut self, _: u64, _: &mut dyn Learner) -> Result<Window<'a>> {
        // Token 0 of a row has no predictor.
        let tokens = self.rows.iter().map(|row| row.ids.len() - 1).sum();
        Ok(Window {
            rows: self.rows.clone(),
            goal: Goal::Logp(Box::new(SftObjective::new(tokens))),
            metrics: vec![],
        })
    }
}

struct Phases {
    weights: Weights,
    batch: Batch,
    workspace: Workspace,
    grads: Vec<f32>,
    moments: Moments,
}

impl Phases {
    fn new(work: &Work) -> Phases {
        let weights =
            work::weights(&work.config).expect("a model of this configuration is trained");
        Phases {
            batch: Batch::pack(&Same::new(work, &weights).rows),
            workspace: Workspace::new(),
            grads: vec![0.0; weights.layout.len()],
            moments: Moments::zeros(weights.layout.len()),
            weights,
        }
    }

    fn step(&mut self) {
        let settings = driven::settings();
        let start = Instant::now();
        let tape = decoder::forward(
            &self.weights,
            self.batch.packed(),
            &self.batch.scored,
            settings.temperature,
            &mut self.workspace,
        );
        let forward = start.elapsed().as_secs_f64();
        let tokens = self.batch.scored.len();
        let loss = sft(&tape.logp, &tape.entropy, &tape.greedy_hit, tokens);
        self.grads.fill(0.0);
        backward(
            &self.weights,
            &tape,
            &loss.dlogp,
            None,
            &mut self.grads,
            &mut self.workspace,
        );
        tape.recycle(&mut self.workspace);
        let back = start.elapsed().as_secs_f64();
        clip(&mut self.grads, settings.optim.grad_clip);
        settings.optim.adamw().update(
            &mut self.weights,
            &self.grads,
            &mut self.moments,
            settings.optim.lr,
        );
        let all = start.elapsed().as_secs_f64();
        turns::answer(json!({
            "seconds": all, "forward": forward, "backward": back - forward, "update": all - back,
        }));
    }
}
