//! Rows of logits: statistics, gradient, draws; and places beyond 2^32.

use super::buffer::{Arg, Buffer, Kind, args};
use super::shim::{Shim, grid_of};
use super::{close, differences, normals, tolerance};

struct Row {
    lse: f64,
    entropy: f64,
    logp: f64,
    greedy: usize,
}

fn stats(z: &[f64], target: usize) -> Row {
    let top = z.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
    let lse = top + z.iter().map(|z| (z - top).exp()).sum::<f64>().ln();
    Row {
        lse,
        entropy: -z.iter().map(|z| (z - lse).exp() * (z - lse)).sum::<f64>(),
        logp: z[target] - lse,
        greedy: z.iter().position(|&z| z == top).unwrap(),
    }
}

fn scaled(z: &[f64], scale: f64) -> Vec<f64> {
    z.iter().map(|z| z * scale).collect()
}

pub fn rows(shim: &Shim, rows: usize, vocabulary: usize, scale: f64) {
    let what = format!("{rows} x {vocabulary} logits times {scale}");
    let mut logits = normals("z", rows * vocabulary, 3.0);
    // Two that tie for the largest.
    let ties = [vocabulary / 3, vocabulary - 1];
    ties.iter().for_each(|&i| logits[i] = 12.0);
    let z = Buffer::of(Kind::F32, &logits);
    let targets: Vec<usize> = (0..rows)
        .map(|n| {
            if n == 0 {
                ties[1]
            } else {
                n * 7919 % vocabulary
            }
        })
        .collect();
    let of_targets = Buffer::ids(&targets);
    let [lse, entropy, logp] = [(); 3].map(|()| Buffer::unwritten(Kind::F32, rows));
    let greedy = Buffer::unwritten(Kind::U32, rows);
    let arguments = args![
        &z,
        &of_targets,
        scale,
        &lse,
        &entropy,
        &logp,
        &greedy,
        vocabulary
    ];
    shim.launch("logit_stats", [rows, 1, 1], &arguments);
    let x = z.values();
    let all: Vec<Row> = x
        .chunks(vocabulary)
        .zip(&targets)
        .map(|(z, &t)| stats(&scaled(z, scale), t))
        .collect();
    close(
        &what,
        &lse.values(),
        &all.iter().map(|r| r.lse).collect::<Vec<_>>(),
        1e-6,
    );
    close(
        &what,
        &entropy.values(),
        &all.iter().map(|r| r.entropy).collect::<Vec<_>>(),
        1e-5,
    );
    close(
        &what,
        &logp.values(),
        &all.iter().map(|r| r.logp).collect::<Vec<_>>(),
        1e-6,
    );
    let first: Vec<f64> = all.iter().map(|r| r.greedy as f64).collect();
    assert_eq!(greedy.values(), first, "the first of the largest");

    let [dlogp, dentropy] =
        ["dlogp", "dentropy"].map(|name| Buffer::of(Kind::F32, &normals(name, rows, 1.0)));
    for with_entropy in [true, false] {
        let dz = shim.unwritten_act(rows * vocabulary);
        let given = with_entropy.then_some(&dentropy);
        let arguments = args![
            &z,
            &dz,
            &of_targets,
            scale,
            &lse,
            &entropy,
            &dlogp,
            given,
            vocabulary
        ];
        shim.launch("logit_gradient", [rows, vocabulary, 1], &arguments);
        let (slopes, of_entropy) = (dlogp.values(), dentropy.values());
        let mut want = vec![];
        for (n, z) in x.chunks(vocabulary).enumerate() {
            let (row, more) = (&all[n], if with_entropy { of_entropy[n] } else { 0.0 });
            let own = want.len();
            for z in scaled(z, scale) {
                let log_p = z - row.lse;
                want.push(-log_p.exp() * (slopes[n] + more * (log_p + row.entropy)) * scale);
            }
            want[own + targets[n]] += slopes[n] * scale;
            differences(&what, z, &[slopes[n], more], &want[own..], |z| {
                let row = stats(&scaled(z, scale), targets[n]);
                vec![row.logp, row.entropy]
            });
        }
        close(
            &what,
            &dz.values(),
            &want,
            tolerance(shim.variant.act).max(1e-5),
        );
    }
}

#[test]
fn rows_of_odd_vocabularies() {
    for act in [Kind::Bf16, Kind::F32] {
        let Some(shim) = Shim::get(act, 64) else {
            return;
        };
        for (n, vocabulary, scale) in [(1, 5, 1.0), (3, 513, 0.8), (2, 5003, 1.25)] {
            rows(shim, n, vocabulary, f64::from(scale as f32));
        }
    }
}

