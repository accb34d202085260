// Rows of the embedding table, and their gradient.

#include "common.h"

// table [vocabulary, width], ids [rows] -> h [rows, width]. A block a row.
KERNEL void THREADS(256) embed(const float *table, const u32 *ids, float *h, int width) {
  const float *from = table + (i64)ids[blockIdx.x] * width;
  float *to = h + (i64)blockIdx.x * width;
  for (int i = threadIdx.x; i < width; i += blockDim.x) to[i] = from[i];
}

// dtable [vocabulary, width] += dh [rows, width] at the rows' ids. `order` [rows] is the rows sorted by id (those of one id
// in their own order), `starts` where the rows of each id that occurs begin in it, and their end. So no two threads write
// one number, and sums have an order. Blocks (ids that occur, width over 256).
KERNEL void THREADS(256) embed_backward(const float *dh, const u32 *ids, const u32 *order, const u32 *starts,
                                        float *dtable, int width) {
  int i = blockIdx.y * blockDim.x + threadIdx.x;
  if (i >= width) return;
  u32 first = starts[blockIdx.x], end = starts[blockIdx.x + 1];
  float sum = 0.0f;
  for (u32 n = first; n < end; n++) sum += dh[(i64)order[n] * width + i];
  dtable[(i64)ids[order[first]] * width + i] += sum;
}
