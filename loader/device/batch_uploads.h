#pragma once
// A lane's way to its device: batches are written into pinned memory, copied up by a stream of
// their own, and handed out with an event to wait for. All memory is taken at the start.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>

#include "loader/device/device.h"
#include "loader/device/pinned_pool.h"

namespace shardreel {

class BatchUploads;

/// A batch on its way to, or in, device memory. Goes back to its lane when it dies, from any
/// thread, also after the lane is gone. Move-only.
class DeviceBatch {
 public:
  DeviceBatch(DeviceBatch&&) noexcept;
  DeviceBatch& operator=(DeviceBatch&&) noexcept;
  ~DeviceBatch();

  [[nodiscard]] void* data() const noexcept;
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
  /// Happens when all bytes are there. Whoever uses them lets its stream wait for it.
  [[nodiscard]] const Event& ready() const noexcept;
  /// What `stream` has in line now reads or writes this batch: the next one is not copied over it
  /// before that was done. The last call counts: with several streams, join them first.
  Result<void> used_by(Stream& stream);

 private:
  friend class BatchUploads;
  struct Slot;
  struct State;
  DeviceBatch(std::shared_ptr<State> state, Slot* slot, std::uint64_t bytes);
  void swap(DeviceBatch& other) noexcept;
  std::shared_ptr<State> state_;  // shared: batches outlive the lane
  Slot* slot_ = nullptr;
  std::uint64_t bytes_ = 0;
};

/// Takes batches of up to `batch_bytes` in blocks from `staging`; gives them as DeviceBatches in
/// the same order. Holds `batches` device buffers, and two pinned ones: one is written while the
/// other is copied. Waits for a pinned block whose copy is done, and for a device buffer that came
/// back. One producer; batches die anywhere.
class BatchUploads {
 public:
  /// kOutOfMemory: nothing is kept.
  static Result<std::unique_ptr<BatchUploads>> make(std::shared_ptr<Device> device,
                                                    std::uint64_t batch_bytes, std::size_t batches);
  BatchUploads(const BatchUploads&) = delete;
  BatchUploads& operator=(const BatchUploads&) = delete;
  ~BatchUploads() = default;

  /// Wait for a block to write a batch into; kStopped when `stop` was asked for.
  Result<PinnedBlock> staging(const std::stop_token& stop);
  /// Send the first `bytes` of a block up. Waits for a buffer, never for the copy.
  Result<DeviceBatch> upload(PinnedBlock block, std::uint64_t bytes, const std::stop_token& stop);

  /// What `make` takes of the device and of pinned memory.
  [[nodiscard]] static std::uint64_t device_bytes(std::uint64_t batch_bytes, std::size_t batches) {
    return batch_bytes * batches;
  }
  [[nodiscard]] static std::uint64_t pinned_bytes(std::uint64_t batch_bytes) {
    return batch_bytes * kStagingBlocks;
  }

 private:
  static constexpr std::size_t kStagingBlocks = 2;
  BatchUploads(std::shared_ptr<Device> device, std::shared_ptr<Stream> stream,
               std::unique_ptr<PinnedPool> pool, std::shared_ptr<DeviceBatch::State> state);

  const std::shared_ptr<Device> device_;
  const std::shared_ptr<Stream> stream_;
  const std::shared_ptr<DeviceBatch::State> state_;
  const std::unique_ptr<PinnedPool> pool_;  // goes first: it waits for its copies
};

}  // namespace shardreel
