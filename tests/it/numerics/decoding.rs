//! The kernels of decoding against the order of operations that they promise, number by number: trained models hang on every bit.

use super::random;
use pipe::base::rng::Seed;
use pipe::learn::kernels::simd::{LANES, exp, fold};
use pipe::learn::sample::attend::Attend;
use pipe::learn::sample::cache::Cache;
use pipe::learn::sample::panels::{Into, Panels};
use pipe::learn::sample::team::Team;

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

/// One part of a sequence: keys and values, each [positions, kv_heads * dim], and the same in a cache of one layer behind another.
struct Part {
    keys: Vec<f32>,
    values: Vec<f32>,
    cache: Cache,
}

const LAYER: usize = 1;

fn part(positions: usize, kv_heads: usize, dim: usize, seed: u64) -> Part {
    let width = kv_heads * dim;
    let (keys, values) = (
        random(positions * width, seed),
        random(positions * width, seed + 1),
    );
    let mut cache = Cache::new(LAYER + 1, kv_heads, dim, positions);
    for t in 0..positions {
        let at = t * width..(t + 1) * width;
        cache.put(LAYER, t, &[&keys[at.clone()], &values[at]].concat());
    }
    Part {
        keys,
        values,
        cache,
    }
}

/// Attention of one query over the first positions of some parts, in scalars: scores are sums over the head, probabilities are summed
/// in `LANES` lanes and one by one behind the last whole vector, values by even and odd positions of every part.
fn reference(parts: &[(&Part, usize)], query: &[f32], heads: usize, kv_heads: usize) -> Vec<f32> {
    let dim = query.len() / heads;
    let scale = 1.0 / (dim as f32).sqrt();
    let mut out = vec![];
    for head in 0..heads {
        let column = head / (heads / kv_heads) * dim;
        let line = |data: &[f32], t: usize| data[t * kv_heads * dim + column..][..dim].to_vec();
        let q = &query[head * dim..][..dim];
        let mut p = vec![];
        for (part, n) in parts {
            for t in 0..*n {
                let dot = q.iter().zip(line(&part.keys, t));
                p.push(dot.fold(0.0f32, |sum, (q, k)| q.mul_add(k, sum)) * scale);
            }
        }
        let top = p.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut lanes = [0.0; LANES];
        let whole = p.len() / LANES * LANES;
        for (i, p) in p.iter_mut().enumerate() {
            *p = exp(*p - top);
            if i < whole {
                lanes[i % LANES] += *p;
            }
        }
        let sum = p[whole..].iter().fold(fold(lanes), |sum, p| sum + p);
        let mut mixed = vec![0.0f32; dim];
        let mut p = p.iter();
        for (part, n) in parts {
            let mut sums = [vec![0.0f32; dim], vec![0.0f32; dim]];
            for (t, p) in (0..*n).zip(&mut p) {
                for (sum, v) in sums[t % 2].iter_mut().zip(line(&part.values, t)) {
                    *sum = p.mul_add(v, *sum);
                }
            }
            for i in 0..dim {
                mixed[i] += sums[0][i] + sums[1][i];
            }
        }
        out.extend(mixed.iter().map(|x| x * (1.0 / sum)));
    }
    out
}

fn attend<const ROWS: usize>(
    parts: &[(&Part, usize)],
    queries: &[f32],
    heads: usize,
    room: &mut Vec<f32>,
) -> Vec<f32> {
    let seen: Vec<(&Cache, usize)> = parts.iter().map(|(part, n)| (&part.cache, *n)).collect();
    let width = queries.len() / ROWS;
    let mut out = vec![f32::NAN; queries.len()];
    let attend = Attend::<ROWS> {
        scale: 1.0 / ((width / heads) as f32).sqrt(),
        layer: LAYER,
        seen: &seen,
        queries: std::array::from_fn(|r| &queries[r * width..(r + 1) * width]),
        out: &mut out,
        heads,
        room,
    };
    attend.run();
    out
}

#[test]
fn four_rows_attend_with_the_bits_of_each_alone_which_are_those_of_scalars() {
    let mut room = vec![f32::NAN; 100];
    for (heads, kv_heads, dim) in [
        (4, 4, 24),
        (4, 2, 8),
        (9, 3, 64),
        (2, 1, 20),
        (3, 3, 96),
        (2, 2, 33),
    ] {
        let width = heads * dim;
        for (shared, own) in [
            (0, 1),
            (0, 2),
            (30, 1),
            (31, 14),
            (5, 15),
            (0, 29),
            (16, 13),
            (48, 45),
        ] {
            let first = part(shared + 3, kv_heads, dim, 10 + own as u64);
            let second = part(own + 3, kv_heads, dim, 50 + shared as u64);
            let queries = random(4 * width, (shared + own) as u64);
            let both = [(&first, shared), (&second, own)];
            let parts = if shared == 0 { &both[1..] } else { &both[..] };
            let together = attend::<4>(parts, &queries, heads, &mut room);
            for r in 0..4 {
                let mut parts = parts.to_vec();
                parts.last_mut().unwrap().1 += r;
                let query = &queries[r * width..(r + 1) * width];
                let alone = attend::<1>(&parts, query, heads, &mut room);
                let case = format!("{heads} heads of {dim}, {shared} and {own} positions, row {r}");
                assert_eq!(
                    bits(&together[r * width..(r + 1) * width]),
                    bits(&alone),
                    "{case}"
                );
                let expected = reference(&parts, query, heads, kv_heads);
                assert_eq!(bits(&alone), bits(&expected), "{case}");
            }
        }
    }
}

#[test]
fn a_product_of_any_number_of_rows_has_the_bits_of_scalars() {
    let mut rng = Seed::new(8).rng();
    for (inputs, outputs) in [(1, 1), (24, 16), (33, 40), (70, 72), (96, 111), (65, 160)] {
        let matrix = random(inputs * outputs, 1);
        let bias = random(outputs, 2);
        for rows in [1, 2, 3, 7, 11, 12, 13, 25, 36, 40] {
            let x = random(rows * inputs, 3 + rows as u64);
            for (bias, into) in [(None, Into::Replace), (Some(&bias[..]), Into::Add)] {
                let before = random(rows * outputs, rng.below(100) as u64);
                let mut out = before.clone();
                Panels::new(&matrix, outputs, bias).apply(&Team::alone(), &x, &mut out, into);
                for (i, (&found, before)) in out.iter().zip(before).enumerate() {
                    let (row, column) = (i / outputs, i % outputs);
                    let line = &matrix[column * inputs..(column + 1) * inputs];
                    let pairs = x[row * inputs..(row + 1) * inputs].iter().zip(line);
                    let sum = pairs.fold(0.0f32, |sum, (x, w)| x.mul_add(*w, sum));
                    let sum = bias.map_or(sum, |bias| sum + bias[column]);
                    let expected = if into == Into::Add { before + sum } else { sum };
                    let case = format!("{rows} rows, {inputs} to {outputs}, number {i}");
                    assert_eq!(found.to_bits(), expected.to_bits(), "{case}");
                }
            }
        }
    }
}
