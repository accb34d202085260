//! The learning core without golden files: gradients against finite differences and candle's autograd, invariance to
//! packing, splitting, order and threads, and the errors of bad input.

use std::path::Path;

use candle_core::{D, DType, Device, Tensor, Var};
use pipe::base::rng::Seed;
use pipe::learn::checkpoint::{self, State};
use pipe::learn::config::{Config, Family, Head, RopeScaling};
use pipe::learn::decoder::{self, Packed, Workspace};
use pipe::learn::decoder_backward::{Upstream, backward, backward_from};
use pipe::learn::kernels::simd;
use pipe::learn::objective::advantage::{Scale, advantages};
use pipe::learn::optim::{self, AdamW, Moments, Schedule, Shape};
use pipe::learn::weights::{Role, Weights};
use serde_json::{Value, json};

pub fn tiny(family: Family, head: Head) -> Config {
    Config {
        family,
        head,
        vocab_size: 37,
        hidden_size: 24,
        intermediate_size: 40,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        rms_norm_eps: 1e-5,
        rope_theta: 10000.0,
        rope_scaling: RopeScaling::None,
        max_position_embeddings: 512,
        initializer_range: 0.2,
        bos_token_id: Value::Null,
        eos_token_id: json!(1),
        pad_token_id: Value::Null,
    }
}

pub const FAMILIES: [(Family, Head); 4] = [
    (Family::Qwen2, Head::Tied),
    (Family::Qwen3, Head::Tied),
    (Family::Llama, Head::Untied),
    (Family::Mistral, Head::Untied),
];

/// Random weights whose norms and biases are not trivial either.
pub fn weights(family: Family, head: Head) -> Weights {
    let mut weights = Weights::random(tiny(family, head), Seed::new(3));
    let layout = weights.layout.clone();
    let mut rng = Seed::new(4).rng();
    for param in layout.params.iter().filter(|p| p.role != Role::Matrix) {
        for w in &mut weights.data[param.range.clone()] {
            *w += 0.2 * rng.normal() as f32;
        }
    }
    weights
}

struct Sample {
    sequences: Vec<Vec<u32>>,
    /// dL/dlogp and dL/dentropy of every token but the first of its sequence.
    dlogp: Vec<Vec<f32>>,
    dentropy: Vec<Vec<f32>>,
}

fn sample(lengths: &[usize]) -> Sample {
    let mut rng = Seed::new(5).rng();
    let mut numbers = |n: usize| (0..n).map(|_| rng.normal() as f32).collect::<Vec<_>>();
    let dlogp = lengths.iter().map(|n| numbers(n - 1)).collect();
    let dentropy = lengths.iter().map(|n| numbers(n - 1)).collect();
    let mut rng = Seed::new(6).rng();
    let sequences = lengths
        .iter()
        .map(|&n| (0..n).map(|_| rng.below(37) as u32).collect())
        .collect();
    Sample {
        sequences,
        dlogp,
        dentropy,
    }
}

/// L = sum dlogp logp + dentropy entropy over these sequences in one batch; its gradient is added to `grads`.
fn run(weights: &Weights, sample: &Sample, order: &[usize], grads: Option<&mut [f32]>) -> f64 {
    let (mut ids, mut starts, mut scored) = (vec![], vec![0], vec![]);
    let (mut dlogp, mut dentropy) = (vec![], vec![]);
    for &s in order {
        scored.extend(ids.len() + 1..ids.len() + sample.sequences[s].len());
        ids.extend(&sample.sequences[s]);
        starts.push(ids.len());
        dlogp.extend(&sample.dlogp[s]);
        dentropy.extend(&sample.dentropy[s]);
    }
    let batch = Packed {
        ids: &ids,
        starts: &starts,
    };
    let mut workspace = Workspace::new();
    let tape = decoder::forward(weights, batch, &scored, 0.8, &mut workspace);
    if let Some(grads) = grads {
        let entropy = Some(dentropy.as_slice());
        backward(weights, &tape, &dlogp, entropy, grads, &mut workspace);
    }
    let sum = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(&a, &b)| f64::from(a) * f64::from(b))
            .sum()
    };
    sum(&tape.logp, &dlogp) + sum(&tape.entropy, &dentropy)
}

fn gradient(weights: &Weights, sample: &Sample, batches: &[&[usize]]) -> Vec<f32> {
    let mut grads = vec![0.0; weights.layout.len()];
    for batch in batches {
        run(weights, sample, batch, Some(&mut grads));
    }
    grads
}

pub fn relative(a: &[f32], b: &[f32]) -> f64 {
    let difference: Vec<f32> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    optim::norm(&difference) / optim::norm(b)
}

