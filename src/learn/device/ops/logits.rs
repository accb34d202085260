//! Rows of logits over a temperature, z' = z scale: what is read of them, and their gradient. By kernels where they are used, by
//! candle's plain operations else.

use candle_core::{DType, Result, Tensor};

use crate::device::launch::{Arg, launch, of_rows, unwritten, used};

/// Of every row [rows, 1].
pub struct Stats {
    pub lse: Tensor,
    pub entropy: Tensor,
    /// The first of the largest (u32).
    pub greedy: Tensor,
    /// Of its target, where it has one.
    pub logp: Option<Tensor>,
}

/// Of logits [rows, vocabulary] in f32, and of targets [rows, 1] where there are any.
pub fn stats(z: &Tensor, targets: Option<&Tensor>, scale: f64) -> Result<Stats> {
    if !used(z.device()) {
        return plain_stats(&scaled(z.clone(), scale)?, targets);
    }
    let (rows, vocabulary) = z.dims2()?;
    let z = &z.contiguous()?;
    let targets = targets.map(Tensor::contiguous).transpose()?;
    let of = |what: DType| unwritten((rows, 1), what, z.device());
    let (lse, entropy, greedy) = (of(DType::F32)?, of(DType::F32)?, of(DType::U32)?);
    let logp = targets.as_ref().map(|_| of(DType::F32)).transpose()?;
    let arguments = [
        Arg::Read(z),
        Arg::read(targets.as_ref()),
        Arg::F32(scale),
        Arg::Write(&lse),
        Arg::Write(&entropy),
        Arg::write(logp.as_ref()),
        Arg::Write(&greedy),
        Arg::I32(vocabulary),
    ];
    launch("logit_stats", of_rows(DType::F32), [rows, 1, 1], &arguments)?;
    Ok(Stats {
        lse,
        entropy,
        greedy,
        logp,
    })
}

fn plain_stats(z: &Tensor, targets: Option<&Tensor>) -> Result<Stats> {
    let top = z.max_keepdim(1)?;
    let below = z.broadcast_sub(&top)?;
    let e = below.exp()?;
    let sum = e.sum_keepdim(1)?;
    let log_sum = sum.log()?;
    // H = log sum_j e_j - sum_j e_j (z_j - top) / sum_j e_j
    let mean = ((e * below)?.sum_keepdim(1)? / sum)?;
    let lse = (top + &log_sum)?;
    let of_target = targets.map(|targets| z.gather(targets, 1)? - &lse);
    Ok(Stats {
        logp: of_target.transpose()?,
        entropy: (log_sum - mean)?,
        greedy: z.argmax_keepdim(1)?,
        lse,
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
        return plain_gradient(scaled(z, scale)?, slopes, scale)?.to_dtype(act);
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

fn plain_gradient(z: Tensor, slopes: &Slopes, scale: f64) -> Result<Tensor> {
    let dlogp = slopes.dlogp;
    let logp = z.broadcast_sub(slopes.lse)?;
    drop(z);
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

fn scaled(z: Tensor, scale: f64) -> Result<Tensor> {
    if scale == 1.0 { Ok(z) } else { z * scale }
}
