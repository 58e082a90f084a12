#include <fmt/format.h>

#include "loader/device/copy_check.h"
#include "loader/device/cuda/cuda_core.h"
#include "loader/device/cuda/cuda_device.h"
#include "loader/device/cuda/cuda_error.h"
#include "loader/device/cuda/kernels.h"

namespace shardreel::cuda {
namespace {

class CudaStream final : public Stream {
 public:
  CudaStream(std::shared_ptr<Core> core, cudaStream_t stream, bool borrowed = false)
      : core_(std::move(core)), stream_(stream), borrowed_(borrowed) {}
  ~CudaStream() override {
    if (borrowed_) return;
    const Current current(core_->index);
    static_cast<void>(check(cudaStreamSynchronize(stream_), "ending a stream"));
    static_cast<void>(check(cudaStreamDestroy(stream_), "ending a stream"));
  }

  Result<void> copy_rows(const CopyRows& rows) override {
    if (rows.rows == 0 || rows.row_bytes == 0) return {};
    auto kind = check_copy(rows, core_->blocks, core_->pinned);
    if (!kind) return kind.error();
    constexpr cudaMemcpyKind kKinds[] = {cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost,
                                         cudaMemcpyDeviceToDevice};
    const cudaMemcpyKind cuda_kind = kKinds[static_cast<std::size_t>(*kind)];
    const Current current(core_->index);
    if (rows.rows == 1) {
      return check(cudaMemcpyAsync(rows.to, rows.from, rows.row_bytes, cuda_kind, stream_),
                   fmt::format("copying {} bytes on {}", rows.row_bytes, core_->name()));
    }
    return check(
        cudaMemcpy2DAsync(rows.to, rows.to_stride, rows.from, rows.from_stride, rows.row_bytes,
                          rows.rows, cuda_kind, stream_),
        fmt::format("copying {} rows of {} bytes on {}", rows.rows, rows.row_bytes, core_->name()));
  }

  Result<void> convert(const PixelJob& job) override {
    if (auto checked = check_convert(job, core_->blocks); !checked) return checked;
    const Current current(core_->index);
    return check(launch_convert_pixels(job, stream_), "converting a frame on " + core_->name());
  }

  Result<void> collate(const CollateJob& job) override {
    if (auto checked = check_collate(job, core_->blocks); !checked) return checked;
    const Current current(core_->index);
    return check(launch_collate_clip(job, stream_), "collating a clip on " + core_->name());
  }

  Result<void> wait(const Event& event) override;

  Result<void> synchronize() override {
    const Current current(core_->index);
    return check(cudaStreamSynchronize(stream_), "waiting for a stream of " + core_->name());
  }

  [[nodiscard]] const Core& core() const { return *core_; }
  [[nodiscard]] cudaStream_t handle() const { return stream_; }

 private:
  void release(void* data) noexcept override {
    const std::uint64_t bytes = core_->blocks.remove(data);
    {
      const MutexLock lock(core_->mutex);
      core_->allocated -= bytes;
    }
    const Current current(core_->index);
    static_cast<void>(check(cudaFreeAsync(data, stream_), "freeing"));
  }

  const std::shared_ptr<Core> core_;
  const cudaStream_t stream_;
  const bool borrowed_;
};

class CudaEvent final : public Event {
 public:
  CudaEvent(std::shared_ptr<Core> core, cudaEvent_t event)
      : core_(std::move(core)), event_(event) {}
  ~CudaEvent() override {
    const Current current(core_->index);
    static_cast<void>(check(cudaEventDestroy(event_), "ending an event"));
  }

  Result<void> record(Stream& stream) override {
    const cudaStream_t handle = handle_of(stream, *core_);
    if (handle == nullptr) {
      return device_error(
          DeviceFault::kInvalid,
          fmt::format("recording an event of {}: expected a stream of this device", core_->name()));
    }
    const Current current(core_->index);
    return check(cudaEventRecord(event_, handle), "recording an event of " + core_->name());
  }

  [[nodiscard]] Result<bool> happened() const override {
    const Current current(core_->index);
    const cudaError_t code = cudaEventQuery(event_);
    if (code == cudaErrorNotReady) {
      static_cast<void>(cudaGetLastError());
      return false;
    }
    if (auto done = check(code, "looking at an event of " + core_->name()); !done)
      return done.error();
    return true;
  }

  Result<void> wait() const override {
    const Current current(core_->index);
    return check(cudaEventSynchronize(event_), "waiting for an event of " + core_->name());
  }

  [[nodiscard]] cudaEvent_t handle() const { return event_; }

 private:
  const std::shared_ptr<Core> core_;
  const cudaEvent_t event_;
};

Result<void> CudaStream::wait(const Event& event) {
  const auto* cuda_event = dynamic_cast<const CudaEvent*>(&event);
  if (cuda_event == nullptr) {
    return device_error(
        DeviceFault::kInvalid,
        fmt::format("waiting for an event on {}: expected one of a CUDA device", core_->name()));
  }
  const Current current(core_->index);
  return check(cudaStreamWaitEvent(stream_, cuda_event->handle(), 0),
               "waiting for an event on " + core_->name());
}

}  // namespace

Result<std::shared_ptr<Stream>> make_stream(const std::shared_ptr<Core>& core) {
  const Current current(core->index);
  cudaStream_t stream = nullptr;
  if (auto done = check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking),
                        "making a stream on " + core->name());
      !done) {
    return done.error();
  }
  return std::shared_ptr<Stream>(std::make_shared<CudaStream>(core, stream));
}

Result<std::shared_ptr<Stream>> borrow_stream(const std::shared_ptr<Core>& core,
                                              cudaStream_t stream) {
  // Null means the same, but not where a handle says that there is none.
  if (stream == nullptr) stream = cudaStreamLegacy;
  return std::shared_ptr<Stream>(std::make_shared<CudaStream>(core, stream, true));
}

Result<std::unique_ptr<Event>> make_event(const std::shared_ptr<Core>& core) {
  const Current current(core->index);
  cudaEvent_t event = nullptr;
  // No timing, which would make every record slower; whoever waits gives its core away.
  if (auto done =
          check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync),
                "making an event on " + core->name());
      !done) {
    return done.error();
  }
  return std::unique_ptr<Event>(std::make_unique<CudaEvent>(core, event));
}

void* native_stream(const Stream& stream) {
  const auto* cuda_stream = dynamic_cast<const CudaStream*>(&stream);
  return cuda_stream != nullptr ? cuda_stream->handle() : nullptr;
}

cudaStream_t handle_of(const Stream& stream, const Core& core) {
  const auto* cuda_stream = dynamic_cast<const CudaStream*>(&stream);
  return cuda_stream != nullptr && &cuda_stream->core() == &core ? cuda_stream->handle() : nullptr;
}

}  // namespace shardreel::cuda
