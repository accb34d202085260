//! The parameters of a decoder as one flat array, and the layout that names its parts.
//!
//! Gradients, optimizer moments and checkpoints are flat arrays of the same layout. The order is ours, so that what is
//! multiplied together lies together (q, k, v are one matrix, gate and up another); the names are Hugging Face's.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use crate::config::{Config, Head};
use crate::linear::Pairs;
use base::rng::Seed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Matrix,
    Norm,
    Bias,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Hugging Face's name, for example `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// Row-major; a linear layer is [out, in].
    pub shape: Vec<usize>,
    pub range: Range<usize>,
    pub role: Role,
}

/// Where the parts of one block lie in the flat array. `qkv` is one matrix [q + k + v, hidden], `gate_up` one matrix
/// [2 * intermediate, hidden].
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSpans {
    pub input_norm: Range<usize>,
    pub qkv: Range<usize>,
    pub qkv_bias: Option<Range<usize>>,
    pub q_norm: Option<Range<usize>>,
    pub k_norm: Option<Range<usize>>,
    pub o: Range<usize>,
    pub post_norm: Range<usize>,
    pub gate_up: Range<usize>,
    pub down: Range<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    pub params: Vec<Param>,
    pub embed: Range<usize>,
    pub layers: Vec<LayerSpans>,
    pub final_norm: Range<usize>,
    /// [vocabulary, hidden] (the embedding table where tied) or [labels, hidden].
    pub head: Range<usize>,
    len: usize,
}

impl Layout {
    pub fn new(config: &Config) -> Layout {
        let mut list = List::default();
        let d = config.hidden_size;
        let embed = list.add(
            "model.embed_tokens.weight".into(),
            &[config.vocab_size, d],
            Role::Matrix,
        );
        let layers = (0..config.layers)
            .map(|layer| layer_spans(&mut list, config, layer))
            .collect();
        let final_norm = list.add("model.norm.weight".into(), &[d], Role::Norm);
        let head = match config.head {
            Head::Tied => embed.clone(),
            Head::Untied => list.add(
                "lm_head.weight".into(),
                &[config.vocab_size, d],
                Role::Matrix,
            ),
            Head::Score { labels } => list.add("score.weight".into(), &[labels, d], Role::Matrix),
        };
        Layout {
            len: list.len,
            params: list.params,
            embed,
            layers,
            final_norm,
            head,
        }
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn param(&self, name: &str) -> Option<&Param> {
        self.params.iter().find(|param| param.name == name)
    }

    /// Parameters that enter a product with every token: all but a table that is only looked up. Six times this is the
    /// cost in FLOP of one trained token, attention aside.
    pub fn multiplied(&self) -> usize {
        let looked_up = if self.head == self.embed {
            0
        } else {
            self.embed.len()
        };
        self.len - looked_up
    }
}

/// One block's parameters.
#[derive(Clone, Copy)]
pub struct LayerView<'a> {
    pub input_norm: &'a [f32],
    pub qkv: &'a [f32],
    pub qkv_bias: Option<&'a [f32]>,
    pub q_norm: Option<&'a [f32]>,
    pub k_norm: Option<&'a [f32]>,
    pub o: &'a [f32],
    pub post_norm: &'a [f32],
    pub gate_up: &'a [f32],
    pub down: &'a [f32],
    /// Adapters on the linear layers, where there are any.
    pub adapter: Pairs<'a>,
}

#[derive(Clone, Debug)]
pub struct Weights {
    pub config: Config,
    pub layout: Arc<Layout>,
    /// `layout.len()` numbers.
    pub data: Vec<f32>,
}

impl Weights {
    pub fn zeros(config: Config) -> Weights {
        let layout = Arc::new(Layout::new(&config));
        let data = vec![0.0; layout.len()];
        Weights {
            config,
            layout,
            data,
        }
    }

    /// Matrices normal(0, `initializer_range`), norms 1, biases 0. A parameter's numbers depend on the seed and its
    /// name only.
    pub fn random(config: Config, seed: Seed) -> Weights {
        let mut weights = Weights::zeros(config);
        let sd = weights.config.initializer_range;
        let layout = Arc::clone(&weights.layout);
        let mut rest = weights.data.as_mut_slice();
        let mut parts = Vec::new();
        for param in &layout.params {
            let (part, tail) = rest.split_at_mut(param.range.len());
            parts.push((param, part));
            rest = tail;
        }
        parts
            .into_par_iter()
            .for_each(|(param, part)| match param.role {
                Role::Norm => part.fill(1.0),
                Role::Bias => part.fill(0.0),
                Role::Matrix => {
                    let mut rng = seed.child(&param.name).rng();
                    part.fill_with(|| (sd * rng.normal()) as f32);
                }
            });
        weights
    }

