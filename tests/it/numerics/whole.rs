//! The whole decoder against its formulas in f64: value and gradient, of all families and of a head alone, on ragged rows.

use super::reference;
use super::slopes::{Case, PLACES, pulled, wide};
use super::{FAMILIES, random, relative, sample, starts, tiny, weights};
use pipe::base::rng::Seed;
use pipe::learn::config::{Config, Family, Head};
use pipe::learn::decoder::{self, Packed, Workspace};
use pipe::learn::decoder_backward::backward;
use pipe::learn::weights::Weights;

#[test]
fn the_gradient_of_every_parameter_is_the_slope_of_the_loss_in_f64() {
    let sample = sample(&[9, 1, 2, 14]);
    let starts = starts(&[9, 1, 2, 14]);
    for (family, head) in FAMILIES {
        let weights = weights(family, head);
        let ids = sample.sequences.concat();
        whole(&format!("{family:?}"), &weights, &ids, &starts, 8);
    }
}

#[test]
fn heads_in_chunks() {
    // Words, hidden size, lengths, whether the table is the head too. The fourth has rows for two chunks of the backward
    // pass, the last of one row only.
    let shapes: [(usize, usize, &[usize], Head); 5] = [
        (1, 3, &[4], Head::Tied),
        (37, 24, &[2, 5, 1, 9], Head::Tied),
        (37, 24, &[2, 5, 1, 9], Head::Untied),
        (33_000, 2, &[258], Head::Untied),
        (130, 17, &[150], Head::Tied),
    ];
    for (vocab_size, hidden_size, lengths, head) in shapes {
        let config = Config {
            vocab_size,
            hidden_size,
            layers: 0,
            ..tiny(Family::Llama, head)
        };
        let mut weights = Weights::zeros(config);
        weights.data = random(weights.data.len(), 1);
        let starts = starts(lengths);
        let mut rng = Seed::new(2).rng();
        let ids: Vec<u32> = (0..*starts.last().unwrap())
            .map(|_| rng.below(vocab_size) as u32)
            .collect();
        let name = format!("head {vocab_size} {hidden_size} {head:?}");
        // Of many words the slow reference is slow.
        let places = if vocab_size > 1000 { 2 } else { PLACES };
        whole(&name, &weights, &ids, &starts, places);
    }
}

/// Checks a whole decoder: log-probabilities and entropies of all tokens, gradients of all parameters.
fn whole(name: &str, weights: &Weights, ids: &[u32], starts: &[usize], places: usize) {
    let temperature = 0.8;
    let scored: Vec<usize> = (1..ids.len()).filter(|i| !starts.contains(i)).collect();
    let (dlogp, dentropy) = (random(scored.len(), 5), random(scored.len(), 6));
    let mut workspace = Workspace::new();
    let batch = Packed { ids, starts };
    let tape = decoder::forward(weights, batch, &scored, temperature, &mut workspace);
    let mut grads = vec![0.0; weights.data.len()];
    backward(
        weights,
        &tape,
        &dlogp,
        Some(&dentropy),
        &mut grads,
        &mut workspace,
    );
    let params = &weights.layout.params;
    let parts: Vec<&[f32]> = params
        .iter()
        .map(|p| &weights.data[p.range.clone()])
        .collect();
    let gradients: Vec<&[f32]> = params.iter().map(|p| &grads[p.range.clone()]).collect();
    Case {
        name: name.into(),
        inputs: &parts,
        loss: &|x| {
            let scores =
                reference::decoder(weights, &x.concat(), ids, starts, f64::from(temperature));
            reference::dot(&scores.logp, &wide(&dlogp))
                + reference::dot(&scores.entropy, &wide(&dentropy))
        },
        value: pulled(&dlogp, &tape.logp) + pulled(&dentropy, &tape.entropy),
        gradients: &gradients,
        places,
    }
    .check();
}

#[test]
fn rows_without_a_scored_token_have_no_gradient() {
    let weights = weights(Family::Qwen3, Head::Tied);
    let (ids, starts) = ([3u32, 8, 1, 30, 12, 7, 7], [0, 3, 4, 7]);
    let batch = Packed {
        ids: &ids,
        starts: &starts,
    };
    let gradient = |scored: &[usize]| {
        let mut workspace = Workspace::new();
        let tape = decoder::forward(&weights, batch, scored, 1.0, &mut workspace);
        let mut grads = vec![0.0; weights.data.len()];
        let dlogp = vec![1.0; scored.len()];
        backward(&weights, &tape, &dlogp, None, &mut grads, &mut workspace);
        grads
    };
    assert!(gradient(&[]).iter().all(|g| *g == 0.0), "nothing is scored");
    // Only the last row is scored: words that only the others have get nothing.
    let grads = gradient(&[5, 6]);
    assert!(grads.iter().all(|g| g.is_finite()));
    let alone = {
        let batch = Packed {
            ids: &ids[4..],
            starts: &[0, 3],
        };
        let mut workspace = Workspace::new();
        let tape = decoder::forward(&weights, batch, &[1, 2], 1.0, &mut workspace);
        let mut grads = vec![0.0; weights.data.len()];
        backward(
            &weights,
            &tape,
            &[1.0, 1.0],
            None,
            &mut grads,
            &mut workspace,
        );
        grads
    };
    assert!(relative(&grads, &alone) < 1e-6);
}
