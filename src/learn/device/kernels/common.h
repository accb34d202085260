// What all kernels share: types, conversions, sums over a warp and a block, and the tensor cores' instructions.
//
// The text is CUDA and, with a header that plays a block's threads on the CPU (tests/it/cuda/shim.h), C as well: no
// templates, no references, no libraries. Compiled with
//   -DACT_F32    activations are f32 instead of bf16 (for tests)
//   -DHEAD=n     numbers of a head; of 16 to 128 a multiple of 16 (f32: even)
//
// Sums have a fixed order: nothing is added atomically, and no sum is cut by the number of threads that are free.

#ifndef COMMON_H
#define COMMON_H

#ifndef HEAD
#define HEAD 128
#endif

typedef unsigned int u32;
typedef long long i64;
typedef unsigned short bf16;

#ifdef __CUDACC__
#define KERNEL extern "C" __global__
#define DEVICE static __device__ __forceinline__
#define THREADS(n) __launch_bounds__(n)

DEVICE float of_bits(u32 bits) { return __uint_as_float(bits); }
DEVICE u32 bits_of(float x) { return __float_as_uint(x); }

// Two numbers rounded to bf16, the first in the low half.
DEVICE u32 pack(float low, float high) {
  u32 both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}

// 2^x, to two units in the last place.
DEVICE float power2(float x) {
  float y;
  asm("ex2.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// c [16, 8] += a [16, 16] b [16, 8]. With g = lane / 4 and t = lane % 4 a lane holds
//   a: rows g, g + 8, g, g + 8 at columns 2t, 2t, 2t + 8, 2t + 8 (and the column after each),
//   b: rows 2t, 2t + 8 (and the row after each) of column g,
//   c: row g at columns 2t, 2t + 1, then row g + 8.
DEVICE void mma(float *c, const u32 *a, const u32 *b) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four matrices [8, 8] from shared memory; lane 8 m + i says where row i of matrix m begins. A lane gets columns 2t and
// 2t + 1 of row g of each.
DEVICE void load_matrices(u32 *r, const bf16 *row) {
  u32 at = (u32)__cvta_generic_to_shared(row);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(at)
               : "memory");
}

// The same of the transposed matrices: rows 2t and 2t + 1 of column g.
DEVICE void load_transposed(u32 *r, const bf16 *row) {
  u32 at = (u32)__cvta_generic_to_shared(row);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(at)
               : "memory");
}

DEVICE float other_lane(float x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
DEVICE double other_lane_double(double x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
DEVICE float of_lane(float x, int lane) { return __shfl_sync(0xffffffffu, x, lane); }
DEVICE double of_lane_double(double x, int lane) { return __shfl_sync(0xffffffffu, x, lane); }
#endif

#define INFINITE of_bits(0x7f800000u)
#define NOT_A_NUMBER of_bits(0x7fc00000u)
#define LOG2_E 1.4426950408889634f
#define LN_2 0.6931471805599453f

DEVICE float of_bf16(bf16 x) { return of_bits((u32)x << 16); }

// Rounds to the nearest, ties to even; what is no number stays none.
DEVICE bf16 to_bf16(float x) {
  u32 bits = bits_of(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (bf16)((bits >> 16) | 0x40u);
  return (bf16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// An activation: q, k, v, outputs of heads, gate and up, whatever goes into a product.
#ifdef ACT_F32
typedef float act;
DEVICE float of_act(act x) { return x; }
DEVICE act to_act(float x) { return x; }
#else
typedef bf16 act;
DEVICE float of_act(act x) { return of_bf16(x); }
DEVICE act to_act(float x) { return to_bf16(x); }
#endif

DEVICE int lane_id(void) { return threadIdx.x & 31; }
DEVICE int warp_id(void) { return threadIdx.x >> 5; }

// The sum over the lanes of a warp; every lane gets it.
DEVICE float warp_sum(float x) {
  for (int mask = 16; mask > 0; mask >>= 1) x += other_lane(x, mask);
  return x;
}

DEVICE double warp_sum_double(double x) {
  for (int mask = 16; mask > 0; mask >>= 1) x += other_lane_double(x, mask);
  return x;
}

DEVICE float warp_max(float x) {
  for (int mask = 16; mask > 0; mask >>= 1) {
    float y = other_lane(x, mask);
    x = y > x ? y : x;
  }
  return x;
}

// The sum over a block of at most 1,024 threads; every thread gets it. `spare` is shared, 32 numbers, and may be used
// again at once.
DEVICE float block_sum(float x, float *spare) {
  x = warp_sum(x);
  if (lane_id() == 0) spare[warp_id()] = x;
  __syncthreads();
  float sum = 0.0f;
  for (int w = 0; w < (int)blockDim.x / 32; w++) sum += spare[w];
  __syncthreads();
  return sum;
}

// The same in f64, once in a kernel: `spare` is not used again.
DEVICE double block_sum_double(double x, double *spare) {
  x = warp_sum_double(x);
  if (lane_id() == 0) spare[warp_id()] = x;
  __syncthreads();
  double sum = 0.0;
  for (int w = 0; w < (int)blockDim.x / 32; w++) sum += spare[w];
  return sum;
}

#endif
