// The draw of a row's next token by a number that is given: the token at which the cumulative probability passes it. The
// vocabulary is walked in its order; sums are f64 and cut by the vocabulary alone.

#include "common.h"

// z [rows, vocabulary]; lse and greedy of its rows from `logit_stats` at the same `scale` = 1 / temperature; units [rows]
// in [0, 1) -> tokens, logp [rows]. A block of 16 warps a row: each sums a segment of the vocabulary, then one walks the
// segment where the unit lies.
KERNEL void THREADS(512) draw(const float *z, const float *lse, const u32 *greedy, const double *units, float scale,
                              u32 *tokens, float *logp, int vocabulary) {
  __shared__ double sums[16];
  const float *row = z + (i64)blockIdx.x * vocabulary;
  float log_sum = lse[blockIdx.x];
  int segment = (vocabulary + 511) / 512 * 32;
  int first = warp_id() * segment, end = first + segment < vocabulary ? first + segment : vocabulary;
  double sum = 0.0;
  for (int i = first + lane_id(); i < end; i += 32) sum += (double)expf(row[i] * scale - log_sum);
  sum = warp_sum_double(sum);
  if (lane_id() == 0) sums[warp_id()] = sum;
  __syncthreads();
  if (warp_id() != 0) return;

  double all = 0.0;
  int last = 0;
  for (int s = 0; s < 16; s++) {
    all += sums[s];
    if (sums[s] > 0.0) last = s;
  }
  double left = units[blockIdx.x] * all;
  int own = 0;
  for (; own < last && left >= sums[own]; own++) left -= sums[own];

  first = own * segment;
  end = first + segment < vocabulary ? first + segment : vocabulary;
  // The block of 32 where the unit lies; the last with weight where rounding walks past the end.
  int block = -1;
  double rest = 0.0;
  for (int base = first; base < end; base += 32) {
    int i = base + lane_id();
    double sum = warp_sum_double(i < end ? (double)expf(row[i] * scale - log_sum) : 0.0);
    if (!(sum > 0.0)) continue;
    block = base;
    rest = left;
    if (left < sum) break;
    left -= sum;
  }
  int i = block + lane_id(), chosen = -1;
  double own_weight = block >= 0 && i < end ? (double)expf(row[i] * scale - log_sum) : 0.0;
  for (int j = 0; j < 32; j++) {
    double w = of_lane_double(own_weight, j);
    if (!(w > 0.0) || (chosen >= 0 && rest < 0.0)) continue;
    chosen = block + j;
    rest -= w;
  }
  if (lane_id() != 0) return;
  u32 token = chosen >= 0 ? (u32)chosen : greedy[blockIdx.x];
  if (token >= (u32)vocabulary) token = 0;  // No logit is a number, and `logp` is none.
  tokens[blockIdx.x] = token;
  logp[blockIdx.x] = row[token] * scale - log_sum;
}
