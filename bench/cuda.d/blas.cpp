// A stand-in for cuBLAS: matrix products by plain loops, sums in f32 (f64 of doubles) in the order of k.
//
// Matrices lie by columns, as cuBLAS has them: element (i, j) of a matrix is at i + j * ld. C = alpha op(A) op(B) + beta C, with
// op(A) [m, k], op(B) [k, n], C [m, n]. Scalars are the host's, of the type that is computed with. With beta 0, C is not read.

#include <cstdint>
#include <cstring>
#include <vector>

namespace {

enum Status { FINE = 0, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
enum Type { F32 = 0, F64 = 1, F16 = 2, BF16 = 14 };
enum Compute { BY_F32 = 68, BY_F32_PEDANTIC = 69, FAST_F16 = 74, FAST_BF16 = 75, FAST_TF32 = 77, BY_F64 = 70, BY_F64_PEDANTIC = 71 };

float of_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}
uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return bits;
}

// To the nearest number with so many bits fewer, ties to even.
float shorter(float x, int bits) {
  uint32_t b = bits_of(x);
  if ((b & 0x7f800000u) == 0x7f800000u) return x;
  return of_bits((b + ((1u << (bits - 1)) - 1) + (b >> bits & 1)) >> bits << bits);
}

float of_f16(uint16_t h) {
  _Float16 x;
  memcpy(&x, &h, 2);
  return x;
}
uint16_t to_f16(float x) {
  _Float16 h = x;
  uint16_t bits;
  memcpy(&bits, &h, 2);
  return bits;
}

template <class S> S get(const void *at, int64_t i, int type) {
  switch (type) {
    case F32: return ((const float *)at)[i];
    case F64: return ((const double *)at)[i];
    case F16: return of_f16(((const uint16_t *)at)[i]);
    default: return of_bits((uint32_t)((const uint16_t *)at)[i] << 16);
  }
}
template <class S> void put(void *at, int64_t i, int type, S x) {
  switch (type) {
    case F32: ((float *)at)[i] = x; break;
    case F64: ((double *)at)[i] = x; break;
    case F16: ((uint16_t *)at)[i] = to_f16(x); break;
    default: ((uint16_t *)at)[i] = x == x ? bits_of(shorter(x, 16)) >> 16 : 0x7fff;
  }
}

// Column by column, `rows` rows each, from a matrix that may be the other way round.
template <class S>
std::vector<S> columns(const void *at, int type, int ld, bool transposed, int rows, int count, int64_t offset, bool tf32) {
  std::vector<S> out((size_t)rows * count);
  for (int64_t j = 0; j < count; j++)
    for (int64_t i = 0; i < rows; i++) {
      S x = get<S>(at, offset + (transposed ? j + i * ld : i + j * ld), type);
      out[i + j * rows] = tf32 ? shorter(x, 13) : x;
    }
  return out;
}

struct Matrix {
  const void *at;
  int type, ld;
  int64_t stride;
  int op;
};

template <class S>
int product(int m, int n, int k, S alpha, Matrix a, Matrix b, S beta, void *c, int c_type, int ldc, int64_t stride_c, int batch,
            bool tf32) {
  std::vector<S> sums(m);
  for (int64_t s = 0; s < batch; s++) {
    auto left = columns<S>(a.at, a.type, a.ld, a.op, m, k, s * a.stride, tf32);
    auto right = columns<S>(b.at, b.type, b.ld, b.op, k, n, s * b.stride, tf32);
    for (int64_t j = 0; j < n; j++) {
      memset(sums.data(), 0, m * sizeof(S));
      for (int64_t l = 0; l < k; l++) {
        const S *column = &left[l * m], times = right[l + j * k];
        for (int i = 0; i < m; i++) sums[i] += column[i] * times;
      }
      for (int i = 0; i < m; i++) {
        int64_t to = s * stride_c + i + j * ldc;
        S before = beta == 0 ? 0 : beta * get<S>(c, to, c_type);
        put<S>(c, to, c_type, alpha * sums[i] + before);
      }
    }
  }
  return FINE;
}

bool known(int type) { return type == F32 || type == F64 || type == F16 || type == BF16; }

