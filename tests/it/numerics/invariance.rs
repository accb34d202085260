//! What must not change a loss or a gradient: how a window is cut into micro-batches, what lies beside a row and how long
//! it is, in which order rows come.
//!
//! Sums over rows are f32, so another cut adds them in another order: bounds are 1e-6 of the norm of the gradient, some
//! ten roundings. That the sums themselves are right is held by f64 (`kernels`).

use super::{FAMILIES, gradient, random, relative, run, sample, starts, weights};
use pipe::learn::decoder::{self, Packed, Workspace};
use pipe::learn::decoder_backward::backward;
use pipe::learn::objective::grpo::{self, Aggregation, GrpoWindow, Options};
use pipe::learn::objective::sft::SftWindow;
use pipe::learn::objective::{Objective, Scored};
use pipe::learn::train::{Batch, Row, reference_logps};
use pipe::learn::weights::Weights;
use std::collections::BTreeMap;
use std::ops::Range;

const CLOSE: f64 = 1e-6;

#[test]
fn packing_splitting_and_order_do_not_change_loss_or_gradient() {
    // The longest sequence spans several blocks of queries; one has nothing to predict.
    let sample = sample(&[9, 150, 2, 33, 1]);
    for (family, head) in FAMILIES {
        let weights = weights(family, head);
        let whole = gradient(&weights, &sample, &[&[0, 1, 2, 3, 4]]);
        let loss = run(&weights, &sample, &[0, 1, 2, 3, 4], None);
        for split in [
            &[&[0usize, 1][..], &[2, 3, 4]][..],
            &[&[0], &[1], &[2], &[3], &[4]],
            &[&[3, 1, 4, 0, 2]],
            &[&[4, 2], &[1, 0], &[3]],
        ] {
            let again = gradient(&weights, &sample, split);
            let off = relative(&again, &whole);
            assert!(off < CLOSE, "{family:?} {split:?}: {off}");
            let sum: f64 = split.iter().map(|b| run(&weights, &sample, b, None)).sum();
            let off = (sum - loss).abs() / loss.abs().max(1.0);
            assert!(off < CLOSE, "{family:?} {split:?}: {off}");
        }
    }
}

#[test]
fn a_row_does_not_see_what_lies_beside_it() {
    let sample = sample(&[33, 1, 7, 128, 40, 64]);
    for (family, head) in FAMILIES {
        let weights = weights(family, head);
        let scores = |order: &[usize]| {
            let mut ids = vec![];
            let mut starts = vec![0];
            for &s in order {
                ids.extend(&sample.sequences[s]);
                starts.push(ids.len());
            }
            let scored: Vec<usize> = (1..ids.len()).filter(|i| !starts.contains(i)).collect();
            let batch = Packed {
                ids: &ids,
                starts: &starts,
            };
            decoder::score(&weights, batch, &scored, 0.8, &mut Workspace::new())
        };
        let alone = scores(&[0]);
        // What would be padding elsewhere: rows before and after, short and long.
        for company in [
            &[0usize, 1][..],
            &[0, 3],
            &[1, 0],
            &[2, 0, 4],
            &[3, 5, 0, 1, 2],
        ] {
            let at = company.iter().position(|s| *s == 0).unwrap();
            let before: usize = company[..at]
                .iter()
                .map(|&s| sample.sequences[s].len() - 1)
                .sum();
            let together = scores(company);
            for (i, logp) in alone.logp.iter().enumerate() {
                let close = |a: f32, b: f32| f64::from((a - b).abs() / b.abs().max(1.0)) < CLOSE;
                assert!(
                    close(together.logp[before + i], *logp),
                    "{family:?} {company:?}"
                );
                assert!(close(together.entropy[before + i], alone.entropy[i]));
            }
        }
    }
}

#[test]
fn a_reference_has_the_bits_of_the_policy_that_it_is_a_copy_of() {
    let sample = sample(&[33, 1, 7, 300]);
    for (family, head) in FAMILIES {
        let weights = weights(family, head);
        let ids = sample.sequences.concat();
        let starts = starts(&[33, 1, 7, 300]);
        let scored: Vec<usize> = (1..ids.len()).filter(|i| !starts.contains(i)).collect();
        let batch = Packed {
            ids: &ids,
            starts: &starts,
        };
        let mut workspace = Workspace::new();
        let tape = decoder::forward(&weights, batch, &scored, 0.6, &mut workspace);
        let scores = decoder::score(&weights, batch, &scored, 0.6, &mut workspace);
        let bits = |list: &[f32]| list.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&scores.logp), bits(&tape.logp), "{family:?}");
        assert_eq!(bits(&scores.entropy), bits(&tape.entropy), "{family:?}");
    }
}

