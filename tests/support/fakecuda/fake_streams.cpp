// Streams, events and launches of the fake runtime.
#include "tests/support/fakecuda/fake_state.h"

using fakecuda::current_device;
using fakecuda::FakeEvent;
using fakecuda::FakeStream;
using fakecuda::ready;
using fakecuda::remember;
using fakecuda::state;

#define FAKE_READY() \
  if (const cudaError_t not_ready = ready(); not_ready != cudaSuccess) return not_ready

namespace {

FakeStream* stream_of(cudaStream_t handle) {
  const std::lock_guard lock(state().mutex);
  const auto found = state().streams.find(handle);
  if (found != state().streams.end()) return found->second.get();
  state().complain("use of a stream that is not there");
  return nullptr;
}

std::shared_ptr<FakeEvent> event_of(cudaEvent_t handle) {
  const std::lock_guard lock(state().mutex);
  const auto found = state().events.find(handle);
  if (found != state().events.end()) return found->second;
  state().complain("use of an event that is not there");
  return nullptr;
}

void complain(const std::string& what) {
  const std::lock_guard lock(state().mutex);
  state().complain(what);
}

struct Launch {
  dim3 grid, block;
  std::size_t shared;
  cudaStream_t stream;
};
std::vector<Launch>& pending_launches() {
  thread_local std::vector<Launch> launches;
  return launches;
}

}  // namespace

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* handle, unsigned flags) {
  FAKE_READY();
  // The legacy default stream waits for blocking ones, and is not faked.
  if (flags != cudaStreamNonBlocking) complain("a stream that the default stream waits for");
  auto stream = std::make_unique<FakeStream>(current_device(), state().options.delay_us);
  *handle = reinterpret_cast<cudaStream_t>(stream.get());
  const std::lock_guard lock(state().mutex);
  state().streams[stream.get()] = std::move(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  FAKE_READY();
  std::unique_ptr<FakeStream> ended;
  const std::lock_guard lock(state().mutex);
  const auto found = state().streams.find(handle);
  if (found == state().streams.end()) return remember(cudaErrorInvalidResourceHandle);
  if (!found->second->idle()) state().complain("a stream ends with work in line");
  ended = std::move(found->second);
  state().streams.erase(found);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  FAKE_READY();
  FakeStream* stream = stream_of(handle);
  if (stream == nullptr) return remember(cudaErrorInvalidResourceHandle);
  stream->drain();
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event_handle, unsigned) {
  FAKE_READY();
  FakeStream* stream = stream_of(handle);
  auto event = event_of(event_handle);
  if (stream == nullptr || event == nullptr) return remember(cudaErrorInvalidResourceHandle);
  stream->push([event, place = event->place()] { event->wait(place); });
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* handle, unsigned) {
  FAKE_READY();
  auto event = std::make_shared<FakeEvent>();
  *handle = reinterpret_cast<cudaEvent_t>(event.get());
  const std::lock_guard lock(state().mutex);
  state().events[event.get()] = std::move(event);
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t handle) {
  FAKE_READY();
  const std::lock_guard lock(state().mutex);
  return state().events.erase(handle) != 0 ? cudaSuccess : remember(cudaErrorInvalidValue);
}
cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t stream_handle) {
  FAKE_READY();
  FakeStream* stream = stream_of(stream_handle);
  auto event = event_of(handle);
  if (stream == nullptr || event == nullptr) return remember(cudaErrorInvalidResourceHandle);
  if (stream->device() != current_device()) {
    complain("an event is recorded on a stream of a device that is not current");
    return remember(cudaErrorInvalidResourceHandle);
  }
  std::uint64_t place = 0;
  {
    const std::lock_guard lock(event->mutex);
    place = ++event->recorded;
  }
  stream->push([event, place] {
    {
      const std::lock_guard lock(event->mutex);
      event->reached = std::max(event->reached, place);
    }
    event->changed.notify_all();
  });
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t handle) {
  FAKE_READY();
  auto event = event_of(handle);
  if (event == nullptr) return remember(cudaErrorInvalidResourceHandle);
  const std::lock_guard lock(event->mutex);
  return event->reached >= event->recorded ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  FAKE_READY();
  auto event = event_of(handle);
  if (event == nullptr) return remember(cudaErrorInvalidResourceHandle);
  event->wait(event->place());
  return cudaSuccess;
}

// What the host code that nvcc makes calls. Their prototypes are in no public header.
void** __cudaRegisterFatBinary(void*);
void __cudaRegisterFatBinaryEnd(void**);
void __cudaUnregisterFatBinary(void**);
char __cudaInitModule(void**);
void __cudaRegisterFunction(void**, const char*, char*, const char*, int, uint3*, uint3*, dim3*,
                            dim3*, int*);
unsigned __cudaPushCallConfiguration(dim3, dim3, std::size_t, CUstream_st*);
cudaError_t __cudaPopCallConfiguration(dim3*, dim3*, std::size_t*, void*);
cudaError_t __cudaGetKernel(cudaKernel_t*, const void*);
cudaError_t __cudaLaunchKernel(cudaKernel_t, dim3, dim3, void**, std::size_t, cudaStream_t);

void** __cudaRegisterFatBinary(void*) {
  static void* handle = nullptr;
  return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 1; }
void __cudaRegisterFunction(void**, const char* host, char*, const char* name, int, uint3*, uint3*,
                            dim3*, dim3*, int*) {
  const std::lock_guard lock(state().mutex);
  state().kernels[host] = name;
}
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared,
                                     CUstream_st* stream) {
  pending_launches().push_back({grid, block, shared, stream});
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared, void* stream) {
  const Launch launch = pending_launches().back();
  pending_launches().pop_back();
  *grid = launch.grid;
  *block = launch.block;
  *shared = launch.shared;
  *static_cast<cudaStream_t*>(stream) = launch.stream;
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, const void*) {
  return fakecuda::remember(fakecuda::ready());
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* entry) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(entry));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                               std::size_t, cudaStream_t handle) {
  FAKE_READY();
  FakeStream* stream = stream_of(handle);
  if (stream == nullptr) return remember(cudaErrorInvalidResourceHandle);
  if (stream->device() != current_device()) {
    complain("a kernel is launched on a stream of a device that is not current");
    return remember(cudaErrorInvalidResourceHandle);
  }
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || block.x * block.y * block.z == 0 ||
      block.x * block.y * block.z > 1024 || grid.y > 65535 || grid.z > 65535) {
    complain("a kernel is launched with an impossible grid or block");
    return remember(cudaErrorInvalidConfiguration);
  }
  fakecuda::KernelBody body;
  {
    const std::lock_guard lock(state().mutex);
    body = state().bodies[state().kernels[reinterpret_cast<const void*>(kernel)]];
    if (!body) {
      state().complain("no host body for kernel " +
                       state().kernels[reinterpret_cast<const void*>(kernel)]);
      return remember(cudaErrorInvalidDeviceFunction);
    }
  }
  stream->push(body(grid, block, arguments));  // arguments are copied now, the work runs later
  return cudaSuccess;
}

}  // extern "C"
