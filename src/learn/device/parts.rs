//! Parameters on a device, and whatever has their layout: gradients, optimizer moments.
//!
//! A flat array is cut where a product ends: q, k and v of the weights are one tensor, gate and up another; A and B of every
//! site of an adapter are two. Knows no arithmetic but adding, and rounding to what a product reads.

use std::ops::Range;
use std::sync::Arc;

use base::device::Numerics;
use candle_core::{DType, Device, Result, Tensor};

use crate::adapter::Adapter;
use crate::device::ops::table;
use crate::device::product::add_product;
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
        Parts::upload(spans(layout).into(), data, device, Ok)
    }

    pub fn of_adapter(adapter: &Adapter, device: &Device) -> Result<Parts> {
        let span = |param: &Param| Span {
            range: param.range.clone(),
            role: param.role,
            shape: param.shape.clone(),
        };
        let spans = adapter.params.iter().map(span).collect();
        Parts::upload(spans, &adapter.data, device, Ok)
    }

    /// The same layout with these numbers.
    pub fn with(&self, data: &[f32], device: &Device) -> Result<Parts> {
        Parts::upload(Arc::clone(&self.spans), data, device, Ok)
    }

    /// The same layout with zeros.
    pub fn zeros(&self, device: &Device) -> Result<Parts> {
        let zeros = |span: &Span| Tensor::zeros(&span.shape[..], DType::F32, device);
        Ok(Parts {
            spans: Arc::clone(&self.spans),
            tensors: self.spans.iter().map(zeros).collect::<Result<_>>()?,
        })
    }

    /// The flat array again; of what is rounded, the rounded numbers.
    pub fn download(&self) -> Result<Vec<f32>> {
        let mut data = Vec::with_capacity(self.len());
        for tensor in &self.tensors {
            let tensor = tensor.flatten_all()?.to_dtype(DType::F32)?;
            data.extend(tensor.to_vec1::<f32>()?);
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

    /// The same of a product, in f32 whatever its factors are: on a GPU the product writes there itself.
    pub(super) fn add_product(
        &mut self,
        span: &Range<usize>,
        a: &Tensor,
        b: &Tensor,
    ) -> Result<()> {
        let index = self.index(span);
        add_product(&mut self.tensors[index], a, b)
    }

    /// Adds rows of numbers [n, in] to the rows `ids` [n] of a matrix that nobody else holds; an id may occur more than once.
    pub(super) fn add_rows(
        &mut self,
        span: &Range<usize>,
        ids: &[u32],
        rows: &Tensor,
    ) -> Result<()> {
        table::add(&self.tensors[self.index(span)], ids, rows)
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

    /// The same numbers, shared with nobody.
    fn copied(&self) -> Result<Parts> {
        Ok(Parts {
            spans: Arc::clone(&self.spans),
            tensors: self
                .tensors
                .iter()
                .map(Tensor::copy)
                .collect::<Result<_>>()?,
        })
    }

    /// What products read of these: matrices rounded to bf16. All else is shared.
    fn rounded(&self) -> Result<Parts> {
        Ok(Parts {
            spans: Arc::clone(&self.spans),
            tensors: self.tensors.iter().map(factor).collect::<Result<_>>()?,
        })
    }

    fn index(&self, span: &Range<usize>) -> usize {
        self.spans
            .binary_search_by_key(&span.start, |own| own.range.start)
            .expect("a span of the layout has a tensor")
    }

    /// `as_kept` has each tensor as soon as it is there.
    fn upload(
        spans: Arc<[Span]>,
        data: &[f32],
        device: &Device,
        as_kept: impl Fn(Tensor) -> Result<Tensor>,
    ) -> Result<Parts> {
        let upload = |span: &Span| {
            let data = &data[span.range.clone()];
            as_kept(Tensor::from_slice(data, &span.shape[..], device)?)
        };
        let tensors = spans.iter().map(upload).collect::<Result<_>>()?;
        let parts = Parts { spans, tensors };
        assert_eq!(data.len(), parts.len(), "the array has the layout");
        Ok(parts)
    }
}

/// A matrix as a product of bf16 reads it; a norm or bias as it is.
fn factor(tensor: &Tensor) -> Result<Tensor> {
    match tensor.rank() {
        2 => tensor.to_dtype(DType::BF16),
        _ => Ok(tensor.clone()),
    }
}

/// Parameters as they enter the arithmetic, and as they are trained: the same in f32. In bf16 the matrices of the first are
/// rounded from the second, the masters, which are in f32; what is never trained has no masters.
#[derive(Clone, Debug)]
pub struct Held {
    read: Parts,
    masters: Option<Parts>,
    numerics: Numerics,
}

impl Held {
    /// To be trained from these numbers.
    pub fn trained(parts: Parts, numerics: Numerics) -> Result<Held> {
        let (read, masters) = match numerics {
            Numerics::F32 => (parts, None),
            Numerics::Bf16 => (parts.rounded()?, Some(parts)),
        };
        Ok(Held {
            read,
            masters,
            numerics,
        })
    }

    /// Weights that are never trained.
    pub fn frozen(
        layout: &Layout,
        data: &[f32],
        device: &Device,
        numerics: Numerics,
    ) -> Result<Held> {
        let as_kept = |tensor: Tensor| match numerics {
            Numerics::F32 => Ok(tensor),
            Numerics::Bf16 => factor(&tensor),
        };
        Ok(Held {
            read: Parts::upload(spans(layout).into(), data, device, as_kept)?,
            masters: None,
            numerics,
        })
    }

    /// What computes now, to be kept as it is while this one is trained on.
    pub fn kept(&self) -> Result<Held> {
        Ok(Held {
            read: self.read.copied()?,
            masters: None,
            numerics: self.numerics,
        })
    }

    pub fn numerics(&self) -> Numerics {
        self.numerics
    }

    /// As the arithmetic reads the tensor of a span: a matrix in bf16 where products are.
    pub(super) fn at(&self, span: &Range<usize>) -> &Tensor {
        self.read.at(span)
    }

    /// What is trained, in f32.
    pub fn masters(&self) -> &Parts {
        self.masters.as_ref().unwrap_or(&self.read)
    }

    /// Changes what is trained; what products read of it is rounded anew.
    pub fn change<T>(&mut self, change: impl FnOnce(&mut Parts) -> Result<T>) -> Result<T> {
        let Some(masters) = &mut self.masters else {
            assert!(
                self.numerics == Numerics::F32,
                "what is trained in bf16 has masters in f32"
            );
            return change(&mut self.read);
        };
        let done = change(masters)?;
        for (read, master) in self.read.tensors.iter_mut().zip(&masters.tensors) {
            *read = factor(master)?;
        }
        Ok(done)
    }

    /// Zeros in f32 with this layout.
    pub fn zeros(&self, device: &Device) -> Result<Parts> {
        self.read.zeros(device)
    }

    /// See `Parts::download`, of what is trained.
    pub fn download(&self) -> Result<Vec<f32>> {
        self.masters().download()
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
