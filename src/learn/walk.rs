//! One walk over a model's blocks, whatever computes: forward with what the way back needs, forward without it, and back. How a block
//! is computed is for the CPU's code and the device's to say. Knows no head, no batch and no buffer.

/// How much of a forward pass is kept. It changes time and memory, not one bit of a gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// All that the backward pass reads.
    #[default]
    All,
    /// The hidden state before each block; the backward pass computes the block again: about a third more time, and the
    /// memory of one block instead of all (activation checkpointing, Chen et al. 2016).
    States,
}

/// A model's blocks on a batch, forward.
pub(crate) trait Blocks {
    /// Rows between two blocks [rows, hidden].
    type State;
    /// What a block keeps for its way back.
    type Tape;
    type Error;

    fn blocks(&self) -> usize;

    /// Rows of token embeddings.
    fn embed(&mut self) -> Result<Self::State, Self::Error>;

    /// A block's output, and its tape.
    fn block(
        &mut self,
        block: usize,
        h: &Self::State,
    ) -> Result<(Self::State, Self::Tape), Self::Error>;

    /// Neither is needed any more.
    fn done(&mut self, _state: Option<Self::State>, _tape: Option<Self::Tape>) {}
}

/// What a pass forward leaves for the way back.
pub(crate) struct Walked<B: Blocks + ?Sized> {
    /// Embeddings, then the output of every block.
    pub hidden: Vec<B::State>,
    /// Of every block; None where it is to be computed again (`Keep::States`).
    pub tapes: Vec<Option<B::Tape>>,
}

/// Forward, for a way back.
pub(crate) fn forward<B: Blocks>(on: &mut B, keep: Keep) -> Result<Walked<B>, B::Error> {
    let mut hidden = vec![on.embed()?];
    let mut tapes = Vec::with_capacity(on.blocks());
    for block in 0..on.blocks() {
        let (out, tape) = on.block(block, &hidden[block])?;
        hidden.push(out);
        tapes.push(match keep {
            Keep::All => Some(tape),
            Keep::States => {
                on.done(None, Some(tape));
                None
            }
        });
    }
    Ok(Walked { hidden, tapes })
}

/// The output of the last block; `look` sees the embeddings (0) and the output of every block on the way.
pub(crate) fn last<B: Blocks>(
    on: &mut B,
    mut look: impl FnMut(usize, &B::State) -> Result<(), B::Error>,
) -> Result<B::State, B::Error> {
    let mut h = on.embed()?;
    look(0, &h)?;
    for block in 0..on.blocks() {
        let (out, tape) = on.block(block, &h)?;
        on.done(Some(std::mem::replace(&mut h, out)), Some(tape));
        look(block + 1, &h)?;
    }
    Ok(h)
}

/// A model's blocks on a batch that went forward, back.
pub(crate) trait Back {
    type State;
    type Error;

    /// From the gradient of a block's output to that of its input; what is trained of the block gets its own.
    fn block(&mut self, block: usize, dout: Self::State) -> Result<Self::State, Self::Error>;

    /// With a gradient that a state has beside that from above.
    fn add(&mut self, dh: Self::State, given: &[f32]) -> Result<Self::State, Self::Error>;
}

/// Back from the gradient of the last block's output through `blocks` blocks, down to block `lowest`: the gradient of its input.
/// `given` are gradients of states by their number (0 the embeddings, i the output of block i): none, or an entry for each.
pub(crate) fn back<B: Back>(
    on: &mut B,
    blocks: usize,
    lowest: usize,
    dlast: B::State,
    given: &[Option<&[f32]>],
) -> Result<B::State, B::Error> {
    let mut dh = dlast;
    for state in (lowest..=blocks).rev() {
        if let Some(given) = given.get(state).copied().flatten() {
            dh = on.add(dh, given)?;
        }
        if state > lowest {
            dh = on.block(state - 1, dh)?;
        }
    }
    Ok(dh)
}
