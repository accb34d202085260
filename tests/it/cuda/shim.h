// Plays CUDA on a CPU, for the kernels of src/learn/device/kernels: the same text, compiled as C by gcc. It is C++ as well, for
// bench/cuda.d, which plays candle's kernels with it.
//
// A block's threads are fibers of one thread of the host: each runs until it meets a barrier or an instruction of its whole
// warp, then another one runs, of its own warp as long as that can go on. So a block is deterministic, whatever the order,
// and the order is a parameter (`shim_stride`): kernels that lack a barrier give other bytes under another order. What is
// also told: threads that end or wait elsewhere while others wait for them, and reads of shared memory that nobody wrote (it
// is filled with NaN before every block). `shim_without` leaves out one barrier, by its number in the text.
//
// A thread has a stack from its first instruction to its last: those that meet nobody run one after the other on one stack.
//
// The tensor cores' instructions are computed by their layout over the lanes, in f32.

#include <math.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#ifdef __cplusplus
#define SHIM_C extern "C"
#else
#define SHIM_C
#endif

#ifndef KERNEL
#define KERNEL
#endif
#define DEVICE static inline __attribute__((always_inline))
#define THREADS(n)
#define __align__(n) __attribute__((aligned(n)))
#ifndef __shared__
#define __shared__ static __attribute__((section("shared_memory")))
#endif

typedef struct {
  unsigned x, y, z;
} ShimPlace;

typedef struct __attribute__((aligned(16))) {
  unsigned x, y, z, w;
} uint4;

enum { RUNS, IN_WARP, IN_BLOCK, ENDED };
enum { MOST_THREADS = 1024, STACK = 128 << 10 };

typedef struct ShimFiber {
  void *stack_pointer;
  ShimPlace thread;
  // `stack` is counted from 1 on; 0 of a thread that has not begun.
  int number, state, stack;
  // What this thread brings to a meeting, on its own stack, and which meeting it is.
  void *brings;
  const void *meets;
} ShimFiber;

typedef void (*ShimMeeting)(ShimFiber *warp);

static ShimFiber shim_fibers[MOST_THREADS];
static ShimFiber *shim_self;
static ShimPlace shim_block, shim_dim, shim_grid;
static int shim_threads, shim_waiting, shim_in_warp[MOST_THREADS / 32];
// Stacks that no thread has.
static int shim_spare[MOST_THREADS], shim_spares;
static void *shim_host;
static void (*shim_kernel)(void **);
static void **shim_arguments;
static const char *shim_wrong;
static char *shim_stacks;

// The next thread to run is that many threads on; odd, so that all have their turn.
int shim_stride = 1;
// The barrier that is left out, or -1; which barriers were met.
int shim_without = -1;
unsigned char shim_met[256];

#define threadIdx (shim_self->thread)
#define blockIdx shim_block
#define blockDim shim_dim
#define gridDim shim_grid

// Saves the registers that a call keeps, and goes on where another stack was left.
#if defined(__x86_64__) && !defined(SHIM_PORTABLE)
SHIM_C void shim_switch(void **from, void *to);
__asm__(
    ".text\n.globl shim_switch\n.type shim_switch,@function\nshim_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n");

// A stack whose first switch calls `start`.
static void *shim_new_stack(char *top, void (*start)(void)) {
  void **at = (void **)top;
  *--at = 0;
  *--at = (void *)start;
  for (int i = 0; i < 6; i++) *--at = 0;
  return at;
}
#else
#include <ucontext.h>
// Slower by what the kernel of the system takes to set a mask of signals.
static ucontext_t shim_contexts[MOST_THREADS + 1], shim_begins;

static void shim_switch(void **from, void *to) {
  ucontext_t *own = from == &shim_host ? &shim_contexts[MOST_THREADS] : &shim_contexts[((ShimFiber *)from)->number];
  *from = own;
  swapcontext(own, (ucontext_t *)to);
}

static void *shim_new_stack(char *top, void (*start)(void)) {
  // Whoever makes one switches to it at once.
  ucontext_t *own = &shim_begins;
  getcontext(own);
  own->uc_stack.ss_sp = top - STACK;
  own->uc_stack.ss_size = STACK;
  own->uc_link = 0;
  makecontext(own, start, 0);
  return own;
}
#endif

// A warp goes as far as it can before another has its turn: so whoever reads too late is overtaken.
static int shim_next(void) {
  int own = shim_self->number / 32 * 32, lane = shim_self->number % 32, at = shim_self->number;
  for (int i = 0; i < 32; i++) {
    lane = (lane + shim_stride) % 32;
    if (own + lane < shim_threads && shim_fibers[own + lane].state == RUNS) return own + lane;
  }
  for (int i = 0; i < shim_threads; i++) {
    at = (at + shim_stride) % shim_threads;
    if (shim_fibers[at].state == RUNS) return at;
  }
  return -1;
}

static void shim_start(void);

