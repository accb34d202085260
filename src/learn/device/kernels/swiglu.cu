// SwiGLU: act = silu(gate) up with silu(x) = x s, s = 1 / (1 + exp(-x)), on rows that hold gate and up side by side.

#include "common.h"

DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// gate_up [rows, 2 width] -> out [rows, width]. A block a row.
KERNEL void THREADS(256) swiglu(const act *gate_up, act *out, int width) {
  i64 row = blockIdx.x;
  const act *gate = gate_up + row * 2 * width, *up = gate + width;
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    float g = of_act(gate[i]);
    out[row * width + i] = to_act(g * sigmoid(g) * of_act(up[i]));
  }
}

// With dout [rows, width]: d gate = dout up s (1 + gate (1 - s)), d up = dout gate s. `gate_up` becomes its gradient, and
// `out` [rows, width] what `swiglu` gave; `out` may be `dout`.
KERNEL void THREADS(256) swiglu_backward(act *gate_up, const act *dout, act *out, int width) {
  i64 row = blockIdx.x;
  act *gate = gate_up + row * 2 * width, *up = gate + width;
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    float g = of_act(gate[i]), u = of_act(up[i]), d = of_act(dout[row * width + i]);
    float s = sigmoid(g);
    gate[i] = to_act(d * u * s * (1.0f + g * (1.0f - s)));
    up[i] = to_act(d * g * s);
    out[row * width + i] = to_act(g * s * u);
  }
}
