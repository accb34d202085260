//! Attacks on a model without golden files: a pass that goes on from another is the whole pass, gradients at a suffix predict
//! changes of the loss, and what a candidate scores hangs on nothing beside it.

use super::{FAMILIES, random, relative, weights};
use pipe::base::rng::Seed;
use pipe::learn::adapter::{Adapter, Linear, Net, Options as Adapt};
use pipe::learn::attack::gradient::Before;
use pipe::learn::attack::score::{Loss, Options, Score, Scorer, Wanted};
use pipe::learn::attack::search;
use pipe::learn::decoder::{self, Packed, Workspace};
use pipe::learn::decoder_backward::{Upstream, backward_from};

use pipe::learn::sample::Stopped;

const VOCABULARY: usize = 37;

fn tokens(n: usize, seed: u64) -> Vec<u32> {
    let mut rng = Seed::new(seed).rng();
    (0..n).map(|_| rng.below(VOCABULARY) as u32).collect()
}

#[test]
fn a_pass_that_goes_on_from_another_is_the_whole_pass() {
    // The beginning ends inside of a block of queries, behind one, and before the first token that is predicted.
    for (given, length) in [(5, 30), (70, 200), (64, 66), (1, 9)] {
        let ids = tokens(length, 9);
        let scored: Vec<usize> = (given.max(length - 7) + 1..length).collect();
        let starts = [0, length];
        let batch = Packed {
            ids: &ids,
            starts: &starts,
        };
        let first = [0, given];
        let beginning = Packed {
            ids: &ids[..given],
            starts: &first,
        };
        let dlogp = random(scored.len(), 5);
        for (family, head) in FAMILIES {
            let weights = weights(family, head);
            let d = weights.config.hidden_size;
            let mut workspace = Workspace::new();
            let upstream = Upstream {
                dlogp: &dlogp,
                ..Upstream::default()
            };
            let whole = decoder::forward(&weights, batch, &scored, 1.0, &mut workspace);
            let expected = backward_from(&weights, &whole, upstream, None, &mut workspace);
            let before = decoder::forward(&weights, beginning, &[], 1.0, &mut workspace);
            // What lies in the buffers is nothing to go by.
            workspace.give(vec![f32::NAN; 1 << 16]);
            workspace.give(vec![f32::NAN; 1 << 12]);
            let rest = decoder::forward_after(&weights, &before, &ids, &scored, &mut workspace);
            let found = backward_from(&weights, &rest, upstream, None, &mut workspace);
            let case = format!("{family:?} {given} of {length}");
            let off = relative(&rest.logp, &whole.logp);
            assert!(off < 1e-6, "{case}: log-probabilities are off by {off}");
            let off = relative(&found[given * d..], &expected[given * d..]);
            assert!(off < 2e-6, "{case}: gradients are off by {off}");
        }
    }
}

#[test]
fn the_gradient_at_a_suffix_predicts_what_a_little_of_another_token_does() {
    let (before, suffix, after, target) = (tokens(6, 1), tokens(4, 2), tokens(3, 3), tokens(5, 4));
    for (family, head) in FAMILIES {
        let weights = weights(family, head);
        let d = weights.config.hidden_size;
        for loss in [Loss::CrossEntropy, Loss::Mellowmax] {
            let mut workspace = Workspace::new();
            let whole = Before::new(&weights, &before, &mut workspace);
            let slope = whole.slope(&suffix, &after, &target, loss, &mut workspace);
            assert_eq!(slope.gradient.len(), suffix.len() * VOCABULARY);
            // A token that stands nowhere else is another in one place: its row is moved towards another token's.
            let place = 2;
            let lone = (0..VOCABULARY as u32).find(|id| {
                ![&before[..], &suffix, &after, &target]
                    .concat()
                    .contains(id)
            });
            let lone = lone.expect("the vocabulary is larger than the prompt");
            let mut own = suffix.clone();
            own[place] = lone;
            let at = whole.slope(&own, &after, &target, loss, &mut workspace);
            let other = suffix[0];
            let moved = |step: f32| {
                let mut weights = weights.clone();
                let table = weights.layout.embed.clone();
                let row = |id: u32| table.start + id as usize * d;
                let (from, to) = (row(lone), row(other));
                for i in 0..d {
                    let towards = weights.data[to + i] - weights.data[from + i];
                    weights.data[from + i] += step * towards;
                }
                let mut workspace = Workspace::new();
                let whole = Before::new(&weights, &before, &mut workspace);
                whole
                    .slope(&own, &after, &target, loss, &mut workspace)
                    .loss
            };
            // Where the head is the same table, it is moved as well: only the input side is the gradient's.
            if weights.layout.head == weights.layout.embed && loss == Loss::CrossEntropy {
                continue;
            }
            let step = 1e-2;
            let found = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
            let row = &at.gradient[place * VOCABULARY..(place + 1) * VOCABULARY];
            let expected = f64::from(row[other as usize] - row[lone as usize]);
            assert!(
                (found - expected).abs() < 2e-3 * expected.abs().max(0.1),
                "{family:?} {loss:?}: {found} and {expected}"
            );
        }
    }
}

