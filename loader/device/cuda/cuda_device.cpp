#include "loader/device/cuda/cuda_device.h"

#include <fmt/format.h>

#include <limits>

#include "loader/device/cuda/cuda_core.h"
#include "loader/device/cuda/cuda_error.h"
#include "loader/device/cuda/kernels.h"

namespace shardreel::cuda {
namespace {

class CudaPinned final : public PinnedBuffer {
 public:
  CudaPinned(std::shared_ptr<Core> core, void* data, std::uint64_t bytes)
      : core_(std::move(core)), data_(data), bytes_(bytes) {
    core_->pinned.add(data_, bytes_);
  }
  CudaPinned(const CudaPinned&) = delete;
  CudaPinned& operator=(const CudaPinned&) = delete;
  ~CudaPinned() override {
    core_->pinned.remove(data_);
    const Current current(core_->index);
    // While the process ends the runtime may be gone, and the memory with it.
    static_cast<void>(check(cudaFreeHost(data_), "freeing pinned memory"));
  }
  [[nodiscard]] std::byte* data() noexcept override { return static_cast<std::byte*>(data_); }
  [[nodiscard]] std::uint64_t bytes() const noexcept override { return bytes_; }

 private:
  const std::shared_ptr<Core> core_;
  void* const data_;
  const std::uint64_t bytes_;
};

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(std::shared_ptr<Core> core) : core_(std::move(core)) {}

  [[nodiscard]] DeviceId id() const override { return {DeviceKind::kCuda, core_->index}; }

  [[nodiscard]] std::string description() const override {
    cudaDeviceProp properties{};
    if (!check(cudaGetDeviceProperties(&properties, static_cast<int>(core_->index)), "")) {
      return core_->name();
    }
    return fmt::format("{} (sm_{}{}, {} MiB)", properties.name, properties.major, properties.minor,
                       properties.totalGlobalMem >> 20);
  }

  [[nodiscard]] Result<DeviceMemory> memory() const override {
    const Current current(core_->index);
    std::size_t free = 0, total = 0;
    if (auto done = check(cudaMemGetInfo(&free, &total), "asking how much memory is free"); !done)
      return done.error();
    return DeviceMemory{free, total};
  }

  [[nodiscard]] std::uint64_t allocated_bytes() const override {
    const MutexLock lock(core_->mutex);
    return core_->allocated;
  }

  Result<std::shared_ptr<Stream>> make_stream() override { return cuda::make_stream(core_); }
  Result<std::shared_ptr<Stream>> borrow_stream(void* stream) override {
    return cuda::borrow_stream(core_, static_cast<cudaStream_t>(stream));
  }
  Result<std::unique_ptr<Event>> make_event() override { return cuda::make_event(core_); }

  Result<DeviceBuffer> allocate(std::uint64_t bytes, std::shared_ptr<Stream> stream) override {
    const cudaStream_t handle = stream ? handle_of(*stream, *core_) : nullptr;
    const std::string doing = fmt::format("allocating {} bytes on {}", bytes, core_->name());
    if (bytes == 0 || handle == nullptr) {
      return device_error(DeviceFault::kInvalid,
                          doing + ": expected more than 0 bytes and a stream of this device");
    }
    if (auto room = charge(bytes, doing); !room) return room.error();
    const Current current(core_->index);
    void* data = nullptr;
    if (auto done = check(cudaMallocFromPoolAsync(&data, bytes, core_->pool, handle), doing);
        !done) {
      const MutexLock lock(core_->mutex);
      core_->allocated -= bytes;
      return done.error();
    }
    core_->blocks.add(data, bytes);
    return DeviceBuffer(std::move(stream), data, bytes);
  }

  Result<std::unique_ptr<PinnedBuffer>> allocate_pinned(std::uint64_t bytes) override {
    const std::string doing = fmt::format("pinning {} bytes for {}", bytes, core_->name());
    if (bytes == 0)
      return device_error(DeviceFault::kInvalid, doing + ": expected more than 0 bytes");
    const Current current(core_->index);
    void* data = nullptr;
    if (auto done = check(cudaHostAlloc(&data, bytes, cudaHostAllocDefault), doing); !done)
      return done.error();
    return std::unique_ptr<PinnedBuffer>(std::make_unique<CudaPinned>(core_, data, bytes));
  }

