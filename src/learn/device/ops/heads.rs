//! Heads of q, k and v between their product and attention: bias, norm of each head of q and k where the model has one, rotation
//! by position; and the way back. By kernels where they are used and have heads of this width, by candle's plain operations
//! else.

use candle_core::{DType, Result, Tensor};

use crate::device::kernels::{ROWS, Variant};
use crate::device::launch::{Arg, launch, of_heads, unwritten};
use crate::device::ops::rows::{add_parts, normed, plain_backward, scale};
use crate::device::ops::sum_rows;
use crate::device::ragged::Angles;
use crate::kernels::attention::Heads;

/// What a block does to its heads.
pub struct Turn<'a> {
    pub shape: Heads,
    /// Of a row of q, k, v; weights of the norms of q and of k. f32.
    pub bias: Option<&'a Tensor>,
    pub norms: Option<[&'a Tensor; 2]>,
    pub eps: f64,
    pub angles: &'a Angles,
}

/// The gradient of the product's numbers [rows, width], and those of a block's own weights, where it has them.
pub struct Turned {
    pub dqkv: Tensor,
    pub bias: Option<Tensor>,
    pub norms: Option<[Tensor; 2]>,
}

impl Turn<'_> {
    /// From the product's q, k, v [rows, width], whose numbers nobody else has, to what attention reads; and q and k before their
    /// norm [rows, q + kv], where the model norms them.
    pub fn forward(&self, qkv: Tensor) -> Result<(Tensor, Option<Tensor>)> {
        match of_heads(qkv.device(), qkv.dtype(), self.shape.dim) {
            Some(variant) => self.launch(qkv, variant),
            None => self.plain(&qkv),
        }
    }

    /// The way back, from what attention gives, whose numbers nobody else has. `raw` is what `forward` kept; gradients of
    /// weights are computed where they are wanted.
    pub fn backward(&self, dqkv: Tensor, raw: Option<&Tensor>, wanted: bool) -> Result<Turned> {
        match of_heads(dqkv.device(), dqkv.dtype(), self.shape.dim) {
            Some(variant) => self.launch_backward(dqkv, raw, wanted, variant),
            None => self.plain_backward(&dqkv, raw, wanted),
        }
    }

    /// Query and key heads.
    fn turned(&self) -> usize {
        self.shape.heads + self.shape.kv_heads
    }

    fn all(&self) -> usize {
        self.turned() + self.shape.kv_heads
    }

    fn launch(&self, qkv: Tensor, variant: Variant) -> Result<(Tensor, Option<Tensor>)> {
        let Heads {
            heads,
            kv_heads,
            dim,
        } = self.shape;
        let qkv = qkv.contiguous()?;
        let rows = qkv.dim(0)?;
        let raw = || unwritten((rows, self.turned() * dim), qkv.dtype(), qkv.device());
        let raw = self.norms.map(|_| raw()).transpose()?;
        let [cos, sin] = &self.angles.table;
        let arguments = [
            Arg::Write(&qkv),
            Arg::read(self.bias),
            Arg::read(self.norms.map(|norms| norms[0])),
            Arg::read(self.norms.map(|norms| norms[1])),
            Arg::write(raw.as_ref()),
            Arg::Read(cos),
            Arg::Read(sin),
            Arg::Read(&self.angles.positions),
            Arg::I32(heads),
            Arg::I32(kv_heads),
            Arg::F32(self.eps),
        ];
        launch("turn_heads", variant, [rows, self.all(), 1], &arguments)?;
        Ok((qkv, raw))
    }

    fn launch_backward(
        &self,
        dqkv: Tensor,
        raw: Option<&Tensor>,
        wanted: bool,
        variant: Variant,
    ) -> Result<Turned> {
        let Heads {
            heads,
            kv_heads,
            dim,
        } = self.shape;
        let dqkv = dqkv.contiguous()?;
        let rows = dqkv.dim(0)?;
        let parts = rows.div_ceil(ROWS);
        let partial = |width: usize| unwritten((parts, width), DType::F32, dqkv.device());
        let of_norms = self
            .norms
            .filter(|_| wanted)
            .map(|_| partial(2 * dim))
            .transpose()?;
        let of_bias = self
            .bias
            .filter(|_| wanted)
            .map(|_| partial(self.all() * dim))
            .transpose()?;
        let [cos, sin] = &self.angles.table;
        let arguments = [
            Arg::Write(&dqkv),
            Arg::read(raw),
            Arg::read(self.norms.map(|norms| norms[0])),
            Arg::read(self.norms.map(|norms| norms[1])),
            Arg::Read(cos),
            Arg::Read(sin),
            Arg::Read(&self.angles.positions),
            Arg::write(of_norms.as_ref()),
            Arg::write(of_bias.as_ref()),
            Arg::I32(rows),
            Arg::I32(ROWS),
            Arg::I32(heads),
            Arg::I32(kv_heads),
            Arg::F32(self.eps),
        ];
        launch("turn_heads_backward", variant, [rows, 1, 1], &arguments)?;
        let norms = of_norms.map(|partial| {
            let both = add_parts(&partial)?;
            Result::Ok([both.narrow(0, 0, dim)?, both.narrow(0, dim, dim)?])
        });
        Ok(Turned {
            dqkv,
            bias: of_bias.map(|partial| add_parts(&partial)).transpose()?,
            norms: norms.transpose()?,
        })
    }

    fn plain(&self, qkv: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
        let act = qkv.dtype();
        let mut qkv = qkv.to_dtype(DType::F32)?;
        if let Some(bias) = self.bias {
            qkv = qkv.broadcast_add(bias)?;
        }
        let [mut q, mut k, v] = self.split(&qkv)?;
        let mut raw = None;
        if let Some([of_q, of_k]) = self.norms {
            let width = self.turned() * self.shape.dim;
            raw = Some(qkv.narrow(1, 0, width)?.contiguous()?.to_dtype(act)?);
            q = normed(&q, of_q, &scale(&q, self.eps)?)?;
            k = normed(&k, of_k, &scale(&k, self.eps)?)?;
        }
        let [cos, sin] = self.angles.of_rows()?;
        let out = joined(&rotate(&q, cos, sin)?, &rotate(&k, cos, sin)?, &v)?;
        Ok((out.to_dtype(act)?, raw))
    }

    /// Turning back is turning by the negative angle.
    fn plain_backward(&self, dqkv: &Tensor, raw: Option<&Tensor>, wanted: bool) -> Result<Turned> {
        let act = dqkv.dtype();
        let [cos, sin] = self.angles.of_rows()?;
        let sin = sin.neg()?;
        let [dq, dk, dv] = self.split(&dqkv.to_dtype(DType::F32)?)?;
        let (mut dq, mut dk) = (rotate(&dq, cos, &sin)?, rotate(&dk, cos, &sin)?);
        let mut norms = None;
        if let (Some([of_q, of_k]), Some(raw)) = (self.norms, raw) {
            let [q, k, _] = self.split(&raw.to_dtype(DType::F32)?)?;
            let (of_dq, of_dk);
            (dq, of_dq) = plain_backward(&q, of_q, &scale(&q, self.eps)?, &dq)?;
            (dk, of_dk) = plain_backward(&k, of_k, &scale(&k, self.eps)?, &dk)?;
            norms = wanted.then_some([of_dq, of_dk]);
        }
        let dqkv = joined(&dq, &dk, &dv)?;
        let bias = self.bias.filter(|_| wanted);
        Ok(Turned {
            bias: bias.map(|_| sum_rows(&dqkv)).transpose()?,
            dqkv: dqkv.to_dtype(act)?,
            norms,
        })
    }

    /// q and k by head [rows, heads, dim], and what is right of them [rows, ..].
    fn split(&self, qkv: &Tensor) -> Result<[Tensor; 3]> {
        let Heads {
            heads,
            kv_heads,
            dim,
        } = self.shape;
        let (rows, width) = qkv.dims2()?;
        let (q, kv) = (heads * dim, kv_heads * dim);
        Ok([
            qkv.narrow(1, 0, q)?.reshape((rows, heads, dim))?,
            qkv.narrow(1, q, kv)?.reshape((rows, kv_heads, dim))?,
            qkv.narrow(1, q + kv, width - q - kv)?,
        ])
    }
}

fn joined(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    Tensor::cat(&[&q.flatten_from(1)?, &k.flatten_from(1)?, v], 1)
}

/// Turns the halves of every head: `x` [rows, heads, dim], `cos` and `sin` [rows, 1, dim / 2].
fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let half = cos.dim(2)?;
    let (low, high) = (x.narrow(2, 0, half)?, x.narrow(2, half, half)?);
    let turned_low = (low.broadcast_mul(cos)? - high.broadcast_mul(sin)?)?;
    let turned_high = (high.broadcast_mul(cos)? + low.broadcast_mul(sin)?)?;
    Tensor::cat(&[turned_low, turned_high], 2)
}
