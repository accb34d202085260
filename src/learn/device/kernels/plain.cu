// Numbers one by one: rounding to activations and back, adding. A thread a number.

#include "common.h"

KERNEL void THREADS(256) to_activations(const float *x, act *y, i64 n) {
  i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = to_act(x[i]);
}

KERNEL void THREADS(256) of_activations(const act *x, float *y, i64 n) {
  i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = of_act(x[i]);
}

// y += x.
KERNEL void THREADS(256) add_to(float *y, const float *x, i64 n) {
  i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] += x[i];
}
