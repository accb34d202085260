//! Low-rank adapters (LoRA, Hu et al. 2021): on chosen linear layers of a frozen model y = W x + scale B (A x), with A
//! [rank, in], B [out, rank] and scale = alpha / rank (alpha / sqrt(rank) for rsLoRA, Kalajdzievski 2023).
//!
//! An adapter is one flat array with a layout, as the weights are, so that gradients, moments and checkpoints are flat
//! arrays too. It is zero where B is: a new adapter changes nothing. Knows no file (see `peft`) and no training loop.

use std::borrow::Cow;
use std::ops::Range;

use crate::config::Config;
pub use crate::linear::{Linear, Pair, Pairs};
use crate::weights::{LayerView, Param, Role, Weights};
use base::rng::Seed;

/// Where A and B of one linear layer lie in the flat array.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    pub a: Range<usize>,
    pub b: Range<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    pub rank: usize,
    pub alpha: f64,
    /// alpha is divided by the root of the rank.
    pub rank_stabilised: bool,
    /// A and B of every site, under PEFT's names without `.default`.
    pub params: Vec<Param>,
    /// Per block, in the order of `Linear::ALL`. Blocks beyond the last have no adapter.
    pub sites: Vec<[Option<Site>; 7]>,
    pub data: Vec<f32>,
}

/// How a new adapter is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub rank: usize,
    pub alpha: f64,
    pub rank_stabilised: bool,
    pub targets: Vec<Linear>,
    /// Blocks that get one.
    pub blocks: Range<usize>,
}

impl Adapter {
    /// A uniform in +- 1 / sqrt(in) (Kaiming with a = sqrt 5, as PEFT does), B zero. A site's numbers depend on the seed
    /// and its name only.
    pub fn new(config: &Config, options: &Options, seed: Seed) -> Adapter {
        let chosen = |block: usize, linear: Linear| {
            options.blocks.contains(&block) && options.targets.contains(&linear)
        };
        let mut adapter = Adapter::zeros(config, options, chosen);
        for param in adapter.params.clone() {
            if param.name.ends_with("lora_A.weight") {
                let bound = 1.0 / (param.shape[1] as f64).sqrt();
                let mut rng = seed.child(&param.name).rng();
                adapter.data[param.range].fill_with(|| ((2.0 * rng.unit() - 1.0) * bound) as f32);
            }
        }
        adapter
    }

    /// Draws B from a normal distribution instead of leaving it zero: for objectives that have no slope where the adapter
    /// changes nothing.
    pub fn stir(&mut self, sd: f64, seed: Seed) {
        for param in self
            .params
            .iter()
            .filter(|p| p.name.ends_with("lora_B.weight"))
        {
            let mut rng = seed.child(&param.name).rng();
            self.data[param.range.clone()].fill_with(|| (sd * rng.normal()) as f32);
        }
    }

    /// The sites that `chosen` picks, with numbers all zero; `options` gives rank and scale.
    pub fn zeros(
        config: &Config,
        options: &Options,
        chosen: impl Fn(usize, Linear) -> bool,
    ) -> Adapter {
        let rank = options.rank;
        assert!(rank > 0, "an adapter has a rank");
        let mut params: Vec<Param> = vec![];
        let mut len = 0;
        let mut add = |name: String, shape: [usize; 2]| {
            let range = len..len + shape[0] * shape[1];
            len = range.end;
            params.push(Param {
                name,
                shape: shape.to_vec(),
                range: range.clone(),
                role: Role::Matrix,
            });
            range
        };
        let sites = (0..config.layers)
            .map(|block| {
                Linear::ALL.map(|linear| {
                    chosen(block, linear).then(|| {
                        let (out, inner) = linear.shape(config);
                        let name = |half: &str| {
                            format!("base_model.model.{}.lora_{half}.weight", linear.path(block))
                        };
                        Site {
                            a: add(name("A"), [rank, inner]),
                            b: add(name("B"), [out, rank]),
                        }
                    })
                })
            })
            .collect();
        Adapter {
            rank,
            alpha: options.alpha,
            rank_stabilised: options.rank_stabilised,
            params,
            sites,
            data: vec![0.0; len],
        }
    }

