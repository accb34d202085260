// Attention of rows that are one token each over the cache, split over the pages of a row (`turn_heads_cached` in rope.cu
// has the layout), and the merge of the parts. A row's bits hang on its own positions alone, not on the rows beside it.

#include "rope.cu"

// Query heads that share a pass over the keys.
#define GROUP 8
#define NUMBERS ((HEAD + 31) / 32)

// qkv [rows, (heads + 2 kv) HEAD]: its queries. Of every page that a row has reached, the outputs of that page alone:
// `parts` [rows, heads, pages, HEAD], and in `stats` [rows, heads, pages, 2] the largest score and the sum of
// exp(score - largest). Blocks (rows, kv times groups of 8 of its query heads, pages).
KERNEL void THREADS(128) decode_pages(const act *qkv, const act *keys, const act *values, const u32 *pages,
                                      const u32 *positions, float *parts, float *stats, int pages_a_row, int heads, int kv,
                                      float scale) {
  __shared__ float queries[GROUP][HEAD];
  __shared__ float p[GROUP][PAGE];
  __shared__ act tile[32][HEAD + 2];
  __shared__ float sums[4][GROUP][HEAD];
  i64 row = blockIdx.x;
  int of_kv = heads / kv, groups = (of_kv + GROUP - 1) / GROUP;
  int own = blockIdx.y / groups, skipped = blockIdx.y % groups * GROUP;
  int first = own * of_kv + skipped, count = of_kv - skipped < GROUP ? of_kv - skipped : GROUP;
  int n = (int)positions[row] + 1 - (int)blockIdx.z * PAGE;
  if (n <= 0) return;
  n = n < PAGE ? n : PAGE;
  i64 page = pages[row * pages_a_row + blockIdx.z];
  const act *k = keys + (page * kv + own) * PAGE * HEAD, *v = values + (page * kv + own) * PAGE * HEAD;

  const act *q = qkv + (row * (heads + 2 * kv) + first) * HEAD;
  for (int i = threadIdx.x; i < count * HEAD; i += 128) queries[i / HEAD][i % HEAD] = of_act(q[i]) * scale;
  for (int base = 0; base < n; base += 32) {
    int rows = n - base < 32 ? n - base : 32;
    __syncthreads();
    for (int i = threadIdx.x; i < rows * HEAD; i += 128) tile[i / HEAD][i % HEAD] = k[base * HEAD + i];
    __syncthreads();
    for (int h = warp_id(); h < count; h += 4) {
      if (lane_id() >= rows) continue;
      float sum = 0.0f;
      for (int d = 0; d < HEAD; d++) sum += queries[h][d] * of_act(tile[lane_id()][d]);
      p[h][base + lane_id()] = sum;
    }
  }
  // A head's scores are its warp's own.
  for (int h = warp_id(); h < count; h += 4) {
    float top = -INFINITE, sum = 0.0f;
    for (int j = lane_id(); j < n; j += 32) top = p[h][j] > top ? p[h][j] : top;
    top = warp_max(top);
    for (int j = lane_id(); j < n; j += 32) {
      p[h][j] = expf(p[h][j] - top);
      sum += p[h][j];
    }
    sum = warp_sum(sum);
    if (lane_id() == 0) {
      float *to = stats + ((row * heads + first + h) * gridDim.z + blockIdx.z) * 2;
      to[0] = top;
      to[1] = sum;
    }
  }
  __syncthreads();
  float o[GROUP][NUMBERS];
#pragma unroll
  for (int h = 0; h < GROUP; h++)
#pragma unroll
    for (int e = 0; e < NUMBERS; e++) o[h][e] = 0.0f;
  for (int j = warp_id(); j < n; j += 4) {
#pragma unroll
    for (int e = 0; e < NUMBERS; e++) {
      int d = lane_id() + 32 * e;
      if (d >= HEAD) continue;
      float x = of_act(v[j * HEAD + d]);
#pragma unroll
      for (int h = 0; h < GROUP; h++)
        if (h < count) o[h][e] += p[h][j] * x;
    }
  }
#pragma unroll
  for (int h = 0; h < GROUP; h++)
#pragma unroll
    for (int e = 0; e < NUMBERS; e++)
      if (lane_id() + 32 * e < HEAD) sums[warp_id()][h][lane_id() + 32 * e] = o[h][e];
  __syncthreads();
  for (int i = threadIdx.x; i < count * HEAD; i += 128) {
    int h = i / HEAD, d = i % HEAD;
    parts[((row * heads + first + h) * gridDim.z + blockIdx.z) * HEAD + d] =
        sums[0][h][d] + sums[1][h][d] + sums[2][h][d] + sums[3][h][d];
  }
}

// out [rows, heads HEAD] from what `decode_pages` gave for `splits` pages. Blocks (rows, heads).
KERNEL void THREADS(128) decode_merge(const float *parts, const float *stats, const u32 *positions, act *out, int splits,
                                      int heads) {
  i64 at = (i64)blockIdx.x * heads + blockIdx.y;
  const float *of = stats + at * splits * 2;
  int n = positions[blockIdx.x] / PAGE + 1;
  float top = -INFINITE, sum = 0.0f;
  for (int s = 0; s < n; s++) top = of[2 * s] > top ? of[2 * s] : top;
  for (int s = 0; s < n; s++) sum += of[2 * s + 1] * expf(of[2 * s] - top);
  for (int d = threadIdx.x; d < HEAD; d += blockDim.x) {
    float o = 0.0f;
    for (int s = 0; s < n; s++) o += parts[(at * splits + s) * HEAD + d] * expf(of[2 * s] - top);
    out[at * HEAD + d] = to_act(o / sum);
  }
}