/// In f32 the gradient takes the place of the logits.
#[test]
fn the_gradient_of_logits_in_place() {
    let Some(shim) = Shim::get(Kind::F32, 64) else {
        return;
    };
    let z = Buffer::of(Kind::F32, &normals("place", 3, 1.0));
    let p = scaled(&z.values(), 1.0);
    let row = stats(&p, 2);
    let [lse, entropy, dlogp] = [row.lse, row.entropy, 2.0].map(|x| Buffer::of(Kind::F32, &[x]));
    let target = Buffer::ids(&[2]);
    let arguments = args![&z, &z, &target, 1.0, &lse, &entropy, &dlogp, Arg::Null, 3];
    shim.launch("logit_gradient", [1, 3, 1], &arguments);
    let want: Vec<f64> = (0..3)
        .map(|j| 2.0 * (f64::from(u8::from(j == 2)) - (p[j] - row.lse).exp()))
        .collect();
    close("in place", &z.values(), &want, 1e-6);
}

/// One row of logits that are no number makes its statistics none, and leaves its neighbours alone.
#[test]
fn a_logit_that_is_no_number_is_seen_in_its_row_alone() {
    let Some(shim) = Shim::get(Kind::Bf16, 64) else {
        return;
    };
    let mut logits = normals("nan", 2 * 700, 1.0);
    logits[650] = f64::NAN;
    let z = Buffer::of(Kind::F32, &logits);
    let [lse, entropy] = [(); 2].map(|()| Buffer::unwritten(Kind::F32, 2));
    let greedy = Buffer::unwritten(Kind::U32, 2);
    let arguments = args![&z, Arg::Null, 1.0, &lse, &entropy, Arg::Null, &greedy, 700];
    shim.launch("logit_stats", [2, 1, 1], &arguments);
    let (lse, entropy) = (lse.values(), entropy.values());
    assert!(lse[0].is_nan() && entropy[0].is_nan());
    assert!((lse[1] - stats(&z.values()[700..], 0).lse).abs() < 1e-5);
}

pub fn draws(shim: &Shim, vocabulary: usize) {
    let scale = f64::from(0.9f32);
    let units: Vec<f64> = [
        0.0,
        0.25,
        0.5,
        0.999_999_9,
        f64::from_bits(0x3fef_ffff_ffff_ffff),
    ]
    .into_iter()
    .chain((0..12).map(|i| f64::from(i) / 12.3))
    .collect();
    let rows = units.len();
    let z = Buffer::of(Kind::F32, &normals("draw", rows * vocabulary, 3.0));
    let x = z.values();
    let of: Vec<Row> = x
        .chunks(vocabulary)
        .map(|z| stats(&scaled(z, scale), 0))
        .collect();
    let lse = Buffer::of(Kind::F32, &of.iter().map(|r| r.lse).collect::<Vec<_>>());
    let greedy = Buffer::ids(&of.iter().map(|r| r.greedy).collect::<Vec<_>>());
    let of_units = Buffer::of(Kind::F64, &units);
    let (tokens, logp) = (
        Buffer::unwritten(Kind::U32, rows),
        Buffer::unwritten(Kind::F32, rows),
    );
    let arguments = args![
        &z, &lse, &greedy, &of_units, scale, &tokens, &logp, vocabulary
    ];
    shim.launch("draw", [rows, 1, 1], &arguments);
    for (n, (token, logp)) in tokens.values().iter().zip(logp.values()).enumerate() {
        let z = scaled(&x[n * vocabulary..(n + 1) * vocabulary], scale);
        let token = *token as usize;
        let p = |i: usize| (z[i] - of[n].lse).exp();
        let before: f64 = (0..token).map(p).sum();
        let within = before - 1e-5 <= units[n] && units[n] <= before + p(token) + 1e-5;
        assert!(within, "{} draws {token} of {vocabulary}", units[n]);
        assert!((logp - p(token).ln()).abs() < 1e-4);
    }
}

#[test]
fn draws_in_the_order_of_the_vocabulary() {
    let Some(shim) = Shim::get(Kind::Bf16, 64) else {
        return;
    };
    for vocabulary in [1, 33, 700, 5003] {
        draws(shim, vocabulary);
    }
}

/// What has no weight is never drawn: neither at the ends nor where rounding walks past the last that has.
#[test]
fn no_token_without_weight_is_drawn() {
    let Some(shim) = Shim::get(Kind::Bf16, 64) else {
        return;
    };
    let vocabulary = 1200;
    let mut logits = vec![-1e4; vocabulary];
    (logits[40], logits[700]) = (0.0, 0.0);
    let z = Buffer::of(Kind::F32, &logits.repeat(4));
    let lse = Buffer::of(Kind::F32, &[2f64.ln(); 4]);
    let (greedy, units) = (Buffer::ids(&[40; 4]), [0.0, 0.49, 0.51, 1.0]);
    let of_units = Buffer::of(Kind::F64, &units);
    let (tokens, logp) = (
        Buffer::unwritten(Kind::U32, 4),
        Buffer::unwritten(Kind::F32, 4),
    );
    let arguments = args![
        &z, &lse, &greedy, &of_units, 1.0, &tokens, &logp, vocabulary
    ];
    shim.launch("draw", [4, 1, 1], &arguments);
    assert_eq!(tokens.values(), [40.0, 40.0, 700.0, 700.0]);
}

