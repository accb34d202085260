//! A model's matrices in panels, in the memory that they have anyway: for a large model that is only asked, a second copy would be
//! most of what it takes.

use crate::config::Head;
use crate::sample::panels::{fits, lay_back, lay_out};
use crate::weights::Weights;
use std::ops::{Deref, Range};

/// Weights whose matrices lie in panels for as long as this lives; then, whatever happened, they are as they were.
pub struct InPlace<'w>(&'w mut Weights);

impl<'w> InPlace<'w> {
    /// Whether every matrix is a number of whole panels, and the head is one that decoding reads.
    pub fn possible(weights: &Weights) -> bool {
        let mut matrices = matrices(weights).into_iter();
        let language = !matches!(weights.config.head, Head::Score { .. });
        language && matrices.all(|(span, inputs)| fits(span.len() / inputs))
    }

    /// Of weights where it is possible.
    pub fn new(weights: &'w mut Weights) -> InPlace<'w> {
        assert!(InPlace::possible(weights), "matrices are whole panels");
        for (span, inputs) in matrices(weights) {
            lay_out(&mut weights.data[span], inputs);
        }
        InPlace(weights)
    }

    /// Whether the embeddings lie in panels too, as the head's matrix.
    pub fn tied(&self) -> bool {
        self.0.layout.head == self.0.layout.embed
    }
}

impl Deref for InPlace<'_> {
    type Target = Weights;

    fn deref(&self) -> &Weights {
        self.0
    }
}

impl Drop for InPlace<'_> {
    fn drop(&mut self) {
        for (span, inputs) in matrices(self.0) {
            lay_back(&mut self.0.data[span], inputs);
        }
    }
}

/// What decoding multiplies with, and the inputs of each.
fn matrices(weights: &Weights) -> Vec<(Range<usize>, usize)> {
    let (config, layout) = (&weights.config, &weights.layout);
    let (d, f, q) = (
        config.hidden_size,
        config.intermediate_size,
        config.q_width(),
    );
    let mut all = vec![(layout.head.clone(), d)];
    for layer in &layout.layers {
        all.extend([
            (layer.qkv.clone(), d),
            (layer.o.clone(), q),
            (layer.gate_up.clone(), d),
            (layer.down.clone(), f),
        ]);
    }
    all
}
