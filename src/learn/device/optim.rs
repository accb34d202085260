//! Clipping and AdamW on a device, in f32; formulas and rules are those of `learn::optim`.

use candle_core::{D, DType, Device, Result, Tensor};

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

/// L2 norm: squares are added in f32 along rows, rows in f64.
pub fn norm(parts: &Parts) -> Result<f64> {
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

/// One update with learning rate `lr`.
pub fn update(
    rule: &AdamW,
    trained: &mut Parts,
    grads: &Parts,
    moments: &mut DeviceMoments,
    lr: f64,
) -> Result<()> {
    moments.updates += 1;
    let corrected = |beta: f64| 1.0 - beta.powf(moments.updates as f64);
    let scale2 = 1.0 / corrected(rule.beta2).sqrt();
    let move_by = lr / corrected(rule.beta1);
    let both = moments.first.each_mut().zip(moments.second.each_mut());
    let all = trained.each_mut().zip(grads.each()).zip(both);
    for (((role, w), (_, g)), ((_, m), (_, v))) in all {
        *m = ((&*m * rule.beta1)? + (g * (1.0 - rule.beta1))?)?;
        *v = ((&*v * rule.beta2)? + (g.sqr()? * (1.0 - rule.beta2))?)?;
        let slope = v.sqrt()?.affine(scale2, rule.eps)?;
        let step = ((&*m * move_by)? / slope)?;
        let kept = match rule.no_decay.contains(&role) {
            true => w.clone(),
            false => (&*w * (1.0 - lr * rule.decay))?,
        };
        *w = (kept - step)?;
    }
    Ok(())
}
