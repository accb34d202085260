//! The next token of each row, by the uniform number that the CPU's sampler would take and by its rules.
//!
//! For 256 rows of 151,936 tokens the logits are 155 MB: at the speed of the bus these would take longer than the model's own
//! step. Where the own kernels are used, the device draws. By plain operations only what a draw needs goes to the host: the
//! sums of the weights of blocks of tokens, and then the one block of every row in which the draw falls, 1.1 MB. Both walk in
//! f64 and in the order of the ids, so that a draw is the same for another number of rows.
//!
//! Truncation and penalty need the order or the history of a whole row: there the logits do go to the host, a chunk at a time,
//! and `Choice::pick` has them.

use candle_core::{DType, Result, Tensor};
use rayon::prelude::*;

use crate::device::launch::{Arg, launch, of_rows, unwritten, used};
use crate::device::ops::logits::{Stats, stats};
use crate::sample::choose::{Choice, block_at, not_finite, within};

/// Tokens of a block.
const BLOCK: usize = 512;

/// What a row's draw hangs on besides its logits.
pub(super) struct Ask<'a> {
    /// Its tokens so far, where a penalty asks for them.
    pub seen: &'a [u32],
    /// Uniform in [0, 1).
    pub unit: f64,
}

/// Token and log-probability as `Choice::pick` gives them; of a row with a logit that is not finite, that.
pub(super) type Drawn = std::result::Result<(u32, f32), f32>;

/// `logits` [rows, vocabulary], a row for each that is asked.
pub(super) fn draw(logits: &Tensor, choice: &Choice, asks: &[Ask]) -> Result<Vec<Drawn>> {
    match choice.whole() {
        true if used(logits.device()) => by_kernel(logits, choice, asks),
        true => by_blocks(logits, choice, asks),
        false => on_host(logits, choice, asks),
    }
}

/// A token and two numbers a row go to the host.
fn by_kernel(logits: &Tensor, choice: &Choice, asks: &[Ask]) -> Result<Vec<Drawn>> {
    let (rows, vocabulary) = logits.dims2()?;
    let (z, device) = (&logits.contiguous()?, logits.device());
    let scale = f64::from(choice.scale());
    let Stats {
        lse,
        entropy,
        greedy,
        ..
    } = stats(z, None, scale)?;
    let (tokens, logp) = match choice.temperature {
        0.0 => {
            let logp = (z.gather(&greedy, 1)? - lse)?;
            (greedy, logp)
        }
        _ => {
            let units = asks.iter().map(|ask| ask.unit).collect();
            let units = Tensor::from_vec::<_, f64>(units, rows, device)?;
            let of = |what: DType| unwritten((rows, 1), what, device);
            let (tokens, logp) = (of(DType::U32)?, of(DType::F32)?);
            let arguments = [
                Arg::Read(z),
                Arg::Read(&lse),
                Arg::Read(&greedy),
                Arg::Read(&units),
                Arg::F32(scale),
                Arg::Write(&tokens),
                Arg::Write(&logp),
                Arg::I32(vocabulary),
            ];
            launch("draw", of_rows(DType::F32), [rows, 1, 1], &arguments)?;
            (tokens, logp)
        }
    };
    let tokens = tokens.flatten_all()?.to_vec1::<u32>()?;
    let numbers = Tensor::cat(&[logp, entropy], 0)?.flatten_all()?;
    let numbers = numbers.to_vec1::<f32>()?;
    let (logps, entropies) = numbers.split_at(rows);
    let mut drawn = Vec::with_capacity(rows);
    for (i, ask) in asks.iter().enumerate() {
        // An entropy is finite where all logits are; where only it overflows, the host draws.
        let mut row = match entropies[i].is_finite() {
            true => {
                drawn.push(Ok((tokens[i], logps[i])));
                continue;
            }
            false => z.narrow(0, i, 1)?.flatten_all()?.to_vec1::<f32>()?,
        };
        drawn.push(match not_finite(&row) {
            Some(value) => Err(value),
            None => Ok(choice.pick(&mut row, ask.seen, ask.unit)),
        });
    }
    Ok(drawn)
}

