//! The language head on the scored rows, in chunks: logits of a large vocabulary are never held whole.
//!
//! The backward pass computes the logits of a chunk again. Knows nothing of the blocks below.

use candle_core::{DType, Result, Tensor};

use crate::config::Head;
use crate::decoder::Scores;
use crate::device::net::DeviceWeights;
use crate::device::ops::logits::{self, Slopes};
use crate::device::ops::rows;
use crate::device::parts::Parts;
use crate::device::product::product;
use crate::head::Request;

#[derive(Debug)]
pub(crate) struct HeadTape {
    /// Rows whose logits predict, and how many rows there are.
    rows: Vec<usize>,
    tokens: usize,
    scale: f64,
    /// Rows of logits at once.
    chunk: usize,
    /// None where nothing is scored: candle has no empty products.
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    /// Scored rows before and after the final norm [scored, hidden], and r of that norm [scored, 1].
    last: Tensor,
    normed: Tensor,
    r: Tensor,
    /// The token each of them should predict [scored, 1].
    targets: Tensor,
    /// [scored, 1].
    lse: Tensor,
    entropy: Tensor,
}

impl HeadTape {
    pub fn scored(&self) -> usize {
        self.rows.len()
    }
}

/// `last` [tokens, hidden] is the output of the last block.
pub fn forward(
    weights: &DeviceWeights,
    last: &Tensor,
    request: Request,
    logits_at_once: usize,
) -> Result<(Scores, HeadTape)> {
    let n = request.rows.len();
    let mut tape = HeadTape {
        tokens: last.dim(0)?,
        scale: 1.0 / f64::from(request.temperature),
        chunk: (logits_at_once / weights.config.vocab_size).max(1),
        kept: None,
        rows: request.rows,
    };
    if n == 0 {
        let scores = Scores {
            logp: vec![],
            entropy: vec![],
            greedy_hit: vec![],
        };
        return Ok((scores, tape));
    }
    assert!(
        !matches!(weights.config.head, Head::Score { .. }),
        "log-probabilities need a language head"
    );
    let layout = weights.layout();
    let rows: Vec<u32> = tape.rows.iter().map(|&row| row as u32).collect();
    let last = last.index_select(&Tensor::from_vec(rows, n, last.device())?, 0)?;
    let final_norm = weights.at(&layout.final_norm);
    let (eps, act) = (
        weights.config.rms_norm_eps,
        weights.at(&layout.head).dtype(),
    );
    let (normed, r) = rows::norm(&last, final_norm, eps, act)?;
    let targets = Tensor::from_vec(request.targets, (n, 1), last.device())?;
    let (mut logp, mut lse) = (vec![], vec![]);
    let (mut entropy, mut hits) = (vec![], vec![]);
    for first in (0..n).step_by(tape.chunk) {
        let rows = tape.chunk.min(n - first);
        let z = logits(weights, &normed.narrow(0, first, rows)?)?;
        let targets = &targets.narrow(0, first, rows)?;
        let stats = logits::stats(&z, Some(targets), tape.scale)?;
        logp.extend(stats.logp);
        lse.push(stats.lse);
        entropy.push(stats.entropy);
        hits.push(stats.greedy.eq(targets)?);
    }
    let (lse, entropy) = (Tensor::cat(&lse, 0)?, Tensor::cat(&entropy, 0)?);
    let hits = Tensor::cat(&hits, 0)?.flatten_all()?.to_vec1::<u8>()?;
    let scores = Scores {
        logp: Tensor::cat(&logp, 0)?.flatten_all()?.to_vec1()?,
        entropy: entropy.flatten_all()?.to_vec1()?,
        greedy_hit: hits.into_iter().map(|hit| hit != 0).collect(),
    };
    tape.kept = Some(Kept {
        last,
        normed,
        r,
        targets,
        lse,
        entropy,
    });
    Ok((scores, tape))
}

/// dL/d(last hidden) [tokens, hidden], zero on rows that predict nothing; adds the gradients of the head's weights and of
/// the final norm where they are wanted.
pub fn backward(
    weights: &DeviceWeights,
    tape: &HeadTape,
    dlogp: &[f32],
    dentropy: Option<&[f32]>,
    mut grads: Option<&mut Parts>,
) -> Result<Tensor> {
    let (d, device) = (weights.config.hidden_size, &weights.device);
    let Some(kept) = &tape.kept else {
        return Tensor::zeros((tape.tokens, d), DType::F32, device);
    };
    let layout = weights.layout();
    let n = tape.scored();
    let dlogp = Tensor::from_slice(dlogp, (n, 1), device)?;
    let dentropy = dentropy
        .map(|list| Tensor::from_slice(list, (n, 1), device))
        .transpose()?;
    let mut parts = Vec::new();
    for first in (0..n).step_by(tape.chunk) {
        let rows = tape.chunk.min(n - first);
        let of_chunk = |t: &Tensor| t.narrow(0, first, rows);
        let x = of_chunk(&kept.normed)?;
        let dentropy = dentropy.as_ref().map(of_chunk).transpose()?;
        let slopes = Slopes {
            targets: &of_chunk(&kept.targets)?,
            lse: &of_chunk(&kept.lse)?,
            entropy: &of_chunk(&kept.entropy)?,
            dlogp: &of_chunk(&dlogp)?,
            dentropy: dentropy.as_ref(),
        };
        let z = logits(weights, &x)?;
        let table = weights.at(&layout.head);
        let dz = logits::gradient(z, &slopes, tape.scale, table.dtype())?;
        if let Some(grads) = grads.as_deref_mut() {
            grads.add_product(&layout.head, &dz.t()?, &x)?;
        }
        parts.push(product(&dz, table)?);
    }
    let dnormed = Tensor::cat(&parts, 0)?;
    drop(parts);
    let final_norm = weights.at(&layout.final_norm);
    let (dlast, dnorm) = rows::norm_backward(&kept.last, final_norm, &kept.r, &dnormed, None)?;
    drop(dnormed);
    if let Some(grads) = grads {
        grads.add(&layout.final_norm, &dnorm)?;
    }
    // Every row of the batch picks its own: row n is zero, for rows that predict nothing.
    let mut own = vec![n as u32; tape.tokens];
    for (i, &row) in tape.rows.iter().enumerate() {
        own[row] = i as u32;
    }
    let own = Tensor::from_vec(own, tape.tokens, device)?;
    let zero = Tensor::zeros((1, d), DType::F32, device)?;
    Tensor::cat(&[dlast, zero], 0)?.index_select(&own, 0)
}

/// Logits [rows, vocabulary], or label scores, of rows after the final norm.
pub fn logits(weights: &DeviceWeights, normed: &Tensor) -> Result<Tensor> {
    product(normed, &weights.at(&weights.layout().head).t()?)
}