/// The loss, the metrics and the gradient of a window whose micro-batches are these.
fn window(
    weights: &Weights,
    rows: &[Row],
    mut objective: Box<dyn Objective>,
    cuts: &[Range<usize>],
) -> (f64, BTreeMap<&'static str, f64>, Vec<f32>) {
    let mut grads = vec![0.0; weights.data.len()];
    let (mut loss, mut workspace) = (0.0, Workspace::new());
    for cut in cuts {
        let batch = Batch::pack(&rows[cut.clone()]);
        let tape = decoder::forward(weights, batch.packed(), &batch.scored, 0.8, &mut workspace);
        let scored = Scored {
            logp: &tape.logp,
            entropy: &tape.entropy,
            greedy_hit: &tape.greedy_hit,
        };
        let share = objective.share(cut.clone(), &batch.bounds, scored);
        loss += share.loss;
        let dentropy = share.dentropy.as_deref();
        backward(
            weights,
            &tape,
            &share.dlogp,
            dentropy,
            &mut grads,
            &mut workspace,
        );
    }
    (loss, objective.metrics().into_iter().collect(), grads)
}

#[test]
fn the_objective_of_a_window_does_not_see_how_it_is_cut() {
    let sample = sample(&[12, 30, 5, 9, 70, 2, 21, 16]);
    let rows: Vec<Row> = sample
        .sequences
        .iter()
        .enumerate()
        // The first half of a row is its prompt; row 3 has nothing that is trained on.
        .map(|(i, ids)| Row {
            ids: ids.clone(),
            mask: (0..ids.len())
                .map(|t| i != 3 && t > ids.len() / 2)
                .collect(),
        })
        .collect();
    let tokens: usize = rows.iter().map(Row::scored).sum();
    let (family, head) = FAMILIES[1];
    let weights = weights(family, head);
    let mut other = weights.clone();
    for (w, noise) in other.data.iter_mut().zip(random(weights.data.len(), 8)) {
        *w += 0.02 * noise;
    }
    let reference = reference_logps(&other, &rows, 0.8, &mut Workspace::new());
    let policy = |order: &[usize], aggregation| -> Box<dyn Objective> {
        let advantages = random(rows.len(), 9);
        Box::new(GrpoWindow {
            options: Options {
                aggregation,
                beta: 0.1,
                entropy: 0.01,
                ..Options::default()
            },
            window: grpo::Window {
                rows: rows.len(),
                tokens,
                micro_batches: 1,
                max_length: 64,
            },
            advantages: order.iter().map(|&i| advantages[i]).collect(),
            old: None,
            sampler: None,
            reference: Some(order.iter().map(|&i| reference[i].clone()).collect()),
            sums: Default::default(),
        })
    };
    type Make<'a> = Box<dyn Fn(&[usize]) -> Box<dyn Objective> + 'a>;
    let objectives: [Make; 4] = [
        Box::new(|_| Box::new(SftWindow::new(tokens))),
        Box::new(|order| policy(order, Aggregation::TokenMean)),
        Box::new(|order| policy(order, Aggregation::SequenceMean)),
        Box::new(|order| policy(order, Aggregation::DrGrpo)),
    ];
    let straight: Vec<usize> = (0..8).collect();
    for (which, make) in objectives.iter().enumerate() {
        let whole = window(
            &weights,
            &rows,
            make(&straight),
            std::slice::from_ref(&(0..8)),
        );
        let cuts: [(&[usize], &[Range<usize>]); 3] = [
            (&straight, &[0..1, 1..2, 2..3, 3..4, 4..5, 5..6, 6..7, 7..8]),
            (&straight, &[0..3, 3..4, 4..8]),
            (&[7, 2, 5, 0, 4, 3, 1, 6], &[0..5, 5..8]),
        ];
        for (order, cuts) in cuts {
            let rows: Vec<Row> = order.iter().map(|&i| rows[i].clone()).collect();
            let (loss, metrics, grads) = window(&weights, &rows, make(order), cuts);
            let off = (loss - whole.0).abs() / whole.0.abs().max(1.0);
            assert!(off < CLOSE, "objective {which} {cuts:?}: {off}");
            let off = relative(&grads, &whole.2);
            assert!(off < CLOSE, "objective {which} {cuts:?}: {off}");
            assert_eq!(metrics.len(), whole.1.len());
            for (name, value) in metrics {
                let off = (value - whole.1[name]).abs() / whole.1[name].abs().max(1.0);
                assert!(off < CLOSE, "objective {which} {cuts:?} {name}: {off}");
            }
        }
    }
}
