// Rows of logits over the temperature, z' = z scale: log-sum-exp, entropy, log-probability of a target and greedy choice;
// and the gradient of the last two with respect to z. Rows come in chunks, so no vocabulary is ever held for all rows; a
// place in a chunk is counted in 64 bits, since 28,300 rows of 151,936 logits are more than 2^32.

#include "common.h"

// What is known of some of a row's logits: the largest, sum of e = exp(z' - top), sum of e (z' - top), and the first place
// of the largest.
typedef struct {
  float top, sum, weighted;
  u32 place;
} Stats;

DEVICE Stats no_stats(void) {
  Stats s = {-INFINITE, 0.0f, 0.0f, 0xffffffffu};
  return s;
}

// The same about a larger `top`.
DEVICE void lift(Stats *s, float top) {
  if (s->top == top || s->sum == 0.0f) return;
  float shift = s->top - top, e = expf(shift);
  s->weighted = (s->weighted + s->sum * shift) * e;
  s->sum *= e;
}

DEVICE void see(Stats *s, float z, u32 place) {
  if (z > s->top) {
    lift(s, z);
    s->top = z;
    s->place = place;
  }
  float below = z - s->top, e = expf(below);
  s->sum += e;
  s->weighted += e * below;
}

DEVICE Stats merged(Stats a, Stats b) {
  float top = a.top > b.top ? a.top : b.top;
  lift(&a, top);
  lift(&b, top);
  Stats s = {top, a.sum + b.sum, a.weighted + b.weighted, 0};
  s.place = a.top == b.top ? (a.place < b.place ? a.place : b.place) : a.top > b.top ? a.place : b.place;
  return s;
}

DEVICE Stats other_stats(Stats s, int mask) {
  Stats o = {other_lane(s.top, mask), other_lane(s.sum, mask), other_lane(s.weighted, mask), 0};
  o.place = bits_of(other_lane(of_bits(s.place), mask));
  return o;
}

// Over the lanes of a warp, the lower lane's always first, so that all get the same bits.
DEVICE Stats warp_merged(Stats s) {
  for (int mask = 1; mask < 32; mask <<= 1) {
    Stats o = other_stats(s, mask);
    s = lane_id() & mask ? merged(o, s) : merged(s, o);
  }
  return s;
}

// z [rows, vocabulary], targets [rows] or null -> lse, entropy, logp (where there are targets) [rows], greedy [rows]. A
// block of 512 threads a row.
KERNEL void THREADS(512) logit_stats(const float *z, const u32 *targets, float scale, float *lse, float *entropy,
                                     float *logp, u32 *greedy, int vocabulary) {
  __shared__ Stats warps[16];
  const float *row = z + (i64)blockIdx.x * vocabulary;
  Stats s = no_stats();
  for (int i = threadIdx.x; i < vocabulary; i += blockDim.x) see(&s, row[i] * scale, i);
  s = warp_merged(s);
  if (lane_id() == 0) warps[warp_id()] = s;
  __syncthreads();
  if (warp_id() != 0) return;
  s = warp_merged(lane_id() < 16 ? warps[lane_id()] : no_stats());
  if (lane_id() != 0) return;
  float log_sum = logf(s.sum);
  lse[blockIdx.x] = s.top + log_sum;
  entropy[blockIdx.x] = log_sum - s.weighted / s.sum;
  greedy[blockIdx.x] = s.place;
  if (targets) logp[blockIdx.x] = row[targets[blockIdx.x]] * scale - (s.top + log_sum);
}

// For L with slopes dlogp and dentropy (or null) of a row: dz_j = scale (dlogp (1[j = target] - p_j)
// - dentropy p_j (log p_j + entropy)), p = softmax(z'). `dz` [rows, vocabulary] goes into products; where activations are
// f32 it may be `z`. Blocks (rows, vocabulary over 2,048).
KERNEL void THREADS(256) logit_gradient(const float *z, act *dz, const u32 *targets, float scale, const float *lse,
                                        const float *entropy, const float *dlogp, const float *dentropy, int vocabulary) {
  i64 row = (i64)blockIdx.x * vocabulary;
  int target = targets[blockIdx.x];
  float slope = dlogp[blockIdx.x], of_entropy = dentropy ? dentropy[blockIdx.x] : 0.0f;
  float log_sum = lse[blockIdx.x], shift = entropy[blockIdx.x];
  for (int k = 0, i = blockIdx.y * 2048 + threadIdx.x; k < 8 && i < vocabulary; k++, i += 256) {
    float log_p = z[row + i] * scale - log_sum;
    float d = -expf(log_p) * ((log_p + shift) * of_entropy + slope);
    if (i == target) d += slope;
    dz[row + i] = to_act(d * scale);
  }
}