#[test]
fn every_parameter_gets_a_finite_gradient_that_is_not_zero() {
    for (family, head) in FAMILIES {
        let weights = weights(family, head);
        let grads = gradient(&weights, &sample(&[9, 2, 14]), &[&[0, 1, 2]]);
        for param in &weights.layout.params {
            let part = &grads[param.range.clone()];
            assert!(part.iter().all(|g| g.is_finite()), "{}", param.name);
            assert!(part.iter().any(|&g| g != 0.0), "{} moves", param.name);
        }
    }
}

#[test]
fn the_gradient_of_each_parameter_predicts_the_change_of_the_loss() {
    let sample = sample(&[9, 2, 14]);
    for (family, head) in FAMILIES {
        let weights = weights(family, head);
        let grads = gradient(&weights, &sample, &[&[0, 1, 2]]);
        for param in &weights.layout.params {
            let part = &grads[param.range.clone()];
            let size = optim::norm(part);
            // Along the gradient the slope is its norm; steps are small beside the curvature, large beside rounding.
            let step = 3e-3;
            let shifted = |sign: f64| {
                let mut moved = weights.clone();
                for (w, g) in moved.data[param.range.clone()].iter_mut().zip(part) {
                    *w += (sign * step * f64::from(*g) / size) as f32;
                }
                run(&moved, &sample, &[0, 1, 2], None)
            };
            let slope = (shifted(1.0) - shifted(-1.0)) / (2.0 * step);
            let off = (slope - size).abs() / size.max(0.05);
            assert!(off < 2e-2, "{family:?} {}: {slope} {size}", param.name);
        }
    }
}

#[test]
fn packing_splitting_and_order_do_not_change_loss_or_gradient() {
    // The longest sequence spans several blocks of queries.
    let sample = sample(&[9, 150, 2, 33]);
    for (family, head) in FAMILIES {
        let weights = weights(family, head);
        let whole = gradient(&weights, &sample, &[&[0, 1, 2, 3]]);
        let loss = run(&weights, &sample, &[0, 1, 2, 3], None);
        for split in [
            &[&[0usize, 1][..], &[2, 3]][..],
            &[&[0], &[1], &[2], &[3]],
            &[&[3, 1, 0, 2]],
        ] {
            let again = gradient(&weights, &sample, split);
            let off = relative(&again, &whole);
            assert!(off < 1e-5, "{family:?} {split:?}: {off}");
            let sum: f64 = split.iter().map(|b| run(&weights, &sample, b, None)).sum();
            assert!((sum - loss).abs() < 1e-5 * loss.abs().max(1.0));
        }
    }
}

#[test]
fn bytes_after_training_do_not_depend_on_the_number_of_threads() {
    let sample = sample(&[90, 300, 64, 65, 150, 200, 120]);
    let train = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("a pool");
        pool.install(|| {
            let mut weights = weights(Family::Qwen3, Head::Tied);
            let mut moments = Moments::zeros(&weights.layout);
            for _ in 0..3 {
                let mut grads = gradient(&weights, &sample, &[&[0, 1, 2], &[3, 4, 5, 6]]);
                optim::clip(&mut grads, 1.0);
                AdamW::default().update(&mut weights, &grads, &mut moments, 1e-2);
            }
            weights.data
        })
    };
    let one = train(1);
    assert_ne!(one, weights(Family::Qwen3, Head::Tied).data, "it trained");
    let bits = |data: &[f32]| data.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&one), bits(&train(2)));
    assert_eq!(bits(&one), bits(&train(3)));
}

#[test]
fn gradients_at_hidden_states_and_embeddings_predict_the_change_of_the_loss() {
    let weights = weights(Family::Llama, Head::Untied);
    let (ids, starts) = ([3u32, 8, 1, 30, 12, 7], [0, 6]);
    let batch = Packed {
        ids: &ids,
        starts: &starts,
    };
    let n = ids.len() * weights.config.hidden_size;
    let mut rng = Seed::new(9).rng();
    let pull: Vec<f32> = (0..n).map(|_| rng.normal() as f32).collect();
    // L = <pull, output of block 1>.
    let loss = |weights: &Weights| -> f64 {
        let states = decoder::hidden_states(weights, batch, &mut Workspace::new());
        states[1]
            .iter()
            .zip(&pull)
            .map(|(&h, &p)| f64::from(h) * f64::from(p))
            .sum()
    };
    let mut workspace = Workspace::new();
    let tape = decoder::forward(&weights, batch, &[], 1.0, &mut workspace);
    let upstream = Upstream {
        dhidden: &[None, Some(&pull), None],
        ..Upstream::default()
    };
    let dembed = backward_from(&weights, &tape, upstream, None, &mut workspace);
    let size = optim::norm(&dembed);
    let shifted = |sign: f64| {
        let mut moved = weights.clone();
        let d = weights.config.hidden_size;
        // The ids are distinct, so moving table rows moves embedding rows.
        for (row, &id) in dembed.chunks_exact(d).zip(&ids) {
            for (w, g) in moved.data[id as usize * d..][..d].iter_mut().zip(row) {
                *w += (sign * 3e-3 * f64::from(*g) / size) as f32;
            }
        }
        loss(&moved)
    };
    let slope = (shifted(1.0) - shifted(-1.0)) / 6e-3;
    assert!((slope / size - 1.0).abs() < 2e-2, "{slope} {size}");
}

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

