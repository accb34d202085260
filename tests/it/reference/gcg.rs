//! One step of GCG: the gradient at the one-hot suffix, the candidates of every position, and what they lose.

use super::{Golden, Parity, ids, worst};
use crate::study::reference;
use pipe::learn::checkpoint;
use pipe::learn::decoder::{self, Packed, Workspace};
use pipe::learn::decoder_backward::{Upstream, backward_from};
use pipe::learn::weights::Weights;

/// Mean cross entropy of the target, the last so many tokens of a sequence.
fn target_loss(weights: &Weights, ids: &[u32], target: usize, workspace: &mut Workspace) -> f64 {
    let starts = [0, ids.len()];
    let batch = Packed {
        ids,
        starts: &starts,
    };
    let scored: Vec<usize> = (ids.len() - target..ids.len()).collect();
    let scores = decoder::score(weights, batch, &scored, 1.0, workspace);
    -scores.logp.iter().map(|&x| f64::from(x)).sum::<f64>() / target as f64
}

#[test]
fn the_gradient_at_the_suffix_and_its_candidates_agree_with_torch() {
    let Some(folder) = reference(&["gcg.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("gcg"));
    let weights = checkpoint::load(&folder.join("models/qwen2")).expect("a checkpoint");
    let part = |name: &str| ids(&golden.json[format!("{name}_ids")]);
    let (before, suffix, after, target) = (
        part("before"),
        part("suffix"),
        part("after"),
        part("target"),
    );
    let with = |suffix: &[u32]| [&before[..], suffix, &after, &target].concat();
    let sequence = with(&suffix);
    let mut workspace = Workspace::new();

    // d loss / d one-hot = (d loss / d embedding) E^T: the head, tied or not, is constant.
    let starts = [0, sequence.len()];
    let batch = Packed {
        ids: &sequence,
        starts: &starts,
    };
    let scored: Vec<usize> = (sequence.len() - target.len()..sequence.len()).collect();
    let tape = decoder::forward(&weights, batch, &scored, 1.0, &mut workspace);
    let n = target.len() as f64;
    let loss = -tape.logp.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let mut losses = Parity::new("GCG: loss and candidates' losses", 2e-5);
    let expected = golden.json["loss"].as_f64().expect("a loss");
    losses.check((loss / expected - 1.0).abs(), "the suffix");
    let dlogp = vec![(-1.0 / n) as f32; target.len()];
    let upstream = Upstream {
        dlogp: &dlogp,
        ..Upstream::default()
    };
    let dembed = backward_from(&weights, &tape, upstream, None, &mut workspace);
    let (d, v) = (weights.config.hidden_size, weights.config.vocab_size);
    let mut gradient = vec![];
    for position in before.len()..before.len() + suffix.len() {
        let de = &dembed[position * d..(position + 1) * d];
        gradient.extend(weights.embed().chunks_exact(d).map(|row| {
            let products = row
                .iter()
                .zip(de)
                .map(|(&e, &g)| f64::from(e) * f64::from(g));
            products.sum::<f64>() as f32
        }));
    }
    let mut slopes = Parity::new("GCG: gradient at the one-hot suffix", 1e-4);
    assert_eq!(golden.shape("gradient"), [suffix.len(), v]);
    slopes.check(worst(&gradient, golden.get("gradient")), "gradient");

    // Most negative first; tokens whose values are nearly equal may change places.
    let forbidden = ids(&golden.json["forbidden_ids"]);
    let width = golden.shape("top_ids")[1];
    let largest = gradient.iter().fold(0.0f32, |m, g| m.max(g.abs()));
    let mut tops = Parity::new("GCG: top tokens of every position", 1e-4);
    for (name, banned) in [("top_ids", &[][..]), ("top_allowed_ids", &forbidden[..])] {
        for (position, row) in gradient.chunks_exact(v).enumerate() {
            let mut order: Vec<usize> = (0..v).filter(|&t| !banned.contains(&(t as u32))).collect();
            order.sort_by(|&a, &b| row[a].total_cmp(&row[b]));
            for place in 0..width {
                let theirs = golden.get(name)[position * width + place] as usize;
                let gap = f64::from((row[order[place]] - row[theirs]).abs() / largest);
                tops.check(gap, &format!("{name} {position}:{place}"));
                if name == "top_ids" {
                    let value = golden.get("top_values")[position * width + place];
                    let off = (f64::from(row[theirs]) - value).abs() / f64::from(largest);
                    slopes.check(off, &format!("top value {position}:{place}"));
                }
            }
        }
    }

    let candidates: Vec<f64> = golden
        .get("candidates")
        .chunks_exact(suffix.len())
        .map(|row| {
            let suffix: Vec<u32> = row.iter().map(|&id| id as u32).collect();
            target_loss(&weights, &with(&suffix), target.len(), &mut workspace)
        })
        .collect();
    let ours: Vec<f32> = candidates.iter().map(|&x| x as f32).collect();
    losses.check(worst(&ours, golden.get("candidate_losses")), "candidates");
    let best = (0..candidates.len()).min_by(|&a, &b| candidates[a].total_cmp(&candidates[b]));
    let expected = golden.json["best"].as_u64().expect("a number") as usize;
    losses.same(best, Some(expected), "the best candidate");
    for parity in [losses, slopes, tops] {
        parity.report();
    }
}
