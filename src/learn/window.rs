//! One walk over the rows of a window, whatever computes: how they are cut into micro-batches, what the objective says of each, and
//! which of them go through in one pass. How a pass goes forward and back is for the learners to say. Knows no optimizer.

use std::borrow::Cow;
use std::ops::Range;

use anyhow::Result;

use crate::batch::{Batch, Row, STATES_TOGETHER, micro_batches, runs};
use crate::decoder_backward::Upstream;
use crate::learner::{Accumulated, Broken};
use crate::objective::rerouting::{StateObjective, States};
use crate::objective::{Goal, Objective, Outcome, Scored};

/// Passes over packed rows, forward and back.
pub(crate) trait Passes {
    /// A pass forward: its results, and what the way back needs.
    type Tape;

    /// With the log-probabilities of the tokens `scored` of the batch.
    fn forward(&mut self, batch: &Batch, scored: &[usize], temperature: f32) -> Result<Self::Tape>;

    fn scores<'t>(&self, tape: &'t Self::Tape) -> Scored<'t>;

    /// Hidden states of the weights below the adapter, as `decoder::each_state` counts them.
    fn frozen_states(&mut self, batch: &Batch) -> Result<Vec<Vec<f32>>>;

    /// Those of a pass, counted in the same way.
    fn states<'t>(&self, tape: &'t Self::Tape) -> Result<Vec<Cow<'t, [f32]>>>;

    /// Adds the gradient of what is trained to that of the window so far.
    fn back(&mut self, tape: &Self::Tape, upstream: Upstream) -> Result<()>;

    /// The tape is not needed any more.
    fn done(&mut self, _tape: Self::Tape) {}
}

/// Log-probabilities of every row's scored tokens, of rows of so many tokens at a time: [row][scored token]. `score` gives those of a
/// batch that has some.
pub(crate) fn logps<E>(
    rows: &[Row],
    together: usize,
    mut score: impl FnMut(&Batch) -> Result<Vec<f32>, E>,
) -> Result<Vec<Vec<f32>>, E> {
    let mut out = Vec::with_capacity(rows.len());
    for run in runs(rows, 1, together) {
        let batch = Batch::pack(&rows[run]);
        let logp = match batch.scored.is_empty() {
            true => vec![],
            false => score(&batch)?,
        };
        let rows = batch.bounds.windows(2);
        out.extend(rows.map(|b| logp[b[0]..b[1]].to_vec()));
    }
    Ok(out)
}

/// A micro-batch: the window's rows, and those packed.
struct Micro {
    rows: Range<usize>,
    batch: Batch,
}

/// Every micro-batch of a window: see `Learner::accumulate`. Consecutive ones of so many tokens go through in one pass; one does,
/// however long.
pub(crate) fn accumulate(
    passes: &mut impl Passes,
    together: usize,
    rows: &[Row],
    goal: &mut Goal,
    temperature: f32,
    through: &mut dyn FnMut(usize),
) -> Result<Accumulated> {
    let mut sum = Accumulated {
        loss: 0.0,
        tokens: 0,
        broken: None,
    };
    let most = match goal {
        Goal::Logp(_) => together,
        // Their states go to the host.
        Goal::States(_) => together.min(STATES_TOGETHER),
    };
    for group in groups(rows, micro_batches(rows, goal.unit()), most) {
        through(group[0].rows.start);
        sum.tokens += group.iter().map(|m| m.batch.ids.len()).sum::<usize>();
        match goal {
            Goal::Logp(objective) => {
                by_logps(
                    passes,
                    objective.as_mut(),
                    rows,
                    group,
                    temperature,
                    &mut sum,
                )?;
            }
            Goal::States(objective) => {
                sum.loss += by_states(passes, objective.as_mut(), rows, group)?;
            }
        }
    }
    Ok(sum)
}

/// Adds up the losses of micro-batches by their log-probabilities, whose gradients are added where a loss is finite; and finds the
/// first token whose log-probability is not. The objective sees one micro-batch after the other, whoever computes all in one pass.
fn by_logps<P: Passes>(
    passes: &mut P,
    objective: &mut dyn Objective,
    rows: &[Row],
    mut group: Vec<Micro>,
    temperature: f32,
    sum: &mut Accumulated,
) -> Result<()> {
    group.retain(|micro| !micro.batch.scored.is_empty());
    let joint = joint(rows, &group);
    let Some(batch) = joint.as_ref().or(group.first().map(|micro| &micro.batch)) else {
        return Ok(());
    };
    let tape = passes.forward(batch, &batch.scored, temperature)?;
    let (scores, mut first) = (passes.scores(&tape), 0);
    let mut shares = vec![];
    for Micro { rows, batch } in &group {
        let own = first..first + batch.scored.len();
        first = own.end;
        let scored = Scored {
            logp: &scores.logp[own.clone()],
            entropy: &scores.entropy[own.clone()],
            greedy_hit: &scores.greedy_hit[own],
        };
        let broken = Broken::of(scored.logp, batch, rows.start);
        sum.broken = sum.broken.or(broken);
        let share = objective.share(rows.clone(), &batch.bounds, scored);
        sum.loss += share.loss;
        shares.push(share);
    }
    if shares.iter().all(|share| share.loss.is_finite()) {
        let share = joined(shares);
        passes.back(&tape, of_logps(&share))?;
        passes.done(tape);
        return Ok(());
    }
    passes.done(tape);
    if group.len() == 1 {
        return Ok(());
    }
    // What is no number would reach the gradients of the others in one pass with them.
    for (Micro { batch, .. }, share) in group.iter().zip(shares) {
        if share.loss.is_finite() {
            let tape = passes.forward(batch, &batch.scored, temperature)?;
            passes.back(&tape, of_logps(&share))?;
            passes.done(tape);
        }
    }
    Ok(())
}