fn scored(scorer: &mut Scorer, prompts: &[Vec<u32>], target: &[u32], tokens: usize) -> Vec<Score> {
    let options = Options {
        tokens,
        stop: &|| false,
    };
    let scores = scorer.score(prompts, Wanted::Target(target), options);
    scores.expect("scores")
}

#[test]
fn what_a_candidate_scores_hangs_on_nothing_beside_it() {
    let (head, target) = (tokens(20, 1), tokens(6, 2));
    let suffix = tokens(30, 3);
    let mut candidates: Vec<Vec<u32>> = (0..40)
        .map(|w| {
            let mut own = suffix.clone();
            own[w * 30 / 40] = (own[w * 30 / 40] + 1 + w as u32) % VOCABULARY as u32;
            own
        })
        .collect();
    // One twice, one as it was, one shorter, one longer, one of another beginning.
    candidates.push(candidates[7].clone());
    candidates.push(suffix.clone());
    candidates.push(suffix[..11].to_vec());
    candidates.push([&suffix[..], &[3, 4]].concat());
    let mut prompts: Vec<Vec<u32>> = candidates.iter().map(|c| [&head[..], c].concat()).collect();
    prompts.push(tokens(9, 8));
    for (family, head_of) in FAMILIES {
        let weights = weights(family, head_of);
        let mut scorer = Scorer::new(&weights).expect("a language model");
        // A base that is not like them, then theirs.
        scorer.rebase(&tokens(50, 5)).expect("a base");
        scorer.rebase(&prompts[41]).expect("a base");
        let all = scored(&mut scorer, &prompts, &target, 150);
        assert_eq!(all[7], all[40], "the same candidate");
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let again = pool.build().expect("threads").install(|| {
                let mut scorer = Scorer::new(&weights).expect("a language model");
                scorer.rebase(&prompts[41]).expect("a base");
                let mut turned = prompts.clone();
                turned.reverse();
                let mut scores = scored(&mut scorer, &turned, &target, 13 * threads);
                scores.reverse();
                scores
            });
            assert_eq!(again, all, "{family:?} on {threads} threads");
        }
        // And it is what the model says, computed as in training.
        for (prompt, score) in prompts.iter().zip(&all) {
            let ids = [&prompt[..], &target].concat();
            let starts = [0, ids.len()];
            let batch = Packed {
                ids: &ids,
                starts: &starts,
            };
            let places: Vec<usize> = (prompt.len()..ids.len()).collect();
            let whole = decoder::score(&weights, batch, &places, 1.0, &mut Workspace::new());
            let off = relative(&score.logps, &whole.logp);
            assert!(off < 2e-6, "{family:?}: off by {off}");
            assert_eq!(score.greedy, whole.greedy_hit.iter().all(|hit| *hit));
        }
    }
}

