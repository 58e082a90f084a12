// Devices, memory and copies of the fake runtime.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/support/fakecuda/fake_state.h"

using fakecuda::Block;
using fakecuda::current_device;
using fakecuda::ready;
using fakecuda::remember;
using fakecuda::state;

#define FAKE_READY() \
  if (const cudaError_t not_ready = ready(); not_ready != cudaSuccess) return not_ready

namespace {

constexpr std::size_t kAlignment = 256;
constexpr int kPoison = 0xA5;

void* poisoned(std::size_t bytes) {
  const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  void* data = std::aligned_alloc(kAlignment, rounded);
  if (data != nullptr) std::memset(data, kPoison, rounded);
  return data;
}

/// With the state's mutex held.
bool fails_now() { return state().fail_in != 0 && --state().fail_in == 0; }

cudaError_t misuse(const std::string& what, cudaError_t code) {
  const std::lock_guard lock(state().mutex);
  state().complain(what);
  return remember(code);
}

fakecuda::FakeStream* stream_of(cudaStream_t handle) {
  const std::lock_guard lock(state().mutex);
  const auto found = state().streams.find(handle);
  return found == state().streams.end() ? nullptr : found->second.get();
}

/// Whether the side of a copy lies where its kind says, inside one block.
bool side_holds(const void* data, std::size_t bytes, bool on_device, const char* side) {
  const std::lock_guard lock(state().mutex);
  std::uint64_t offset = 0;
  const Block* block = state().find(state().blocks, data, &offset);
  if (on_device != (block != nullptr)) {
    state().complain(std::string(side) + " of a copy is on the wrong side for its kind");
    return false;
  }
  if (block != nullptr && bytes > block->bytes - offset) {
    state().complain(std::string(side) + " of a copy runs past the end of its device block");
    return false;
  }
  return true;
}

bool is_pinned(const void* data) {
  const std::lock_guard lock(state().mutex);
  std::uint64_t offset = 0;
  return state().find(state().pinned, data, &offset) != nullptr;
}

void copy_rows(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
               std::size_t width, std::size_t height) {
  for (std::size_t y = 0; y < height; ++y) {
    std::memcpy(static_cast<char*>(to) + y * to_pitch,
                static_cast<const char*>(from) + y * from_pitch, width);
  }
}

void free_block(void* data) {
  const std::lock_guard lock(state().mutex);
  const auto found = state().blocks.find(static_cast<const char*>(data));
  if (found == state().blocks.end()) {
    state().complain("freeing memory that is not allocated");
    return;
  }
  if (found->second.pool != nullptr) found->second.pool->used -= found->second.bytes;
  std::memset(data, kPoison, found->second.bytes);
  std::free(data);
  state().blocks.erase(found);
}

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  FAKE_READY();
  *count = state().options.devices;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  FAKE_READY();
  *device = current_device();
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  FAKE_READY();
  if (device < 0 || device >= state().options.devices) return remember(cudaErrorInvalidDevice);
  current_device() = device;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  FAKE_READY();
  if (device < 0 || device >= state().options.devices) return remember(cudaErrorInvalidDevice);
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "Fake GPU %d", device);
  properties->major = 9;
  properties->totalGlobalMem = state().options.memory_bytes;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  FAKE_READY();
  if (attribute != cudaDevAttrMemoryPoolsSupported)
    return misuse("an attribute that is not faked", cudaErrorInvalidValue);
  *value = 1;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char* text, int length, int device) {
  FAKE_READY();
  std::snprintf(text, static_cast<std::size_t>(length), "0000:%02x:00.0", device);
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  FAKE_READY();
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  FAKE_READY();
  const std::lock_guard lock(state().mutex);
  *total = state().options.memory_bytes;
  *free = *total - state().used_on(current_device());
  return cudaSuccess;
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t* handle, const cudaMemPoolProps* properties) {
  FAKE_READY();
  auto pool = std::make_unique<fakecuda::FakePool>();
  pool->device = properties->location.id;
  pool->most = properties->maxSize;
  *handle = reinterpret_cast<cudaMemPool_t>(pool.get());
  const std::lock_guard lock(state().mutex);
  state().pools[pool.get()] = std::move(pool);
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) {
  FAKE_READY();
  return cudaSuccess;  // the fake keeps everything, which is what the only user asks for
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t handle, std::size_t keep) {
  FAKE_READY();
  const std::lock_guard lock(state().mutex);
  fakecuda::FakePool& pool = *state().pools.at(handle);
  pool.reserved = std::min(pool.reserved, std::max<std::uint64_t>(keep, pool.used));
  return cudaSuccess;
}
cudaError_t cudaMemPoolDestroy(cudaMemPool_t handle) {
  FAKE_READY();
  const std::lock_guard lock(state().mutex);
  if (state().pools.at(handle)->used != 0) state().complain("a pool ends with blocks in use");
  state().pools.erase(handle);
  return cudaSuccess;
}
cudaError_t cudaMallocFromPoolAsync(void** data, std::size_t bytes, cudaMemPool_t handle,
                                    cudaStream_t stream) {
  FAKE_READY();
  if (stream_of(stream) == nullptr)
    return misuse("an allocation on no stream", cudaErrorInvalidResourceHandle);
  const std::lock_guard lock(state().mutex);
  fakecuda::FakePool& pool = *state().pools.at(handle);
  const std::uint64_t reserved = std::max(pool.reserved, pool.used + bytes);
  const std::uint64_t used = state().used_on(pool.device) - pool.reserved + reserved;
  if (fails_now() || used > state().options.memory_bytes ||
      (pool.most != 0 && reserved > pool.most)) {
    return remember(cudaErrorMemoryAllocation);
  }
  *data = poisoned(bytes);
  if (*data == nullptr) return remember(cudaErrorMemoryAllocation);
  pool.used += bytes;
  pool.reserved = reserved;
  state().blocks[static_cast<const char*>(*data)] = {bytes, pool.device, &pool};
  return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* data, cudaStream_t stream) {
  FAKE_READY();
  auto* line = stream_of(stream);
  if (line == nullptr) return misuse("a free on no stream", cudaErrorInvalidResourceHandle);
  line->push([data] { free_block(data); });
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  FAKE_READY();
  const std::lock_guard lock(state().mutex);
  const int device = current_device();
  const bool fits = state().used_on(device) + bytes <= state().options.memory_bytes;
  *data = fails_now() || !fits ? nullptr : poisoned(bytes);
  if (*data == nullptr) return remember(cudaErrorMemoryAllocation);
  state().blocks[static_cast<const char*>(*data)] = {bytes, device, nullptr};
  return cudaSuccess;
}
cudaError_t cudaFree(void* data) {
  FAKE_READY();
  if (data != nullptr) free_block(data);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** data, std::size_t bytes, unsigned) {
  FAKE_READY();
  const std::lock_guard lock(state().mutex);
  *data = fails_now() ? nullptr : poisoned(bytes);
  if (*data == nullptr) return remember(cudaErrorMemoryAllocation);
  state().pinned[static_cast<const char*>(*data)] = {bytes, current_device(), nullptr};
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* data) {
  FAKE_READY();
  {
    const std::lock_guard lock(state().mutex);
    if (state().pinned.erase(static_cast<const char*>(data)) == 0) {
      state().complain("freeing pinned memory that is not allocated");
      return remember(cudaErrorInvalidValue);
    }
  }
  std::free(data);
  return cudaSuccess;
}

cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from,
                              std::size_t from_pitch, std::size_t width, std::size_t height,
                              cudaMemcpyKind kind, cudaStream_t stream) {
  FAKE_READY();
  if (width == 0 || height == 0) return cudaSuccess;
  auto* line = stream_of(stream);
  if (line == nullptr) return misuse("a copy on no stream", cudaErrorInvalidResourceHandle);
  if (width > to_pitch || width > from_pitch) return remember(cudaErrorInvalidPitchValue);
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (!side_holds(to, to_pitch * (height - 1) + width, to_device, "target") ||
      !side_holds(from, from_pitch * (height - 1) + width, from_device, "source")) {
    return remember(cudaErrorInvalidValue);
  }
  if (!from_device && !is_pinned(from)) {
    auto staged = std::make_shared<std::vector<char>>(width * height);
    copy_rows(staged->data(), width, from, from_pitch, width, height);
    line->push([=] { copy_rows(to, to_pitch, staged->data(), width, width, height); });
  } else {
    line->push([=] { copy_rows(to, to_pitch, from, from_pitch, width, height); });
  }
  if (!to_device && !is_pinned(to)) line->drain();
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, stream);
}

}  // extern "C"
