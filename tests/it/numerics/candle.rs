//! The gradient against candle's autograd, on a slow decoder made of ops that have a backward pass.

use super::{Sample, gradient, relative, run, sample, weights};
use candle_core::{D, DType, Device, Tensor, Var};
use pipe::learn::config::{Family, Head};
use pipe::learn::weights::Weights;

/// A slow decoder of candle tensors, made of ops that have a backward pass; L as in `run` without entropy.
fn candle_loss(weights: &Weights, vars: &[Var], sample: &Sample) -> candle_core::Result<Tensor> {
    let config = &weights.config;
    let var = |name: &str| -> Tensor {
        let at = weights.layout.params.iter().position(|p| p.name == name);
        vars[at.expect(name)].as_tensor().clone()
    };
    let norm = |x: &Tensor, w: Tensor| {
        let mean = (x.sqr()?.mean_keepdim(D::Minus1)? + config.rms_norm_eps)?;
        x.broadcast_div(&mean.sqrt()?)?.broadcast_mul(&w)
    };
    let mut loss = Tensor::zeros((), DType::F32, &Device::Cpu)?;
    for (ids, dlogp) in sample.sequences.iter().zip(&sample.dlogp) {
        let t = ids.len();
        let table = var("model.embed_tokens.weight");
        let mut h = table.index_select(&Tensor::new(ids.as_slice(), &Device::Cpu)?, 0)?;
        for layer in 0..config.layers {
            let name = |tail: &str| var(&format!("model.layers.{layer}.{tail}.weight"));
            let x = norm(&h, name("input_layernorm"))?;
            let heads = |part: &str, n: usize| {
                let y = x.matmul(&name(&format!("self_attn.{part}_proj")).t()?)?;
                y.reshape((t, n, config.head_dim))
            };
            let rotated = |y: Tensor| candle_rotate(&y, config.rope_theta);
            let q = rotated(norm(&heads("q", config.heads)?, name("self_attn.q_norm"))?)?;
            let k = rotated(norm(
                &heads("k", config.kv_heads)?,
                name("self_attn.k_norm"),
            )?)?;
            let v = heads("v", config.kv_heads)?;
            let mask: Vec<f32> = (0..t * t)
                .map(|i| if i % t > i / t { -1e9 } else { 0.0 })
                .collect();
            let mask = Tensor::from_vec(mask, (t, t), &Device::Cpu)?;
            let mut outs = vec![];
            for head in 0..config.heads {
                let one = |y: &Tensor, i: usize| y.narrow(1, i, 1)?.squeeze(1)?.contiguous();
                let kv = head / (config.heads / config.kv_heads);
                let scores = one(&q, head)?.matmul(&one(&k, kv)?.t()?)?;
                let scores = ((scores / (config.head_dim as f64).sqrt())? + &mask)?;
                let p = candle_nn::ops::softmax(&scores, D::Minus1)?;
                outs.push(p.matmul(&one(&v, kv)?)?);
            }
            let mixed = Tensor::cat(&outs, 1)?;
            h = (h + mixed.matmul(&name("self_attn.o_proj").t()?)?)?;
            let x = norm(&h, name("post_attention_layernorm"))?;
            let gate = x.matmul(&name("mlp.gate_proj").t()?)?.silu()?;
            let act = (gate * x.matmul(&name("mlp.up_proj").t()?)?)?;
            h = (h + act.matmul(&name("mlp.down_proj").t()?)?)?;
        }
        let x = norm(&h, var("model.norm.weight"))?;
        let logits = (x.matmul(&table.t()?)? / 0.8)?;
        let logp = candle_nn::ops::log_softmax(&logits, D::Minus1)?.narrow(0, 0, t - 1)?;
        let targets = Tensor::new(&ids[1..], &Device::Cpu)?.unsqueeze(1)?;
        let picked = logp.contiguous()?.gather(&targets, 1)?.squeeze(1)?;
        let weighted = (picked * Tensor::new(dlogp.as_slice(), &Device::Cpu)?)?;
        loss = (loss + weighted.sum_all()?)?;
    }
    Ok(loss)
}

fn candle_rotate(y: &Tensor, theta: f64) -> candle_core::Result<Tensor> {
    let (t, _, dim) = y.dims3()?;
    let half = dim / 2;
    let angle = |i: usize| (i / half) as f64 * theta.powf(-2.0 * (i % half) as f64 / dim as f64);
    let table = |f: fn(f64) -> f64| {
        let numbers: Vec<f32> = (0..t * half).map(|i| f(angle(i)) as f32).collect();
        Tensor::from_vec(numbers, (t, 1, half), &Device::Cpu)
    };
    let (cos, sin) = (table(f64::cos)?, table(f64::sin)?);
    let (a, b) = (y.narrow(2, 0, half)?, y.narrow(2, half, half)?);
    let low = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let high = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
    Tensor::cat(&[low, high], 2)
}

#[test]
fn the_gradient_agrees_with_candles_autograd() {
    let weights = weights(Family::Qwen3, Head::Tied);
    let mut sample = sample(&[9, 2, 70]);
    for list in &mut sample.dentropy {
        list.fill(0.0);
    }
    let ours = gradient(&weights, &sample, &[&[0, 1, 2]]);
    let vars: Vec<Var> = weights
        .layout
        .params
        .iter()
        .map(|p| {
            let data = weights.data[p.range.clone()].to_vec();
            let tensor = Tensor::from_vec(data, p.shape.as_slice(), &Device::Cpu);
            Var::from_tensor(&tensor.expect("a tensor")).expect("a variable")
        })
        .collect();
    let loss = candle_loss(&weights, &vars, &sample).expect("a loss");
    let value = f64::from(loss.to_scalar::<f32>().expect("a number"));
    assert!((value - run(&weights, &sample, &[0, 1, 2], None)).abs() < 1e-4 * value.abs());
    let store = loss.backward().expect("gradients");
    for (param, var) in weights.layout.params.iter().zip(&vars) {
        let theirs = store.get(var).expect("a gradient").flatten_all();
        let theirs: Vec<f32> = theirs.expect("flat").to_vec1().expect("numbers");
        let off = relative(&ours[param.range.clone()], &theirs);
        assert!(off < 2e-5, "{}: {off}", param.name);
    }
}
