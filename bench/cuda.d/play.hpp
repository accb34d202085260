// What a CUDA kernel sees, played on a CPU: shim.h plays a block's threads, this adds what candle's kernels use of the language
// and its headers (small vectors, half precision, atomics, shuffles of any type), and the launch of a kernel by its name.
//
// Everything is declared by hand for what is used; nothing is of CUDA's own headers. 8-bit floats are only good enough to compile.
// A block runs alone, so an atomic operation is a plain one, in the order of the blocks.

#pragma once

#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <type_traits>
#include <utility>

#define __CUDA_ARCH__ 900
#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_VER_MINOR__ 0

// `__global__` stays in the preprocessed text, where `play` finds the kernels' names by it.
#define KERNEL extern "C" __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__
#ifndef KEEPS_SHARED
// Memory of templates cannot be put in a section of its own, so that nobody fills it before a block.
#define __shared__ static
#endif

#include "../../tests/it/cuda/shim.h"

// The section has to be there.
__attribute__((section("shared_memory"), used)) static int play_section;
// Of `extern __shared__`: as much as a block may have.
alignas(16) static char play_dynamic[228 << 10];

using std::isinf;
using std::isnan;
using std::signbit;

template <class A, class B> inline std::common_type_t<A, B> min(A a, B b) {
  using C = std::common_type_t<A, B>;
  return (C)b < (C)a ? (C)b : (C)a;
}
template <class A, class B> inline std::common_type_t<A, B> max(A a, B b) {
  using C = std::common_type_t<A, B>;
  return (C)a < (C)b ? (C)b : (C)a;
}

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct uint3 {
  unsigned x, y, z;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float normcdff(float x) { return 0.5f * erfcf(-x * 0.70710678f); }
inline double normcdf(double x) { return 0.5 * erfc(-x * 0.70710678118654752); }

template <class To, class From> inline To play_bits(From x) {
  static_assert(sizeof(To) == sizeof(From), "bits of another size");
  To y;
  memcpy(&y, &x, sizeof y);
  return y;
}
inline unsigned __float_as_uint(float x) { return play_bits<unsigned>(x); }
inline int __float_as_int(float x) { return play_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return play_bits<float>(x); }
inline float __int_as_float(int x) { return play_bits<float>(x); }
inline long long __double_as_longlong(double x) { return play_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return play_bits<double>(x); }

// f16 of the IEEE, rounded to the nearest, ties to even.
inline float play_of_f16(unsigned short h) {
  unsigned sign = (h & 0x8000u) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff;
  if (exponent == 31) return __uint_as_float(sign | 0x7f800000u | mantissa << 13);
  if (exponent) return __uint_as_float(sign | (exponent + 112) << 23 | mantissa << 13);
  float small = (float)mantissa * 5.9604644775390625e-8f;
  return sign ? -small : small;
}
inline unsigned short play_to_f16(float x) {
  unsigned bits = __float_as_uint(x), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) return sign | 0x7e00u | (size >> 13 & 0x3ff);
  if (size >= 0x477ff000u) return sign | 0x7c00u;
  if (size < 0x38800000u) return sign | (unsigned)nearbyintf(__uint_as_float(size) * 16777216.0f);
  return sign | ((size - 0x38000000u + 0xfffu + (size >> 13 & 1)) >> 13);
}

#define PLAY_NUMBER(T, OF, TO)                                                                                        \
  struct T {                                                                                                          \
    unsigned short __x;                                                                                               \
    T() = default;                                                                                                    \
    template <class A, class = std::enable_if_t<std::is_arithmetic<A>::value>> T(A x) : __x(TO((float)x)) {}          \
    operator float() const { return OF(__x); }                                                                        \
    T operator-() const { return T(-(float)*this); }                                                                  \
    T &operator+=(T y) { return *this = T((float)*this + (float)y); }                                                 \
    T &operator-=(T y) { return *this = T((float)*this - (float)y); }                                                 \
    T &operator*=(T y) { return *this = T((float)*this * (float)y); }                                                 \
    T &operator/=(T y) { return *this = T((float)*this / (float)y); }                                                 \
  };                                                                                                                  \
  inline T operator+(T x, T y) { return x += y; }                                                                     \
  inline T operator-(T x, T y) { return x -= y; }                                                                     \
  inline T operator*(T x, T y) { return x *= y; }                                                                     \
  inline T operator/(T x, T y) { return x /= y; }                                                                     \
  inline bool operator<(T x, T y) { return (float)x < (float)y; }                                                     \
  inline bool operator>(T x, T y) { return (float)x > (float)y; }                                                     \
  inline bool operator<=(T x, T y) { return (float)x <= (float)y; }                                                   \
  inline bool operator>=(T x, T y) { return (float)x >= (float)y; }                                                   \
  inline bool operator==(T x, T y) { return (float)x == (float)y; }                                                   \
  inline bool operator!=(T x, T y) { return (float)x != (float)y; }                                                   \
  inline bool __hisnan(T x) { return isnan((float)x); }                                                               \
  inline T hsqrt(T x) { return T(sqrtf(x)); }                                                                         \
  inline T hcos(T x) { return T(cosf(x)); }                                                                           \
  inline T hsin(T x) { return T(sinf(x)); }                                                                           \
  inline T hlog(T x) { return T(logf(x)); }                                                                           \
  inline T hexp(T x) { return T(expf(x)); }                                                                           \
  inline T __habs(T x) { return T(fabsf(x)); }                                                                        \
  inline T __hmax_nan(T x, T y) { return __hisnan(x) || x > y ? x : y; }                                              \
  inline T __hmin_nan(T x, T y) { return __hisnan(x) || x < y ? x : y; }

