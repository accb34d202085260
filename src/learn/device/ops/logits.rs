//! Rows of logits over a temperature, z' = z scale: what is read of them, and their gradient. By kernels where they are used, by
//! candle's plain operations else.

use candle_core::{DType, Result, Tensor};

use crate::device::launch::{Arg, launch, of_rows, unwritten, used};

/// Of every row [rows, 1].
pub struct Stats {
    /// Of its target.
    pub logp: Tensor,
    pub lse: Tensor,
    pub entropy: Tensor,
    /// 1 where no logit is above the target's (u8).
    pub hits: Tensor,
}

/// Of logits [rows, vocabulary] in f32 and targets [rows, 1].
pub fn stats(z: &Tensor, targets: &Tensor, scale: f64) -> Result<Stats> {
    if !used(z.device()) {
        return plain_stats(&scaled(z, scale)?, targets);
    }
    let (rows, vocabulary) = z.dims2()?;
    let (z, targets) = (&z.contiguous()?, &targets.contiguous()?);
    let of = |what: DType| unwritten((rows, 1), what, z.device());
    let (logp, lse, entropy) = (of(DType::F32)?, of(DType::F32)?, of(DType::F32)?);
    let greedy = of(DType::U32)?;
    let arguments = [
        Arg::Read(z),
        Arg::Read(targets),
        Arg::F32(scale),
        Arg::Write(&lse),
        Arg::Write(&entropy),
        Arg::Write(&logp),
        Arg::Write(&greedy),
        Arg::I32(vocabulary),
    ];
    launch("logit_stats", of_rows(DType::F32), [rows, 1, 1], &arguments)?;
    // `greedy` is the first of the largest, and the target may be another of them.
    let hits = z.gather(targets, 1)?.ge(&z.gather(&greedy, 1)?)?;
    Ok(Stats {
        logp,
        lse,
        entropy,
        hits,
    })
}

fn plain_stats(z: &Tensor, targets: &Tensor) -> Result<Stats> {
    let top = z.max_keepdim(1)?;
    let below = z.broadcast_sub(&top)?;
    let e = below.exp()?;
    let sum = e.sum_keepdim(1)?;
    let log_sum = sum.log()?;
    // H = log sum_j e_j - sum_j e_j (z_j - top) / sum_j e_j
    let mean = ((e * below)?.sum_keepdim(1)? / sum)?;
    let of_target = z.gather(targets, 1)?;
    let hits = of_target.ge(&top)?;
    let entropy = (&log_sum - mean)?;
    let lse = (top + log_sum)?;
    Ok(Stats {
        logp: (of_target - &lse)?,
        lse,
        entropy,
        hits,
    })
}

/// What a loss wants of some rows, each [rows, 1]: its slopes by their log-probabilities and entropies, and what `stats` gave.
pub struct Slopes<'a> {
    pub targets: &'a Tensor,
    pub lse: &'a Tensor,
    pub entropy: &'a Tensor,
    pub dlogp: &'a Tensor,
    pub dentropy: Option<&'a Tensor>,
}

/// dz [rows, vocabulary] of the type `act`: dz_j = scale (dlogp (1[j = target] - p_j) - dentropy p_j (log p_j + entropy)) with
/// p = softmax(z'). Nobody else has the logits' numbers.
pub fn gradient(z: Tensor, slopes: &Slopes, scale: f64, act: DType) -> Result<Tensor> {
    if !used(z.device()) {
        return plain_gradient(&scaled(&z, scale)?, slopes, scale)?.to_dtype(act);
    }
    let (rows, vocabulary) = z.dims2()?;
    let z = z.contiguous()?;
    let dz = match act {
        DType::F32 => z.clone(),
        other => unwritten((rows, vocabulary), other, z.device())?,
    };
    let arguments = [
        Arg::Read(&z),
        Arg::Write(&dz),
        Arg::Read(slopes.targets),
        Arg::F32(scale),
        Arg::Read(slopes.lse),
        Arg::Read(slopes.entropy),
        Arg::Read(slopes.dlogp),
        Arg::read(slopes.dentropy),
        Arg::I32(vocabulary),
    ];
    launch(
        "logit_gradient",
        of_rows(act),
        [rows, vocabulary, 1],
        &arguments,
    )?;
    Ok(dz)
}

fn plain_gradient(z: &Tensor, slopes: &Slopes, scale: f64) -> Result<Tensor> {
    let dlogp = slopes.dlogp;
    let logp = z.broadcast_sub(slopes.lse)?;
    let p = logp.exp()?;
    let minus = match slopes.dentropy {
        Some(dentropy) => {
            let above = logp.broadcast_add(slopes.entropy)?;
            let slope = above.broadcast_mul(dentropy)?;
            (p * slope.broadcast_add(dlogp)?)?
        }
        None => p.broadcast_mul(dlogp)?,
    };
    minus.neg()?.scatter_add(slopes.targets, dlogp, 1)? * scale
}

fn scaled(z: &Tensor, scale: f64) -> Result<Tensor> {
    if scale == 1.0 {
        Ok(z.clone())
    } else {
        z * scale
    }
}
