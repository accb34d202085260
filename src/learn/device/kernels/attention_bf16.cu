// Attention on the tensor cores: bf16 in, sums in f32. A block is four warps with 16 rows of a tile each.
//
// What is a row's in a product's result lies with four lanes (`mma` in common.h): a lane has the rows g and g + 8 of its
// warp's 16, g = lane / 4. Exponentials are powers of two; `scale2` is scale log2(e).

// Numbers from row to row of a tile in shared memory: 16 bytes more than a row, so that eight rows lie in different banks.
#define STRIDE (HEAD + 8)
#define STEPS (HEAD / 16)

// Rows row .. row + count of a sequence of `length` rows, zeros after its end; `width` numbers from row to row.
DEVICE void load_rows(bf16 *tile, const bf16 *from, int row, int count, int length, i64 width) {
  const uint4 zeros = {0, 0, 0, 0};
  for (int i = threadIdx.x; i < count * (HEAD / 8); i += 128) {
    int r = i / (HEAD / 8), c = i % (HEAD / 8) * 8;
    *(uint4 *)(tile + r * STRIDE + c) = row + r < length ? *(const uint4 *)(from + (row + r) * width + c) : zeros;
  }
}

// 16 rows as a left factor [16, 16]: their columns from `column` on.
DEVICE void left(u32 *a, const bf16 *tile, int column) {
  int m = lane_id() / 8, i = lane_id() % 8;
  load_matrices(a, tile + (m % 2 * 8 + i) * STRIDE + column + m / 2 * 8);
}

// Two right factors [16, 8] whose columns are the rows row .. row + 16 of the tile, from `column` on.
DEVICE void right(u32 *b, const bf16 *tile, int row, int column) {
  int m = lane_id() / 8, i = lane_id() % 8;
  load_matrices(b, tile + (row + m / 2 * 8 + i) * STRIDE + column + m % 2 * 8);
}

// Two right factors [16, 8] whose rows are the rows row .. row + 16 of the tile: 16 of their columns from `column` on.
DEVICE void right_rows(u32 *b, const bf16 *tile, int row, int column) {
  int m = lane_id() / 8, i = lane_id() % 8;
  load_transposed(b, tile + (row + m % 2 * 8 + i) * STRIDE + column + m / 2 * 8);
}

// Results [16, 16] of two products beside each other as a left factor.
DEVICE void as_left(u32 *a, float (*c)[4]) {
  a[0] = pack(c[0][0], c[0][1]);
  a[1] = pack(c[0][2], c[0][3]);
  a[2] = pack(c[1][0], c[1][1]);
  a[3] = pack(c[1][2], c[1][3]);
}

// A warp's 16 rows of results [16, HEAD], those that the sequence has: from the row `row` of it on.
DEVICE void store_rows(bf16 *to, float (*c)[4], float upper, float lower, int row, int length, i64 width) {
  int g = lane_id() / 4, t = lane_id() % 4;
#pragma unroll
  for (int n = 0; n < HEAD / 8; n++) {
    if (row + g < length) *(u32 *)(to + (row + g) * width + n * 8 + 2 * t) = pack(c[n][0] * upper, c[n][1] * upper);
    if (row + g + 8 < length)
      *(u32 *)(to + (row + g + 8) * width + n * 8 + 2 * t) = pack(c[n][2] * lower, c[n][3] * lower);
  }
}

DEVICE void clear(float (*c)[4], int n) {
#pragma unroll
  for (int j = 0; j < n; j++) c[j][0] = c[j][1] = c[j][2] = c[j][3] = 0.0f;
}

// Over the four lanes that have a row.
DEVICE float row_max(float x) {
  float y = other_lane(x, 1);
  x = y > x ? y : x;
  y = other_lane(x, 2);
  return y > x ? y : x;
}

DEVICE float row_sum(float x) {
  x += other_lane(x, 1);
  return x + other_lane(x, 2);
}