    /// This model with its first `layers` blocks only: what representation methods train when they look at no later
    /// block. The final norm follows the last block that is left.
    pub fn first_blocks(&self, layers: usize) -> Weights {
        assert!(
            layers <= self.config.layers,
            "a model has no more blocks than it has"
        );
        let mut less = Weights::zeros(Config {
            layers,
            ..self.config.clone()
        });
        for param in &less.layout.clone().params {
            let own = self
                .param(&param.name)
                .expect("the shorter model's names are the model's");
            less.data[param.range.clone()].copy_from_slice(own);
        }
        less
    }

    pub fn embed(&self) -> &[f32] {
        &self.data[self.layout.embed.clone()]
    }

    pub fn final_norm(&self) -> &[f32] {
        &self.data[self.layout.final_norm.clone()]
    }

    pub fn head(&self) -> &[f32] {
        &self.data[self.layout.head.clone()]
    }

    pub fn param(&self, name: &str) -> Option<&[f32]> {
        let param = self.layout.param(name)?;
        Some(&self.data[param.range.clone()])
    }

    pub fn layer(&self, layer: usize) -> LayerView<'_> {
        let spans = &self.layout.layers[layer];
        let at = |range: &Range<usize>| &self.data[range.clone()];
        LayerView {
            input_norm: at(&spans.input_norm),
            qkv: at(&spans.qkv),
            qkv_bias: spans.qkv_bias.as_ref().map(at),
            q_norm: spans.q_norm.as_ref().map(at),
            k_norm: spans.k_norm.as_ref().map(at),
            o: at(&spans.o),
            post_norm: at(&spans.post_norm),
            gate_up: at(&spans.gate_up),
            down: at(&spans.down),
            adapter: Pairs::default(),
        }
    }
}

#[derive(Default)]
struct List {
    params: Vec<Param>,
    len: usize,
}

impl List {
    fn add(&mut self, name: String, shape: &[usize], role: Role) -> Range<usize> {
        let range = self.len..self.len + shape.iter().product::<usize>();
        self.len = range.end;
        self.params.push(Param {
            name,
            shape: shape.to_vec(),
            range: range.clone(),
            role,
        });
        range
    }
}

fn layer_spans(list: &mut List, config: &Config, layer: usize) -> LayerSpans {
    let name = |tail: &str| format!("model.layers.{layer}.{tail}");
    let (d, f) = (config.hidden_size, config.intermediate_size);
    let (q, kv) = (config.q_width(), config.kv_width());
    let input_norm = list.add(name("input_layernorm.weight"), &[d], Role::Norm);
    let mut joined = |tails: &[(&str, usize)], shape: &dyn Fn(usize) -> Vec<usize>, role: Role| {
        let ranges: Vec<_> = tails
            .iter()
            .map(|(tail, out)| list.add(name(tail), &shape(*out), role))
            .collect();
        ranges[0].start..ranges[ranges.len() - 1].end
    };
    let matrix = |out: usize| vec![out, d];
    let qkv = joined(
        &[
            ("self_attn.q_proj.weight", q),
            ("self_attn.k_proj.weight", kv),
            ("self_attn.v_proj.weight", kv),
        ],
        &matrix,
        Role::Matrix,
    );
    let qkv_bias = config.qkv_bias().then(|| {
        joined(
            &[
                ("self_attn.q_proj.bias", q),
                ("self_attn.k_proj.bias", kv),
                ("self_attn.v_proj.bias", kv),
            ],
            &|out| vec![out],
            Role::Bias,
        )
    });
    let gate_up = joined(
        &[("mlp.gate_proj.weight", f), ("mlp.up_proj.weight", f)],
        &matrix,
        Role::Matrix,
    );
    let head_norm = config.qk_norm();
    let mut add = |tail: &str, shape: &[usize], role| list.add(name(tail), shape, role);
    LayerSpans {
        input_norm,
        qkv,
        qkv_bias,
        q_norm: head_norm.then(|| add("self_attn.q_norm.weight", &[config.head_dim], Role::Norm)),
        k_norm: head_norm.then(|| add("self_attn.k_norm.weight", &[config.head_dim], Role::Norm)),
        o: add("self_attn.o_proj.weight", &[d, q], Role::Matrix),
        post_norm: add("post_attention_layernorm.weight", &[d], Role::Norm),
        gate_up,
        down: add("mlp.down_proj.weight", &[d, f], Role::Matrix),
    }
}
