// Attention in f32, for tests of whole models: plain, and slow. A warp has a row at a time, 16 of a tile; its lanes have
// 32 rows of the other side, then numbers of the head.

#define EACH ((HEAD + 31) / 32)
#define EACH_NUMBER(e, d) for (int e = 0, d = lane_id(); e < EACH; e++, d += 32) if (d < HEAD)

DEVICE float dot(const float *a, const float *b) {
  float sum = 0.0f;
  for (int d = 0; d < HEAD; d++) sum += a[d] * b[d];
  return sum;
}

// sum += x b, where b is a row and x the number that lane `lane` has.
DEVICE void add_scaled(float *sum, float x, int lane, const float *b) {
  float of = of_lane(x, lane);
  EACH_NUMBER(e, d) sum[e] += of * b[d];
}

// Shapes are those of attention_bf16.cu, in f32.
KERNEL void THREADS(128) flash_forward(const float *qkv, const u32 *tiles, float *out, float *lse, int rows, int heads,
                                       int kv, float scale) {
  Tile tile = tile_of(tiles);
  int head = blockIdx.y, own = head / (heads / kv);
  i64 width = (i64)(heads + 2 * kv) * HEAD;
  const float *row = qkv + tile.begin * width;
  const float *k = row + (heads + own) * HEAD, *v = k + kv * HEAD;
  for (int i = 0; i < 16; i++) {
    int query = tile.first + warp_id() * 16 + i;
    if (query >= tile.length) return;
    float o[EACH], top = -INFINITE, sum = 0.0f;
    for (int e = 0; e < EACH; e++) o[e] = 0.0f;
    for (int base = 0; base <= query; base += 32) {
      int key = base + lane_id();
      float s = key <= query ? dot(row + query * width + head * HEAD, k + key * width) * scale : -INFINITE;
      float most = warp_max(s);
      most = most > top ? most : top;
      float keep = expf(top - most), p = expf(s - most);
      top = most;
      sum = sum * keep + warp_sum(p);
      for (int e = 0; e < EACH; e++) o[e] *= keep;
      for (int j = 0; j < 32 && base + j <= query; j++) add_scaled(o, p, j, v + (base + j) * width);
    }
    i64 at = tile.begin + query;
    EACH_NUMBER(e, d) out[(at * heads + head) * HEAD + d] = o[e] / sum;
    if (lane_id() == 0) lse[(i64)head * rows + at] = top + logf(sum);
  }
}

KERNEL void THREADS(128) flash_backward_queries(const float *qkv, const float *dout, const float *lse, const float *delta,
                                                const u32 *tiles, float *dqkv, int rows, int heads, int kv, float scale) {
  Tile tile = tile_of(tiles);
  int head = blockIdx.y, own = head / (heads / kv);
  i64 width = (i64)(heads + 2 * kv) * HEAD;
  const float *row = qkv + tile.begin * width;
  const float *k = row + (heads + own) * HEAD, *v = k + kv * HEAD;
  for (int i = 0; i < 16; i++) {
    int query = tile.first + warp_id() * 16 + i;
    if (query >= tile.length) return;
    i64 at = tile.begin + query;
    const float *q = row + query * width + head * HEAD, *d_o = dout + (at * heads + head) * HEAD;
    float of_lse = lse[(i64)head * rows + at], of_delta = delta[(i64)head * rows + at];
    float dq[EACH];
    for (int e = 0; e < EACH; e++) dq[e] = 0.0f;
    for (int base = 0; base <= query; base += 32) {
      int key = base + lane_id();
      float ds = 0.0f;
      if (key <= query) {
        float p = expf(dot(q, k + key * width) * scale - of_lse);
        ds = p * (dot(d_o, v + key * width) - of_delta) * scale;
      }
      for (int j = 0; j < 32 && base + j <= query; j++) add_scaled(dq, ds, j, k + (base + j) * width);
    }
    EACH_NUMBER(e, d) dqkv[at * width + head * HEAD + d] = dq[e];
  }
}

KERNEL void THREADS(128) flash_backward_keys(const float *qkv, const float *dout, const float *lse, const float *delta,
                                             const u32 *tiles, float *dqkv, int rows, int heads, int kv, float scale) {
  Tile tile = tile_of(tiles);
  int own = blockIdx.y, group = heads / kv;
  i64 width = (i64)(heads + 2 * kv) * HEAD, out_width = (i64)heads * HEAD;
  i64 key_column = (heads + own) * HEAD, value_column = key_column + kv * HEAD;
  const float *row = qkv + tile.begin * width;
  for (int i = 0; i < 16; i++) {
    int key = tile.first + warp_id() * 16 + i;
    if (key >= tile.length) return;
    const float *k = row + key * width + key_column, *v = row + key * width + value_column;
    float dk[EACH], dv[EACH];
    for (int e = 0; e < EACH; e++) dk[e] = dv[e] = 0.0f;
    for (int head = own * group; head < (own + 1) * group; head++) {
      const float *q = row + head * HEAD, *d_o = dout + tile.begin * out_width + head * HEAD;
      for (int base = key; base < tile.length; base += 32) {
        int query = base + lane_id();
        float p = 0.0f, ds = 0.0f;
        if (query < tile.length) {
          i64 at = (i64)head * rows + tile.begin + query;
          p = expf(dot(q + query * width, k) * scale - lse[at]);
          ds = p * (dot(d_o + query * out_width, v) - delta[at]) * scale;
        }
        for (int j = 0; j < 32 && base + j < tile.length; j++) {
          add_scaled(dv, p, j, d_o + (base + j) * out_width);
          add_scaled(dk, ds, j, q + (base + j) * width);
        }
      }
    }
    i64 at = (tile.begin + key) * width;
    EACH_NUMBER(e, d) {
      dqkv[at + key_column + d] = dk[e];
      dqkv[at + value_column + d] = dv[e];
    }
  }
}