// qkv [rows, (heads + 2 kv) HEAD] -> out [rows, heads HEAD], lse [heads, rows]. Blocks (tiles, heads).
KERNEL void THREADS(128) flash_forward(const bf16 *qkv, const u32 *tiles, bf16 *out, float *lse, int rows, int heads,
                                       int kv, float scale) {
  __shared__ __align__(16) bf16 keys[TILE * STRIDE];
  __shared__ __align__(16) bf16 values[TILE * STRIDE];
  Tile tile = tile_of(tiles);
  int head = blockIdx.y, own = head / (heads / kv), t = lane_id() % 4;
  i64 width = (i64)(heads + 2 * kv) * HEAD;
  const bf16 *row = qkv + tile.begin * width;
  const bf16 *k = row + (heads + own) * HEAD, *v = k + kv * HEAD;
  float scale2 = scale * LOG2_E;

  load_rows(keys, row + head * HEAD, tile.first, TILE, tile.length, width);
  __syncthreads();
  u32 queries[STEPS][4];
#pragma unroll
  for (int d = 0; d < STEPS; d++) left(queries[d], keys + warp_id() * 16 * STRIDE, d * 16);

  float o[HEAD / 8][4], top[2] = {-INFINITE, -INFINITE}, sum[2] = {0.0f, 0.0f};
  clear(o, HEAD / 8);
  int query = tile.first + warp_id() * 16 + lane_id() / 4;
  for (int base = 0; base <= tile.first; base += TILE) {
    __syncthreads();
    load_rows(keys, k, base, TILE, tile.length, width);
    load_rows(values, v, base, TILE, tile.length, width);
    __syncthreads();
    float s[TILE / 8][4];
    clear(s, TILE / 8);
#pragma unroll
    for (int d = 0; d < STEPS; d++) {
#pragma unroll
      for (int j = 0; j < TILE / 8; j += 2) {
        u32 b[4];
        right(b, keys, j * 8, d * 16);
        mma(s[j], queries[d], b);
        mma(s[j + 1], queries[d], b + 2);
      }
    }
    // A tile has a key that a row sees: every row sees its first.
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float most = top[half];
#pragma unroll
      for (int j = 0; j < TILE / 8; j++) {
#pragma unroll
        for (int e = 0; e < 2; e++) {
          float *x = &s[j][half * 2 + e];
          *x = base + j * 8 + 2 * t + e <= query + half * 8 ? *x * scale2 : -INFINITE;
          most = *x > most ? *x : most;
        }
      }
      most = row_max(most);
      float keep = power2(top[half] - most), more = 0.0f;
#pragma unroll
      for (int j = 0; j < TILE / 8; j++) {
#pragma unroll
        for (int e = 0; e < 2; e++) {
          float *x = &s[j][half * 2 + e];
          *x = power2(*x - most);
          more += *x;
        }
      }
      top[half] = most;
      sum[half] = sum[half] * keep + more;
#pragma unroll
      for (int n = 0; n < HEAD / 8; n++) {
        o[n][half * 2] *= keep;
        o[n][half * 2 + 1] *= keep;
      }
    }
#pragma unroll
    for (int j = 0; j < TILE / 16; j++) {
      u32 p[4];
      as_left(p, s + 2 * j);
#pragma unroll
      for (int n = 0; n < HEAD / 8; n += 2) {
        u32 b[4];
        right_rows(b, values, j * 16, n * 8);
        mma(o[n], p, b);
        mma(o[n + 1], p, b + 2);
      }
    }
  }
  sum[0] = row_sum(sum[0]);
  sum[1] = row_sum(sum[1]);
  i64 out_width = (i64)heads * HEAD;
  store_rows(out + tile.begin * out_width + head * HEAD, o, 1.0f / sum[0], 1.0f / sum[1], tile.first + warp_id() * 16,
             tile.length, out_width);
  if (t == 0) {
    float *to = lse + (i64)head * rows + tile.begin;
    if (query < tile.length) to[query] = top[0] * LN_2 + logf(sum[0]);
    if (query + 8 < tile.length) to[query + 8] = top[1] * LN_2 + logf(sum[1]);
  }
}