#[test]
fn an_adapter_is_part_of_the_model_that_is_attacked() {
    let (family, head) = FAMILIES[0];
    let weights = weights(family, head);
    let options = Adapt {
        rank: 2,
        alpha: 4.0,
        rank_stabilised: false,
        targets: Linear::ALL.to_vec(),
        blocks: 0..weights.config.layers,
    };
    let mut adapter = Adapter::new(&weights.config, &options, Seed::new(1));
    adapter.stir(0.3, Seed::new(2));
    let net = Net {
        weights: &weights,
        adapter: Some(&adapter),
    };
    let merged = adapter.merged(&weights);
    let (before, suffix, after, target) = (tokens(6, 1), tokens(4, 2), tokens(3, 3), tokens(5, 4));
    let mut workspace = Workspace::new();
    let mut of = |net: Net| {
        let before = Before::new(net, &before, &mut workspace);
        let slope = before.slope(&suffix, &after, &target, Loss::CrossEntropy, &mut workspace);
        let mut scorer = Scorer::new(net).expect("a language model");
        let prompt = [&tokens(6, 1), &suffix[..], &after].concat();
        let scores = scored(&mut scorer, &[prompt], &target, 64);
        (slope, Loss::CrossEntropy.of(&scores[0]))
    };
    let (adapted, score) = of(net);
    let (folded, again) = of((&merged).into());
    let off = relative(&adapted.gradient, &folded.gradient);
    assert!(off < 1e-5, "gradients are off by {off}");
    for loss in [score, again, folded.loss] {
        assert!((loss / adapted.loss - 1.0).abs() < 1e-5, "{loss}");
    }
    let bare = of((&weights).into()).1;
    assert!(
        (bare / score - 1.0).abs() > 1e-2,
        "the adapter does something"
    );
}

#[test]
fn a_broken_model_and_a_foreign_token_are_errors_and_a_stop_is_heard() {
    let (family, head) = FAMILIES[2];
    let mut broken = weights(family, head);
    let options = |stop| Options { tokens: 10, stop };
    let prompts: Vec<Vec<u32>> = (0..6).map(|i| tokens(8, i)).collect();
    let mut scorer = Scorer::new(&broken).expect("a language model");
    let target = [1, 2];
    let wanted = Wanted::Target(&target);
    let stopped = scorer.score(&prompts, wanted, options(&|| true));
    assert!(stopped.expect_err("it stops").is::<Stopped>());
    let error = scorer.score(&[vec![VOCABULARY as u32]], wanted, options(&|| false));
    let error = error.expect_err("no such token").to_string();
    assert!(
        error.contains("token 37") && error.contains("37 embeddings"),
        "{error}"
    );
    assert!(scorer.rebase(&[99]).is_err());
    let span = broken.layout.final_norm.clone();
    broken.data[span].fill(f32::NAN);
    let mut scorer = Scorer::new(&broken).expect("a language model");
    let error = scorer.score(&prompts, wanted, options(&|| false));
    let error = error.expect_err("no numbers").to_string();
    assert!(error.contains("no numbers"), "{error}");
}

#[test]
fn what_is_drawn_and_chosen_has_its_order() {
    let even: Vec<usize> = search::even(3, 7).concat();
    assert_eq!(even, [0, 0, 0, 1, 1, 2, 2]);
    let mut rng = Seed::new(1).rng();
    let drawn = search::drawn(5, 200, 3, &mut rng);
    let mut met = [0; 5];
    for positions in &drawn {
        let mut sorted = positions.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 3, "positions of one candidate differ");
        for &position in positions {
            met[position] += 1;
        }
    }
    assert!(met.iter().all(|&n| (90..150).contains(&n)), "{met:?}");
    assert_eq!(search::drawn(2, 1, 9, &mut rng)[0].len(), 2);
    // The lowest of equal ones.
    let losses = [2.0, 1.0, 1.0, 0.5];
    assert_eq!(search::least(&losses, &[true, true, true, false]), Some(1));
    assert_eq!(search::least(&losses, &[false; 4]), None);
    assert_eq!(search::laid_over(&[1, 2, 3], 2, &[7, 8]), [1, 2, 7, 8]);
}
