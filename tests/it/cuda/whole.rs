//! Whole models of the kernels, forward and backward, against the CPU's core: in f32 the same log-probabilities, entropies and
//! gradients of every parameter; in bf16 as near as its rounding lets them. Products are the test's own, of numbers as the
//! kernels hand them over.

use pipe::base::rng::Seed;
use pipe::learn::config::Config;
use pipe::learn::decoder::{self, Packed};
use pipe::learn::decoder_backward;
use pipe::learn::weights::Weights;

use super::buffer::Kind;
use super::model::{Case, Computed, HEAD, Model};
use super::normals;
use super::shim::Shim;
use crate::numerics::{FAMILIES, tiny};

fn case() -> Case {
    let lengths = [66, 1, 17];
    let (mut ids, mut starts, mut scored) = (vec![], vec![0], vec![]);
    for n in lengths {
        scored.extend((1..n).filter(|i| i % 3 != 0).map(|i| ids.len() + i));
        ids.extend((0..n).map(|i| (i * i + 5 * n) % 37));
        starts.push(ids.len());
    }
    let slopes = |name: &str| -> Vec<f32> {
        let all = normals(name, scored.len(), 1.0);
        all.into_iter().map(|x| x as f32).collect()
    };
    Case {
        dlogp: slopes("dlogp"),
        dentropy: slopes("dentropy"),
        ids,
        starts,
        scored,
        temperature: 0.8,
    }
}

fn on_cpu(weights: &Weights, case: &Case) -> Computed {
    let ids: Vec<u32> = case.ids.iter().map(|&id| id as u32).collect();
    let batch = Packed {
        ids: &ids,
        starts: &case.starts,
    };
    let mut workspace = decoder::Workspace::new();
    let mut grads = vec![0.0; weights.layout.len()];
    let tape = decoder::forward(
        weights,
        batch,
        &case.scored,
        case.temperature,
        &mut workspace,
    );
    let dentropy = Some(&case.dentropy[..]);
    decoder_backward::backward(
        weights,
        &tape,
        &case.dlogp,
        dentropy,
        &mut grads,
        &mut workspace,
    );
    let exact = |all: &[f32]| -> Vec<f64> { all.iter().map(|&x| f64::from(x)).collect() };
    Computed {
        logp: exact(&tape.logp),
        entropy: exact(&tape.entropy),
        grads: exact(&grads),
    }
}

fn size(all: &[f64]) -> f64 {
    all.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Largest differences: of a log-probability or entropy, and of a parameter's gradient over its size (a gradient that is
/// next to none is measured against all of them).
fn apart(weights: &Weights, ours: &Computed, theirs: &Computed) -> (f64, f64) {
    let pairs = [(&ours.logp, &theirs.logp), (&ours.entropy, &theirs.entropy)];
    let scores = pairs
        .iter()
        .flat_map(|(a, b)| a.iter().zip(b.iter()).map(|(a, b)| (a - b).abs()));
    let scores = scores.fold(
        0.0,
        |worst: f64, off| if off <= worst { worst } else { off },
    );
    let total = size(&theirs.grads);
    let mut grads = 0.0;
    for param in &weights.layout.params {
        let (a, b) = (
            &ours.grads[param.range.clone()],
            &theirs.grads[param.range.clone()],
        );
        let difference: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        let off = size(&difference) / size(b).max(1e-2 * total);
        assert!(off.is_finite(), "{}", param.name);
        grads = f64::max(grads, off);
    }
    (scores, grads)
}

#[test]
fn every_family_computes_what_the_cpu_s_core_computes() {
    let case = case();
    for (act, most_scores, most_grads) in [(Kind::F32, 5e-6, 1e-5), (Kind::Bf16, 3e-2, 4e-2)] {
        let Some(shim) = Shim::get(act, HEAD) else {
            return;
        };
        for (family, head) in FAMILIES {
            let config = Config {
                head_dim: HEAD,
                initializer_range: 0.1,
                ..tiny(family, head)
            };
            let mut weights = Weights::random(config, Seed::new(3));
            // Norms and biases that are not trivial.
            let noise = normals("noise", weights.data.len(), 0.05);
            weights
                .data
                .iter_mut()
                .zip(noise)
                .for_each(|(w, x)| *w += x as f32);
            let model = Model::new(shim, &weights, &case.ids, &case.starts);
            let (scores, grads) = apart(&weights, &model.all(&case), &on_cpu(&weights, &case));
            println!("{act:?} {family:?}: scores {scores:.1e}, gradients {grads:.1e}");
            let near = scores <= most_scores && grads <= most_grads;
            assert!(
                near,
                "{act:?} {family:?}: scores {scores:.1e}, gradients {grads:.1e}"
            );
        }
    }
}
