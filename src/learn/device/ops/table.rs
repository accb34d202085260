//! Rows of the table of embeddings, and sums onto them. By kernels where they are used, by candle's plain operations else.

use candle_core::{DType, Result, Tensor};

use crate::device::launch::{Arg, launch, of_rows, unwritten, used};

/// The rows `ids` of a table [vocabulary, width]: [ids, width] in f32.
pub fn gather(table: &Tensor, ids: &[u32]) -> Result<Tensor> {
    let of_ids = Tensor::from_slice(ids, ids.len(), table.device())?;
    // The kernel's table is f32.
    if !used(table.device()) || table.dtype() != DType::F32 {
        return table.index_select(&of_ids, 0)?.to_dtype(DType::F32);
    }
    let width = table.dim(1)?;
    let rows = unwritten((ids.len(), width), DType::F32, table.device())?;
    let arguments = [
        Arg::Read(table),
        Arg::Read(&of_ids),
        Arg::Write(&rows),
        Arg::I32(width),
    ];
    launch("embed", of_rows(DType::F32), [ids.len(), 1, 1], &arguments)?;
    Ok(rows)
}

/// Adds rows [ids, width] to the rows `ids` of a table in f32 whose numbers nobody else has; an id may occur more than once. Rows of
/// one id are summed in their order, and no two go to the same place.
pub fn add(table: &Tensor, ids: &[u32], rows: &Tensor) -> Result<()> {
    let device = table.device();
    if !used(device) {
        return plain_add(table, ids, rows);
    }
    let width = table.dim(1)?;
    let Segments { order, starts } = Segments::new(ids);
    let segments = starts.len() - 1;
    let upload = |list: &[u32]| Tensor::from_slice(list, list.len(), device);
    let (of_ids, order, starts) = (upload(ids)?, upload(&order)?, upload(&starts)?);
    let rows = rows.contiguous()?;
    let arguments = [
        Arg::Read(&rows),
        Arg::Read(&of_ids),
        Arg::Read(&order),
        Arg::Read(&starts),
        Arg::Write(table),
        Arg::I32(width),
    ];
    launch(
        "embed_backward",
        of_rows(DType::F32),
        [segments, width, 1],
        &arguments,
    )
}

/// Rows sorted by id, those of one id in their own order; where the rows of each id that occurs begin in that order, and their end.
struct Segments {
    order: Vec<u32>,
    starts: Vec<u32>,
}

impl Segments {
    fn new(ids: &[u32]) -> Segments {
        let mut order: Vec<u32> = (0..ids.len() as u32).collect();
        order.sort_by_key(|&row| ids[row as usize]);
        let id = |i: usize| ids[order[i] as usize];
        let begins = (0..ids.len()).filter(|&i| i == 0 || id(i) != id(i - 1));
        let ends = [ids.len()];
        let starts = begins.chain(ends).map(|i| i as u32).collect();
        Segments { order, starts }
    }
}

/// Rows of one id are summed by a product with zeros and ones, and written in place, as candle's `index_add` would copy the whole
/// table.
fn plain_add(table: &Tensor, ids: &[u32], rows: &Tensor) -> Result<()> {
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
