// RMSNorm of rows: y = x r w with r = (mean(x^2) + eps)^(-1/2), and its backward pass.

#ifndef NORM_CU
#define NORM_CU

#include "common.h"

// r of a row from its sum of squares. Where the squares overflow r would be 0, and a broken model one that gives every
// token the same chance.
DEVICE float norm_scale(float squares, int width, float eps) {
  float mean = squares / (float)width + eps;
  return mean < INFINITE ? 1.0f / sqrtf(mean) : NOT_A_NUMBER;
}

// x [rows, width], w [width] -> y [rows, width], r [rows]. A block a row.
KERNEL void THREADS(256) rms_norm(const float *x, const float *w, act *y, float *r, int width, float eps) {
  __shared__ float spare[32];
  i64 row = (i64)blockIdx.x * width;
  float squares = 0.0f;
  for (int i = threadIdx.x; i < width; i += blockDim.x) squares += x[row + i] * x[row + i];
  float scale = norm_scale(block_sum(squares, spare), width, eps);
  if (threadIdx.x == 0) r[blockIdx.x] = scale;
  for (int i = threadIdx.x; i < width; i += blockDim.x) y[row + i] = to_act(x[row + i] * scale * w[i]);
}

// dx [rows, width] += r (w dy) - x r^3 / width sum(w dy x), and this block's part of dw = sum over rows of dy x r:
// `partial` [blocks, width]. A block `rows_a_block` rows, whose sum it makes in their order.
KERNEL void THREADS(256) rms_norm_backward(const float *x, const float *w, const float *r, const float *dy, float *dx,
                                           float *partial, int rows, int width, int rows_a_block) {
  __shared__ float spare[32];
  i64 own = (i64)blockIdx.x * width;
  int first = blockIdx.x * rows_a_block;
  int end = first + rows_a_block < rows ? first + rows_a_block : rows;
  for (int n = first; n < end; n++) {
    i64 row = (i64)n * width;
    float scale = r[n];
    float inner = 0.0f;
    for (int i = threadIdx.x; i < width; i += blockDim.x) inner += w[i] * dy[row + i] * x[row + i];
    float back = scale * scale * scale / (float)width * block_sum(inner, spare);
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
      float a = x[row + i], d = dy[row + i];
      dx[row + i] += scale * w[i] * d - back * a;
      float share = d * a * scale;
      partial[own + i] = n == first ? share : partial[own + i] + share;
    }
  }
}

// out [width] += the sum over `parts` of partial [parts, width], in their order. A thread a column.
KERNEL void THREADS(256) add_parts(const float *partial, float *out, int parts, int width) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= width) return;
  float sum = 0.0f;
  for (int p = 0; p < parts; p++) sum += partial[(i64)p * width + i];
  out[i] += sum;
}

#endif