#[test]
fn the_vector_exponential_is_within_two_units_in_the_last_place() {
    let xs: Vec<f32> = (-86_000..88_000).map(|i| i as f32 * 1e-3 + 3e-4).collect();
    let ours = simd::vector(
        #[inline(always)]
        || xs.iter().map(|&x| simd::exp(x)).collect::<Vec<f32>>(),
    );
    for (x, y) in xs.iter().zip(ours) {
        let exact = f64::from(*x).exp();
        let unit = f64::from(f32::EPSILON) * exact;
        assert!((f64::from(y) - exact).abs() < 2.0 * unit, "{x}: {y}");
    }
    assert!(simd::exp(f32::NEG_INFINITY) < 2e-38 && simd::exp(0.0) == 1.0);
}

#[test]
fn a_schedule_rises_over_the_warm_up_and_ends_where_its_shape_says() {
    let schedule = |shape| Schedule {
        shape,
        lr: 2.0,
        warmup: 2,
        steps: 5,
    };
    let rates = |shape| (1..=5).map(|s| schedule(shape).at(s)).collect::<Vec<_>>();
    assert_eq!(rates(Shape::Constant), [1.0, 2.0, 2.0, 2.0, 2.0]);
    assert_eq!(rates(Shape::Linear), [1.0, 2.0, 1.5, 1.0, 0.5]);
    let cosine = rates(Shape::Cosine);
    assert!(
        (cosine[3] - 1.0).abs() < 1e-12,
        "half way down at the middle"
    );
    assert!(cosine[4] > 0.0 && cosine[4] < cosine[3]);
}

#[test]
fn advantages_leave_out_unscorable_samples_and_refuse_groups_of_one() {
    let rewards = [Some(1.0), None, Some(3.0), Some(0.2), Some(0.2), Some(0.2)];
    let ours = advantages(&rewards, 3, Scale::Group, 0.0).expect("advantages");
    let half = std::f32::consts::FRAC_1_SQRT_2;
    assert!((ours[0] + half).abs() < 1e-6 && (ours[2] - half).abs() < 1e-6);
    assert_eq!(ours[1], 0.0);
    assert_eq!(ours[3..], [0.0, 0.0, 0.0]);
    assert!(advantages(&rewards, 1, Scale::Group, 0.0).is_err());
    assert!(advantages(&rewards, 4, Scale::Group, 0.0).is_err());
}

#[test]
fn a_config_survives_the_way_to_json_and_back() {
    for (family, head) in FAMILIES {
        let mut config = tiny(family, head);
        assert_eq!(Config::from_json(&config.to_json()).expect("read"), config);
        config.rope_scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 64,
        };
        config.head = Head::Score { labels: 1 };
        assert_eq!(Config::from_json(&config.to_json()).expect("read"), config);
    }
}

#[test]
fn a_config_that_would_need_guessing_is_refused_by_name() {
    let good = tiny(Family::Mistral, Head::Untied).to_json();
    let cases = [
        ("rope_theta", Value::Null, "rope_theta"),
        ("rope_scaling", json!({"rope_type": "yarn"}), "yarn"),
        (
            "architectures",
            json!(["GPT2LMHeadModel"]),
            "GPT2LMHeadModel",
        ),
        ("sliding_window", json!(64), "sliding_window"),
        ("hidden_act", json!("gelu"), "gelu"),
        ("tie_word_embeddings", Value::Null, "tie_word_embeddings"),
        ("num_key_value_heads", json!(3), "num_key_value_heads"),
        ("rms_norm_eps", Value::Null, "rms_norm_eps"),
        ("partial_rotary_factor", json!(0.5), "partial_rotary_factor"),
        ("head_dim", json!(7), "head_dim"),
    ];
    for (key, value, word) in cases {
        let mut bad = good.clone();
        bad[key] = value;
        let error = format!("{:#}", Config::from_json(&bad).expect_err(key));
        assert!(error.contains(word), "{key}: {error}");
    }
    let both = json!({"rope_type": "default", "rope_theta": 5.0});
    let mut newer = good.clone();
    newer["rope_theta"] = Value::Null;
    newer["rope_parameters"] = both;
    assert_eq!(Config::from_json(&newer).expect("read").rope_theta, 5.0);
}

