// Causal attention over packed sequences with grouped heads: what its two versions, bf16 and f32, have in common.
//
//   o_i = sum_j p_ij v_j,  p_ij = exp(scale q_i k_j - lse_i),  j <= i of the same sequence
//   delta_i = do_i o_i,  ds_ij = scale p_ij (do_i v_j - delta_i)
//   dq_i = sum_j ds_ij k_j,  dk_j = sum_i ds_ij q_i,  dv_j = sum_i p_ij do_i   (over the query heads of one key head, too)
//
// A row of qkv has `heads` query heads, `kv` key heads, `kv` value heads of HEAD numbers; of `out` and `dout` the query
// heads. lse and delta are [heads, rows]. No T x T matrix lies in memory, and nothing is added from two blocks: dq has a
// kernel by queries, dk and dv one by keys.
//
// `tiles` [blocks, 3] cuts the sequences: its first row, the row after its last, and the first row of the tile, counted
// from the sequence's first, which is a multiple of TILE.

#include "common.h"

#define TILE 64

// A tile's sequence: the row where it begins, its length, and where in it the tile begins.
typedef struct {
  i64 begin;
  int length, first;
} Tile;

DEVICE Tile tile_of(const u32 *tiles) {
  const u32 *t = tiles + 3 * (i64)blockIdx.x;
  Tile tile = {t[0], (int)(t[1] - t[0]), (int)t[2]};
  return tile;
}

// delta [heads, rows] of out and dout [rows, heads HEAD]. Blocks (rows, heads over 4): a warp a head.
KERNEL void THREADS(128) flash_delta(const act *out, const act *dout, float *delta, int rows, int heads) {
  int head = blockIdx.y * 4 + warp_id();
  if (head >= heads) return;
  i64 at = ((i64)blockIdx.x * heads + head) * HEAD;
  float sum = 0.0f;
  for (int i = lane_id(); i < HEAD; i += 32) sum += of_act(out[at + i]) * of_act(dout[at + i]);
  sum = warp_sum(sum);
  if (lane_id() == 0) delta[(i64)head * rows + blockIdx.x] = sum;
}

#ifdef ACT_F32
#include "attention_f32.cu"
#else
#include "attention_bf16.cu"
#endif
