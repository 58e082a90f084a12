#pragma once
// A lane's way to its device: batches are written into pinned memory, copied up by a stream of
// their own, and handed out with an event to wait for. What was planned is taken at the start.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>

#include "loader/device/device.h"
#include "loader/device/pinned_pool.h"

namespace shardreel {

class BatchUploads;

/// A batch's place in device memory, and what was copied there. Goes back to its lane when it dies,
/// from any thread, also after the lane is gone. Move-only.
class DeviceBatch {
 public:
  DeviceBatch(DeviceBatch&&) noexcept;
  DeviceBatch& operator=(DeviceBatch&&) noexcept;
  ~DeviceBatch();

  [[nodiscard]] void* data() const noexcept;
  /// Happens when all bytes are there. Whoever uses them lets its stream wait for it.
  [[nodiscard]] const Event& ready() const noexcept;
  /// What `stream` has in line now reads or writes this batch: its memory is not used again before
  /// that was done. The last call counts: with several streams, join them first.
  Result<void> used_by(Stream& stream);

 private:
  friend class BatchUploads;
  struct Slot;
  struct State;
  DeviceBatch(std::shared_ptr<State> state, Slot* slot);
  void swap(DeviceBatch& other) noexcept;
  std::shared_ptr<State> state_;  // shared: batches outlive the lane
  Slot* slot_ = nullptr;
};

/// Holds `batches` device buffers of `batch_bytes`, and two pinned ones: one is written while the
/// other is copied. Batches are copied in the order of `upload`. One producer; batches die
/// anywhere.
class BatchUploads {
 public:
  /// kOutOfMemory: nothing is kept.
  static Result<std::unique_ptr<BatchUploads>> make(std::shared_ptr<Device> device,
                                                    std::uint64_t batch_bytes, std::size_t batches);
  BatchUploads(const BatchUploads&) = delete;
  BatchUploads& operator=(const BatchUploads&) = delete;
  ~BatchUploads() = default;

  /// A place for the next batch: of those that were planned, nothing while all are in use.
  std::optional<DeviceBatch> take();
  /// One more, which is freed when it dies. kOutOfMemory.
  Result<DeviceBatch> take_extra();
  [[nodiscard]] bool all_in_use() const;

  /// Wait for a block to write a batch into; kStopped when `stop` was asked for.
  Result<PinnedBlock> staging(const std::stop_token& stop);
  /// Put the copy of the block's first `bytes` into the line. Does not wait; the device waits for
  /// the last user of the place.
  Result<void> upload(PinnedBlock block, std::uint64_t bytes, DeviceBatch& to);

  // The same in steps, for a batch of which parts come from elsewhere on the device: `begin`; then
  // copies of the block's parts, and other work of `stream` that writes the batch; `finish`.
  struct Part {
    std::uint64_t at = 0, bytes = 0;
  };
  Result<void> begin(DeviceBatch& to);
  Result<void> upload(PinnedBlock block, std::span<const Part> parts, DeviceBatch& to);
  Result<void> finish(DeviceBatch& to);
  [[nodiscard]] const std::shared_ptr<Stream>& stream() const noexcept;

  /// What `make` takes of the device and of pinned memory.
  [[nodiscard]] static constexpr std::uint64_t device_bytes(std::uint64_t batch_bytes,
                                                            std::size_t batches) {
    return batch_bytes * batches;
  }
  static constexpr std::size_t kStagingBlocks = 2;

 private:
  BatchUploads(std::shared_ptr<Device> device, std::unique_ptr<PinnedPool> pool,
               std::shared_ptr<DeviceBatch::State> state);

  const std::shared_ptr<Device> device_;
  const std::shared_ptr<DeviceBatch::State> state_;
  const std::unique_ptr<PinnedPool> pool_;  // goes first: it waits for its copies
};

}  // namespace shardreel
