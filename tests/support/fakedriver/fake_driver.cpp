// libcuda.so.1: contexts and memory; two devices, whose memory is one.
#include "tests/support/fakedriver/fake_driver.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

namespace {

// As cuda.h has them; its macros give functions other names, so it is not included.
enum Code { kOk = 0, kOutOfMemory = 2, kBadDevice = 101, kBadContext = 201, kUnsupported = 801 };

constexpr int kDevices = 2;
constexpr std::uint64_t kContextBytes = std::uint64_t{48} << 20;
constexpr int kPoisonFresh = 0xCD, kPoisonFreed = 0xDD;

struct Context {
  int references = 0;
};

struct State {
  std::mutex mutex;
  std::uint64_t memory = std::uint64_t{1} << 30, used = 0;
  std::map<void*, std::size_t> blocks;
  int sessions_most = 32, sessions_live = 0, sessions_made = 0;
  Context primary[kDevices];
};
State& state() {
  static State only;
  return only;
}

std::vector<Context*>& current() {
  thread_local std::vector<Context*> stack;
  return stack;
}

}  // namespace

extern "C" {

void fakedriver_set_memory(std::uint64_t bytes) {
  const std::lock_guard lock(state().mutex);
  state().memory = bytes;
}
void fakedriver_set_sessions(int most) {
  const std::lock_guard lock(state().mutex);
  state().sessions_most = most;
}
std::uint64_t fakedriver_memory_in_use() {
  const std::lock_guard lock(state().mutex);
  return state().used;
}
int fakedriver_sessions_live() {
  const std::lock_guard lock(state().mutex);
  return state().sessions_live;
}
int fakedriver_sessions_made() {
  const std::lock_guard lock(state().mutex);
  return state().sessions_made;
}

int fakedriver_take_session() {
  const std::lock_guard lock(state().mutex);
  if (state().sessions_live >= state().sessions_most) return kOutOfMemory;
  ++state().sessions_live;
  ++state().sessions_made;
  return kOk;
}
void fakedriver_end_session() {
  const std::lock_guard lock(state().mutex);
  --state().sessions_live;
}
int fakedriver_charge(std::int64_t bytes) {
  const std::lock_guard lock(state().mutex);
  State& s = state();
  if (bytes > 0 && s.used + static_cast<std::uint64_t>(bytes) > s.memory) return kOutOfMemory;
  s.used += static_cast<std::uint64_t>(bytes);
  return kOk;
}
int fakedriver_allocate(std::size_t bytes, void** data) {
  if (const int code = fakedriver_charge(static_cast<std::int64_t>(bytes)); code != kOk)
    return code;
  *data = std::aligned_alloc(512, (bytes + 511) / 512 * 512);
  std::memset(*data, kPoisonFresh, bytes);
  const std::lock_guard lock(state().mutex);
  state().blocks[*data] = bytes;
  return kOk;
}
int fakedriver_free(void* data) {
  const std::lock_guard lock(state().mutex);
  const auto found = state().blocks.find(data);
  if (found == state().blocks.end()) return kBadContext;
  std::memset(data, kPoisonFreed, found->second);
  state().used -= found->second;
  std::free(data);
  state().blocks.erase(found);
  return kOk;
}

// --- what FFmpeg and the loader call
int cuInit(unsigned) { return kOk; }
int cuDeviceGetCount(int* count) {
  *count = kDevices;
  return kOk;
}
int cuDeviceGet(int* device, int index) {
  if (index < 0 || index >= kDevices) return kBadDevice;
  *device = index;
  return kOk;
}
int cuDeviceGetAttribute(int* value, int, int) {
  *value = 512;
  return kOk;
}
int cuDeviceGetName(char* name, int bytes, int) {
  std::strncpy(name, "a GPU that is not there", static_cast<std::size_t>(bytes));
  return kOk;
}
int cuDeviceComputeCapability(int* major, int* minor, int) {
  *major = 9;
  *minor = 0;
  return kOk;
}
int cuDevicePrimaryCtxRetain(Context** context, int device) {
  {
    const std::lock_guard lock(state().mutex);
    *context = &state().primary[device];
    if ((*context)->references++ > 0) return kOk;
  }
  return fakedriver_charge(static_cast<std::int64_t>(kContextBytes));
}
int cuDevicePrimaryCtxRelease_v2(int device) {
  {
    const std::lock_guard lock(state().mutex);
    if (--state().primary[device].references > 0) return kOk;
  }
  return fakedriver_charge(-static_cast<std::int64_t>(kContextBytes));
}
int cuCtxPushCurrent_v2(Context* context) {
  if (context == nullptr) return kBadContext;
  current().push_back(context);
  return kOk;
}
int cuCtxPopCurrent_v2(Context** context) {
  if (current().empty()) return kBadContext;
  *context = current().back();
  current().pop_back();
  return kOk;
}
int cuCtxGetDevice(int* device) {
  if (current().empty()) return kBadContext;
  *device = static_cast<int>(current().back() - state().primary);
  return kOk;
}
int cuMemAlloc_v2(unsigned long long* address, std::size_t bytes) {
  void* data = nullptr;
  const int code = current().empty() ? kBadContext : fakedriver_allocate(bytes, &data);
  *address = reinterpret_cast<unsigned long long>(data);
  return code;
}
int cuMemFree_v2(unsigned long long address) {
  return fakedriver_free(reinterpret_cast<void*>(address));
}
int cuStreamSynchronize(void*) { return kOk; }
int cuGetErrorName(int code, const char** name) {
  *name = code == kOutOfMemory ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_OTHER";
  return kOk;
}
int cuGetErrorString(int code, const char** text) { return cuGetErrorName(code, text); }

// What FFmpeg looks for before it starts, and nobody calls here.
#define FAKE_MISSING(name) \
  int name() { return kUnsupported; }
FAKE_MISSING(cuArray3DCreate_v2)
FAKE_MISSING(cuArrayDestroy)
FAKE_MISSING(cuCtxCreate_v2)
FAKE_MISSING(cuCtxDestroy_v2)
FAKE_MISSING(cuCtxGetCurrent)
FAKE_MISSING(cuCtxSetCurrent)
FAKE_MISSING(cuCtxSetLimit)
FAKE_MISSING(cuDevicePrimaryCtxGetState)
FAKE_MISSING(cuDevicePrimaryCtxRelease)
FAKE_MISSING(cuDevicePrimaryCtxReset)
FAKE_MISSING(cuDevicePrimaryCtxSetFlags)
FAKE_MISSING(cuEventCreate)
FAKE_MISSING(cuEventDestroy_v2)
FAKE_MISSING(cuEventQuery)
FAKE_MISSING(cuEventRecord)
FAKE_MISSING(cuEventSynchronize)
FAKE_MISSING(cuGLGetDevices_v2)
FAKE_MISSING(cuGraphicsGLRegisterImage)
FAKE_MISSING(cuGraphicsMapResources)
FAKE_MISSING(cuGraphicsResourceGetMappedPointer_v2)
FAKE_MISSING(cuGraphicsSubResourceGetMappedArray)
FAKE_MISSING(cuGraphicsUnmapResources)
FAKE_MISSING(cuGraphicsUnregisterResource)
FAKE_MISSING(cuLaunchKernel)
FAKE_MISSING(cuLinkAddData)
FAKE_MISSING(cuLinkComplete)
FAKE_MISSING(cuLinkCreate)
FAKE_MISSING(cuLinkDestroy)
FAKE_MISSING(cuMemAllocManaged)
FAKE_MISSING(cuMemAllocPitch_v2)
FAKE_MISSING(cuMemcpy)
FAKE_MISSING(cuMemcpy2DAsync_v2)
FAKE_MISSING(cuMemcpy2D_v2)
FAKE_MISSING(cuMemcpyAsync)
FAKE_MISSING(cuMemcpyDtoDAsync_v2)
FAKE_MISSING(cuMemcpyDtoD_v2)
FAKE_MISSING(cuMemcpyDtoHAsync_v2)
FAKE_MISSING(cuMemcpyDtoH_v2)
FAKE_MISSING(cuMemcpyHtoDAsync_v2)
FAKE_MISSING(cuMemcpyHtoD_v2)
FAKE_MISSING(cuMemsetD8Async)
FAKE_MISSING(cuModuleGetFunction)
FAKE_MISSING(cuModuleGetGlobal)
FAKE_MISSING(cuModuleLoadData)
FAKE_MISSING(cuModuleUnload)
FAKE_MISSING(cuStreamAddCallback)
FAKE_MISSING(cuStreamCreate)
FAKE_MISSING(cuStreamDestroy_v2)
FAKE_MISSING(cuStreamQuery)
FAKE_MISSING(cuTexObjectCreate)
FAKE_MISSING(cuTexObjectDestroy)

}  // extern "C"
