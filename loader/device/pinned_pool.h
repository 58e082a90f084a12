#pragma once
// Pinned blocks of one size that go round: pinning is slow and may stop the whole device, so it is
// done once, at the start.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <vector>

#include "loader/device/device.h"

namespace shardreel {

class PinnedPool;

/// A block and the event after which it may be written again: record it behind the last copy that
/// reads it. Goes back to its pool when it dies. Move-only.
class PinnedBlock {
 public:
  PinnedBlock(PinnedBlock&&) noexcept;
  PinnedBlock& operator=(PinnedBlock&&) noexcept;
  ~PinnedBlock();

  [[nodiscard]] std::byte* data() const noexcept;
  [[nodiscard]] std::uint64_t bytes() const noexcept;
  [[nodiscard]] Event& copied() const noexcept;

 private:
  friend class PinnedPool;
  struct Slot;
  PinnedBlock(PinnedPool* pool, Slot* slot) : pool_(pool), slot_(slot) {}
  PinnedPool* pool_;
  Slot* slot_;
};

/// Takes `count` blocks of `bytes` from a device; gives them in turn. Outlives its blocks.
/// Thread-safe.
class PinnedPool {
 public:
  static Result<std::unique_ptr<PinnedPool>> make(Device& device, std::uint64_t bytes,
                                                  std::size_t count);
  PinnedPool(const PinnedPool&) = delete;
  PinnedPool& operator=(const PinnedPool&) = delete;
  /// Waits for the copies that still read blocks.
  ~PinnedPool();

  /// Wait for a block that nobody holds and whose copy is done. kStopped when `stop` was asked for;
  /// errors of the copies come out here.
  Result<PinnedBlock> take(const std::stop_token& stop);
  [[nodiscard]] std::uint64_t block_bytes() const noexcept { return bytes_; }

 private:
  friend class PinnedBlock;
  explicit PinnedPool(std::uint64_t bytes);
  void give_back(PinnedBlock::Slot* slot) noexcept;
  struct State;
  const std::uint64_t bytes_;
  std::unique_ptr<State> state_;
};

}  // namespace shardreel