/// Of logits of which none is a number nothing is read beside the row.
#[test]
fn a_row_without_numbers_draws_a_token_that_there_is() {
    let Some(shim) = Shim::get(Kind::Bf16, 64) else {
        return;
    };
    let vocabulary = 700;
    let z = Buffer::of(Kind::F32, &vec![f64::NAN; vocabulary]);
    let [lse, entropy, logp] = [(); 3].map(|()| Buffer::unwritten(Kind::F32, 1));
    let [greedy, tokens] = [(); 2].map(|()| Buffer::unwritten(Kind::U32, 1));
    let arguments = args![
        &z,
        Arg::Null,
        1.0,
        &lse,
        &entropy,
        Arg::Null,
        &greedy,
        vocabulary
    ];
    shim.launch("logit_stats", [1, 1, 1], &arguments);
    let units = Buffer::of(Kind::F64, &[0.5]);
    let arguments = args![&z, &lse, &greedy, &units, 1.0, &tokens, &logp, vocabulary];
    shim.launch("draw", [1, 1, 1], &arguments);
    assert!(tokens.values()[0] < vocabulary as f64);
    assert!(entropy.values()[0].is_nan() && logp.values()[0].is_nan());
}

/// Memory of a size that nobody has; only pages that are touched take room.
struct Sparse {
    at: *mut libc::c_void,
    bytes: usize,
}

impl Sparse {
    fn new(bytes: usize) -> Sparse {
        let (access, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
        );
        // SAFETY: a new mapping.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED, "{} GB of addresses", bytes >> 30);
        Sparse { at, bytes }
    }
}

impl Drop for Sparse {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`.
        unsafe { libc::munmap(self.at, self.bytes) };
    }
}

/// 28,300 rows of 151,936 logits: the last row begins beyond 2^32 numbers.
#[test]
fn a_row_beyond_two_to_the_thirty_second() {
    let Some(shim) = Shim::get(Kind::Bf16, 64) else {
        return;
    };
    let (rows, vocabulary) = (28_300usize, 151_936usize);
    let (z, dz) = (
        Sparse::new(rows * vocabulary * 4),
        Sparse::new(rows * vocabulary * 2),
    );
    let last = (rows - 1) * vocabulary;
    assert!(last > 1 << 32);
    let logits = normals("last", vocabulary, 1.0);
    // SAFETY: the last row lies inside the mapping.
    let (row, gradient) = unsafe {
        (
            std::slice::from_raw_parts_mut(z.at.cast::<f32>().add(last), vocabulary),
            std::slice::from_raw_parts(dz.at.cast::<u16>().add(last), vocabulary),
        )
    };
    row.iter_mut()
        .zip(&logits)
        .for_each(|(z, &x)| *z = x as f32);
    let targets = vec![77u32; rows];
    let [mut lse, mut entropy, mut logp] = [(); 3].map(|()| vec![0f32; rows]);
    let mut greedy = vec![0u32; rows];
    let (one, words) = (u64::from(1f32.to_bits()), vocabulary as u64);
    let outs = [
        lse.as_mut_ptr() as u64,
        entropy.as_mut_ptr() as u64,
        logp.as_mut_ptr() as u64,
    ];
    let arguments = [
        &[z.at as u64, targets.as_ptr() as u64, one][..],
        &outs,
        &[greedy.as_mut_ptr() as u64, words],
    ];
    let own = rows as u64 - 1;
    // SAFETY: arrays of all rows.
    let told = unsafe {
        shim.run(
            "logit_stats",
            grid_of("logit_stats", [rows, 1, 1]),
            &arguments.concat(),
            own..own + 1,
            1,
            None,
        )
    };
    assert_eq!(told, None);
    let want = stats(&row.iter().map(|&z| f64::from(z)).collect::<Vec<_>>(), 77);
    assert!((f64::from(lse[rows - 1]) - want.lse).abs() < 1e-5);
    assert!((f64::from(logp[rows - 1]) - want.logp).abs() < 1e-5);

    let slopes = vec![1f32; rows];
    let arguments = [
        z.at as u64,
        dz.at as u64,
        targets.as_ptr() as u64,
        one,
        outs[0],
        outs[1],
        slopes.as_ptr() as u64,
        0,
        words,
    ];
    let grid = grid_of("logit_gradient", [rows, vocabulary, 1]);
    let across = grid[1];
    for y in [0, across - 1] {
        let block = (y * rows + rows - 1) as u64;
        // SAFETY: as above.
        let told = unsafe {
            shim.run(
                "logit_gradient",
                grid,
                &arguments,
                block..block + 1,
                1,
                None,
            )
        };
        assert_eq!(told, None);
    }
    let of = |i: usize| f64::from(f32::from_bits(u32::from(gradient[i]) << 16));
    for (i, target) in [(77, 1.0), (2047, 0.0), (vocabulary - 1, 0.0)] {
        let want = target - (f64::from(row[i]) - want.lse).exp();
        assert!(
            (of(i) - want).abs() <= 0.004 * want.abs(),
            "{i}: {} {want}",
            of(i)
        );
    }
}
