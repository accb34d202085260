//! Clipping and AdamW on a device, in f32; formulas and rules are those of `learn::optim`.

use candle_core::{D, DType, Device, Result, Tensor};

use crate::device::parts::{DeviceWeights, Parts};
use crate::optim::{AdamW, Moments};
use crate::weights::Layout;
use std::sync::Arc;

/// First and second moments with the layout of the weights, and the number of updates behind them.
#[derive(Clone, Debug)]
pub struct DeviceMoments {
    pub first: Parts,
    pub second: Parts,
    pub updates: u64,
}

impl DeviceMoments {
    pub fn upload(
        moments: &Moments,
        layout: &Arc<Layout>,
        device: &Device,
    ) -> Result<DeviceMoments> {
        Ok(DeviceMoments {
            first: Parts::upload(layout, &moments.first, device)?,
            second: Parts::upload(layout, &moments.second, device)?,
            updates: moments.updates,
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
    let sums = parts
        .each()
        .iter()
        .map(|part| {
            let squares = part.tensor.sqr()?.sum_keepdim(D::Minus1)?;
            squares.to_dtype(DType::F64)?.sum_all()
        })
        .collect::<Result<Vec<_>>>()?;
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
        for part in grads.each_mut() {
            part.tensor = (&part.tensor * factor)?;
        }
    }
    Ok(norm)
}

/// One update with learning rate `lr`.
pub fn update(
    rule: &AdamW,
    weights: &mut DeviceWeights,
    grads: &Parts,
    moments: &mut DeviceMoments,
    lr: f64,
) -> Result<()> {
    moments.updates += 1;
    let corrected = |beta: f64| 1.0 - beta.powf(moments.updates as f64);
    let scale2 = 1.0 / corrected(rule.beta2).sqrt();
    let move_by = lr / corrected(rule.beta1);
    let firsts = moments.first.each_mut().iter_mut();
    let seconds = moments.second.each_mut().iter_mut();
    let gradients = grads.each().iter();
    for (((w, g), m), v) in weights
        .parts
        .each_mut()
        .iter_mut()
        .zip(gradients)
        .zip(firsts)
        .zip(seconds)
    {
        let g = &g.tensor;
        m.tensor = ((&m.tensor * rule.beta1)? + (g * (1.0 - rule.beta1))?)?;
        v.tensor = ((&v.tensor * rule.beta2)? + (g.sqr()? * (1.0 - rule.beta2))?)?;
        let slope = v.tensor.sqrt()?.affine(scale2, rule.eps)?;
        let step = ((&m.tensor * move_by)? / slope)?;
        let kept = match rule.no_decay.contains(&w.role) {
            true => w.tensor.clone(),
            false => (&w.tensor * (1.0 - lr * rule.decay))?,
        };
        w.tensor = (kept - step)?;
    }
    Ok(())
}
