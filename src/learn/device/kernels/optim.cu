// The norm of all gradients, and AdamW on f32 master weights with a bf16 shadow for products. Formulas and rounding are
// those of `learn::optim`.

#include "common.h"

// Numbers whose squares are one partial sum.
#define PART 16384

// partial [n over PART] of g [n]: sums of squares in f64. A block a part.
KERNEL void THREADS(256) square_parts(const float *g, i64 n, double *partial) {
  __shared__ double spare[32];
  i64 first = (i64)blockIdx.x * PART;
  i64 end = first + PART < n ? first + PART : n;
  double sum = 0.0;
  for (i64 i = first + threadIdx.x; i < end; i += blockDim.x) sum += (double)g[i] * (double)g[i];
  sum = block_sum_double(sum, spare);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// out [1] = the sum of partial [parts]. One block.
KERNEL void THREADS(256) square_sum(const double *partial, i64 parts, double *out) {
  __shared__ double spare[32];
  double sum = 0.0;
  for (i64 i = threadIdx.x; i < parts; i += blockDim.x) sum += partial[i];
  sum = block_sum_double(sum, spare);
  if (threadIdx.x == 0) out[0] = sum;
}

// m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, w = keep w - move_by m / (sqrt(v) scale2 + eps), with
// keep = 1 - lr decay, move_by = lr / (1 - beta1^t), scale2 = (1 - beta2^t)^(-1/2). Gradients are first scaled by
// min(1, most / (norm + 1e-6)), where `squares` (norm^2, or null: no clipping) is what `square_sum` gave. `shadow` [n] is
// w rounded to bf16, or null. A thread a weight.
KERNEL void THREADS(256) adamw(float *w, bf16 *shadow, const float *g, float *m, float *v, i64 n, const double *squares,
                               double most, float beta1, float rest1, float beta2, float rest2, float scale2, float eps,
                               float move_by, float keep) {
  i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float gradient = g[i];
  if (squares) {
    double factor = most / (sqrt(squares[0]) + 1e-6);
    if (factor < 1.0) gradient *= (float)factor;
  }
  float first = beta1 * m[i] + rest1 * gradient;
  float second = beta2 * v[i] + rest2 * gradient * gradient;
  float moved = keep * w[i] - move_by * first / (sqrtf(second) * scale2 + eps);
  m[i] = first;
  v[i] = second;
  w[i] = moved;
  if (shadow) shadow[i] = to_bf16(moved);
}
