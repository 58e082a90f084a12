#pragma once
// The memory that a lane's batches are made in: the host's own, or pinned memory on its way to a
// device.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <vector>

#include "loader/device/device_clips.h"
#include "loader/pipeline/lane_device.h"
#include "shardreel/batch.h"
#include "shardreel/error.h"

namespace shardreel {

/// What one batch is written into, clip by clip.
class BatchBuffer {
 public:
  virtual ~BatchBuffer() = default;
  /// Host memory to write the batch's bytes [at, at + bytes) into. On a way to a device this may
  /// wait for earlier copies: kStopped.
  virtual Result<std::byte*> part(std::uint64_t at, std::uint64_t bytes) = 0;
  /// Take a clip that lies on the batch's own device; false: it does not, or no longer.
  virtual Result<bool> take_there(DeviceClip& /*clip*/, std::uint64_t /*at*/) { return false; }
  /// Give what the consumer gets, its first `bytes` as they were written. Once. On a device the
  /// rest is not even copied.
  virtual Result<std::unique_ptr<Batch::Storage>> finish(std::uint64_t bytes) = 0;
};

/// One lane's buffers. They outlive what was taken from them and what became of it. Thread-safe;
/// one thread takes.
class BatchBuffers {
 public:
  virtual ~BatchBuffers() = default;

  /// One of those that were planned; null while all are in use. Waits for a device's copies, never
  /// for the consumer; kStopped when `stop` was asked for meanwhile.
  virtual Result<std::unique_ptr<BatchBuffer>> take(const std::stop_token& stop) = 0;
  /// One beyond the plan.
  virtual Result<std::unique_ptr<BatchBuffer>> take_extra(const std::stop_token& stop) = 0;
  [[nodiscard]] virtual bool all_in_use() const = 0;

  /// Host memory that all of them hold from the start to the end, and that each holds in use.
  [[nodiscard]] virtual std::uint64_t fixed_bytes() const = 0;
  [[nodiscard]] virtual std::uint64_t bytes_in_use() const = 0;
};

/// `count` buffers of `bytes` each in host memory.
std::unique_ptr<BatchBuffers> host_batch_buffers(std::size_t bytes, std::size_t count);

/// The same in a device's memory, with pinned ones to write into; for clips as `options` make them.
/// kMemory says what there is.
Result<std::unique_ptr<BatchBuffers>> device_batch_buffers(const LaneDevice& lane,
                                                           const LoaderOptions& options,
                                                           std::size_t bytes, std::size_t count);

/// Of each of `lanes` lanes; on `gpus`, one a lane, where there are any.
Result<std::vector<std::unique_ptr<BatchBuffers>>> make_batch_buffers(
    std::size_t lanes, const std::vector<LaneDevice>& gpus, const LoaderOptions& options,
    std::size_t bytes, std::size_t count);

}  // namespace shardreel
