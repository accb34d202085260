//! Token sequences that lie one after another without padding: the input of a pass.

/// Token sequences one after another.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    pub ids: &'a [u32],
    /// S + 1 bounds: sequence s is `ids[starts[s]..starts[s + 1]]`.
    pub starts: &'a [usize],
}

impl Packed<'_> {
    /// Positions within the own sequence.
    ///
    /// Panics where the bounds are no partition of the tokens or an id is outside the vocabulary.
    pub(crate) fn positions(&self, vocabulary: usize) -> Vec<u32> {
        assert!(
            self.starts.first() == Some(&0) && self.starts.last() == Some(&self.ids.len()),
            "the bounds of packed sequences run from 0 to the number of tokens"
        );
        assert!(
            self.ids.iter().all(|&id| (id as usize) < vocabulary),
            "token ids lie inside the vocabulary"
        );
        let mut positions = Vec::with_capacity(self.ids.len());
        for bounds in self.starts.windows(2) {
            assert!(bounds[0] <= bounds[1], "the bounds of sequences ascend");
            positions.extend(0..(bounds[1] - bounds[0]) as u32);
        }
        positions
    }
}