// Goes on where a thread was left, or begins it.
static void shim_run_thread(void **own, ShimFiber *next) {
  shim_self = next;
  if (!next->stack) {
    next->stack = shim_spare[--shim_spares];
    next->stack_pointer = shim_new_stack(shim_stacks + (size_t)STACK * next->stack, shim_start);
  }
  shim_switch(own, next->stack_pointer);
}

// Runs another thread; comes back when it is this one's turn. Where nobody can run, the block is over.
static void shim_yield(void) {
  int next = shim_next();
  void **own = &shim_self->stack_pointer;
  if (next == shim_self->number) return;
  if (next < 0) {
    for (int i = 0; i < shim_threads; i++)
      if (shim_fibers[i].state != ENDED) shim_wrong = "threads wait for threads that wait elsewhere or ended";
    shim_switch(own, shim_host);
  }
  shim_run_thread(own, &shim_fibers[next]);
}

static void shim_start(void) {
  for (;;) {
    shim_kernel(shim_arguments);
    shim_self->state = ENDED;
    int next = shim_next(), stack = shim_self->stack;
    if (next < 0 || shim_fibers[next].stack) {
      shim_spare[shim_spares++] = stack;
      shim_yield();
    }
    shim_self = &shim_fibers[next];
    shim_self->stack = stack;
  }
}

// Lanes of a warp: 32, but for the last warp of a block that is not whole warps.
static int shim_lanes(int warp) { return shim_threads - warp * 32 < 32 ? shim_threads - warp * 32 : 32; }

// The last of a warp's lanes to come does it for all of them.
static __attribute__((noinline)) void shim_meet(ShimMeeting meeting, void *brings) {
  int warp = shim_self->number / 32, count = shim_lanes(warp);
  ShimFiber *lanes = &shim_fibers[warp * 32];
  shim_self->brings = brings;
  shim_self->meets = (const void *)meeting;
  if (++shim_in_warp[warp] < count) {
    shim_self->state = IN_WARP;
    shim_yield();
    return;
  }
  shim_in_warp[warp] = 0;
  for (int i = 0; i < count; i++) {
    if (lanes[i].meets != (const void *)meeting) shim_wrong = "lanes of a warp meet in different instructions";
    lanes[i].state = RUNS;
  }
  meeting(lanes);
}

static __attribute__((noinline)) void shim_barrier(int number) {
  shim_met[number] = 1;
  if (number == shim_without) return;
  shim_self->meets = (const void *)(ptrdiff_t)number;
  if (++shim_waiting < shim_threads) {
    shim_self->state = IN_BLOCK;
    shim_yield();
    return;
  }
  shim_waiting = 0;
  for (int i = 0; i < shim_threads; i++) {
    if (shim_fibers[i].meets != shim_self->meets) shim_wrong = "threads of a block meet at different barriers";
    shim_fibers[i].state = RUNS;
  }
}

#define __syncthreads() shim_barrier(__COUNTER__)

extern char __start_shared_memory[], __stop_shared_memory[];