    /// The lowest block with an adapter: below it there is nothing to train.
    pub(crate) fn first_block(&self) -> usize {
        let adapted = |sites: &[Option<Site>; 7]| sites.iter().any(Option::is_some);
        self.sites
            .iter()
            .position(adapted)
            .unwrap_or(self.sites.len())
    }

    pub fn scale(&self) -> f64 {
        match self.rank_stabilised {
            true => self.alpha / (self.rank as f64).sqrt(),
            false => self.alpha / self.rank as f64,
        }
    }

    /// A and B of the linear layers of a block.
    pub fn pairs(&self, block: usize) -> Pairs<'_> {
        let mut pairs = Pairs::default();
        for (pair, site) in pairs
            .0
            .iter_mut()
            .zip(self.sites.get(block).into_iter().flatten())
        {
            *pair = site.as_ref().map(|site| Pair {
                a: &self.data[site.a.clone()],
                b: &self.data[site.b.clone()],
                rank: self.rank,
                scale: self.scale() as f32,
            });
        }
        pairs
    }

    /// W + scale B A in place of W.
    ///
    /// Panics where the adapter has blocks or shapes that the weights lack.
    pub fn merge_into(&self, weights: &mut Weights) {
        let layout = weights.layout.clone();
        for (block, sites) in self.sites.iter().enumerate() {
            let pairs = self.pairs(block);
            for (linear, _) in Linear::ALL.iter().zip(sites).filter(|(_, s)| s.is_some()) {
                let pair = pairs.get(*linear).expect("a site has a pair");
                let name = format!("{}.weight", linear.path(block));
                let param = layout.param(&name).expect("an adapter fits its weights");
                pair.fold(&mut weights.data[param.range.clone()]);
            }
        }
    }

    /// A copy of the weights with W + scale B A in place of W.
    pub fn merged(&self, weights: &Weights) -> Weights {
        let mut merged = weights.clone();
        self.merge_into(&mut merged);
        merged
    }
}

/// A model as it computes: its weights, and an adapter on them or none. What is trained is the adapter where there is one,
/// and all weights where there is none.
#[derive(Clone, Copy)]
pub struct Net<'a> {
    pub weights: &'a Weights,
    pub adapter: Option<&'a Adapter>,
}

impl<'a> From<&'a Weights> for Net<'a> {
    fn from(weights: &'a Weights) -> Net<'a> {
        Net {
            weights,
            adapter: None,
        }
    }
}

impl<'a> Net<'a> {
    pub fn config(&self) -> &'a Config {
        &self.weights.config
    }

    /// This model with its adapter off: the reference policy of a model that trains an adapter.
    pub fn frozen(&self) -> Net<'a> {
        self.weights.into()
    }

    /// Numbers that are trained.
    pub fn trained(&self) -> usize {
        match self.adapter {
            Some(adapter) => adapter.data.len(),
            None => self.weights.data.len(),
        }
    }

    pub fn layer(&self, block: usize) -> LayerView<'a> {
        let mut view = self.weights.layer(block);
        if let Some(adapter) = self.adapter {
            view.adapter = adapter.pairs(block);
        }
        view
    }

    /// The matrices of a block as they compute with the adapter folded in; borrowed where it changes nothing.
    pub fn matrices(&self, block: usize) -> Matrices<'a> {
        let view = self.layer(block);
        let fold = |matrix: &'a [f32], linears: &[Linear]| {
            let mut matrix = Cow::Borrowed(matrix);
            let mut first = 0;
            for &linear in linears {
                let (out, inner) = linear.shape(self.config());
                if let Some(pair) = view.adapter.get(linear) {
                    pair.fold(&mut matrix.to_mut()[first..first + out * inner]);
                }
                first += out * inner;
            }
            matrix
        };
        Matrices {
            qkv: fold(view.qkv, &[Linear::Q, Linear::K, Linear::V]),
            o: fold(view.o, &[Linear::O]),
            gate_up: fold(view.gate_up, &[Linear::Gate, Linear::Up]),
            down: fold(view.down, &[Linear::Down]),
        }
    }
}

/// The matrices of one block, each [out, in], those that multiply the same input one below the other.
pub struct Matrices<'a> {
    pub qkv: Cow<'a, [f32]>,
    pub o: Cow<'a, [f32]>,
    pub gate_up: Cow<'a, [f32]>,
    pub down: Cow<'a, [f32]>,
}
