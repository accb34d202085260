//! Parameters on a device, and whatever has their layout: gradients, optimizer moments.
//!
//! A flat array is cut where a product ends: q, k and v of the weights are one tensor, gate and up another; A and B of every
//! site of an adapter are two. Knows no arithmetic but adding.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};

use crate::adapter::Adapter;
use crate::weights::{LayerSpans, Layout, Param, Role};

/// Where a tensor lies in the flat array.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub range: Range<usize>,
    pub role: Role,
    /// [out, in] of a matrix, [n] of a norm or bias.
    pub shape: Vec<usize>,
}

/// One tensor for every matrix, norm and bias that enters a product of its own.
#[derive(Clone, Debug)]
pub struct Parts {
    /// In the order of the flat array, which they cover.
    spans: Arc<[Span]>,
    tensors: Vec<Tensor>,
}

impl Parts {
    pub fn of_weights(layout: &Layout, data: &[f32], device: &Device) -> Result<Parts> {
        Parts::upload(spans(layout).into(), data, device)
    }

    pub fn of_adapter(adapter: &Adapter, device: &Device) -> Result<Parts> {
        let span = |param: &Param| Span {
            range: param.range.clone(),
            role: param.role,
            shape: param.shape.clone(),
        };
        let spans = adapter.params.iter().map(span).collect();
        Parts::upload(spans, &adapter.data, device)
    }

    /// The same layout with these numbers.
    pub fn with(&self, data: &[f32], device: &Device) -> Result<Parts> {
        Parts::upload(Arc::clone(&self.spans), data, device)
    }

    /// The same layout with zeros.
    pub fn zeros(&self, device: &Device) -> Result<Parts> {
        let zeros = |span: &Span| Tensor::zeros(&span.shape[..], DType::F32, device);
        Ok(Parts {
            spans: Arc::clone(&self.spans),
            tensors: self.spans.iter().map(zeros).collect::<Result<_>>()?,
        })
    }

    /// The flat array again.
    pub fn download(&self) -> Result<Vec<f32>> {
        let mut data = Vec::with_capacity(self.len());
        for tensor in &self.tensors {
            data.extend(tensor.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(data)
    }

    /// Numbers of the flat array.
    pub fn len(&self) -> usize {
        self.spans.last().map_or(0, |span| span.range.end)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tensor of a span of the layout.
    pub(super) fn at(&self, span: &Range<usize>) -> &Tensor {
        &self.tensors[self.index(span)]
    }

    pub(super) fn add(&mut self, span: &Range<usize>, what: &Tensor) -> Result<()> {
        let index = self.index(span);
        let tensor = &mut self.tensors[index];
        *tensor = tensor.add(what)?;
        Ok(())
    }

    /// Adds rows of numbers [n, in] to the rows `ids` [n] of a matrix that nobody else holds; an id may occur more than once.
    ///
    /// Rows of one id are summed first, by a product with zeros and ones: then no two go to the same place, and the sums have
    /// one order. They are written in place, as candle's `index_add` would copy the whole table.
    pub(super) fn add_rows(
        &mut self,
        span: &Range<usize>,
        ids: &[u32],
        rows: &Tensor,
    ) -> Result<()> {
        let table = &self.tensors[self.index(span)];
        let device = rows.device();
        let mut own = ids.to_vec();
        own.sort_unstable();
        own.dedup();
        let n = own.len();
        let own = Tensor::from_vec(own, (n, 1), device)?;
        let all = Tensor::from_slice(ids, (1, ids.len()), device)?;
        let which = own.broadcast_eq(&all)?.to_dtype(DType::F32)?;
        let sums = which.matmul(rows)?;
        let places = own.broadcast_as(sums.shape())?.contiguous()?;
        table.scatter_add_set(&places, &sums, 0)
    }

    /// Tensors with what they are.
    pub(super) fn each(&self) -> impl Iterator<Item = (Role, &Tensor)> {
        let roles = self.spans.iter().map(|span| span.role);
        roles.zip(&self.tensors)
    }

    pub(super) fn each_mut(&mut self) -> impl Iterator<Item = (Role, &mut Tensor)> {
        let roles = self.spans.iter().map(|span| span.role);
        roles.zip(&mut self.tensors)
    }

    fn index(&self, span: &Range<usize>) -> usize {
        self.spans
            .binary_search_by_key(&span.start, |own| own.range.start)
            .expect("a span of the layout has a tensor")
    }

    fn upload(spans: Arc<[Span]>, data: &[f32], device: &Device) -> Result<Parts> {
        let upload = |span: &Span| {
            let data = &data[span.range.clone()];
            Tensor::from_slice(data, &span.shape[..], device)
        };
        let tensors = spans.iter().map(upload).collect::<Result<_>>()?;
        let parts = Parts { spans, tensors };
        assert_eq!(data.len(), parts.len(), "the array has the layout");
        Ok(parts)
    }
}

/// Spans of the weights in the order of the flat array.
fn spans(layout: &Layout) -> Vec<Span> {
    let mut ranges = vec![layout.embed.clone(), layout.final_norm.clone()];
    if layout.head != layout.embed {
        ranges.push(layout.head.clone());
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
        ranges.extend([input_norm, qkv, o, post_norm, gate_up, down]);
        ranges.extend([qkv_bias, q_norm, k_norm].into_iter().flatten());
    }
    ranges.sort_by_key(|range| range.start);
    let ends = ranges.iter().map(|range| range.end);
    let starts = ranges.iter().map(|range| range.start).skip(1);
    assert!(
        ends.eq(starts.chain([layout.len()])),
        "the spans cover the flat array"
    );
    let span = |range: Range<usize>| {
        let first = layout.params.iter().find(|p| p.range.start == range.start);
        let first = first.expect("a span begins with a parameter");
        let shape = match first.shape[..] {
            [_, columns] => vec![range.len() / columns, columns],
            _ => vec![range.len()],
        };
        Span {
            range,
            role: first.role,
            shape,
        }
    };
    ranges.into_iter().map(span).collect()
}
