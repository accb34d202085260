// Heads of q, k and v after their product: bias, RMSNorm of each head of q and k where the model has one, rotation by
// position (the half-split form of Hugging Face: (a, b) -> (a c - b s, b c + a s) for the pairs (i, i + HEAD / 2)); and
// the way back.
//
// A row holds `heads` query heads, `kv` key heads, `kv` value heads. A warp has a head; a lane its pairs
// i = lane, lane + 32, ..

#ifndef ROPE_CU
#define ROPE_CU

#include "norm.cu"

#define HALF (HEAD / 2)
#define PAIRS ((HALF + 31) / 32)

// A lane's pairs of one head.
typedef struct {
  float low[PAIRS], high[PAIRS];
} Pairs;

#define EACH_PAIR(p, i) for (int p = 0, i = lane_id(); p < PAIRS; p++, i += 32) if (i < HALF)

DEVICE void load_pairs(Pairs *x, const act *head) {
  EACH_PAIR(p, i) {
    x->low[p] = of_act(head[i]);
    x->high[p] = of_act(head[i + HALF]);
  }
}

DEVICE void store_pairs(const Pairs *x, act *head) {
  EACH_PAIR(p, i) {
    head[i] = to_act(x->low[p]);
    head[i + HALF] = to_act(x->high[p]);
  }
}

DEVICE float pairs_scale(const Pairs *x, float eps) {
  float squares = 0.0f;
  EACH_PAIR(p, i) squares += x->low[p] * x->low[p] + x->high[p] * x->high[p];
  return norm_scale(warp_sum(squares), HEAD, eps);
}

// Turns by the angle of a position, or back where `sign` is -1.
DEVICE void rotate(Pairs *x, const float *cosines, const float *sines, u32 position, float sign) {
  EACH_PAIR(p, i) {
    float c = cosines[(i64)position * HALF + i], s = sign * sines[(i64)position * HALF + i];
    float a = x->low[p], b = x->high[p];
    x->low[p] = a * c - b * s;
    x->high[p] = b * c + a * s;
  }
}

// Head `head` of a row, from the product's numbers to what attention reads.
DEVICE void turn_head(Pairs *x, int head, int heads, int kv, const float *bias, const float *q_norm, const float *k_norm,
                      act *raw, const float *cosines, const float *sines, u32 position, float eps) {
  if (bias) EACH_PAIR(p, i) {
    x->low[p] += bias[head * HEAD + i];
    x->high[p] += bias[head * HEAD + i + HALF];
  }
  if (head >= heads + kv) return;
  const float *w = head < heads ? q_norm : k_norm;
  if (w) {
    if (raw) {
      store_pairs(x, raw);
      load_pairs(x, raw);  // The way back norms what was kept.
    }
    float r = pairs_scale(x, eps);
    EACH_PAIR(p, i) {
      x->low[p] *= r * w[i];
      x->high[p] *= r * w[i + HALF];
    }
  }
  rotate(x, cosines, sines, position, 1.0f);
}

// qkv [rows, (heads + 2 kv) HEAD] in place. `bias` of a row, `q_norm` and `k_norm` [HEAD], or null. `raw`
// [rows, (heads + kv) HEAD] gets the heads before their norm, or is null. `cosines` and `sines` [positions, HALF].
// Blocks (rows, heads + 2 kv over 4): four warps.
KERNEL void THREADS(128) turn_heads(act *qkv, const float *bias, const float *q_norm, const float *k_norm, act *raw,
                                    const float *cosines, const float *sines, const u32 *positions, int heads, int kv,
                                    float eps) {
  int head = blockIdx.y * 4 + warp_id();
  if (head >= heads + 2 * kv) return;
  i64 row = blockIdx.x;
  act *at = qkv + (row * (heads + 2 * kv) + head) * HEAD;
  act *keep = raw ? raw + (row * (heads + kv) + head) * HEAD : raw;
  Pairs x;
  load_pairs(&x, at);
  turn_head(&x, head, heads, kv, bias, q_norm, k_norm, keep, cosines, sines, positions[row], eps);
  store_pairs(&x, at);
}