// Runs the blocks first .. first + count of a grid of blocks of any size, counted x first. Null, or what is wrong.
static const char *shim_play(void (*kernel)(void **), void **arguments, ShimPlace grid, ShimPlace dim,
                             unsigned long long first, unsigned long long count) {
  if (!shim_stacks) {
    shim_stacks = (char *)mmap(0, (size_t)STACK * MOST_THREADS, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (shim_stacks == MAP_FAILED) return "no memory for stacks";
  }
  shim_kernel = kernel;
  shim_arguments = arguments;
  shim_grid = grid;
  shim_dim = dim;
  shim_threads = dim.x * dim.y * dim.z;
  shim_wrong = 0;
  for (unsigned long long b = first; b < first + count && !shim_wrong; b++) {
    shim_block.x = b % grid.x;
    shim_block.y = b / grid.x % grid.y;
    shim_block.z = b / grid.x / grid.y;
    memset(__start_shared_memory, 0xff, __stop_shared_memory - __start_shared_memory);
    memset(shim_in_warp, 0, sizeof shim_in_warp);
    shim_waiting = 0;
    for (int i = 0; i < shim_threads; i++) {
      ShimFiber *f = &shim_fibers[i];
      f->number = i;
      f->thread.x = i % dim.x;
      f->thread.y = i / dim.x % dim.y;
      f->thread.z = i / dim.x / dim.y;
      f->state = RUNS;
      f->stack = 0;
      shim_spare[i] = shim_threads - i;
    }
    shim_spares = shim_threads;
    // A stride of -1 begins with the last.
    shim_run_thread(&shim_host, &shim_fibers[(shim_threads - 1 + shim_stride) % shim_threads]);
  }
  return shim_wrong;
}

// The same of blocks in one row, which are whole warps.
static inline const char *shim_run(void (*kernel)(void **), void **arguments, const unsigned *grid, unsigned threads,
                                   unsigned long long first, unsigned long long count) {
  ShimPlace of = {grid[0], grid[1], grid[2]}, dim = {threads, 1, 1};
  if (threads % 32 || threads > MOST_THREADS || shim_stride % 2 == 0) return "a block is whole warps";
  return shim_play(kernel, arguments, of, dim, first, count);
}

DEVICE float of_bits(unsigned bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

DEVICE unsigned bits_of(float x) {
  unsigned bits;
  memcpy(&bits, &x, 4);
  return bits;
}

static float shim_low(unsigned both) { return of_bits(both << 16); }
static float shim_high(unsigned both) { return of_bits(both & 0xffff0000u); }

static inline unsigned shim_round(float x) {
  unsigned bits = bits_of(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return bits >> 16 | 0x40u;
  return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

DEVICE unsigned pack(float low, float high) { return (shim_round(low) & 0xffffu) | shim_round(high) << 16; }
DEVICE float power2(float x) { return exp2f(x); }

typedef struct {
  float *c;
  const unsigned *a, *b;
} ShimMma;

static void shim_mma(ShimFiber *lanes) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; lane++) {
    const ShimMma *m = (const ShimMma *)lanes[lane].brings;
    int g = lane / 4, t = lane % 4 * 2;
    for (int r = 0; r < 4; r++) {
      float *to = &a[g + r % 2 * 8][t + r / 2 * 8];
      to[0] = shim_low(m->a[r]);
      to[1] = shim_high(m->a[r]);
    }
    for (int r = 0; r < 2; r++) {
      b[t + r * 8][g] = shim_low(m->b[r]);
      b[t + r * 8 + 1][g] = shim_high(m->b[r]);
    }
  }
  for (int lane = 0; lane < 32; lane++) {
    const ShimMma *m = (const ShimMma *)lanes[lane].brings;
    int g = lane / 4, t = lane % 4 * 2;
    float c[4] = {m->c[0], m->c[1], m->c[2], m->c[3]};
    for (int k = 0; k < 16; k++) {
      c[0] += a[g][k] * b[k][t];
      c[1] += a[g][k] * b[k][t + 1];
      c[2] += a[g + 8][k] * b[k][t];
      c[3] += a[g + 8][k] * b[k][t + 1];
    }
    memcpy(m->c, c, sizeof c);
  }
}

DEVICE void mma(float *c, const unsigned *a, const unsigned *b) {
  ShimMma own = {c, a, b};
  shim_meet(shim_mma, &own);
}

typedef struct {
  unsigned *r;
  const unsigned short *row;
} ShimLoad;

static void shim_load_as(ShimFiber *lanes, int transposed) {
  const unsigned short *rows[32];
  for (int lane = 0; lane < 32; lane++) {
    rows[lane] = ((const ShimLoad *)lanes[lane].brings)->row;
    if ((size_t)rows[lane] % 16) shim_wrong = "a row of a matrix begins between 16 bytes";
  }
  for (int lane = 0; lane < 32; lane++) {
    unsigned *r = ((const ShimLoad *)lanes[lane].brings)->r;
    int g = lane / 4, t = lane % 4 * 2;
    for (int m = 0; m < 4; m++) {
      const unsigned short **of = rows + 8 * m;
      unsigned low = transposed ? of[t][g] : of[g][t], high = transposed ? of[t + 1][g] : of[g][t + 1];
      r[m] = low | high << 16;
    }
  }
}

static void shim_load(ShimFiber *lanes) { shim_load_as(lanes, 0); }
static void shim_load_transposed(ShimFiber *lanes) { shim_load_as(lanes, 1); }

DEVICE void load_matrices(unsigned *r, const unsigned short *row) {
  ShimLoad own = {r, row};
  shim_meet(shim_load, &own);
}

DEVICE void load_transposed(unsigned *r, const unsigned short *row) {
  ShimLoad own = {r, row};
  shim_meet(shim_load_transposed, &own);
}

typedef struct {
  double x, y;
  int from;
} ShimShuffle;

static void shim_shuffle(ShimFiber *lanes) {
  for (int lane = 0; lane < 32; lane++) {
    ShimShuffle *own = (ShimShuffle *)lanes[lane].brings;
    own->y = ((const ShimShuffle *)lanes[own->from & 31].brings)->x;
  }
}

static double shim_from(double x, int lane) {
  ShimShuffle own = {x, 0.0, lane};
  shim_meet(shim_shuffle, &own);
  return own.y;
}

// Bits of what is no number pass a double unharmed only where it is kept as such.
static float shim_from_bits(float x, int lane) {
  double carried = bits_of(x);
  return of_bits((unsigned)shim_from(carried, lane));
}

DEVICE float other_lane(float x, int mask) { return shim_from_bits(x, shim_self->number % 32 ^ mask); }
DEVICE double other_lane_double(double x, int mask) { return shim_from(x, shim_self->number % 32 ^ mask); }
DEVICE float of_lane(float x, int lane) { return shim_from_bits(x, lane); }
DEVICE double of_lane_double(double x, int lane) { return shim_from(x, lane); }
