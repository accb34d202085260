// A stand-in for CUDA's driver, libcuda.so.1: one GPU, which is this machine's memory and one of its cores.
//
// What a driver refuses, this refuses: calls of a thread without a context, copies beyond an allocation, a grid or block that is
// empty or too large, more shared memory than was asked for, a module or kernel that is not there, more memory than the card has.
// What it cannot see is a race: a stream's work is done when it is asked for.
//
// New memory is filled with bits that are no number, and so is memory that was given back; what writes behind an allocation
// ends the program. Variables of the environment:
//   PLAY_MEMORY   bytes of the card (85899345920 without it)
//   PLAY_STRIDE   the order of a block's threads, as shim.h has it (1 without it)
//   PLAY_GUARD    where set, an allocation ends at a page that nobody may touch: the first read behind it ends the program
//   PLAY_LEDGER   a file to which a line of JSON is added when the program ends: peak of bytes, allocations, launches

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>

namespace {

enum Status {
  FINE = 0,
  INVALID_VALUE = 1,
  OUT_OF_MEMORY = 2,
  NO_DEVICE = 100,
  INVALID_DEVICE = 101,
  INVALID_CONTEXT = 201,
  INVALID_PTX = 218,
  INVALID_HANDLE = 400,
  NOT_FOUND = 500,
  LAUNCH_FAILED = 719,
  NOT_SUPPORTED = 801,
};

struct Error {
  int status;
  const char *name, *text;
};
const Error ERRORS[] = {
    {FINE, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
};

struct PlayKernel {
  const char *name;
  void (*call)(void **);
  int parameters;
};

struct Module {
  void *library;
  const PlayKernel *(*find)(const char *);
  const char *(*launch)(const PlayKernel *, void **, const unsigned *, const unsigned *, int);
};

struct Function {
  Module *module;
  const PlayKernel *kernel;
  unsigned dynamic_shared;
};

struct Allocation {
  size_t size, mapped;
  char *base;
};

struct Event {
  timespec at;
};

const unsigned char CANARY = 0xa5;
const size_t CANARIES = 64;
const unsigned SHARED = 48 << 10, SHARED_OPT_IN = 227 << 10;

std::recursive_mutex busy;
std::map<uintptr_t, Allocation> memory;
std::set<void *> streams;
std::map<std::pair<Module *, std::string>, Function *> functions;
size_t in_use, peak, allocations, launches;
char the_context, the_pool;
uint64_t threshold;
thread_local void *current;

#define LOCK std::lock_guard<std::recursive_mutex> lock(busy)
#define BOUND                                                                                                         \
  if (!current) return INVALID_CONTEXT
#define ON(stream)                                                                                                    \
  if (!known(stream)) return INVALID_HANDLE

// The two default streams have numbers for names.
bool known(void *stream) { return (uintptr_t)stream <= 2 || streams.count(stream); }

size_t number(const char *name, size_t otherwise) {
  const char *text = getenv(name);
  return text && *text ? strtoull(text, 0, 10) : otherwise;
}

size_t total() {
  static size_t bytes = number("PLAY_MEMORY", (size_t)80 << 30);
  return bytes;
}

void told(const char *what, const char *more) { fprintf(stderr, "the stand-in for a GPU: %s%s\n", what, more); }

void close_ledger() {
  const char *path = getenv("PLAY_LEDGER");
  if (FILE *file = path ? fopen(path, "a") : 0) {
    fprintf(file, "{\"peak_bytes\": %zu, \"in_use\": %zu, \"allocations\": %zu, \"launches\": %zu}\n", peak, in_use, allocations,
            launches);
    fclose(file);
  }
}

// Whether all of these bytes are of one allocation.
bool within(uintptr_t at, size_t size) {
  auto next = memory.upper_bound(at);
  if (next == memory.begin()) return size == 0;
  auto &own = *--next;
  return at + size <= own.first + own.second.size;
}

int allocate(uintptr_t *out, size_t size) {
  static bool guard = getenv("PLAY_GUARD");
  if (size == 0) return INVALID_VALUE;
  if (size > total() || in_use > total() - size) return OUT_OF_MEMORY;
  Allocation own = {size, 0, 0};
  uintptr_t at;
  if (guard) {
    size_t page = 4096, rounded = (size + 15) / 16 * 16, pages = (rounded + page - 1) / page * page;
    own.mapped = pages + page;
    own.base = (char *)mmap(0, own.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (own.base == MAP_FAILED) return OUT_OF_MEMORY;
    mprotect(own.base + pages, page, PROT_NONE);
    at = (uintptr_t)own.base + pages - rounded;
  } else {
    own.base = (char *)aligned_alloc(256, (size + CANARIES + 255) / 256 * 256);
    if (!own.base) return OUT_OF_MEMORY;
    at = (uintptr_t)own.base;
    memset(own.base + size, CANARY, CANARIES);
  }
  memset((void *)at, 0xff, size);
  memory[at] = own;
  in_use += size;
  if (in_use > peak) peak = in_use;
  allocations++;
  *out = at;
  return FINE;
}

int release(uintptr_t at) {
  if (!at) return FINE;
  auto found = memory.find(at);
  if (found == memory.end()) return INVALID_VALUE;
  Allocation own = found->second;
  if (own.mapped) {
    munmap(own.base, own.mapped);
  } else {
    for (size_t i = 0; i < CANARIES; i++) {
      if ((unsigned char)own.base[own.size + i] != CANARY) {
        told("something was written behind an allocation", "");
        abort();
      }
    }
    memset(own.base, 0xff, own.size);
    free(own.base);
  }
  in_use -= own.size;
  memory.erase(found);
  return FINE;
}

int load(Module **out, const char *image) {
  const char *mark = image ? strstr(image, "\n.library ") : 0;
  if (!mark) {
    told("this is no PTX of a stand-in, or of kernels that are not played", "");
    return INVALID_PTX;
  }
  const char *path = mark + strlen("\n.library ");
  std::string name(path, strcspn(path, "\n"));
  void *library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    told(dlerror(), "");
    return INVALID_PTX;
  }
  Module *own = new Module;
  own->library = library;
  own->find = (decltype(own->find))dlsym(library, "play_find");
  own->launch = (decltype(own->launch))dlsym(library, "play_launch");
  *out = own;
  return own->find && own->launch ? FINE : INVALID_PTX;
}

}  // namespace

extern "C" {

int cuInit(unsigned) {
  LOCK;
  static bool first = true;
  if (first) atexit(close_ledger);
  first = false;
  return FINE;
}
int cuDriverGetVersion(int *out) { return *out = 13000, FINE; }
int cuGetErrorName(int status, const char **out) {
  for (const Error &e : ERRORS)
    if (e.status == status) return *out = e.name, FINE;
  return *out = 0, INVALID_VALUE;
}
int cuGetErrorString(int status, const char **out) {
  for (const Error &e : ERRORS)
    if (e.status == status) return *out = e.text, FINE;
  return *out = 0, INVALID_VALUE;
}

int cuDeviceGetCount(int *out) { return *out = 1, FINE; }
int cuDeviceGet(int *out, int ordinal) { return ordinal ? INVALID_DEVICE : (*out = 0, FINE); }
int cuDeviceGetName(char *out, int size, int) { return snprintf(out, size, "stand-in for an H100"), FINE; }
int cuDeviceGetUuid(unsigned char *out, int) { return memset(out, 0x5a, 16), FINE; }
int cuDeviceGetUuid_v2(unsigned char *out, int) { return memset(out, 0x5a, 16), FINE; }
int cuDeviceTotalMem_v2(size_t *out, int) { return *out = total(), FINE; }
int cuDeviceGetAttribute(int *out, int attribute, int) {
  static const std::map<int, int> known = {
      {1, 1024}, {2, 1024}, {3, 1024}, {4, 64}, {5, 2147483647}, {6, 65535}, {7, 65535}, {8, SHARED}, {10, 32}, {12, 65536},
      {13, 1980000}, {16, 132}, {36, 2619000}, {37, 5120}, {38, 52428800}, {39, 2048}, {75, 9}, {76, 0}, {81, 228 << 10},
      {82, 65536}, {97, SHARED_OPT_IN}, {106, 32}, {115, 1},
  };
  auto found = known.find(attribute);
  *out = found == known.end() ? 0 : found->second;
  return FINE;
}
int cuDeviceComputeCapability(int *major, int *minor, int) { return *major = 9, *minor = 0, FINE; }
int cuDeviceGetDefaultMemPool(void **out, int) { return *out = &the_pool, FINE; }
int cuDeviceGetMemPool(void **out, int) { return *out = &the_pool, FINE; }
int cuMemPoolTrimTo(void *pool, size_t) { return pool == &the_pool ? FINE : INVALID_VALUE; }
// CU_MEMPOOL_ATTR_RELEASE_THRESHOLD is 4, bytes reserved 5 and most 6, used 7 and most 8.
int cuMemPoolSetAttribute(void *pool, int attribute, void *value) {
  if (pool != &the_pool || attribute != 4) return INVALID_VALUE;
  return threshold = *(uint64_t *)value, FINE;
}
int cuMemPoolGetAttribute(void *pool, int attribute, void *value) {
  LOCK;
  if (pool != &the_pool || attribute < 4 || attribute > 8) return INVALID_VALUE;
  *(uint64_t *)value = attribute == 4 ? threshold : attribute == 6 || attribute == 8 ? peak : in_use;
  return FINE;
}

int cuDevicePrimaryCtxRetain(void **out, int device) { return device ? INVALID_DEVICE : (*out = &the_context, FINE); }
int cuDevicePrimaryCtxRelease_v2(int) { return FINE; }
int cuCtxSetCurrent(void *context) { return current = context, FINE; }
int cuCtxGetCurrent(void **out) { return *out = current, FINE; }
int cuCtxGetDevice(int *out) {
  BOUND;
  return *out = 0, FINE;
}
int cuCtxSetFlags(unsigned) { return FINE; }
int cuCtxSynchronize(void) {
  BOUND;
  return FINE;
}
int cuCtxGetStreamPriorityRange(int *least, int *greatest) { return *least = 0, *greatest = -5, FINE; }

int cuStreamCreate(void **out, unsigned) {
  LOCK;
  BOUND;
  streams.insert(*out = malloc(16));
  return FINE;
}
int cuStreamCreateWithPriority(void **out, unsigned flags, int) { return cuStreamCreate(out, flags); }
int cuStreamDestroy_v2(void *stream) {
  LOCK;
  if (!streams.erase(stream)) return INVALID_HANDLE;
  free(stream);
  return FINE;
}
int cuStreamSynchronize(void *stream) {
  LOCK;
  BOUND;
  ON(stream);
  return FINE;
}
int cuStreamQuery(void *stream) { return cuStreamSynchronize(stream); }
int cuStreamWaitEvent(void *stream, void *event, unsigned) {
  LOCK;
  ON(stream);
  return event ? FINE : INVALID_HANDLE;
}
int cuStreamIsCapturing(void *stream, int *out) {
  LOCK;
  ON(stream);
  return *out = 0, FINE;
}
int cuLaunchHostFunc(void *stream, void (*work)(void *), void *data) {
  {
    LOCK;
    ON(stream);
  }
  return work(data), FINE;
}

int cuEventCreate(Event **out, unsigned) {
  BOUND;
  return *out = new Event{}, FINE;
}
int cuEventDestroy_v2(Event *event) { return delete event, FINE; }
int cuEventRecord(Event *event, void *stream) {
  LOCK;
  ON(stream);
  return clock_gettime(CLOCK_MONOTONIC, &event->at), FINE;
}
int cuEventQuery(Event *) { return FINE; }
int cuEventSynchronize(Event *) { return FINE; }
int cuEventElapsedTime(float *out, Event *from, Event *to) {
  return *out = (to->at.tv_sec - from->at.tv_sec) * 1e3f + (to->at.tv_nsec - from->at.tv_nsec) * 1e-6f, FINE;
}
int cuEventElapsedTime_v2(float *out, Event *from, Event *to) { return cuEventElapsedTime(out, from, to); }

int cuMemGetInfo_v2(size_t *free_bytes, size_t *all) {
  LOCK;
  BOUND;
  return *free_bytes = total() - in_use, *all = total(), FINE;
}
int cuMemAlloc_v2(uintptr_t *out, size_t size) {
  LOCK;
  BOUND;
  return allocate(out, size);
}
int cuMemAllocAsync(uintptr_t *out, size_t size, void *stream) {
  LOCK;
  BOUND;
  ON(stream);
  // Unlike its sister it gives nothing where nothing is asked for.
  if (size == 0) return *out = 0, FINE;
  return allocate(out, size);
}
int cuMemFree_v2(uintptr_t at) {
  LOCK;
  BOUND;
  return release(at);
}
// A tensor may be dropped by any thread: the stream says of which context it is.
int cuMemFreeAsync(uintptr_t at, void *stream) {
  LOCK;
  ON(stream);
  return release(at);
}
int cuMemHostAlloc(void **out, size_t size, unsigned) { return (*out = malloc(size)) ? FINE : OUT_OF_MEMORY; }
int cuMemFreeHost(void *at) { return free(at), FINE; }

int cuMemcpyHtoD_v2(uintptr_t to, const void *from, size_t size) {
  LOCK;
  BOUND;
  if (!within(to, size)) return INVALID_VALUE;
  return memcpy((void *)to, from, size), FINE;
}
int cuMemcpyDtoH_v2(void *to, uintptr_t from, size_t size) {
  LOCK;
  BOUND;
  if (!within(from, size)) return INVALID_VALUE;
  return memcpy(to, (const void *)from, size), FINE;
}
int cuMemcpyDtoD_v2(uintptr_t to, uintptr_t from, size_t size) {
  LOCK;
  BOUND;
  if (!within(to, size) || !within(from, size)) return INVALID_VALUE;
  return memmove((void *)to, (const void *)from, size), FINE;
}
int cuMemcpyHtoDAsync_v2(uintptr_t to, const void *from, size_t size, void *stream) {
  LOCK;
  ON(stream);
  return cuMemcpyHtoD_v2(to, from, size);
}
int cuMemcpyDtoHAsync_v2(void *to, uintptr_t from, size_t size, void *stream) {
  LOCK;
  ON(stream);
  return cuMemcpyDtoH_v2(to, from, size);
}
int cuMemcpyDtoDAsync_v2(uintptr_t to, uintptr_t from, size_t size, void *stream) {
  LOCK;
  ON(stream);
  return cuMemcpyDtoD_v2(to, from, size);
}
int cuMemsetD8_v2(uintptr_t at, unsigned char value, size_t size) {
  LOCK;
  BOUND;
  if (!within(at, size)) return INVALID_VALUE;
  return memset((void *)at, value, size), FINE;
}
int cuMemsetD8Async(uintptr_t at, unsigned char value, size_t size, void *stream) {
  LOCK;
  ON(stream);
  return cuMemsetD8_v2(at, value, size);
}
int cuMemsetD32_v2(uintptr_t at, unsigned value, size_t count) {
  LOCK;
  BOUND;
  if (!within(at, count * 4)) return INVALID_VALUE;
  for (size_t i = 0; i < count; i++) ((unsigned *)at)[i] = value;
  return FINE;
}
int cuMemsetD32Async(uintptr_t at, unsigned value, size_t count, void *stream) {
  LOCK;
  ON(stream);
  return cuMemsetD32_v2(at, value, count);
}

int cuModuleLoadData(Module **out, const char *image) {
  LOCK;
  BOUND;
  return load(out, image);
}
int cuModuleLoadDataEx(Module **out, const char *image, unsigned, int *, void **) { return cuModuleLoadData(out, image); }
int cuModuleUnload(Module *module) { return module ? FINE : INVALID_HANDLE; }
int cuModuleGetFunction(Function **out, Module *module, const char *name) {
  LOCK;
  BOUND;
  const PlayKernel *kernel = module->find(name);
  if (!kernel) return NOT_FOUND;
  Function *&own = functions[{module, name}];
  if (!own) own = new Function{module, kernel, SHARED};
  return *out = own, FINE;
}
// CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES is 8; 0 is the most threads of a block.
int cuFuncSetAttribute(Function *function, int attribute, int value) {
  if (attribute != 8) return FINE;
  if (value < 0 || (unsigned)value > SHARED_OPT_IN) return INVALID_VALUE;
  return function->dynamic_shared = value, FINE;
}
int cuFuncGetAttribute(int *out, int attribute, Function *function) {
  *out = attribute == 0 ? 1024 : attribute == 8 ? function->dynamic_shared : 0;
  return FINE;
}
int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *out, Function *, int threads, size_t) {
  return *out = threads ? 2048 / threads : 0, FINE;
}

int cuLaunchKernel(Function *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **arguments, void **) {
  LOCK;
  BOUND;
  ON(stream);
  size_t threads = (size_t)bx * by * bz;
  if (!gx || !gy || !gz || gx > 0x7fffffff || gy > 65535 || gz > 65535) return INVALID_VALUE;
  if (!threads || threads > 1024 || bz > 64 || shared > function->dynamic_shared) return INVALID_VALUE;
  if (!arguments && function->kernel->parameters) return INVALID_VALUE;
  const unsigned grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
  static int stride = number("PLAY_STRIDE", 1);
  launches++;
  const char *wrong = function->module->launch(function->kernel, arguments, grid, block, stride);
  if (!wrong) return FINE;
  told(function->kernel->name, wrong);
  return LAUNCH_FAILED;
}
int cuLaunchCooperativeKernel(Function *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                              unsigned shared, void *stream, void **arguments) {
  return cuLaunchKernel(function, gx, gy, gz, bx, by, bz, shared, stream, arguments, 0);
}
}
