//! Parameters on a device, and whatever has their layout: gradients, optimizer moments.
//!
//! The flat array of the weights is cut where a product ends: q, k and v are one tensor, gate and up another. Knows no
//! arithmetic but adding.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};

use crate::config::Config;
use crate::weights::{LayerSpans, Layout, Role, Weights};

/// One tensor for every matrix, norm and bias that enters a product of its own.
#[derive(Clone, Debug)]
pub struct Parts {
    layout: Arc<Layout>,
    /// In the order of the flat array, which they cover.
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
pub(super) struct Part {
    pub range: Range<usize>,
    pub role: Role,
    /// [out, in] of a matrix, [n] of a norm or bias.
    pub tensor: Tensor,
}

impl Parts {
    /// `data` has the layout's length.
    pub fn upload(layout: &Arc<Layout>, data: &[f32], device: &Device) -> Result<Parts> {
        assert_eq!(data.len(), layout.len(), "the array has the layout");
        Parts::new(layout, |range, shape| {
            Tensor::from_slice(&data[range], shape, device)
        })
    }

    pub fn zeros(layout: &Arc<Layout>, device: &Device) -> Result<Parts> {
        Parts::new(layout, |_, shape| Tensor::zeros(shape, DType::F32, device))
    }

    /// The flat array again.
    pub fn download(&self) -> Result<Vec<f32>> {
        let mut data = Vec::with_capacity(self.layout.len());
        for part in &self.parts {
            data.extend(part.tensor.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(data)
    }

    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The tensor of a span of the layout.
    pub(super) fn at(&self, span: &Range<usize>) -> &Tensor {
        &self.parts[self.index(span)].tensor
    }

    pub(super) fn add(&mut self, span: &Range<usize>, what: &Tensor) -> Result<()> {
        let index = self.index(span);
        let tensor = &mut self.parts[index].tensor;
        *tensor = tensor.add(what)?;
        Ok(())
    }

    /// Adds rows of numbers [n, in] to the rows `ids` [n] of a matrix; an id may occur more than once.
    pub(super) fn add_rows(
        &mut self,
        span: &Range<usize>,
        ids: &Tensor,
        rows: &Tensor,
    ) -> Result<()> {
        let index = self.index(span);
        let tensor = &mut self.parts[index].tensor;
        *tensor = tensor.index_add(ids, rows, 0)?;
        Ok(())
    }

    pub(super) fn each(&self) -> &[Part] {
        &self.parts
    }

    pub(super) fn each_mut(&mut self) -> &mut [Part] {
        &mut self.parts
    }

    fn index(&self, span: &Range<usize>) -> usize {
        self.parts
            .binary_search_by_key(&span.start, |part| part.range.start)
            .expect("a span of the layout has a tensor")
    }

    fn new(
        layout: &Arc<Layout>,
        mut make: impl FnMut(Range<usize>, Vec<usize>) -> Result<Tensor>,
    ) -> Result<Parts> {
        let mut parts = Vec::new();
        for range in spans(layout) {
            let first = layout.params.iter().find(|p| p.range.start == range.start);
            let first = first.expect("a span begins with a parameter");
            let shape = match first.shape[..] {
                [_, columns] => vec![range.len() / columns, columns],
                _ => vec![range.len()],
            };
            parts.push(Part {
                tensor: make(range.clone(), shape)?,
                role: first.role,
                range,
            });
        }
        Ok(Parts {
            layout: Arc::clone(layout),
            parts,
        })
    }
}

/// Spans of the layout in the order of the flat array.
fn spans(layout: &Layout) -> Vec<Range<usize>> {
    let mut spans = vec![layout.embed.clone(), layout.final_norm.clone()];
    if layout.head != layout.embed {
        spans.push(layout.head.clone());
    }
    for layer in &layout.layers {
        let LayerSpans {
            input_norm,
            qkv,
            qkv_bias,
            q_norm,
            k_norm,
            o,
            post_norm,
            gate_up,
            down,
        } = layer.clone();
        spans.extend([input_norm, qkv, o, post_norm, gate_up, down]);
        spans.extend([qkv_bias, q_norm, k_norm].into_iter().flatten());
    }
    spans.sort_by_key(|span| span.start);
    let ends = spans.iter().map(|span| span.end);
    let starts = spans.iter().map(|span| span.start).skip(1);
    assert!(
        ends.eq(starts.chain([layout.len()])),
        "the spans cover the flat array"
    );
    spans
}

/// A decoder's weights on a device.
#[derive(Clone, Debug)]
pub struct DeviceWeights {
    pub config: Config,
    pub parts: Parts,
    pub(super) device: Device,
}

impl DeviceWeights {
    pub fn upload(weights: &Weights, device: &Device) -> Result<DeviceWeights> {
        Ok(DeviceWeights {
            config: weights.config.clone(),
            parts: Parts::upload(&weights.layout, &weights.data, device)?,
            device: device.clone(),
        })
    }

    pub fn download(&self) -> Result<Weights> {
        Ok(Weights {
            config: self.config.clone(),
            layout: Arc::clone(self.layout()),
            data: self.parts.download()?,
        })
    }

    pub fn layout(&self) -> &Arc<Layout> {
        self.parts.layout()
    }

    pub(super) fn at(&self, span: &Range<usize>) -> &Tensor {
        self.parts.at(span)
    }
}