fn of_logps(share: &Outcome<()>) -> Upstream<'_> {
    Upstream {
        dlogp: &share.dlogp,
        dentropy: share.dentropy.as_deref(),
        ..Upstream::default()
    }
}

/// The losses of micro-batches by their hidden states, with the adapter on and off, whose gradients are added where a loss is finite. As
/// `by_logps`, one after the other for the objective.
fn by_states<P: Passes>(
    passes: &mut P,
    objective: &mut dyn StateObjective,
    rows: &[Row],
    mut group: Vec<Micro>,
) -> Result<f64> {
    group.retain(|micro| !micro.batch.ids.is_empty());
    let joint = joint(rows, &group);
    let Some(batch) = joint.as_ref().or(group.first().map(|micro| &micro.batch)) else {
        return Ok(0.0);
    };
    let frozen = passes.frozen_states(batch)?;
    let tape = passes.forward(batch, &[], 1.0)?;
    let live = passes.states(&tape)?;
    let width = live[0].len() / batch.ids.len();
    let (mut losses, mut slopes, mut first) = (vec![], vec![], 0);
    for Micro { rows, batch } in &group {
        let own = first..first + batch.ids.len() * width;
        first = own.end;
        let live: Vec<&[f32]> = live.iter().map(|states| &states[own.clone()]).collect();
        let frozen: Vec<&[f32]> = frozen.iter().map(|states| &states[own.clone()]).collect();
        let states = States {
            live: &live,
            frozen: &frozen,
            width,
        };
        let share = objective.share(rows.clone(), &batch.starts, &states);
        losses.push(share.loss);
        match slopes.is_empty() {
            true => slopes = share.dstates,
            false => {
                let all = slopes.iter_mut().zip(share.dstates);
                all.for_each(|(all, own): (&mut Vec<f32>, _)| all.extend(own));
            }
        }
    }
    drop((live, frozen));
    if losses.iter().all(|loss| loss.is_finite()) {
        back(passes, &tape, &slopes, 0..first)?;
        passes.done(tape);
        return Ok(losses.iter().sum());
    }
    passes.done(tape);
    let mut first = 0;
    for (Micro { batch, .. }, loss) in group.iter().zip(&losses) {
        let own = first..first + batch.ids.len() * width;
        first = own.end;
        if loss.is_finite() {
            let tape = passes.forward(batch, &[], 1.0)?;
            back(passes, &tape, &slopes, own)?;
            passes.done(tape);
        }
    }
    Ok(losses.iter().sum())
}

/// `slopes` of hidden states, of which a pass has these numbers.
fn back<P: Passes>(
    passes: &mut P,
    tape: &P::Tape,
    slopes: &[Vec<f32>],
    own: Range<usize>,
) -> Result<()> {
    let (dnormed, dhidden) = slopes.split_last().expect("a model has states");
    let dhidden = dhidden.iter().map(|d| Some(&d[own.clone()]));
    let dhidden: Vec<Option<&[f32]>> = dhidden.collect();
    let upstream = Upstream {
        dhidden: &dhidden,
        dnormed: Some(&dnormed[own]),
        ..Upstream::default()
    };
    passes.back(tape, upstream)
}

/// Several micro-batches as one batch.
fn joint(rows: &[Row], group: &[Micro]) -> Option<Batch> {
    let all = || group.iter().flat_map(|micro| &rows[micro.rows.clone()]);
    (group.len() > 1).then(|| Batch::pack(all()))
}

/// Consecutive micro-batches of at most so many tokens together, or one.
fn groups(rows: &[Row], micro_batches: Vec<Range<usize>>, most: usize) -> Vec<Vec<Micro>> {
    let (mut groups, mut tokens): (Vec<Vec<Micro>>, usize) = (vec![], 0);
    for rows_of_one in micro_batches {
        let batch = Batch::pack(&rows[rows_of_one.clone()]);
        tokens += batch.ids.len();
        let micro = Micro {
            rows: rows_of_one,
            batch,
        };
        match groups.last_mut() {
            Some(group) if tokens <= most => group.push(micro),
            _ => {
                tokens = micro.batch.ids.len();
                groups.push(vec![micro]);
            }
        }
    }
    groups
}

/// The slopes of micro-batches that went through in one pass, one after the other.
fn joined(mut shares: Vec<Outcome<()>>) -> Outcome<()> {
    if shares.len() == 1 {
        return shares.remove(0);
    }
    let entropy = shares.iter().any(|share| share.dentropy.is_some());
    let (mut dlogp, mut dentropy) = (vec![], vec![]);
    for share in shares {
        let none = vec![0.0; if entropy { share.dlogp.len() } else { 0 }];
        dentropy.extend(share.dentropy.unwrap_or(none));
        dlogp.extend(share.dlogp);
    }
    Outcome {
        loss: 0.0,
        dlogp,
        dentropy: entropy.then_some(dentropy),
        metrics: (),
    }
}
