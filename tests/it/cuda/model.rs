//! A decoder of the kernels, forward and backward, in the order in which a device would launch them. Products are of f64, on
//! numbers as the kernels hand them over, and rounded to what a kernel reads next.

use pipe::learn::config::Config;
use pipe::learn::device::kernels::{ROWS, TILE};
use pipe::learn::kernels::rope::Rope;
use pipe::learn::weights::{LayerSpans, Weights};
use std::ops::Range;

use super::buffer::{Arg, Buffer, Kind, args};
use super::shim::Shim;

pub const HEAD: usize = 64;

/// a [m, k] times b [n, k] transposed.
fn times_transposed(a: &[f64], b: &[f64], k: usize) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    a.chunks(k)
        .flat_map(|a| b.chunks(k).map(move |b| dot(a, b)))
        .collect()
}

/// a [m, k] times b [k, n].
fn times(a: &[f64], b: &[f64], k: usize) -> Vec<f64> {
    let n = b.len() / k;
    let mut out = vec![0.0; a.len() / k * n];
    for (a, out) in a.chunks(k).zip(out.chunks_mut(n)) {
        for (a, b) in a.iter().zip(b.chunks(n)) {
            out.iter_mut().zip(b).for_each(|(o, b)| *o += a * b);
        }
    }
    out
}

/// out [k, n] += a [m, k] transposed times b [m, n].
fn add_transposed(out: &mut [f64], a: &[f64], b: &[f64], k: usize) {
    let n = out.len() / k;
    for (a, b) in a.chunks(k).zip(b.chunks(n)) {
        for (a, out) in a.iter().zip(out.chunks_mut(n)) {
            out.iter_mut().zip(b).for_each(|(o, b)| *o += a * b);
        }
    }
}

/// What a block keeps.
struct Kept {
    h: Buffer,
    r_in: Buffer,
    x: Buffer,
    raw: Buffer,
    qkv: Buffer,
    out: Buffer,
    lse: Buffer,
    middle: Buffer,
    r_post: Buffer,
    x_post: Buffer,
    gate_up: Buffer,
}

pub struct Model<'a> {
    shim: &'a Shim,
    weights: &'a Weights,
    rows: usize,
    ids: Buffer,
    positions: Buffer,
    tiles: Buffer,
    cos: Buffer,
    sin: Buffer,
}