inline float play_of_bf16(unsigned short x) { return __uint_as_float((unsigned)x << 16); }
inline unsigned short play_to_bf16(float x) { return (unsigned short)shim_round(x); }

PLAY_NUMBER(__half, play_of_f16, play_to_f16)
PLAY_NUMBER(__nv_bfloat16, play_of_bf16, play_to_bf16)

inline __half __float2half(float x) { return __half(x); }
inline float __half2float(__half x) { return x; }
inline unsigned short __half_as_ushort(__half x) { return x.__x; }
inline __half __ushort_as_half(unsigned short x) { return play_bits<__half>(x); }
inline __nv_bfloat16 __float2bfloat16(float x) { return __nv_bfloat16(x); }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return __nv_bfloat16(x); }
inline float __bfloat162float(__nv_bfloat16 x) { return x; }

struct __nv_bfloat162 {
  __nv_bfloat16 x, y;
};
inline __nv_bfloat162 __hadd2(__nv_bfloat162 a, __nv_bfloat162 b) { return {a.x + b.x, a.y + b.y}; }
inline __nv_bfloat162 __hmul2(__nv_bfloat162 a, __nv_bfloat162 b) { return {a.x * b.x, a.y * b.y}; }

struct __nv_fp8_e4m3 {
  unsigned char __x;
  __nv_fp8_e4m3() = default;
  template <class A> explicit __nv_fp8_e4m3(A) : __x(0) { assert(!"8-bit floats are not played"); }
};
enum { __NV_E4M3 };
inline __half __nv_cvt_fp8_to_halfraw(unsigned char, int) {
  assert(!"8-bit floats are not played");
  return __half(0);
}

template <class T, class U> inline T atomicAdd(T *at, U x) {
  T old = *at;
  *at = old + (T)x;
  return old;
}
template <class T, class U> inline T atomicMax(T *at, U y) {
  T old = *at, x = (T)y;
  *at = old < x ? x : old;
  return old;
}
template <class T, class U> inline T atomicMin(T *at, U y) {
  T old = *at, x = (T)y;
  *at = x < old ? x : old;
  return old;
}
template <class T, class U> inline T atomicCAS(T *at, T expected, U x) {
  T old = *at;
  if (old == expected) *at = (T)x;
  return old;
}

struct PlayShuffle {
  unsigned long long brought, got;
  int from;
};

// A lane that is not there gives its own.
static void play_shuffle_meeting(ShimFiber *lanes) {
  int count = shim_lanes(lanes->number / 32);
  for (int lane = 0; lane < count; lane++) {
    PlayShuffle *own = (PlayShuffle *)lanes[lane].brings;
    own->got = own->from < count ? ((const PlayShuffle *)lanes[own->from].brings)->brought : own->brought;
  }
}

template <class T> inline T play_shuffle(T x, int from) {
  PlayShuffle own = {0, 0, from};
  static_assert(sizeof x <= sizeof own.got, "at most 8 bytes are shuffled");
  memcpy(&own.brought, &x, sizeof x);
  shim_meet(play_shuffle_meeting, &own);
  memcpy(&x, &own.got, sizeof x);
  return x;
}
template <class T> inline T __shfl_xor_sync(unsigned, T x, int mask, int = 32) {
  return play_shuffle(x, shim_self->number % 32 ^ mask);
}
template <class T> inline T __shfl_down_sync(unsigned, T x, int by, int = 32) {
  int lane = shim_self->number % 32;
  return play_shuffle(x, lane + by < 32 ? lane + by : lane);
}
template <class T> inline T __shfl_sync(unsigned, T x, int lane, int = 32) { return play_shuffle(x, lane & 31); }

template <class... A, std::size_t... I>
inline void play_call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
  kernel(*(std::remove_const_t<A> *)arguments[I]...);
}
template <class... A> inline void play_call(void (*kernel)(A...), void **arguments) {
  play_call(kernel, arguments, std::index_sequence_for<A...>());
}

// Kernels by name, in the table that `play` writes after the text.
struct PlayKernel {
  const char *name;
  void (*call)(void **);
  int parameters;
};
template <class... A> constexpr int play_parameters(void (*)(A...)) { return sizeof...(A); }
extern "C" const PlayKernel play_kernels[];

extern "C" const PlayKernel *play_find(const char *name) {
  for (const PlayKernel *kernel = play_kernels; kernel->name; kernel++)
    if (!strcmp(kernel->name, name)) return kernel;
  return 0;
}

extern "C" const char *play_launch(const PlayKernel *kernel, void **arguments, const unsigned *grid,
                                   const unsigned *block, int stride) {
  ShimPlace of = {grid[0], grid[1], grid[2]}, dim = {block[0], block[1], block[2]};
  unsigned long long blocks = (unsigned long long)grid[0] * grid[1] * grid[2];
  int threads = block[0] * block[1] * block[2];
  // So that all lanes and all threads have their turn.
  shim_stride = (stride % threads + threads) % threads;
  while (shim_stride % 2 == 0 || std::gcd(shim_stride, threads) != 1) shim_stride++;
  return shim_play(kernel->call, arguments, of, dim, 0, blocks);
}
