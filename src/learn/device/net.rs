//! A model on a device as it computes: its weights, and an adapter on them or none (see `learn::adapter::Net`).

use std::ops::Range;
use std::sync::Arc;

use base::device::Numerics;
use candle_core::{DType, Device, Result, Tensor};

use crate::adapter::{Adapter, Linear};
use crate::config::Config;
use crate::device::parts::{Held, Parts};
use crate::weights::{Layout, Weights};

/// A decoder's weights on a device.
#[derive(Debug)]
pub struct DeviceWeights {
    pub config: Config,
    pub parts: Held,
    layout: Arc<Layout>,
    pub(super) device: Device,
}

impl DeviceWeights {
    /// In f32.
    pub fn upload(weights: &Weights, device: &Device) -> Result<DeviceWeights> {
        DeviceWeights::trained(weights, device, Numerics::F32)
    }

    /// To be trained.
    pub fn trained(
        weights: &Weights,
        device: &Device,
        numerics: Numerics,
    ) -> Result<DeviceWeights> {
        let parts = Parts::of_weights(&weights.layout, &weights.data, device)?;
        let parts = Held::trained(parts, numerics)?;
        Ok(DeviceWeights::new(weights, device, parts))
    }

    /// To be asked only, or to have an adapter trained on them.
    pub fn frozen(weights: &Weights, device: &Device, numerics: Numerics) -> Result<DeviceWeights> {
        let parts = Held::frozen(&weights.layout, &weights.data, device, numerics)?;
        Ok(DeviceWeights::new(weights, device, parts))
    }

    fn new(weights: &Weights, device: &Device, parts: Held) -> DeviceWeights {
        DeviceWeights {
            config: weights.config.clone(),
            parts,
            layout: Arc::clone(&weights.layout),
            device: device.clone(),
        }
    }

    /// As they compute now, to be kept while these are trained on.
    pub fn kept(&self) -> Result<DeviceWeights> {
        Ok(DeviceWeights {
            config: self.config.clone(),
            parts: self.parts.kept()?,
            layout: Arc::clone(&self.layout),
            device: self.device.clone(),
        })
    }

    pub fn download(&self) -> Result<Weights> {
        Ok(Weights {
            config: self.config.clone(),
            layout: Arc::clone(&self.layout),
            data: self.parts.download()?,
        })
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// As the arithmetic reads it: a matrix in bf16 where products are.
    pub(super) fn at(&self, span: &Range<usize>) -> &Tensor {
        self.parts.at(span)
    }
}

/// An adapter on a device.
#[derive(Clone, Debug)]
pub struct DeviceAdapter {
    /// What it is, without its numbers.
    shape: Adapter,
    pub parts: Held,
}

impl DeviceAdapter {
    /// In f32.
    pub fn upload(adapter: &Adapter, device: &Device) -> Result<DeviceAdapter> {
        DeviceAdapter::trained(adapter, device, Numerics::F32)
    }

    pub fn trained(
        adapter: &Adapter,
        device: &Device,
        numerics: Numerics,
    ) -> Result<DeviceAdapter> {
        let parts = Held::trained(Parts::of_adapter(adapter, device)?, numerics)?;
        let data = vec![];
        Ok(DeviceAdapter {
            shape: Adapter {
                data,
                ..adapter.clone()
            },
            parts,
        })
    }

    pub fn download(&self) -> Result<Adapter> {
        let data = self.parts.download()?;
        Ok(Adapter {
            data,
            ..self.shape.clone()
        })
    }

    /// The lowest block with an adapter: below it there is nothing to train.
    pub(super) fn first_block(&self) -> usize {
        self.shape.first_block()
    }
}

/// A model as it computes. What is trained is the adapter where there is one, and all weights where there is none.
#[derive(Clone, Copy, Debug)]
pub struct Net<'a> {
    pub weights: &'a DeviceWeights,
    pub adapter: Option<&'a DeviceAdapter>,
}

impl<'a> From<&'a DeviceWeights> for Net<'a> {
    fn from(weights: &'a DeviceWeights) -> Net<'a> {
        Net {
            weights,
            adapter: None,
        }
    }
}

/// A matrix of a block, with the linear layers that lie in it one below the other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Joint {
    Qkv,
    O,
    GateUp,
    Down,
}

impl<'a> Net<'a> {
    pub fn config(&self) -> &'a Config {
        &self.weights.config
    }

    pub fn device(&self) -> &'a Device {
        &self.weights.device
    }

    /// This model with its adapter off.
    pub fn frozen(&self) -> Net<'a> {
        self.weights.into()
    }

    /// What is trained.
    pub(super) fn trained(&self) -> &'a Parts {
        let held = self.adapter.map(|adapter| &adapter.parts);
        held.unwrap_or(&self.weights.parts).masters()
    }

    /// The type of what lies between two products: queries, keys and values, outputs of heads, gate and up.
    pub(super) fn between(&self) -> DType {
        match self.weights.parts.numerics() {
            Numerics::F32 => DType::F32,
            Numerics::Bf16 => DType::BF16,
        }
    }

    pub(super) fn matrix(&self, block: usize, joint: Joint) -> Matrix<'a> {
        let spans = &self.weights.layout.layers[block];
        let (span, linears): (_, &[Linear]) = match joint {
            Joint::Qkv => (&spans.qkv, &[Linear::Q, Linear::K, Linear::V]),
            Joint::O => (&spans.o, &[Linear::O]),
            Joint::GateUp => (&spans.gate_up, &[Linear::Gate, Linear::Up]),
            Joint::Down => (&spans.down, &[Linear::Down]),
        };
        let mut columns = 0;
        let mut pairs = vec![];
        for &linear in linears {
            let (out, _) = linear.shape(self.config());
            if let Some(pair) = self.pair(block, linear, columns..columns + out) {
                pairs.push(pair);
            }
            columns += out;
        }
        Matrix {
            span,
            weight: self.weights.at(span),
            trained: self.adapter.is_none(),
            pairs,
            outputs: columns,
        }
    }

    fn pair(&self, block: usize, linear: Linear, columns: Range<usize>) -> Option<Pair<'a>> {
        let adapter = self.adapter?;
        let sites = adapter.shape.sites.get(block)?;
        let site = sites[linear as usize].as_ref()?;
        Some(Pair {
            columns,
            a_span: &site.a,
            b_span: &site.b,
            a: adapter.parts.at(&site.a),
            b: adapter.parts.at(&site.b),
            scale: adapter.shape.scale(),
        })
    }
}

/// A matrix [out, in] with the adapters on it.
pub(super) struct Matrix<'a> {
    pub span: &'a Range<usize>,
    pub weight: &'a Tensor,
    /// Whether it has a gradient itself.
    pub trained: bool,
    /// In the order of their columns.
    pub pairs: Vec<Pair<'a>>,
    pub outputs: usize,
}

/// A [rank, in] and B [out, rank] on these columns of the output.
pub(super) struct Pair<'a> {
    pub columns: Range<usize>,
    pub a_span: &'a Range<usize>,
    pub b_span: &'a Range<usize>,
    pub a: &'a Tensor,
    pub b: &'a Tensor,
    pub scale: f64,
}