  void trim() noexcept override {
    const Current current(core_->index);
    static_cast<void>(check(cudaMemPoolTrimTo(core_->pool, 0), "trimming"));
  }

 private:
  /// Count against the bound first: the pool's own would only be met once it asks the driver.
  Result<void> charge(std::uint64_t bytes, const std::string& doing) {
    const MutexLock lock(core_->mutex);
    if (core_->pool_bytes != 0 &&
        (core_->allocated > core_->pool_bytes || bytes > core_->pool_bytes - core_->allocated)) {
      return device_error(DeviceFault::kOutOfMemory,
                          fmt::format("{}: {} of {} bytes of the pool are in use", doing,
                                      core_->allocated, core_->pool_bytes));
    }
    core_->allocated += bytes;
    return {};
  }

  const std::shared_ptr<Core> core_;
};

Result<void> make_pool(Core& core) {
  int pools = 0;
  if (auto done = check(cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported,
                                               static_cast<int>(core.index)),
                        "asking for memory pools");
      !done) {
    return done;
  }
  if (pools == 0) {
    return device_error(DeviceFault::kUnavailable,
                        "the device has no stream-ordered memory pools (a virtual GPU?)");
  }
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.location.id = static_cast<int>(core.index);
  properties.maxSize = core.pool_bytes;  // as a second fence; the driver rounds it up
  if (auto done = check(cudaMemPoolCreate(&core.pool, &properties), "making a memory pool"); !done)
    return done;
  // Keep freed memory: giving it back at every synchronisation would cost each batch a driver call.
  std::uint64_t keep = std::numeric_limits<std::uint64_t>::max();
  return check(cudaMemPoolSetAttribute(core.pool, cudaMemPoolAttrReleaseThreshold, &keep),
               "setting what the memory pool keeps");
}

}  // namespace

Current::Current(std::uint32_t device) {
  const auto wanted = static_cast<int>(device);
  error_ = cudaGetDevice(&before_);
  if (error_ == cudaSuccess && before_ != wanted) {
    error_ = cudaSetDevice(wanted);
  } else {
    before_ = -1;
  }
}
Current::~Current() {
  if (before_ >= 0) static_cast<void>(cudaSetDevice(before_));
}

Core::~Core() {
  const Current current(index);
  if (pool != nullptr) static_cast<void>(check(cudaMemPoolDestroy(pool), "freeing the pool"));
}

Result<std::uint32_t> device_count() {
  int count = 0;  // left alone by a failing call
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (auto found = check(code, "looking for devices"); !found) {
    // Whatever it is that keeps the runtime from starting, there is no device to use.
    return device_error(DeviceFault::kUnavailable, found.error().message);
  }
  if (count <= 0) return device_error(DeviceFault::kUnavailable, "the driver shows no device");
  return static_cast<std::uint32_t>(count);
}

Result<std::shared_ptr<Device>> open_device(std::uint32_t index, std::uint64_t pool_bytes) {
  const auto failed = [&](Error error) {
    error.message =
        "opening " + DeviceId{DeviceKind::kCuda, index}.to_string() + ": " + error.message;
    return error;
  };
  auto core = std::make_shared<Core>(index);
  core->pool_bytes = pool_bytes;
  const Current current(index);
  // Makes the primary context, which torch and FFmpeg share with us.
  if (auto done = check(current.error() != cudaSuccess ? current.error() : cudaFree(nullptr),
                        "making the context");
      !done) {
    return failed(done.error());
  }
  if (auto done = check(load_kernels(), "loading its kernels"); !done) return failed(done.error());
  if (auto done = make_pool(*core); !done) return failed(done.error());
  return std::shared_ptr<Device>(std::make_shared<CudaDevice>(std::move(core)));
}

}  // namespace shardreel::cuda