// The same for rows that are one token each, whose keys and values go to the cache: caches [pages, kv, PAGE, HEAD], where
// position p of row n is number p % PAGE of page pages[n, p / PAGE].
#define PAGE 256
KERNEL void THREADS(128) turn_heads_cached(act *qkv, const float *bias, const float *q_norm, const float *k_norm,
                                           const float *cosines, const float *sines, const u32 *positions, act *keys,
                                           act *values, const u32 *pages, int pages_a_row, int heads, int kv, float eps) {
  int head = blockIdx.y * 4 + warp_id();
  if (head >= heads + 2 * kv) return;
  i64 row = blockIdx.x;
  u32 position = positions[row];
  act *at = qkv + (row * (heads + 2 * kv) + head) * HEAD;
  Pairs x;
  load_pairs(&x, at);
  turn_head(&x, head, heads, kv, bias, q_norm, k_norm, 0, cosines, sines, position, eps);
  if (head >= heads) {
    int own = (head - heads) % kv;
    i64 page = pages[row * pages_a_row + position / PAGE];
    at = (head < heads + kv ? keys : values) + ((page * kv + own) * PAGE + position % PAGE) * HEAD;
  }
  store_pairs(&x, at);
}

// Gradients of q, k, v [rows, width] in place, from what attention gives to those of the product's numbers. Parts of the
// gradients of q_norm and k_norm `norm_partial` [blocks, 2 HEAD] and of the bias `bias_partial` [blocks, width], or null
// where the model has none. A block of four warps has `rows_a_block` rows, and adds in their order.
KERNEL void THREADS(128) turn_heads_backward(act *dqkv, const act *raw, const float *q_norm, const float *k_norm,
                                             const float *cosines, const float *sines, const u32 *positions,
                                             float *norm_partial, float *bias_partial, int rows, int rows_a_block,
                                             int heads, int kv, float eps) {
  __shared__ float sums[4][2 * HEAD];
  int all = heads + 2 * kv;
  int first = blockIdx.x * rows_a_block;
  int end = first + rows_a_block < rows ? first + rows_a_block : rows;
  Pairs of_q, of_k;
  EACH_PAIR(p, i) of_q.low[p] = of_q.high[p] = of_k.low[p] = of_k.high[p] = 0.0f;
  for (i64 n = first; n < end; n++) {
    for (int head = warp_id(); head < all; head += 4) {
      act *at = dqkv + (n * all + head) * HEAD;
      Pairs d;
      load_pairs(&d, at);
      if (head < heads + kv) rotate(&d, cosines, sines, positions[n], -1.0f);
      const float *w = head < heads ? q_norm : k_norm;
      if (w && head < heads + kv) {
        Pairs x;
        load_pairs(&x, raw + (n * (heads + kv) + head) * HEAD);
        float r = pairs_scale(&x, eps);
        float inner = 0.0f;
        EACH_PAIR(p, i) {
          float low = d.low[p] * x.low[p] * r, high = d.high[p] * x.high[p] * r;
          if (head < heads) {
            of_q.low[p] += low;
            of_q.high[p] += high;
          } else {
            of_k.low[p] += low;
            of_k.high[p] += high;
          }
          inner += w[i] * d.low[p] * x.low[p] + w[i + HALF] * d.high[p] * x.high[p];
        }
        float back = r * r * r / (float)HEAD * warp_sum(inner);
        EACH_PAIR(p, i) {
          d.low[p] = r * w[i] * d.low[p] - back * x.low[p];
          d.high[p] = r * w[i + HALF] * d.high[p] - back * x.high[p];
        }
      }
      if (bias_partial) {
        float *sum = bias_partial + ((i64)blockIdx.x * all + head) * HEAD;
        EACH_PAIR(p, i) {
          sum[i] = (n == first ? 0.0f : sum[i]) + d.low[p];
          sum[i + HALF] = (n == first ? 0.0f : sum[i + HALF]) + d.high[p];
        }
      }
      store_pairs(&d, at);
    }
  }
  if (!norm_partial) return;
  EACH_PAIR(p, i) {
    float *own = sums[warp_id()] + i;
    own[0] = of_q.low[p];
    own[HALF] = of_q.high[p];
    own[HEAD] = of_k.low[p];
    own[HEAD + HALF] = of_k.high[p];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < 2 * HEAD; i += blockDim.x)
    norm_partial[(i64)blockIdx.x * 2 * HEAD + i] = sums[0][i] + sums[1][i] + sums[2][i] + sums[3][i];
}

#endif