// dq of `dqkv` [rows, (heads + 2 kv) HEAD]. Blocks (tiles of queries, heads).
#define KEYS 32
KERNEL void THREADS(128) flash_backward_queries(const bf16 *qkv, const bf16 *dout, const float *lse, const float *delta,
                                                const u32 *tiles, bf16 *dqkv, int rows, int heads, int kv, float scale) {
  __shared__ __align__(16) bf16 buffer[TILE * STRIDE];
  bf16 *keys = buffer, *values = buffer + KEYS * STRIDE;
  Tile tile = tile_of(tiles);
  int head = blockIdx.y, own = head / (heads / kv), t = lane_id() % 4;
  i64 width = (i64)(heads + 2 * kv) * HEAD, out_width = (i64)heads * HEAD;
  const bf16 *row = qkv + tile.begin * width;
  const bf16 *k = row + (heads + own) * HEAD, *v = k + kv * HEAD;
  float scale2 = scale * LOG2_E;

  u32 queries[STEPS][4], douts[STEPS][4];
  load_rows(buffer, row + head * HEAD, tile.first, TILE, tile.length, width);
  __syncthreads();
#pragma unroll
  for (int d = 0; d < STEPS; d++) left(queries[d], buffer + warp_id() * 16 * STRIDE, d * 16);
  __syncthreads();
  load_rows(buffer, dout + tile.begin * out_width + head * HEAD, tile.first, TILE, tile.length, out_width);
  __syncthreads();
#pragma unroll
  for (int d = 0; d < STEPS; d++) left(douts[d], buffer + warp_id() * 16 * STRIDE, d * 16);

  float dq[HEAD / 8][4], lse2[2], deltas[2];
  clear(dq, HEAD / 8);
  int query = tile.first + warp_id() * 16 + lane_id() / 4;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    int there = query + half * 8 < tile.length;
    i64 at = (i64)head * rows + tile.begin + query + half * 8;
    lse2[half] = there ? lse[at] * LOG2_E : 0.0f;
    deltas[half] = there ? delta[at] : 0.0f;
  }
  int end = tile.first + TILE < tile.length ? tile.first + TILE : tile.length;
  for (int base = 0; base < end; base += KEYS) {
    __syncthreads();
    load_rows(keys, k, base, KEYS, tile.length, width);
    load_rows(values, v, base, KEYS, tile.length, width);
    __syncthreads();
    float s[KEYS / 8][4], dp[KEYS / 8][4];
    clear(s, KEYS / 8);
    clear(dp, KEYS / 8);
#pragma unroll
    for (int d = 0; d < STEPS; d++) {
#pragma unroll
      for (int j = 0; j < KEYS / 8; j += 2) {
        u32 b[4];
        right(b, keys, j * 8, d * 16);
        mma(s[j], queries[d], b);
        mma(s[j + 1], queries[d], b + 2);
        right(b, values, j * 8, d * 16);
        mma(dp[j], douts[d], b);
        mma(dp[j + 1], douts[d], b + 2);
      }
    }
#pragma unroll
    for (int j = 0; j < KEYS / 8; j++) {
#pragma unroll
      for (int e = 0; e < 4; e++) {
        int half = e / 2, i = query + half * 8;
        int seen = base + j * 8 + 2 * t + e % 2 <= i && i < tile.length;
        float p = seen ? power2(s[j][e] * scale2 - lse2[half]) : 0.0f;
        s[j][e] = p * (dp[j][e] - deltas[half]) * scale;
      }
    }
#pragma unroll
    for (int j = 0; j < KEYS / 16; j++) {
      u32 ds[4];
      as_left(ds, s + 2 * j);
#pragma unroll
      for (int n = 0; n < HEAD / 8; n += 2) {
        u32 b[4];
        right_rows(b, keys, j * 16, n * 8);
        mma(dq[n], ds, b);
        mma(dq[n + 1], ds, b + 2);
      }
    }
  }
  store_rows(dqkv + tile.begin * width + head * HEAD, dq, 1.0f, 1.0f, tile.first + warp_id() * 16, tile.length, width);
}