impl<'a> Model<'a> {
    pub fn new(shim: &'a Shim, weights: &'a Weights, ids: &[usize], starts: &[usize]) -> Model<'a> {
        let pairs = starts.windows(2).map(|pair| (pair[0], pair[1]));
        let positions: Vec<usize> = pairs.clone().flat_map(|(a, b)| 0..b - a).collect();
        let tiles: Vec<usize> = pairs
            .flat_map(|(a, b)| {
                (0..b - a)
                    .step_by(TILE)
                    .flat_map(move |first| [a, b, first])
            })
            .collect();
        let mut rope = Rope::default();
        rope.reach(&weights.config, ids.len());
        let table = |all: &[f32]| {
            let all: Vec<f64> = all.iter().map(|&x| f64::from(x)).collect();
            Buffer::of(Kind::F32, &all)
        };
        Model {
            shim,
            weights,
            rows: ids.len(),
            ids: Buffer::ids(ids),
            positions: Buffer::ids(&positions),
            tiles: Buffer::ids(&tiles),
            cos: table(&rope.cos),
            sin: table(&rope.sin),
        }
    }

    fn config(&self) -> &Config {
        &self.weights.config
    }

    fn eps(&self) -> f64 {
        f64::from(self.config().rms_norm_eps as f32)
    }

    /// A parameter in f32.
    fn master(&self, span: &Range<usize>) -> Buffer {
        let values: Vec<f64> = self.weights.data[span.clone()]
            .iter()
            .map(|&x| f64::from(x))
            .collect();
        Buffer::of(Kind::F32, &values)
    }

    /// A matrix as products read it.
    fn matrix(&self, span: &Range<usize>) -> Vec<f64> {
        self.shim.act(&self.master(span).values()).values()
    }

    fn norm(&self, x: &Buffer, span: &Range<usize>) -> (Buffer, Buffer) {
        let width = self.config().hidden_size;
        let rows = x.count / width;
        let (y, r) = (
            self.shim.unwritten_act(x.count),
            Buffer::unwritten(Kind::F32, rows),
        );
        let w = self.master(span);
        let arguments = args![x, &w, &y, &r, width, self.eps()];
        self.shim.launch("rms_norm", [rows, 1, 1], &arguments);
        (y, r)
    }

    /// dx +=, and the gradient of the norm's weights.
    fn norm_backward(
        &self,
        x: &Buffer,
        (span, r): (&Range<usize>, &Buffer),
        dy: &Buffer,
        dx: &Buffer,
        grads: &mut [f64],
    ) {
        let width = self.config().hidden_size;
        let rows = x.count / width;
        let blocks = rows.div_ceil(ROWS);
        let (w, partial) = (
            self.master(span),
            Buffer::unwritten(Kind::F32, blocks * width),
        );
        let arguments = args![x, &w, r, dy, dx, &partial, rows, width, ROWS];
        self.shim
            .launch("rms_norm_backward", [rows, 1, 1], &arguments);
        self.add_parts(&partial, &mut grads[span.clone()]);
    }

    fn add_parts(&self, partial: &Buffer, grads: &mut [f64]) {
        let sums = Buffer::of(Kind::F32, grads);
        let (width, parts) = (grads.len(), partial.count / grads.len());
        self.shim.launch(
            "add_parts",
            [width, 1, 1],
            &args![partial, &sums, parts, width],
        );
        grads.copy_from_slice(&sums.values());
    }

    /// q, k, v of a block's rows, turned, and the heads before their norm.
    fn turn(&self, qkv: &Buffer, spans: &LayerSpans) -> Buffer {
        let (heads, kv) = (self.config().heads, self.config().kv_heads);
        let raw = self.shim.unwritten_act(self.rows * (heads + kv) * HEAD);
        let [bias, q_norm, k_norm] = self.optional(spans);
        let kept = q_norm.as_ref().map(|_| &raw);
        let arguments = args![
            qkv,
            bias.as_ref(),
            q_norm.as_ref(),
            k_norm.as_ref(),
            kept,
            &self.cos,
            &self.sin,
            &self.positions,
            heads,
            kv,
            self.eps()
        ];
        let counts = [self.rows, heads + 2 * kv, 1];
        self.shim.launch("turn_heads", counts, &arguments);
        raw
    }

    fn optional(&self, spans: &LayerSpans) -> [Option<Buffer>; 3] {
        let all = [&spans.qkv_bias, &spans.q_norm, &spans.k_norm];
        all.map(|span| span.as_ref().map(|span| self.master(span)))
    }

    fn add(&self, y: &Buffer, x: &Buffer) {
        self.shim
            .launch("add_to", [y.count, 1, 1], &args![y, x, Arg::I64(y.count)]);
    }

    fn block(&self, h: Buffer, spans: &LayerSpans) -> (Buffer, Kept) {
        let config = self.config();
        let (d, f, rows) = (config.hidden_size, config.intermediate_size, self.rows);
        let (heads, kv) = (config.heads, config.kv_heads);
        let (x, r_in) = self.norm(&h, &spans.input_norm);
        let product = times_transposed(&x.values(), &self.matrix(&spans.qkv), d);
        let qkv = self.shim.act(&product);
        let raw = self.turn(&qkv, spans);
        let out = self.shim.unwritten_act(rows * heads * HEAD);
        let lse = Buffer::unwritten(Kind::F32, heads * rows);
        let arguments = args![&qkv, &self.tiles, &out, &lse, rows, heads, kv, scale()];
        let counts = [self.tiles.count / 3, heads, 1];
        self.shim.launch("flash_forward", counts, &arguments);
        let o = times_transposed(&out.values(), &self.matrix(&spans.o), heads * HEAD);
        let middle = Buffer::of(Kind::F32, &h.values());
        self.add(&middle, &Buffer::of(Kind::F32, &o));
        let (x_post, r_post) = self.norm(&middle, &spans.post_norm);
        let product = times_transposed(&x_post.values(), &self.matrix(&spans.gate_up), d);
        let gate_up = self.shim.act(&product);
        let act = self.shim.unwritten_act(rows * f);
        self.shim
            .launch("swiglu", [rows, 1, 1], &args![&gate_up, &act, f]);
        let down = times_transposed(&act.values(), &self.matrix(&spans.down), f);
        let next = Buffer::of(Kind::F32, &middle.values());
        self.add(&next, &Buffer::of(Kind::F32, &down));
        let kept = Kept {
            h,
            r_in,
            x,
            raw,
            qkv,
            out,
            lse,
            middle,
            r_post,
            x_post,
            gate_up,
        };
        (next, kept)
    }

    /// A gradient of the residual stream as products read it.
    fn rounded(&self, dh: &Buffer) -> Vec<f64> {
        let y = self.shim.unwritten_act(dh.count);
        let counts = [dh.count, 1, 1];
        self.shim
            .launch("to_activations", counts, &args![dh, &y, Arg::I64(dh.count)]);
        y.values()
    }

    /// From the gradient of a block's output, in place, to that of its input.
    fn block_backward(&self, dh: &Buffer, kept: &Kept, spans: &LayerSpans, grads: &mut [f64]) {
        let config = self.config();
        let (d, f, rows) = (config.hidden_size, config.intermediate_size, self.rows);
        let (heads, kv) = (config.heads, config.kv_heads);
        let dout = self.rounded(dh);
        let act = self.shim.act(&times(&dout, &self.matrix(&spans.down), d));
        let gate_up = &kept.gate_up;
        // The gradient takes the place of gate and up, the activation that of its gradient.
        self.shim.launch(
            "swiglu_backward",
            [rows, 1, 1],
            &args![gate_up, &act, &act, f],
        );
        add_transposed(&mut grads[spans.down.clone()], &dout, &act.values(), d);
        let dgate_up = gate_up.values();
        add_transposed(
            &mut grads[spans.gate_up.clone()],
            &dgate_up,
            &kept.x_post.values(),
            2 * f,
        );
        let dx = Buffer::of(
            Kind::F32,
            &times(&dgate_up, &self.matrix(&spans.gate_up), 2 * f),
        );
        self.norm_backward(
            &kept.middle,
            (&spans.post_norm, &kept.r_post),
            &dx,
            dh,
            grads,
        );

        let dmiddle = self.rounded(dh);
        add_transposed(&mut grads[spans.o.clone()], &dmiddle, &kept.out.values(), d);
        let dmixed = self.shim.act(&times(&dmiddle, &self.matrix(&spans.o), d));
        let delta = Buffer::unwritten(Kind::F32, heads * rows);
        self.shim.launch(
            "flash_delta",
            [rows, heads, 1],
            &args![&kept.out, &dmixed, &delta, rows, heads],
        );
        let dqkv = self.shim.unwritten_act(kept.qkv.count);
        let arguments = args![
            &kept.qkv,
            &dmixed,
            &kept.lse,
            &delta,
            &self.tiles,
            &dqkv,
            rows,
            heads,
            kv,
            scale()
        ];
        let blocks = self.tiles.count / 3;
        self.shim
            .launch("flash_backward_queries", [blocks, heads, 1], &arguments);
        self.shim
            .launch("flash_backward_keys", [blocks, kv, 1], &arguments);
        self.unturn(&dqkv, kept, spans, grads);
        let dqkv = dqkv.values();
        let width = (heads + 2 * kv) * HEAD;
        add_transposed(
            &mut grads[spans.qkv.clone()],
            &dqkv,
            &kept.x.values(),
            width,
        );
        let dx = Buffer::of(Kind::F32, &times(&dqkv, &self.matrix(&spans.qkv), width));
        self.norm_backward(&kept.h, (&spans.input_norm, &kept.r_in), &dx, dh, grads);
    }

    fn unturn(&self, dqkv: &Buffer, kept: &Kept, spans: &LayerSpans, grads: &mut [f64]) {
        let (heads, kv) = (self.config().heads, self.config().kv_heads);
        let blocks = self.rows.div_ceil(ROWS);
        let [bias, q_norm, k_norm] = self.optional(spans);
        let of_norms = Buffer::unwritten(Kind::F32, blocks * 2 * HEAD);
        let of_bias = Buffer::unwritten(Kind::F32, blocks * (heads + 2 * kv) * HEAD);
        let raw = q_norm.as_ref().map(|_| &kept.raw);
        let parts = [
            q_norm.as_ref().map(|_| &of_norms),
            bias.as_ref().map(|_| &of_bias),
        ];
        let arguments = args![
            dqkv,
            raw,
            q_norm.as_ref(),
            k_norm.as_ref(),
            &self.cos,
            &self.sin,
            &self.positions,
            parts[0],
            parts[1],
            self.rows,
            ROWS,
            heads,
            kv,
            self.eps()
        ];
        self.shim
            .launch("turn_heads_backward", [self.rows, 1, 1], &arguments);
        if let Some(span) = &spans.qkv_bias {
            self.add_parts(&of_bias, &mut grads[span.clone()]);
        }
        if let (Some(q), Some(k)) = (&spans.q_norm, &spans.k_norm) {
            let mut both = [&grads[q.clone()], &grads[k.clone()]].concat();
            self.add_parts(&of_norms, &mut both);
            grads[q.clone()].copy_from_slice(&both[..HEAD]);
            grads[k.clone()].copy_from_slice(&both[HEAD..]);
        }
    }

    /// Log-probabilities and entropies of the scored tokens, and the gradient of all parameters.
    pub fn all(&self, case: &Case) -> Computed {
        let (config, layout) = (self.config(), &self.weights.layout);
        let (d, vocabulary, n) = (config.hidden_size, config.vocab_size, case.scored.len());
        let mut grads = vec![0.0; layout.len()];
        let h = Buffer::unwritten(Kind::F32, self.rows * d);
        let table = self.master(&layout.embed);
        self.shim
            .launch("embed", [self.rows, 1, 1], &args![&table, &self.ids, &h, d]);
        let (mut h, mut blocks) = (h, vec![]);
        for spans in &layout.layers {
            let (next, kept) = self.block(h, spans);
            blocks.push(kept);
            h = next;
        }
        // The rows that predict; every one is its own.
        let of = |all: &[f64], row: usize| all[row * d..(row + 1) * d].to_vec();
        let last: Vec<f64> = case
            .scored
            .iter()
            .flat_map(|&i| of(&h.values(), i - 1))
            .collect();
        let last = Buffer::of(Kind::F32, &last);
        let (x, r) = self.norm(&last, &layout.final_norm);
        let head = self.matrix(&layout.head);
        let z = Buffer::of(Kind::F32, &times_transposed(&x.values(), &head, d));
        let targets = Buffer::ids(&case.scored.iter().map(|&i| case.ids[i]).collect::<Vec<_>>());
        let [lse, entropy, logp] = [(); 3].map(|()| Buffer::unwritten(Kind::F32, n));
        let greedy = Buffer::unwritten(Kind::U32, n);
        let heat = 1.0 / f64::from(case.temperature);
        let arguments = args![
            &z, &targets, heat, &lse, &entropy, &logp, &greedy, vocabulary
        ];
        self.shim.launch("logit_stats", [n, 1, 1], &arguments);

        let dz = self.shim.unwritten_act(n * vocabulary);
        let slopes = [&case.dlogp, &case.dentropy].map(|all| {
            let all: Vec<f64> = all.iter().map(|&x| f64::from(x)).collect();
            Buffer::of(Kind::F32, &all)
        });
        let arguments = args![
            &z, &dz, &targets, heat, &lse, &entropy, &slopes[0], &slopes[1], vocabulary
        ];
        self.shim
            .launch("logit_gradient", [n, vocabulary, 1], &arguments);
        let dz = dz.values();
        add_transposed(
            &mut grads[layout.head.clone()],
            &dz,
            &x.values(),
            vocabulary,
        );
        let dx = Buffer::of(Kind::F32, &times(&dz, &head, vocabulary));
        let dlast = Buffer::zeros(Kind::F32, n * d);
        self.norm_backward(&last, (&layout.final_norm, &r), &dx, &dlast, &mut grads);
        let mut dh = vec![0.0; self.rows * d];
        for (own, &i) in dlast.values().chunks(d).zip(&case.scored) {
            dh[(i - 1) * d..i * d].copy_from_slice(own);
        }
        let dh = Buffer::of(Kind::F32, &dh);
        for (kept, spans) in blocks.iter().zip(&layout.layers).rev() {
            self.block_backward(&dh, kept, spans, &mut grads);
        }
        self.embed_backward(&dh, case, &mut grads[layout.embed.clone()]);
        Computed {
            logp: logp.values(),
            entropy: entropy.values(),
            grads,
        }
    }

    fn embed_backward(&self, dh: &Buffer, case: &Case, grads: &mut [f64]) {
        let width = self.config().hidden_size;
        let mut order: Vec<usize> = (0..self.rows).collect();
        order.sort_by_key(|&row| case.ids[row]);
        let begins = |&i: &usize| i == 0 || case.ids[order[i]] != case.ids[order[i - 1]];
        let mut starts: Vec<usize> = (0..self.rows).filter(begins).collect();
        let counts = [starts.len(), width, 1];
        starts.push(self.rows);
        let (order, starts) = (Buffer::ids(&order), Buffer::ids(&starts));
        let table = Buffer::of(Kind::F32, grads);
        let arguments = args![dh, &self.ids, &order, &starts, &table, width];
        self.shim.launch("embed_backward", counts, &arguments);
        grads.copy_from_slice(&table.values());
    }
}

fn scale() -> f64 {
    f64::from((HEAD as f32).powf(-0.5))
}

pub struct Case {
    pub ids: Vec<usize>,
    pub starts: Vec<usize>,
    pub scored: Vec<usize>,
    pub temperature: f32,
    pub dlogp: Vec<f32>,
    pub dentropy: Vec<f32>,
}

pub struct Computed {
    pub logp: Vec<f64>,
    pub entropy: Vec<f64>,
    pub grads: Vec<f64>,
}