fn on_host(logits: &Tensor, choice: &Choice, asks: &[Ask]) -> Result<Vec<Drawn>> {
    let mut rows = logits.to_vec2::<f32>()?;
    let each = rows.par_iter_mut().zip(asks);
    let drawn = each.map(|(row, ask)| match not_finite(row) {
        Some(value) => Err(value),
        None => Ok(choice.pick(row, ask.seen, ask.unit)),
    });
    Ok(drawn.collect())
}

fn by_blocks(logits: &Tensor, choice: &Choice, asks: &[Ask]) -> Result<Vec<Drawn>> {
    let (rows, v) = logits.dims2()?;
    let block = BLOCK.min(v);
    let count = v.div_ceil(block);
    // Zero where all are finite.
    let broken = (logits * 0.0)?.sum_keepdim(1)?;
    let mut below = match choice.scale() {
        1.0 => logits.clone(),
        scale => (logits * f64::from(scale))?,
    };
    below = below.broadcast_sub(&below.max_keepdim(1)?)?;
    if count * block > v {
        let shape = (rows, count * block - v);
        let none = Tensor::full(f32::NEG_INFINITY, shape, logits.device())?;
        below = Tensor::cat(&[below, none], 1)?;
    }
    let blocks = below.reshape((rows, count, block))?;
    let (sums, tops) = (blocks.exp()?.sum(2)?, blocks.max(2)?);
    let lines = Tensor::cat(&[broken, sums, tops], 1)?.to_vec2::<f32>()?;
    let places: Vec<Place> = lines
        .iter()
        .zip(asks)
        .map(|(line, ask)| Place::of(line, count, choice, ask.unit))
        .collect();
    let chosen = places.iter().enumerate();
    let chosen: Vec<u32> = chosen.map(|(i, p)| (i * count + p.block) as u32).collect();
    let chosen = Tensor::from_vec(chosen, rows, logits.device())?;
    let chosen = blocks
        .reshape((rows * count, block))?
        .index_select(&chosen, 0)?;
    let chosen = chosen.to_vec2::<f32>()?;
    let mut drawn = Vec::with_capacity(rows);
    for (i, (place, below)) in places.iter().zip(&chosen).enumerate() {
        if !place.finite {
            let row = logits.narrow(0, i, 1)?.to_dtype(DType::F32)?;
            let row = row.flatten_all()?.to_vec1::<f32>()?;
            drawn.push(Err(not_finite(&row).unwrap_or(f32::NAN)));
            continue;
        }
        let at = place.token(below, choice);
        let logp = f64::from(below[at]) - place.total.ln();
        drawn.push(Ok(((place.block * block + at) as u32, logp as f32)));
    }
    Ok(drawn)
}

/// The block in which a row's draw falls.
struct Place {
    finite: bool,
    block: usize,
    /// Weight that is left to walk there.
    left: f64,
    /// The sum of all weights, that of the most probable token being 1.
    total: f64,
}

impl Place {
    /// `line`: zero where the logits are finite, the weights of the blocks, and how far each one's most probable token is below
    /// that of the row.
    fn of(line: &[f32], count: usize, choice: &Choice, unit: f64) -> Place {
        let (sums, tops) = line[1..].split_at(count);
        let sums: Vec<f64> = sums.iter().map(|&sum| f64::from(sum)).collect();
        let (block, left) = match choice.temperature {
            0.0 => (tops.iter().position(|&top| top == 0.0).unwrap_or(0), 0.0),
            _ => block_at(&sums, unit),
        };
        Place {
            finite: line[0] == 0.0,
            block,
            left,
            total: sums.iter().sum(),
        }
    }

    /// The token in the block, given how far each is below the most probable one.
    fn token(&self, below: &[f32], choice: &Choice) -> usize {
        let first_of = |top: f32| below.iter().position(|&z| z == top).unwrap_or(0);
        match choice.temperature {
            0.0 => first_of(0.0),
            _ => {
                let weights = below.iter().map(|z| f64::from(z.exp()));
                within(weights, self.left)
                    .unwrap_or_else(|| first_of(below.iter().copied().fold(f32::MIN, f32::max)))
            }
        }
    }
}