// dk and dv of `dqkv`. Blocks (tiles of keys, kv). Queries come by QUERIES rows: 44 KB of shared memory for 128 numbers.
#define QUERIES (HEAD <= 64 ? 32 : 16)
KERNEL void THREADS(128) flash_backward_keys(const bf16 *qkv, const bf16 *dout, const float *lse, const float *delta,
                                             const u32 *tiles, bf16 *dqkv, int rows, int heads, int kv, float scale) {
  __shared__ __align__(16) bf16 keys[TILE * STRIDE];
  __shared__ __align__(16) bf16 values[TILE * STRIDE];
  __shared__ __align__(16) bf16 queries[QUERIES * STRIDE];
  __shared__ __align__(16) bf16 douts[QUERIES * STRIDE];
  __shared__ float lse2[QUERIES];
  __shared__ float deltas[QUERIES];
  Tile tile = tile_of(tiles);
  int own = blockIdx.y, group = heads / kv, t = lane_id() % 4;
  i64 width = (i64)(heads + 2 * kv) * HEAD, out_width = (i64)heads * HEAD;
  i64 key_column = (heads + own) * HEAD, value_column = key_column + kv * HEAD;
  const bf16 *row = qkv + tile.begin * width;
  float scale2 = scale * LOG2_E;
  load_rows(keys, row + key_column, tile.first, TILE, tile.length, width);
  load_rows(values, row + value_column, tile.first, TILE, tile.length, width);

  float dk[HEAD / 8][4], dv[HEAD / 8][4];
  clear(dk, HEAD / 8);
  clear(dv, HEAD / 8);
  int key = tile.first + warp_id() * 16 + lane_id() / 4;
  for (int head = own * group; head < (own + 1) * group; head++) {
    const bf16 *q = row + head * HEAD, *d_o = dout + tile.begin * out_width + head * HEAD;
    for (int base = tile.first; base < tile.length; base += QUERIES) {
      __syncthreads();
      load_rows(queries, q, base, QUERIES, tile.length, width);
      load_rows(douts, d_o, base, QUERIES, tile.length, out_width);
      if (threadIdx.x < QUERIES) {
        int i = base + threadIdx.x;
        i64 at = (i64)head * rows + tile.begin + i;
        lse2[threadIdx.x] = i < tile.length ? lse[at] * LOG2_E : 0.0f;
        deltas[threadIdx.x] = i < tile.length ? delta[at] : 0.0f;
      }
      __syncthreads();
      // Transposed: rows are keys, columns queries.
      float s[QUERIES / 8][4], dp[QUERIES / 8][4];
      clear(s, QUERIES / 8);
      clear(dp, QUERIES / 8);
#pragma unroll
      for (int d = 0; d < STEPS; d++) {
        u32 of_k[4], of_v[4];
        left(of_k, keys + warp_id() * 16 * STRIDE, d * 16);
        left(of_v, values + warp_id() * 16 * STRIDE, d * 16);
#pragma unroll
        for (int j = 0; j < QUERIES / 8; j += 2) {
          u32 b[4];
          right(b, queries, j * 8, d * 16);
          mma(s[j], of_k, b);
          mma(s[j + 1], of_k, b + 2);
          right(b, douts, j * 8, d * 16);
          mma(dp[j], of_v, b);
          mma(dp[j + 1], of_v, b + 2);
        }
      }
#pragma unroll
      for (int j = 0; j < QUERIES / 8; j++) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
          int i = j * 8 + 2 * t + e % 2;
          int seen = key + e / 2 * 8 <= base + i && base + i < tile.length;
          float p = seen ? power2(s[j][e] * scale2 - lse2[i]) : 0.0f;
          s[j][e] = p;
          dp[j][e] = p * (dp[j][e] - deltas[i]) * scale;
        }
      }
#pragma unroll
      for (int j = 0; j < QUERIES / 16; j++) {
        u32 p[4], ds[4];
        as_left(p, s + 2 * j);
        as_left(ds, dp + 2 * j);
#pragma unroll
        for (int n = 0; n < HEAD / 8; n += 2) {
          u32 b[4];
          right_rows(b, douts, j * 16, n * 8);
          mma(dv[n], p, b);
          mma(dv[n + 1], p, b + 2);
          right_rows(b, queries, j * 16, n * 8);
          mma(dk[n], ds, b);
          mma(dk[n + 1], ds, b + 2);
        }
      }
    }
  }
  bf16 *to = dqkv + tile.begin * width;
  int first = tile.first + warp_id() * 16;
  store_rows(to + key_column, dk, 1.0f, 1.0f, first, tile.length, width);
  store_rows(to + value_column, dv, 1.0f, 1.0f, first, tile.length, width);
}
