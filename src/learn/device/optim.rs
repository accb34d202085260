//! Clipping and AdamW on a device, in f32; formulas and rules are those of `learn::optim`. By kernels where they are used, by
//! candle's plain operations else.

use candle_core::{D, DType, Device, Result, Tensor};

use crate::device::kernels::PART;
use crate::device::launch::{Arg, launch, of_rows, unwritten, used};
use crate::device::parts::Parts;
use crate::optim::{AdamW, Moments};

/// First and second moments with the layout of what is trained, and the number of updates behind them.
#[derive(Clone, Debug)]
pub struct DeviceMoments {
    pub first: Parts,
    pub second: Parts,
    pub updates: u64,
}

impl DeviceMoments {
    pub fn zeros(trained: &Parts, device: &Device) -> Result<DeviceMoments> {
        Ok(DeviceMoments {
            first: trained.zeros(device)?,
            second: trained.zeros(device)?,
            updates: 0,
        })
    }

    pub fn download(&self) -> Result<Moments> {
        Ok(Moments {
            first: self.first.download()?,
            second: self.second.download()?,
            updates: self.updates,
        })
    }
}

/// L2 norm. A kernel adds squares in f64; candle in f32 along rows, and rows in f64.
pub fn norm(parts: &Parts) -> Result<f64> {
    let some = parts
        .each()
        .next()
        .map(|(_, tensor)| tensor.device().clone());
    if let Some(device) = some.filter(used) {
        return launch_norm(parts, &device);
    }
    let square = |(_, tensor): (_, &Tensor)| {
        let squares = tensor.sqr()?.sum_keepdim(D::Minus1)?;
        squares.to_dtype(DType::F64)?.sum_all()
    };
    let sums = parts.each().map(square).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::stack(&sums, 0)?
        .sum_all()?
        .to_scalar::<f64>()?
        .sqrt())
}

fn launch_norm(parts: &Parts, device: &Device) -> Result<f64> {
    let variant = of_rows(DType::F32);
    let sums = |tensor: &Tensor| tensor.elem_count().div_ceil(PART);
    let count: usize = parts.each().map(|(_, tensor)| sums(tensor)).sum();
    let partial = unwritten(count, DType::F64, device)?;
    let mut first = 0;
    for (_, tensor) in parts.each() {
        let n = tensor.elem_count();
        let own = partial.narrow(0, first, sums(tensor))?;
        let arguments = [Arg::Read(tensor), Arg::I64(n), Arg::Write(&own)];
        launch("square_parts", variant, [n, 1, 1], &arguments)?;
        first += sums(tensor);
    }
    let sum = unwritten(1, DType::F64, device)?;
    let arguments = [Arg::Read(&partial), Arg::I64(count), Arg::Write(&sum)];
    launch("square_sum", variant, [1, 1, 1], &arguments)?;
    Ok(sum.to_vec1::<f64>()?[0].sqrt())
}

/// Scales the gradients by min(1, max / (norm + 1e-6)) and returns the norm before.
pub fn clip(grads: &mut Parts, max: f64) -> Result<f64> {
    let norm = norm(grads)?;
    let factor = max / (norm + 1e-6);
    if factor < 1.0 {
        for (_, tensor) in grads.each_mut() {
            *tensor = (&*tensor * factor)?;
        }
    }
    Ok(norm)
}

/// One update with learning rate `lr`. Nobody else has the numbers of what is trained, nor of its moments.
pub fn update(
    rule: &AdamW,
    trained: &mut Parts,
    grads: &Parts,
    moments: &mut DeviceMoments,
    lr: f64,
) -> Result<()> {
    moments.updates += 1;
    let corrected = |beta: f64| 1.0 - beta.powf(moments.updates as f64);
    let rate = Rate {
        scale2: 1.0 / corrected(rule.beta2).sqrt(),
        move_by: lr / corrected(rule.beta1),
        keep: 1.0,
    };
    let both = moments.first.each_mut().zip(moments.second.each_mut());
    let all = trained.each_mut().zip(grads.each()).zip(both);
    for (((role, w), (_, g)), ((_, m), (_, v))) in all {
        let keep = match rule.no_decay.contains(&role) {
            true => 1.0,
            false => 1.0 - lr * rule.decay,
        };
        let rate = Rate { keep, ..rate };
        match used(w.device()) {
            true => launch_update(rule, rate, w, g, [m, v])?,
            false => plain_update(rule, rate, w, g, [m, v])?,
        }
    }
    Ok(())
}

/// As `learn::optim` has it: 1 / sqrt(bias correction of the second moment), lr / bias correction of the first, 1 - lr decay.
#[derive(Clone, Copy)]
struct Rate {
    scale2: f64,
    move_by: f64,
    keep: f64,
}

fn plain_update(
    rule: &AdamW,
    rate: Rate,
    w: &mut Tensor,
    g: &Tensor,
    [m, v]: [&mut Tensor; 2],
) -> Result<()> {
    *m = ((&*m * rule.beta1)? + (g * (1.0 - rule.beta1))?)?;
    *v = ((&*v * rule.beta2)? + (g.sqr()? * (1.0 - rule.beta2))?)?;
    let slope = v.sqrt()?.affine(rate.scale2, rule.eps)?;
    let step = ((&*m * rate.move_by)? / slope)?;
    let kept = match rate.keep == 1.0 {
        true => w.clone(),
        false => (&*w * rate.keep)?,
    };
    *w = (kept - step)?;
    Ok(())
}

fn launch_update(
    rule: &AdamW,
    rate: Rate,
    w: &Tensor,
    g: &Tensor,
    [m, v]: [&mut Tensor; 2],
) -> Result<()> {
    let n = w.elem_count();
    let arguments = [
        Arg::Write(w),
        // No shadow in bf16, and no clipping: that is behind us.
        Arg::Null,
        Arg::Read(g),
        Arg::Write(m),
        Arg::Write(v),
        Arg::I64(n),
        Arg::Null,
        Arg::F64(1.0),
        Arg::F32(rule.beta1),
        Arg::F32(1.0 - rule.beta1),
        Arg::F32(rule.beta2),
        Arg::F32(1.0 - rule.beta2),
        Arg::F32(rate.scale2),
        Arg::F32(rule.eps),
        Arg::F32(rate.move_by),
        Arg::F32(rate.keep),
    ];
    launch("adamw", of_rows(DType::F32), [n, 1, 1], &arguments)
}