int checked(int m, int n, int k, const void *alpha, Matrix a, Matrix b, const void *beta, void *c, int c_type, int ldc,
            int64_t stride_c, int batch, int compute) {
  auto least = [](int rows) { return rows > 1 ? rows : 1; };
  if (m < 0 || n < 0 || k < 0 || batch < 0 || a.op > 1 || b.op > 1) return INVALID_VALUE;
  if (a.ld < least(a.op ? k : m) || b.ld < least(b.op ? n : k) || ldc < least(m)) return INVALID_VALUE;
  if (!known(a.type) || a.type != b.type || !known(c_type)) return NOT_SUPPORTED;
  bool doubles = compute == BY_F64 || compute == BY_F64_PEDANTIC;
  bool floats = compute == BY_F32 || compute == BY_F32_PEDANTIC || (compute >= FAST_F16 && compute <= FAST_TF32);
  // As the table of cublasGemmEx has it: f32 gives f32, halves give their own kind or f32, doubles doubles.
  if (doubles ? a.type != F64 || c_type != F64 : !floats || a.type == F64 || (c_type != F32 && c_type != a.type))
    return NOT_SUPPORTED;
  if (!m || !n || !batch) return FINE;
  if (doubles)
    return product<double>(m, n, k, *(const double *)alpha, a, b, *(const double *)beta, c, c_type, ldc, stride_c, batch, false);
  bool tf32 = compute == FAST_TF32 && a.type == F32;
  return product<float>(m, n, k, *(const float *)alpha, a, b, *(const float *)beta, c, c_type, ldc, stride_c, batch, tf32);
}

}  // namespace

extern "C" {

int cublasCreate_v2(void **out) { return *out = new int64_t, FINE; }
int cublasDestroy_v2(void *handle) { return delete (int64_t *)handle, FINE; }
int cublasSetStream_v2(void *, void *) { return FINE; }
int cublasSetMathMode(void *, int) { return FINE; }
int cublasGetMathMode(void *, int *mode) { return *mode = 0, FINE; }
int cublasSetWorkspace_v2(void *, void *, size_t) { return FINE; }
int cublasSetPointerMode_v2(void *, int mode) { return mode ? NOT_SUPPORTED : FINE; }
int cublasGetVersion_v2(void *, int *version) { return *version = 130000, FINE; }
// Major, minor and patch of the version.
int cublasGetProperty(int part, int *value) { return *value = part == 0 ? 13 : 0, FINE; }

int cublasGemmStridedBatchedEx(void *, int opa, int opb, int m, int n, int k, const void *alpha, const void *a, int a_type, int lda,
                               long long stride_a, const void *b, int b_type, int ldb, long long stride_b, const void *beta, void *c,
                               int c_type, int ldc, long long stride_c, int batch, int compute, int) {
  return checked(m, n, k, alpha, {a, a_type, lda, stride_a, opa}, {b, b_type, ldb, stride_b, opb}, beta, c, c_type, ldc, stride_c,
                 batch, compute);
}
int cublasGemmEx(void *, int opa, int opb, int m, int n, int k, const void *alpha, const void *a, int a_type, int lda, const void *b,
                 int b_type, int ldb, const void *beta, void *c, int c_type, int ldc, int compute, int) {
  return checked(m, n, k, alpha, {a, a_type, lda, 0, opa}, {b, b_type, ldb, 0, opb}, beta, c, c_type, ldc, 0, 1, compute);
}

#define PLAIN(LETTER, T, TYPE, COMPUTE)                                                                                              \
  int cublas##LETTER##gemmStridedBatched(void *, int opa, int opb, int m, int n, int k, const T *alpha, const T *a, int lda,         \
                                         long long stride_a, const T *b, int ldb, long long stride_b, const T *beta, T *c, int ldc,  \
                                         long long stride_c, int batch) {                                                            \
    return checked(m, n, k, alpha, {a, TYPE, lda, stride_a, opa}, {b, TYPE, ldb, stride_b, opb}, beta, c, TYPE, ldc, stride_c,       \
                   batch, COMPUTE);                                                                                                  \
  }                                                                                                                                  \
  int cublas##LETTER##gemm_v2(void *, int opa, int opb, int m, int n, int k, const T *alpha, const T *a, int lda, const T *b,        \
                              int ldb, const T *beta, T *c, int ldc) {                                                               \
    return checked(m, n, k, alpha, {a, TYPE, lda, 0, opa}, {b, TYPE, ldb, 0, opb}, beta, c, TYPE, ldc, 0, 1, COMPUTE);               \
  }
PLAIN(S, float, F32, BY_F32)
PLAIN(D, double, F64, BY_F64)
}