fn saved(folder: &Path) -> Weights {
    let weights = weights(Family::Llama, Head::Untied);
    checkpoint::save(&weights, folder).expect("saved");
    weights
}

#[test]
fn a_broken_checkpoint_is_refused_with_the_file_or_tensor_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = saved(folder.path());
    let refuse = |words: &[&str]| {
        let error = format!(
            "{:#}",
            checkpoint::load(folder.path()).expect_err("refused")
        );
        for word in words {
            assert!(error.contains(word), "{word} in: {error}");
        }
    };
    let config = folder.path().join("config.json");
    let write = |key: &str, value: Value| {
        let mut json = weights.config.to_json();
        json[key] = value;
        std::fs::write(&config, json.to_string()).expect("written");
    };
    write("intermediate_size", json!(41));
    refuse(&["mlp.down_proj.weight", "shape", "model.safetensors"]);
    write("num_hidden_layers", json!(3));
    refuse(&["missing", "model.layers.2.self_attn.q_proj.weight"]);
    write("num_hidden_layers", json!(1));
    refuse(&["does not know", "model.layers.1.self_attn.q_proj.weight"]);
    write("tie_word_embeddings", json!(true));
    refuse(&["lm_head.weight", "ties"]);
    write("vocab_size", json!(37));
    let file = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&file).expect("bytes");
    std::fs::write(&file, &bytes[..bytes.len() - 5]).expect("written");
    refuse(&["model.safetensors"]);
    std::fs::remove_file(&file).expect("removed");
    refuse(&["model.safetensors.index.json"]);
}

#[test]
fn an_untied_checkpoint_without_a_head_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let tied = weights(Family::Qwen2, Head::Tied);
    checkpoint::save(&tied, folder.path()).expect("saved");
    let mut json = tied.config.to_json();
    json["tie_word_embeddings"] = json!(false);
    std::fs::write(folder.path().join("config.json"), json.to_string()).expect("written");
    let error = format!(
        "{:#}",
        checkpoint::load(folder.path()).expect_err("refused")
    );
    assert!(error.contains("lm_head.weight"), "{error}");
}

#[test]
fn a_training_state_survives_the_disk_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.safetensors");
    let odd = vec![f32::MIN_POSITIVE / 8.0, -0.0, 1.0 / 3.0, f32::MAX];
    let state = State {
        header: json!({"step": 7, "updates": 7, "text": "naïve"}),
        arrays: [("weights".into(), odd.clone()), ("first".into(), vec![0.5])].into(),
    };
    state.save(&path).expect("saved");
    let again = State::load(&path).expect("loaded");
    assert_eq!(again, state);
    let bits = |list: &[f32]| list.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&again.arrays["weights"]), bits(&odd));
    let bytes = std::fs::read(&path).expect("bytes");
    state.save(&path).expect("saved");
    assert_eq!(std::fs::read(&path).expect("bytes"), bytes);
    std::fs::write(&path, &bytes[..20]).expect("written");
    let error = format!("{:#}", State::load(&path).expect_err("refused"));
    assert!(error.contains("state.safetensors"), "{error}");
}

#[test]
fn four_thousand_tokens_fit_and_their_beginning_is_that_of_a_short_sequence() {
    let weights = weights(Family::Llama, Head::Untied);
    let sample = sample(&[4096]);
    let ids = &sample.sequences[0];
    let mut workspace = Workspace::new();
    let mut tape_of = |n: usize| {
        let (starts, scored) = ([0, n], (1..n).collect::<Vec<_>>());
        let batch = Packed {
            ids: &ids[..n],
            starts: &starts,
        };
        decoder::forward(&weights, batch, &scored, 1.0, &mut workspace)
    };
    let (long, short) = (tape_of(4096), tape_of(100));
    for (a, b) in long.logp.iter().zip(&short.logp) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
    let mut grads = vec![0.0; weights.layout.len()];
    let dlogp = &sample.dlogp[0];
    backward(&weights, &long, dlogp, None, &mut grads, &mut workspace);
    let norm = optim::norm(&grads);
    assert!(norm.is_finite() && norm > 0.0);
}
